//! What to cut into tiles: `config/dataset.toml` lists every key with its default.

mod photos;
mod scene;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::geo::{Compression, SceneOptions};

pub use photos::PhotosEntry;
pub use scene::{SceneEntry, SplitChoice};

/// Everything `geoseg tiles` can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetConfig {
    /// The tiles: size, scales, where they lie, how they are stored.
    pub tiles: TilesSection,
    /// How footprints become labels.
    pub truth: TruthSection,
    /// Which tiles are for learning and which for judging.
    pub split: SplitSection,
    /// The scenes, each a `[[scene]]`.
    pub scene: Vec<SceneEntry>,
    /// Photos, each entry a `[[photos]]`.
    pub photos: Vec<PhotosEntry>,
}

/// `[tiles]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TilesSection {
    /// Side of a tile, pixels.
    pub tile_px: usize,
    /// Pixels that neighbours share in grid mode.
    pub overlap_px: usize,
    /// Relative scales: 2 doubles the scene's pixels along each side, 0.5 halves them.
    /// Either these or `gsd_m`; neither means the scene's own resolution, `[1]`.
    pub scales: Vec<f64>,
    /// Ground sample distances, metres.
    pub gsd_m: Vec<f64>,
    /// Where tiles lie.
    pub mode: TileMode,
    /// Ground around a footprint that a tile in buildings mode shows at least, metres.
    pub padding_m: f64,
    /// Tiles with a smaller share of labelled pixels are left out.
    pub min_valid_fraction: f64,
    /// Share of the tiles without a building that is kept.
    pub keep_empty: f64,
    /// How pixels are packed.
    pub format: Compression,
    /// Bands to take, counted from 1; all but alpha where absent.
    pub bands: Option<Vec<usize>>,
    /// Scene values that become 0 and 255. Where absent: `[0, 255]` for 8-bit scenes, for others the
    /// range that holds the 2nd to 98th percentile of every training scene.
    pub value_range: Option<[f64; 2]>,
    /// A nodata value instead of the files' own.
    pub nodata: Option<f64>,
}

impl Default for TilesSection {
    fn default() -> Self {
        Self {
            tile_px: 512,
            overlap_px: 0,
            scales: Vec::new(),
            gsd_m: Vec::new(),
            mode: TileMode::Grid,
            padding_m: 10.0,
            min_valid_fraction: 0.2,
            keep_empty: 1.0,
            format: Compression::Deflate,
            bands: None,
            value_range: None,
            nodata: None,
        }
    }
}

/// Where tiles lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TileMode {
    /// Side by side over the whole scene.
    #[default]
    Grid,
    /// One centred on every footprint (several where one does not hold it and its padding).
    Buildings,
}

/// `[truth]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TruthSection {
    /// Every pixel that a footprint touches is building, not only those whose centre it covers.
    pub all_touched: bool,
    /// Width of an extra class `boundary` along the inside of outlines, metres.
    pub boundary_m: Option<f64>,
    /// Widest gap between two buildings that an extra class `contact` fills, metres.
    pub contact_m: Option<f64>,
}

impl Default for TruthSection {
    fn default() -> Self {
        Self { all_touched: true, boundary_m: None, contact_m: None }
    }
}

/// `[split]`: how scenes without a `split` of their own are divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSection {
    /// Whole scenes, or blocks of each scene.
    pub mode: SplitMode,
    /// Side of a block, metres; four tiles of the coarsest scale where absent.
    pub block_m: Option<f64>,
    /// Ground between blocks of different splits or folds that no tile touches, metres; at least,
    /// and where absent, one tile of the coarsest scale.
    pub gap_m: Option<f64>,
    /// Share of scenes or blocks for validation.
    pub val_fraction: f64,
    /// Share of scenes or blocks for the test.
    pub test_fraction: f64,
    /// Number of folds that training tiles are divided into; 0 for none.
    pub folds: u32,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Default for SplitSection {
    fn default() -> Self {
        Self {
            mode: SplitMode::Scene,
            block_m: None,
            gap_m: None,
            val_fraction: 0.2,
            test_fraction: 0.0,
            folds: 0,
            seed: 0,
        }
    }
}

/// The unit of a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitMode {
    /// A scene.
    #[default]
    Scene,
    /// A square block of a scene.
    Blocks,
}

impl DatasetConfig {
    /// Makes the scenes' relative paths start at `base`, the folder of the file that lists them.
    pub fn resolve_paths(&mut self, base: &Path) {
        for scene in &mut self.scene {
            resolve(&mut scene.image, base);
            resolve(&mut scene.footprints, base);
            for path in [&mut scene.aoi, &mut scene.soft].into_iter().flatten() {
                resolve(path, base);
            }
        }
    }

    /// The same for photos.
    pub fn resolve_photo_paths(&mut self, base: &Path) {
        for photos in &mut self.photos {
            resolve(&mut photos.images, base);
            resolve(&mut photos.masks, base);
        }
    }

    /// Whether labels are what models said.
    pub fn is_soft(&self) -> bool {
        self.scene.iter().any(|scene| scene.soft.is_some())
    }

