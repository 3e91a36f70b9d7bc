//! A small training: made-up tiles and a small network.

use std::path::Path;

use geoseg::config::train::TrainConfig;
use geoseg::tiles::{Labels, Split, TileRecord, TileSet, TileSetInfo};

/// Side of the tiles.
pub const TILE_PX: usize = 64;

/// A bright rectangle (a building) on dark ground, at a place that depends on `number`.
fn write_tile(root: &Path, record: &TileRecord, number: usize) {
    let (mut image, mut mask) = (vec![40u8; 3 * TILE_PX * TILE_PX], vec![0u8; TILE_PX * TILE_PX]);
    for row in 0..TILE_PX {
        for col in 0..TILE_PX {
            let i = row * TILE_PX + col;
            for band in 0..3 {
                image[band * TILE_PX * TILE_PX + i] += ((row * 7 + col * 13 + band) % 23) as u8;
            }
            let (top, left) = (4 + 7 * number % 24, 6 + 11 * number % 30);
            if (top..top + 24).contains(&row) && (left..left + 20).contains(&col) {
                mask[i] = 1;
                (0..3).for_each(|band| image[band * TILE_PX * TILE_PX + i] += 120);
            }
            if row < 5 && number.is_multiple_of(3) {
                mask[i] = 255;
                (0..3).for_each(|band| image[band * TILE_PX * TILE_PX + i] = 0);
            }
        }
    }
    let path = root.join(&record.image);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset = driver.create_with_band_type::<u8, _>(path, TILE_PX, TILE_PX, 3).unwrap();
    for band in 0..3 {
        let plane = &image[band * TILE_PX * TILE_PX..(band + 1) * TILE_PX * TILE_PX];
        let mut buffer = gdal::raster::Buffer::new((TILE_PX, TILE_PX), plane.to_vec());
        let mut raster = dataset.rasterband(band + 1).unwrap();
        raster.write((0, 0), (TILE_PX, TILE_PX), &mut buffer).unwrap();
    }
    dataset.flush_cache().unwrap();
    let mask = image::GrayImage::from_raw(TILE_PX as u32, TILE_PX as u32, mask).unwrap();
    mask.save(root.join(&record.mask)).unwrap();
}

/// Tiles of two scenes for training, and `val` for validation.
pub fn tile_set(root: &Path, val: usize) -> TileSet {
    let splits = [(Split::Train, "a", 5), (Split::Train, "b", 3), (Split::Val, "c", val)];
    let mut tiles = Vec::new();
    for (split, scene, count) in splits {
        for row in 0..count {
            let folder = format!("{split}/{scene}/x1");
            let record = TileRecord {
                image: format!("{folder}/{row}_0.tif").into(),
                mask: format!("{folder}/{row}_0_mask.png").into(),
                scene: scene.into(),
                scale: "x1".into(),
                gsd_m: 0.3,
                split,
                fold: None,
                row,
                col: 0,
                valid_fraction: 1.0,
                building_fraction: 0.12,
                building_count: 1,
            };
            write_tile(root, &record, tiles.len());
            tiles.push(record);
        }
    }
    let info = TileSetInfo {
        format: 1,
        bands: 3,
        band_names: ["red", "green", "blue"].map(String::from).to_vec(),
        value_range: [0.0, 255.0],
        labels: Labels::Classes,
        classes: ["background", "building"].map(String::from).to_vec(),
        tile_px: TILE_PX,
        band_mean: vec![0.25; 3],
        band_std: vec![0.2; 3],
        folds: 0,
        scenes: Vec::new(),
        counts: Vec::new(),
        warnings: Vec::new(),
        fingerprint: "made up".into(),
    };
    TileSet { root: root.to_owned(), info, tiles }
}

/// Some steps of a small FPN.
pub fn config(steps: usize) -> TrainConfig {
    let mut config = TrainConfig::default();
    config.model.pyramid_channels = 16;
    config.model.segmentation_channels = 32;
    config.data.crop_px = 32;
    config.data.batch = 2;
    config.data.workers = 2;
    config.run.steps = steps;
    config.run.validate_every = 3;
    config.run.recalibrate_batches = 2;
    config.run.seed = 5;
    config
}
