//! The tile set on disk: what a folder of tiles holds, and how to read it.
//!
//! ```text
//! <root>/<split>/<scene>/<scale>/<row>_<col>.tif        pixels, uint8, georeferenced
//! <root>/<split>/<scene>/<scale>/<row>_<col>_mask.png   labels, uint8 (crate::truth names them)
//! <root>/<split>/<photos>/<scale>/<photo>.tif            of a photo that is one tile, with its mask likewise;
//!                                                       a georeference in the photo's own pixels tells its size
//! <root>/tiles.gpkg      a rectangle and a row per tile (EPSG:4326), opens in QGIS
//! <root>/tileset.json    TileSetInfo: bands, statistics, classes, counts
//! <root>/dataset.toml    the configuration that made it
//! ```
//!
//! A set is made in `<root>/.unfinished` and moved up when it is whole, `tileset.json` last.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gdal::Dataset;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::output::write_json;

use super::index;

/// Version of the layout above; a reader refuses another one.
pub const FORMAT: u32 = 1;
/// File name of [`TileSetInfo`].
pub const INFO_FILE: &str = "tileset.json";
/// File name of the index.
pub const INDEX_FILE: &str = "tiles.gpkg";
/// File name of the effective configuration.
pub const CONFIG_FILE: &str = "dataset.toml";
/// Holds a set that is not whole, inside its folder.
pub const WORK_FOLDER: &str = ".unfinished";
/// File name of the picture of some tiles.
pub const CONTACT_SHEET_FILE: &str = "contact_sheet.png";

/// What a tile is for. Tiles of different splits never share ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The network learns from it.
    Train,
    /// Decides when to stop and which threshold to use.
    Val,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All splits, in the order in which reports list them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|split| split.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not one of train, val, test"))
    }
}

/// What the masks of a set hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// Classes, from footprints.
    #[default]
    Classes,
    /// Probabilities of a building, from models: `round(p * 254)`, 255 is ignore.
    Soft,
}

impl Labels {
    /// A word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classes => "class",
            Self::Soft => "soft",
        }
    }
}

/// What the whole set has in common. `tileset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileSetInfo {
    /// Layout version, [`FORMAT`].
    pub format: u32,
    /// Bands per tile.
    pub bands: usize,
    /// One name per band ("red", "green", "blue").
    pub band_names: Vec<String>,
    /// Scene values that became 0 and 255 in the tiles.
    pub value_range: [f64; 2],
    /// What the masks hold.
    #[serde(default)]
    pub labels: Labels,
    /// Mask values of [`Labels::Classes`]: `classes[v]` names value `v`; 255 is ignore and is not listed.
    pub classes: Vec<String>,
    /// Side of every tile, in pixels.
    pub tile_px: usize,
    /// Per band: mean of `x / 255` over the valid pixels of the training tiles.
    pub band_mean: Vec<f64>,
    /// Per band: standard deviation of `x / 255` over the valid pixels of the training tiles.
    pub band_std: Vec<f64>,
    /// Number of folds of the training tiles, 0 for none.
    pub folds: u32,
    /// The scenes that the tiles come from.
    pub scenes: Vec<SceneInfo>,
    /// Tiles per split, scene and scale, and what was left out.
    pub counts: Vec<TileCounts>,
    /// What the person who made the set was warned of.
    pub warnings: Vec<String>,
    /// Hash of the configuration and of the inputs.
    pub fingerprint: String,
}

/// One scene of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SceneInfo {
    /// Its folder in the set.
    pub name: String,
    /// The image, as the configuration names it.
    pub image: PathBuf,
    /// The CRS (`EPSG:32645`, or a name); `None` without georeference.
    pub crs: Option<String>,
    /// Footprints read.
    pub footprints: usize,
    /// Footprints whose rings were mended.
    pub repaired: usize,
    /// Features left out because they have no area.
    pub dropped: usize,
    /// Photos, each with a mask in place of footprints; 0 of a scene.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub photos: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One line of the summary: one scene at one scale in one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileCounts {
    /// The split.
    pub split: Split,
    /// The scene's name.
    pub scene: String,
    /// The scale's name, which is its folder ("x1", "0.3m").
    pub scale: String,
    /// Tiles written.
    pub tiles: usize,
    /// Different buildings in them.
    pub buildings: usize,
    /// Tiles left out because too few of their pixels are valid.
    pub skipped_nodata: usize,
    /// Tiles without a building that `keep_empty` left out.
    pub skipped_empty: usize,
    /// Tiles left out because they touch ground of another split or fold.
    pub skipped_overlap: usize,
}

/// One tile. A row of `tiles.gpkg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileRecord {
    /// GeoTIFF, relative to the root.
    pub image: PathBuf,
    /// PNG of labels, relative to the root.
    pub mask: PathBuf,
    /// The scene's name.
    pub scene: String,
    /// The scale's name ("x1", "0.3m").
    pub scale: String,
    /// Side of a pixel on the ground in metres; NaN where the scene has no georeference.
    #[serde(with = "nan_as_null")]
    pub gsd_m: f64,
    /// The split.
    pub split: Split,
    /// The fold, from 0, where the set has folds.
    pub fold: Option<u32>,
    /// First pixel row of the tile in the scene at this scale.
    pub row: usize,
    /// First pixel column of the tile in the scene at this scale.
    pub col: usize,
    /// Share of the tile's pixels whose label is not ignore.
    pub valid_fraction: f64,
    /// Share of the tile's labelled pixels that are building (interior or boundary).
    pub building_fraction: f64,
    /// Footprints that touch the tile.
    pub building_count: usize,
}