    /// How scenes are opened.
    pub fn scene_options(&self) -> SceneOptions {
        SceneOptions {
            bands: self.tiles.bands.clone(),
            value_range: self.tiles.value_range,
            nodata: self.tiles.nodata,
            upright: false,
        }
    }

    /// How to open a photo: as a scene, but upright.
    pub fn photo_options(&self) -> SceneOptions {
        SceneOptions { upright: true, ..self.scene_options() }
    }

    /// Looks at every value that can be judged without opening a file.
    ///
    /// # Errors
    /// A value out of its range; the error names the key.
    pub fn validate(&self) -> Result<()> {
        if self.scene.is_empty() && self.photos.is_empty() {
            return Err(Error::config("scene", "at least one [[scene]] or [[photos]] is needed"));
        }
        for (at, scene) in self.scene.iter().enumerate() {
            scene.validate(at, self.is_soft())?;
        }
        if self.is_soft() && !self.photos.is_empty() {
            let problem =
                "have masks by hand and no soft labels: labels of both kinds need two tile sets";
            return Err(Error::config("photos", problem));
        }
        if self.is_soft() && self.tiles.mode == TileMode::Buildings {
            let problem = "\"buildings\" needs footprints; soft labels are cut in \"grid\"";
            return Err(Error::config("tiles.mode", problem));
        }
        for (at, photos) in self.photos.iter().enumerate() {
            photos.validate(at)?;
        }
        self.tiles.validate()?;
        self.check_metres()?;
        for (key, value) in
            [("boundary_m", self.truth.boundary_m), ("contact_m", self.truth.contact_m)]
        {
            positive(&format!("truth.{key}"), value)?;
        }
        self.split.validate()
    }

    /// Photos have no metres and no footprints.
    fn check_metres(&self) -> Result<()> {
        let wants = [
            ("tiles.gsd_m", !self.tiles.gsd_m.is_empty()),
            ("tiles.mode", self.tiles.mode == TileMode::Buildings),
            ("truth.boundary_m", self.truth.boundary_m.is_some()),
            ("truth.contact_m", self.truth.contact_m.is_some()),
        ];
        match wants.into_iter().find(|(_, wanted)| *wanted && !self.photos.is_empty()) {
            Some((key, _)) => Err(Error::config(
                key,
                "photos have neither metres nor footprints: leave it out, or leave [[photos]] out",
            )),
            None => Ok(()),
        }
    }
}

impl TilesSection {
    fn validate(&self) -> Result<()> {
        // 65,536 px is beyond what a GPU takes and would hold gigabytes per worker.
        if !(16..=65_536).contains(&self.tile_px) {
            return Err(Error::config(
                "tiles.tile_px",
                format!("expected 16 to 65536, found {}", self.tile_px),
            ));
        }
        if self.overlap_px >= self.tile_px {
            return Err(Error::config(
                "tiles.overlap_px",
                format!("expected less than tile_px ({}), found {}", self.tile_px, self.overlap_px),
            ));
        }
        if !self.scales.is_empty() && !self.gsd_m.is_empty() {
            return Err(Error::config(
                "tiles.scales",
                "either `scales` or `gsd_m` may be set, not both",
            ));
        }
        for (key, values) in [("tiles.scales", &self.scales), ("tiles.gsd_m", &self.gsd_m)] {
            for (at, value) in values.iter().enumerate() {
                positive(key, Some(*value))?;
                if values[..at].contains(value) {
                    return Err(Error::config(key, format!("{value} stands there twice")));
                }
            }
        }
        if let Some(scale) = self.scales.iter().find(|scale| !(0.01..=16.0).contains(*scale)) {
            return Err(Error::config(
                "tiles.scales",
                format!("expected factors from 0.01 to 16, found {scale}"),
            ));
        }
        if !(self.padding_m.is_finite() && self.padding_m >= 0.0) {
            return Err(Error::config(
                "tiles.padding_m",
                format!("expected 0 metres or more, found {}", self.padding_m),
            ));
        }
        share("tiles.min_valid_fraction", self.min_valid_fraction)?;
        share("tiles.keep_empty", self.keep_empty)?;
        if let Some([low, high]) = self.value_range
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            return Err(Error::config(
                "tiles.value_range",
                format!("expected [low, high] with low < high, found [{low}, {high}]"),
            ));
        }
        if let Some(bands) = &self.bands
            && (bands.is_empty() || bands.contains(&0))
        {
            return Err(Error::config(
                "tiles.bands",
                format!("expected band numbers from 1, found {bands:?}"),
            ));
        }
        Ok(())
    }
}

impl SplitSection {
    fn validate(&self) -> Result<()> {
        positive("split.block_m", self.block_m)?;
        positive("split.gap_m", self.gap_m)?;
        share("split.val_fraction", self.val_fraction)?;
        share("split.test_fraction", self.test_fraction)?;
        if self.val_fraction + self.test_fraction > 1.0 {
            return Err(Error::config(
                "split.test_fraction",
                "val_fraction and test_fraction together exceed 1",
            ));
        }
        if self.folds == 1 {
            return Err(Error::config("split.folds", "expected 0 (no folds) or at least 2"));
        }
        Ok(())
    }
}

