//! Rasters of every awkward kind through infer and polygonize, with a stand-in for the network: no
//! panic, and either whole results or one error that names the file.

use std::path::Path;

use crate::support::shared::awkward_files;
use geoseg::Result;
use geoseg::config::PolygonizeOptions;
use geoseg::config::infer::{InferConfig, InferenceConfig};
use geoseg::geo::vector::OutputCrs;
use geoseg::geo::{Scene, SceneOptions};
use geoseg::infer::{Batch, Input, Region, run};
use geoseg::interrupt::Interrupt;
use geoseg::model::ModelSpec;
use geoseg::output::Staged;
use geoseg::polygonize;
use geoseg::progress::Progress;
use rayon::prelude::*;

/// Larger scenes are read at a coarser resolution, to keep the test short.
const MOST_PX: usize = 1_000_000;

/// Bright is building: some shapes, whatever the scene.
#[expect(clippy::unnecessary_wraps, reason = "a scorer may fail")]
fn bright(batch: &Batch) -> Result<Vec<f32>> {
    let plane = batch.window_px * batch.window_px;
    let windows = batch.pixels.chunks(plane * batch.bands);
    Ok(windows.flat_map(|window| window[..plane].iter().map(|p| p.clamp(0.0, 1.0))).collect())
}

fn infer(scene: &Path, value_range: Option<[f64; 2]>, out: &Path) -> Result<u64> {
    let opened = Scene::open(scene)?;
    let grid = opened.grid();
    let shrink = ((grid.width * grid.height) as f64 / MOST_PX as f64).sqrt().max(1.0);
    let spec = ModelSpec {
        bands: (0..opened.bands()).map(|band| format!("band{band}")).collect(),
        mean: vec![0.0; opened.bands()],
        std: vec![1.0; opened.bands()],
        ..ModelSpec::default()
    };
    let config = InferConfig {
        input: SceneOptions { value_range, ..SceneOptions::default() },
        inference: InferenceConfig {
            window_px: 256,
            overlap_px: 64,
            gsd_m: grid.mean_gsd_m().map(|gsd_m| gsd_m * shrink),
            ..InferenceConfig::default()
        },
        polygonize: PolygonizeOptions { min_area_m2: 0.0, ..PolygonizeOptions::default() },
        ..InferConfig::default()
    };
    let input = Input::open(scene, &spec, &config, &Region::default())?;
    let scores = Staged::new(out.join("scores"), false)?;
    let interrupt = Interrupt::default();
    let report =
        run(input, &config.inference, scores.path(), bright, &interrupt, Progress::Hidden)?;
    let buildings = out.join("buildings.geojson");
    let options = &config.polygonize;
    let report = polygonize::run(
        &report.raster,
        options,
        &buildings,
        OutputCrs::Auto,
        false,
        "scene",
        Progress::Hidden,
    )?;
    Ok(report.buildings)
}

#[test]
fn every_raster_gives_whole_results_or_one_error_that_names_it() {
    let files = awkward_files();
    let results = files.par_iter().map(|scene| {
        let name = scene.file_name().unwrap().to_string_lossy().into_owned();
        let mut lines = Vec::new();
        for value_range in [None, Some([0.0, 4000.0])] {
            let folder = tempfile::tempdir().unwrap();
            match infer(scene, value_range, folder.path()) {
                Ok(buildings) => {
                    let text = folder.path().join("buildings.geojson");
                    let text = std::fs::read_to_string(text).unwrap();
                    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(json["features"].as_array().unwrap().len() as u64, buildings);
                    lines.push(format!("{name}: {buildings} buildings"));
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains(&name), "{name}: {message}");
                    let left = std::fs::read_dir(folder.path()).unwrap().count();
                    assert_eq!(left, 0, "{name} left files behind");
                    lines.push(message);
                }
            }
        }
        lines
    });
    for line in results.collect::<Vec<_>>().into_iter().flatten() {
        eprintln!("{line}");
    }
}
