//! The demo's stages give the numbers that they gave before: tiles, losses of first steps, scores, polygons, metrics. Whoever
//! changes operators or stages on purpose replaces tests/golden/pipeline.json by hand, with what this test prints.

use std::path::Path;

use crate::support::program::Place;
use geoseg::tiles::TileSet;
use serde_json::{Value, json};

/// Sides of the grid of mean scores.
const BLOCKS: usize = 8;

fn run(place: &Place, arguments: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let words: Vec<String> =
        arguments.split_whitespace().map(|word| word.replace("ROOT/", root)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = place.run(&[&words[..], &["-q", "--threads", "2"]].concat());
    assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

/// Losses of the steps that a run logged.
fn losses(run: &Path) -> Vec<f64> {
    let text = read(&run.join("metrics.jsonl"));
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = entries.filter(|entry| entry["kind"] == "step");
    steps.map(|entry| entry["loss"].as_f64().unwrap()).collect()
}

/// Mean scores of a grid of blocks.
fn scores(path: &Path) -> Vec<f64> {
    let dataset = gdal::Dataset::open(path).unwrap();
    let (width, height) = dataset.raster_size();
    let band = dataset.rasterband(1).unwrap();
    let size = (width / BLOCKS, height / BLOCKS);
    let mean = |i: usize| {
        let place = ((i % BLOCKS * size.0) as isize, (i / BLOCKS * size.1) as isize);
        let pixels = band.read_as::<f32>(place, size, size, None).unwrap();
        pixels.data().iter().map(|v| f64::from(*v)).sum::<f64>() / pixels.len() as f64
    };
    (0..BLOCKS * BLOCKS).map(mean).collect()
}

fn found() -> Value {
    let place = Place::new();
    run(&place, "tiles --config ROOT/config/demo/dataset.toml -o tiles");
    let tiles = TileSet::open(place.path().join("tiles")).unwrap();
    let train = "train --config ROOT/config/demo/train.toml --tiles tiles --device cpu --set data.batch=2 \
                 --set data.crop_px=96 --set run.recalibrate_batches=4 --set optimizer.ema_decay=0";
    run(&place, &format!("{train} -o learning --set run.steps=6 --set run.validate_every=6"));
    // First weights, with statistics of the tiles: after real steps rounding would decide too much.
    let still = "--set run.steps=1 --set optimizer.learning_rate=1e-12 --set run.validate_every=1";
    run(&place, &format!("{train} -o still {still}"));
    run(
        &place,
        "infer ROOT/data-samples/test.tif --model still/model.safetensors -o buildings.geojson --device cpu \
         --set inference.window_px=128 --set inference.overlap_px=32 --scores scores.tif \
         --set inference.scores=float32 --set polygonize.threshold=0.75 --set polygonize.split_neck=0",
    );
    run(
        &place,
        "eval --predicted buildings.geojson --truth ROOT/data-samples/test.geojson \
         --image ROOT/data-samples/test.tif --json metrics.json",
    );
    let buildings = json_of(&place.path().join("buildings.geojson"));
    let areas = buildings["features"].as_array().unwrap().iter();
    let areas: Vec<f64> = areas.map(|one| one["properties"]["area_m2"].as_f64().unwrap()).collect();
    let metrics = json_of(&place.path().join("metrics.json"));
    json!({
        "tiles": {
            "count": tiles.tiles.len(),
            "buildings": tiles.tiles.iter().map(|tile| tile.building_count).sum::<usize>(),
            "building_fraction": tiles.tiles.iter().map(|tile| tile.building_fraction).sum::<f64>(),
            "band_mean": tiles.info.band_mean,
        },
        "losses": losses(&place.path().join("learning")),
        "scores": scores(&place.path().join("scores.tif")),
        "polygons": { "count": areas.len(), "area_m2": areas.iter().sum::<f64>() },
        "iou": metrics["total"]["pixels"][0]["iou"],
    })
}

/// Every number of `expected` within `tolerance` of its own size (or of 1e-3, if that is larger).
fn compare(place: &str, found: &Value, expected: &Value, tolerance: f64) {
    match expected {
        Value::Object(fields) => {
            for (key, value) in fields {
                compare(&format!("{place}.{key}"), &found[key], value, tolerance);
            }
        }
        Value::Array(values) => {
            assert_eq!(found.as_array().map(Vec::len), Some(values.len()), "{place}");
            for (i, value) in values.iter().enumerate() {
                compare(&format!("{place}[{i}]"), &found[i], value, tolerance);
            }
        }
        _ => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let apart = (found - expected).abs();
            assert!(
                apart <= tolerance * expected.abs().max(1e-3),
                "{place}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn the_pipeline_gives_what_it_gave() {
    let found = found();
    println!("{}", serde_json::to_string_pretty(&found).unwrap());
    let golden = json_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pipeline.json"));
    // Tiles do not round. Optimizer steps divide by small gradients: their noise grows. A score at the threshold may fall
    // to either side.
    for (part, tolerance) in
        [("tiles", 1e-9), ("losses", 5e-3), ("scores", 1e-4), ("polygons", 1e-2), ("iou", 1e-2)]
    {
        assert!(!golden[part].is_null(), "{part} is missing");
        compare(part, &found[part], &golden[part], tolerance);
    }
}
