//! Houses that touch without a neck come apart along the walls that a model with a class `boundary` sees: from its two bands
//! of scores through blending, strips, copies and means to the buildings.

use std::path::{Path, PathBuf};

use geo::Area;
use geoseg::config::ensemble::Mean;
use geoseg::config::infer::{InferConfig, InferenceConfig, ScoresType};
use geoseg::geo::vector::{OutputCrs, VectorSource, read_footprints};
use geoseg::geo::{Band, Compression, Crs, GeoTransform, Grid, Window, to_cog, write_geotiff};
use geoseg::infer::{Batch, Input, Region, Scorer, run, tta};
use geoseg::interrupt::Interrupt;
use geoseg::model::ModelSpec;
use geoseg::polygonize::{self, PolygonizeOptions};
use geoseg::progress::Progress;
use geoseg::scores::{BANDS, Layer, Options, Part, combine};
use geoseg::{Error, Result};

const WIDTH: usize = 120;
const HEIGHT: usize = 90;
/// Grey values of a house's inside and of its walls.
const INSIDE: u8 = 120;
const WALL: u8 = 240;

fn spec() -> ModelSpec {
    ModelSpec {
        bands: vec!["grey".into()],
        mean: vec![0.0],
        std: vec![1.0],
        gsd_m: 0.3,
        classes: vec!["building".into(), "boundary".into()],
        ..ModelSpec::default()
    }
}

fn grid() -> Grid {
    Grid {
        width: WIDTH,
        height: HEIGHT,
        transform: GeoTransform([500_000.0, 0.3, 0.0, 3_000_000.0, 0.0, -0.3]),
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: None,
    }
}

/// A terrace of three houses, 30 x 40 px each, with walls of 2 px on either side of where they meet.
fn terrace(col: usize, row: usize) -> u8 {
    let inside = |at: usize, from: usize, to: usize| (from..to).contains(&at);
    match () {
        () if !(inside(col, 10, 100) && inside(row, 20, 60)) => 0,
        () if inside(col, 38, 42) || inside(col, 68, 72) => WALL,
        () => INSIDE,
    }
}

fn scene(folder: &Path) -> PathBuf {
    let path = folder.join("scene.tif");
    let data: Vec<u8> = (0..WIDTH * HEIGHT).map(|i| terrace(i % WIDTH, i / WIDTH)).collect();
    write_geotiff(&path, &grid(), 1, &data, None, Compression::Deflate).unwrap();
    path
}

fn building_and_wall(grey: u8) -> [f32; 2] {
    match grey {
        0 => [0.05, 0.02],
        INSIDE => [0.95, 0.1],
        _ => [0.8, 0.9],
    }
}

/// A network that knows the answer.
#[expect(clippy::unnecessary_wraps, reason = "a scorer may fail")]
fn knowing(batch: &Batch) -> Result<Vec<f32>> {
    let px = batch.window_px * batch.window_px;
    let mut scores = Vec::new();
    for image in batch.pixels.chunks_exact(px) {
        for band in 0..2 {
            let score = |value: &f32| building_and_wall((value * 255.0).round() as u8)[band];
            scores.extend(image.iter().map(score));
        }
    }
    Ok(scores)
}

fn config(scores: ScoresType) -> InferenceConfig {
    InferenceConfig { window_px: 32, overlap_px: 8, batch: 3, scores, ..Default::default() }
}

fn infer(
    scene: &Path,
    out: &Path,
    config: &InferenceConfig,
    scorer: impl FnMut(&Batch) -> Result<Vec<f32>>,
) -> Result<PathBuf> {
    let all = InferConfig { inference: config.clone(), ..InferConfig::default() };
    let input = Input::open(scene, &spec(), &all, &Region::default())?;
    let report = run(input, config, out, scorer, &Interrupt::default(), Progress::Hidden)?;
    Ok(report.raster)
}

fn values(path: &Path, name: &str) -> Vec<f32> {
    let band = Band::open_named(path, name).unwrap().unwrap();
    band.read_f32(Window::whole(WIDTH, HEIGHT)).unwrap()
}

/// Areas of the buildings in square metres.
fn areas_m2(scores: &Path, split_wall: f64) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("buildings.gpkg");
    let options = PolygonizeOptions { split_wall, ..PolygonizeOptions::default() };
    let crs = OutputCrs::Auto;
    polygonize::run(scores, &options, &out, crs, false, "scene", Progress::Hidden).unwrap();
    let buildings = read_footprints(&VectorSource::file(&out), grid().crs.as_ref()).unwrap();
    buildings.polygons.iter().map(Area::unsigned_area).collect()
}