impl TileRecord {
    /// A name for messages: `train/banepa/x1/000512_000000`.
    pub fn name(&self) -> String {
        self.image.with_extension("").display().to_string()
    }
}

/// A finished tile set.
#[derive(Clone, Debug, PartialEq)]
pub struct TileSet {
    /// Its folder.
    pub root: PathBuf,
    /// What its tiles have in common.
    pub info: TileSetInfo,
    /// Its tiles, ordered by split, scene, scale, row, column.
    pub tiles: Vec<TileRecord>,
}

impl TileSet {
    /// Reads the index of the set in `root`.
    ///
    /// # Errors
    /// No set there, an unfinished one, or one of another layout version.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref().to_owned();
        let info = read_info(&root)?;
        let tiles = index::read(&root.join(INDEX_FILE))?;
        Ok(Self { root, info, tiles })
    }

    /// Writes the description: with it the set is whole.
    pub(super) fn write_info(&self) -> Result<()> {
        write_json(&self.root.join(INFO_FILE), &self.info, true)
    }

    /// The tiles of one split.
    pub fn of(&self, split: Split) -> impl Iterator<Item = &TileRecord> {
        self.tiles.iter().filter(move |tile| tile.split == split)
    }

    /// Reads one tile. May be called from any thread.
    ///
    /// # Errors
    /// A file is missing or unreadable, or its size or band count is not the set's.
    pub fn read(&self, tile: &TileRecord) -> Result<TilePixels> {
        let (side, bands) = (self.info.tile_px, self.info.bands);
        let path = self.root.join(&tile.image);
        let image = read_image(&path, side, bands)?;
        let path = self.root.join(&tile.mask);
        let mask = image::open(&path)
            .map_err(|error| {
                Error::input(&path, "a PNG of labels", error.to_string(), "cut the tiles again")
            })?
            .into_luma8();
        if (mask.width() as usize, mask.height() as usize) != (side, side) {
            return Err(Error::input(
                &path,
                format!("{side} x {side} px"),
                format!("{} x {} px", mask.width(), mask.height()),
                "cut the tiles again",
            ));
        }
        Ok(TilePixels { width: side, height: side, bands, image, mask: mask.into_raw() })
    }
}

/// Pixels and labels of one tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TilePixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bands.
    pub bands: usize,
    /// Pixels, `[band][row][col]`; 0 where the scene has no data.
    pub image: Vec<u8>,
    /// Labels, `[row][col]`; 255 is ignore.
    pub mask: Vec<u8>,
}

impl TilePixels {
    /// Where the scene has data, `[row][col]`: false where the label is ignore and every band is 0.
    /// (A labelled pixel always has data; an ignored one may, outside an area of interest.)
    pub fn valid(&self) -> Vec<bool> {
        let area = self.width * self.height;
        (0..area)
            .map(|i| {
                self.mask[i] != crate::truth::IGNORE
                    || (0..self.bands).any(|band| self.image[band * area + i] != 0)
            })
            .collect()
    }
}

/// Reads `tileset.json`.
pub(super) fn read_info(root: &Path) -> Result<TileSetInfo> {
    let path = root.join(INFO_FILE);
    if !path.is_file() {
        let (found, hint) = if root.join(WORK_FOLDER).is_dir() {
            ("an unfinished tile set", "run `geoseg tiles` again with the same configuration")
        } else {
            ("no such file", "make the set with `geoseg tiles`")
        };
        return Err(Error::input(&path, "a tile set", found, hint));
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let info: TileSetInfo = serde_json::from_str(&text).map_err(|error| {
        Error::input(&path, "a tile set's description", error.to_string(), "cut the tiles again")
    })?;
    if info.format != FORMAT {
        return Err(Error::input(
            &path,
            format!("layout version {FORMAT}"),
            format!("version {}", info.format),
            "cut the tiles again with this version of geoseg",
        ));
    }
    Ok(info)
}

/// `[band][row][col]` of a GeoTIFF tile.
fn read_image(path: &Path, side: usize, bands: usize) -> Result<Vec<u8>> {
    if !path.is_file() {
        return Err(Error::input(path, "a tile of the set", "no such file", "cut the tiles again"));
    }
    crate::geo::init();
    let dataset = Dataset::open(path).map_err(Error::gdal(path))?;
    let found = (dataset.raster_size(), dataset.raster_count());
    if found != ((side, side), bands) {
        return Err(Error::input(
            path,
            format!("{side} x {side} px and {bands} bands"),
            format!("{} x {} px and {} bands", found.0.0, found.0.1, found.1),
            "cut the tiles again",
        ));
    }
    let area = side * side;
    let mut image = vec![0; bands * area];
    for (band, plane) in image.chunks_exact_mut(area).enumerate() {
        dataset
            .rasterband(band + 1)
            .and_then(|raster| {
                raster.read_into_slice((0, 0), (side, side), (side, side), plane, None)
            })
            .map_err(Error::gdal(path))?;
    }
    Ok(image)
}

/// JSON has no NaN.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
    }
}