fn positive(key: &str, value: Option<f64>) -> Result<()> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(Error::config(key, format!("expected more than 0, found {value}")))
        }
        _ => Ok(()),
    }
}

fn share(key: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::config(key, format!("expected a share from 0 to 1, found {value}")))
    }
}

/// URLs and GDAL's connection strings (`PG:...`) hold a colon; its virtual files start with `/vsi`.
fn resolve(path: &mut PathBuf, base: &Path) {
    let text = path.to_string_lossy();
    let joined = base.join(&*path);
    let is_connection = text.contains(':') && !joined.exists();
    if !(text.is_empty() || path.is_absolute() || is_connection) {
        *path = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_scene() -> DatasetConfig {
        toml::from_str("[[scene]]\nimage = 'a.tif'\nfootprints = 'a.geojson'\n").unwrap()
    }

    fn problem(change: impl FnOnce(&mut DatasetConfig)) -> String {
        let mut config = one_scene();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_scene_with_image_and_footprints_is_enough() {
        one_scene().validate().unwrap();
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        assert!(problem(|c| c.scene.clear()).contains("`scene`"));
        assert!(problem(|c| c.tiles.tile_px = 0).contains("`tiles.tile_px`"));
        assert!(problem(|c| c.tiles.overlap_px = 512).contains("`tiles.overlap_px`"));
        assert!(problem(|c| c.tiles.gsd_m = vec![0.3, f64::NAN]).contains("`tiles.gsd_m`"));
        assert!(problem(|c| c.tiles.scales = vec![1.0, 1.0]).contains("twice"));
        assert!(problem(|c| c.tiles.value_range = Some([5.0, 5.0])).contains("value_range"));
        assert!(problem(|c| c.truth.boundary_m = Some(-1.0)).contains("`truth.boundary_m`"));
        assert!(problem(|c| c.split.val_fraction = 1.5).contains("`split.val_fraction`"));
        assert!(problem(|c| c.split.folds = 1).contains("`split.folds`"));
        let both = problem(|c| (c.tiles.scales, c.tiles.gsd_m) = (vec![1.0], vec![0.3]));
        assert!(both.contains("not both"));
    }

    #[test]
    fn photos_are_enough_and_their_values_are_checked() {
        let text = "[[photos]]\nimages = 'a'\nmasks = 'b'\n";
        let config: DatasetConfig = toml::from_str(text).unwrap();
        config.validate().unwrap();
        let problem = |change: fn(&mut DatasetConfig)| {
            let mut config = config.clone();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(problem(|c| c.photos[0].masks = "".into()).contains("`photos.0.masks`"));
        assert!(
            problem(|c| c.photos[0].mask_suffix = "/m".into()).contains("`photos.0.mask_suffix`")
        );
        assert!(problem(|c| c.tiles.gsd_m = vec![0.3]).contains("`tiles.gsd_m`"));
        assert!(problem(|c| c.tiles.mode = TileMode::Buildings).contains("`tiles.mode`"));
        assert!(problem(|c| c.truth.contact_m = Some(1.0)).contains("`truth.contact_m`"));
    }

    #[test]
    fn only_relative_paths_follow_the_configuration_file() {
        let mut config = one_scene();
        config.scene[0].footprints = "https://example.org/a.geojson".into();
        config.scene[0].aoi = Some("/vsizip/a.zip/aoi.shp".into());
        config.photos = vec![PhotosEntry { images: "p/*.jpg".into(), ..PhotosEntry::default() }];
        config.resolve_paths(Path::new("data/town"));
        config.resolve_photo_paths(Path::new("data/cars"));
        assert_eq!(config.photos[0].images, Path::new("data/cars/p/*.jpg"));
        assert_eq!(config.scene[0].image, Path::new("data/town/a.tif"));
        assert_eq!(config.scene[0].footprints, Path::new("https://example.org/a.geojson"));
        assert_eq!(config.scene[0].aoi, Some("/vsizip/a.zip/aoi.shp".into()));
    }

    #[test]
    fn the_commented_file_holds_the_defaults() {
        let text = include_str!("../../config/dataset.toml");
        let mut config: DatasetConfig = toml::from_str(text).unwrap();
        config.scene.clear();
        assert_eq!(config, DatasetConfig::default());
        // The photos stand there commented out: not everyone has some.
        let (_, photos) = text.split_once("\n# [[photos]]\n").unwrap();
        let photos: String = photos
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .map(|l| l.to_owned() + "\n")
            .collect();
        let mut entry: PhotosEntry = toml::from_str(&photos).unwrap();
        assert!(entry.name.take().is_some() && entry.mask_suffix == "_mask");
        assert!(entry.images.parent() == entry.masks.parent());
        let PhotosEntry { images, masks, mask_suffix, .. } = entry.clone();
        assert_eq!(entry, PhotosEntry { images, masks, mask_suffix, ..PhotosEntry::default() });
    }
}