fn assert_three_houses(scores: &Path) {
    let areas = areas_m2(scores, 0.5);
    assert_eq!(areas.len(), 3, "{}: {areas:?}", scores.display());
    assert!(areas.iter().all(|area| (area - 9.0 * 12.0).abs() < 3.0), "{areas:?}");
    let one = areas_m2(scores, 0.0);
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(
        (areas.iter().sum::<f64>() - one[0]).abs() < 3.0,
        "no gap where they part: {areas:?} {one:?}"
    );
}

#[test]
fn houses_come_apart_along_the_walls_that_the_model_sees() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path());
    for (kind, step) in [(ScoresType::Float32, 1e-5), (ScoresType::Uint8, 0.51)] {
        let raster =
            infer(&scene, &folder.path().join(format!("{kind:?}")), &config(kind), knowing);
        let raster = raster.unwrap();
        for (band, name) in BANDS.iter().enumerate() {
            let scale = if kind == ScoresType::Uint8 { 254.0 } else { 1.0 };
            for (i, value) in values(&raster, name).into_iter().enumerate() {
                let expected = building_and_wall(terrace(i % WIDTH, i / WIDTH))[band] * scale;
                assert!((value - expected).abs() <= step, "{name} {i}: {value}, not {expected}");
            }
        }
        let copy = folder.path().join(format!("{kind:?}.tif"));
        to_cog(&raster, &copy, "average").unwrap();
        assert_three_houses(&raster);
        assert_three_houses(&copy);
    }
}

#[test]
fn flipped_views_keep_the_bands_apart() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path());
    let config = InferenceConfig { tta: "d4".parse().unwrap(), ..config(ScoresType::Float32) };
    let scorer: Scorer = Box::new(knowing);
    let raster =
        infer(&scene, &folder.path().join("out"), &config, tta::with_views(scorer, &config));
    for (band, name) in BANDS.iter().enumerate() {
        for (i, value) in values(raster.as_ref().unwrap(), name).into_iter().enumerate() {
            let expected = building_and_wall(terrace(i % WIDTH, i / WIDTH))[band];
            assert!((value - expected).abs() < 1e-5, "{name} {i}: {value}, not {expected}");
        }
    }
}

#[test]
fn a_run_that_was_ended_goes_on_in_both_bands() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path());
    let config = config(ScoresType::Float32);
    // Scores that depend on the place in the window: blended, they differ from pixel to pixel.
    let ramp = |batch: &Batch| -> Result<Vec<f32>> {
        let px = batch.window_px * batch.window_px;
        let one = (0..2 * px).map(|i| i as f32 / (2 * px) as f32);
        let one: Vec<f32> = one.collect();
        Ok(one.repeat(batch.positions.len()))
    };
    let whole = infer(&scene, &folder.path().join("whole"), &config, ramp).unwrap();
    let mut batches = 0;
    let ends = |batch: &Batch| {
        batches += 1;
        if batches > 6 {
            return Err(Error::Interrupted { kept: String::new() });
        }
        ramp(batch)
    };
    let out = folder.path().join("again");
    assert!(infer(&scene, &out, &config, ends).is_err());
    let mut left = 0;
    let rest = |batch: &Batch| {
        left += 1;
        ramp(batch)
    };
    let again = infer(&scene, &out, &config, rest).unwrap();
    assert!((1..8).contains(&left), "{left} batches were left");
    for name in BANDS {
        assert_eq!(values(&again, name), values(&whole, name));
    }
}

#[test]
fn a_mean_has_the_walls_of_those_that_know_them() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path());
    let config = config(ScoresType::Float32);
    let knows = infer(&scene, &folder.path().join("knows"), &config, knowing).unwrap();
    // The same buildings, without a word about walls.
    let plain = folder.path().join("plain.tif");
    let mut writer =
        geoseg::scores::ScoresWriter::create(&plain, &grid(), 1, ScoresType::Float32).unwrap();
    writer.write_rows(0, &values(&knows, BANDS[0])).unwrap();
    writer.finish().unwrap();
    assert!(Layer::open_walls(&plain).unwrap().is_none());

    let mean = folder.path().join("mean.tif");
    for files in [[&plain, &knows], [&knows, &plain]] {
        for drop_outlier in [false, true] {
            let parts = files.map(|path| Part { path: path.clone(), weight: 1.0 });
            let (scores, mean_of) = (ScoresType::Float32, Mean::Arithmetic);
            let options = Options { mean: mean_of, drop_outlier, scores, only_where_first: true };
            combine(&parts, options, &mean, &Interrupt::default(), Progress::Hidden).unwrap();
            for name in BANDS {
                assert_eq!(values(&mean, name), values(&knows, name), "{name}");
            }
            assert_three_houses(&mean);
            std::fs::remove_file(&mean).unwrap();
        }
    }
}
