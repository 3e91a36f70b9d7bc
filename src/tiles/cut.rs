//! One planned tile into its two files.
//!
//! Memory: a worker holds one tile, `tile_px^2 * (bands * 3 + 4)` bytes, besides GDAL's own block
//! cache, which [`crate::geo::init`] bounds.

use std::path::{Path, PathBuf};

use image::GrayImage;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::dataset::DatasetConfig;
use crate::error::{Error, Result};
use crate::geo::{Scene, Window, write_geotiff};
use crate::truth::IGNORE;

use super::hash;
use super::journal::{BandSums, Kept, Outcome};
use super::labels::Labeller;
use super::plan::PlannedTile;
use super::prepare::Prepared;
use super::set::{Split, TileRecord};

/// The tile's GeoTIFF, relative to the set's root. Names sort like rows and columns.
pub(super) fn image_path(scene: &Prepared, tile: &PlannedTile) -> PathBuf {
    let scale = &scene.scales[tile.scale];
    let place = format!("{:06}_{:06}", tile.window.row, tile.window.col);
    let is_all = tile.window == Window::whole(scale.grid.width, scale.grid.height);
    let name = match &scene.photo {
        None => place,
        Some(photo) if is_all => photo.clone(),
        Some(photo) => format!("{photo}_{place}"),
    };
    let folder = Path::new(tile.group.split.as_str()).join(&scene.name).join(&scale.name);
    folder.join(name + ".tif")
}

/// The labels beside it.
fn mask_path(image: &Path) -> PathBuf {
    let mut name = image.file_stem().unwrap_or_default().to_owned();
    name.push("_mask.png");
    image.with_file_name(name)
}

/// A scene in the hands of one thread.
pub(super) struct Open<'a> {
    pub scene: &'a Prepared,
    pub source: &'a Scene,
    pub labeller: &'a Labeller<'a>,
}

/// Reads, labels, judges and (if it is kept) writes one tile below `root`, whose folders exist. The
/// files are written in `staging`, a folder of this worker's on the same disk, and renamed when whole:
/// one folder for many tiles, because making one takes as long as writing a tile.
pub(super) fn cut(
    root: &Path,
    staging: &Path,
    open: &Open<'_>,
    tile: &PlannedTile,
    config: &DatasetConfig,
) -> Result<Outcome> {
    let Open { scene, source, labeller } = open;
    let grid = &scene.scales[tile.scale].grid;
    let side = config.tiles.tile_px;
    let whole = Window::whole(grid.width, grid.height);
    let Some(inside) = tile.window.intersection(&whole) else { return Ok(Outcome::NoData) };
    let pixels = source.read(grid, inside)?;
    let labels = labeller.labels(grid, inside, &pixels.valid)?;
    let area = (side * side) as f64;
    let labelled = labels.iter().filter(|label| **label != IGNORE).count();
    let valid_fraction = labelled as f64 / area;
    if labelled == 0 || valid_fraction < config.tiles.min_valid_fraction {
        return Ok(Outcome::NoData);
    }
    let building = labels.iter().filter(|label| labeller.is_building(**label)).count();
    let path = image_path(scene, tile);
    if building == 0 && !keeps_empty(&path, config) {
        return Ok(Outcome::Empty);
    }
    let mut data = pixels.data;
    for plane in data.chunks_exact_mut(inside.area()) {
        for (value, valid) in plane.iter_mut().zip(&pixels.valid) {
            if !valid {
                *value = 0;
            }
        }
    }
    let sums = (tile.group.split == Split::Train).then(|| BandSums::of(&data, &pixels.valid));
    let buildings = labeller.objects_in(grid, inside, &labels);
    let mask_path = mask_path(&path);
    let image: Vec<u8> =
        data.chunks_exact(inside.area()).flat_map(|plane| padded(plane, inside, side, 0)).collect();
    let georeference = grid.window(tile.window);
    let (staged_image, staged_mask) = (staging.join("tile.tif"), staging.join("mask.png"));
    write_geotiff(&staged_image, &georeference, pixels.bands, &image, None, config.tiles.format)?;
    write_mask(&staged_mask, padded(&labels, inside, side, IGNORE), side)?;
    for (from, to) in [(staged_image, &path), (staged_mask, &mask_path)] {
        let to = root.join(to);
        std::fs::rename(from, &to).map_err(Error::io(&to))?;
    }
    let record = TileRecord {
        image: path,
        mask: mask_path,
        scene: scene.name.clone(),
        scale: scene.scales[tile.scale].name.clone(),
        gsd_m: grid.mean_gsd_m().unwrap_or(f64::NAN),
        split: tile.group.split,
        fold: tile.group.fold,
        row: tile.window.row,
        col: tile.window.col,
        valid_fraction,
        building_fraction: building as f64 / labelled as f64,
        building_count: buildings.len(),
    };
    Ok(Outcome::Kept(Box::new(Kept { record, buildings, sums })))
}

/// `plane` (`[row, col]` of `inside`) as the upper left part of a square filled with `fill`.
fn padded(plane: &[u8], inside: Window, side: usize, fill: u8) -> Vec<u8> {
    let mut square = vec![fill; side * side];
    for (to, from) in square.chunks_exact_mut(side).zip(plane.chunks_exact(inside.width)) {
        to[..inside.width].copy_from_slice(from);
    }
    square
}

/// The same answer for a tile whatever the others are and however many threads ask.
fn keeps_empty(path: &Path, config: &DatasetConfig) -> bool {
    let name = path.to_string_lossy();
    let seed = hash::extend(hash::fnv1a(&config.split.seed.to_le_bytes()), name.as_bytes());
    ChaCha8Rng::seed_from_u64(seed).random::<f64>() < config.tiles.keep_empty
}

/// Writes the labels of a square.
pub(super) fn write_mask(path: &Path, labels: Vec<u8>, side: usize) -> Result<()> {
    let picture = GrayImage::from_raw(side as u32, side as u32, labels).unwrap_or_default();
    picture.save(path).map_err(|error| match error {
        image::ImageError::IoError(source) => Error::Io { path: path.to_owned(), source },
        other => Error::Io { path: path.to_owned(), source: std::io::Error::other(other) },
    })
}
