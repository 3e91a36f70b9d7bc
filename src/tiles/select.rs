//! A tile set of some of another's tiles.

use std::collections::BTreeMap;
use std::path::Path;

use gdal::Dataset;
use gdal::vector::LayerAccess;
use geozero::{ToGeo, wkb::Wkb};

use super::journal::Journal;
use super::set::{INDEX_FILE, Labels, Split, TileCounts, TileRecord, TileSet, TileSetInfo};
use super::{cut, hash, index, root, sheet};
use crate::error::{Error, Result};
use crate::geo::Crs;

/// A tile to take over.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Its number in the set that it comes from.
    pub tile: usize,
    /// Labels by class in place of its own, `[row][col]`; all of a set of soft labels need them.
    pub labels: Option<Vec<u8>>,
}

/// Writes the `selected` tiles of `set`, in their order there, as training tiles of a new set in `out`. `purpose` names
/// what selected them, with its options.
///
/// # Errors
/// `out` holds something else, or a file cannot be read or written.
pub fn write(
    set: &TileSet,
    selected: &[Selected],
    purpose: &str,
    out: &Path,
    overwrite: bool,
) -> Result<TileSet> {
    let known = hash::extend(hash::fnv1a(set.info.fingerprint.as_bytes()), purpose.as_bytes());
    let chosen = selected.iter().flat_map(|selected| (selected.tile as u64).to_le_bytes());
    let fingerprint = format!("{:016x}", hash::extend(known, &chosen.collect::<Vec<_>>()));
    let root::Found::Work(work) = root::claim(out, &fingerprint, overwrite)? else {
        return TileSet::open(out);
    };
    Journal::open(&work, &fingerprint)?;
    let (crs, outlines) = outlines(&set.root.join(INDEX_FILE))?;
    let mut tiles = Vec::new();
    for selected in selected {
        let tile = &set.tiles[selected.tile];
        tiles.push((copy(set, tile, selected.labels.as_deref(), &work)?, &outlines[selected.tile]));
    }
    let rows: Vec<_> = tiles.iter().map(|(tile, outline)| (tile, (*outline).clone())).collect();
    index::write(&work.join(INDEX_FILE), crs.as_ref(), &rows)?;
    let tiles: Vec<TileRecord> = tiles.into_iter().map(|(tile, _)| tile).collect();
    let info = TileSetInfo {
        labels: Labels::Classes,
        counts: counts(&tiles),
        folds: 0,
        warnings: Vec::new(),
        fingerprint,
        ..set.info.clone()
    };
    let selection = TileSet { root: work, info, tiles };
    sheet::write(&selection)?;
    selection.write_info()?;
    root::finish(out)?;
    Ok(TileSet { root: out.to_owned(), ..selection })
}

/// Copies a tile's files into the training folder of `work`, with other `classes` as labels if there are any.
fn copy(
    set: &TileSet,
    tile: &TileRecord,
    classes: Option<&[u8]>,
    work: &Path,
) -> Result<TileRecord> {
    let place = |path: &Path| {
        let inside = path.strip_prefix(tile.split.as_str()).unwrap_or(path);
        Path::new(Split::Train.as_str()).join(inside)
    };
    let mut copied = TileRecord {
        image: place(&tile.image),
        mask: place(&tile.mask),
        split: Split::Train,
        fold: None,
        ..tile.clone()
    };
    let folder = work.join(&copied.image);
    if let Some(folder) = folder.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let copy = |from: &Path, to: &Path| {
        let (from, to) = (set.root.join(from), work.join(to));
        std::fs::copy(&from, &to).map(|_| ()).map_err(Error::io(&from))
    };
    copy(&tile.image, &copied.image)?;
    match classes {
        None => copy(&tile.mask, &copied.mask)?,
        Some(classes) => {
            cut::write_mask(&work.join(&copied.mask), classes.to_vec(), set.info.tile_px)?;
            let building =
                classes.iter().filter(|label| crate::truth::is_building(**label)).count();
            let known = classes.iter().filter(|label| **label != crate::truth::IGNORE).count();
            copied.building_fraction = building as f64 / known.max(1) as f64;
            copied.valid_fraction = known as f64 / classes.len().max(1) as f64;
            if building == 0 {
                copied.building_count = 0;
            }
        }
    }
    Ok(copied)
}

/// Tiles a scene and scale.
fn counts(tiles: &[TileRecord]) -> Vec<TileCounts> {
    let mut lines: BTreeMap<(&str, &str), TileCounts> = BTreeMap::new();
    for tile in tiles {
        let line = lines.entry((&tile.scene, &tile.scale)).or_insert_with(|| TileCounts {
            split: Split::Train,
            scene: tile.scene.clone(),
            scale: tile.scale.clone(),
            tiles: 0,
            buildings: 0,
            skipped_nodata: 0,
            skipped_empty: 0,
            skipped_overlap: 0,
        });
        line.tiles += 1;
        line.buildings += tile.building_count;
    }
    lines.into_values().collect()
}

/// The rectangles of an index, in its order, and their CRS.
fn outlines(path: &Path) -> Result<(Option<Crs>, Vec<geo::Geometry<f64>>)> {
    let dataset = Dataset::open(path).map_err(Error::gdal(path))?;
    let mut layer = dataset.layer(0).map_err(Error::gdal(path))?;
    let crs = layer.spatial_ref().map(|_| Crs::wgs84()).transpose()?;
    let nowhere = || geo::Geometry::MultiPolygon(geo::MultiPolygon(Vec::new()));
    let outlines = layer.features().map(|feature| {
        let geometry = feature.geometry().and_then(|geometry| geometry.wkb().ok());
        geometry.and_then(|wkb| Wkb(wkb).to_geo().ok()).unwrap_or_else(nowhere)
    });
    Ok((crs, outlines.collect()))
}
