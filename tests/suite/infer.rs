//! The sliding window over whole scenes, with stand-ins for the network whose answer is known.

use std::path::{Path, PathBuf};

use geoseg::config::infer::{InferConfig, InferenceConfig, ScoresType};
use geoseg::geo::{
    Band, Compression, Crs, GeoTransform, Grid, Reprojection, Window, write_geotiff,
};
use geoseg::infer::{Batch, Input, Region, Report, run};
use geoseg::interrupt::Interrupt;
use geoseg::model::ModelSpec;
use geoseg::progress::Progress;
use geoseg::{Error, Result};

/// A one-band model that leaves values as they are: the score of a pixel can be its own value.
fn spec() -> ModelSpec {
    ModelSpec {
        bands: vec!["grey".into()],
        mean: vec![0.0],
        std: vec![1.0],
        gsd_m: 0.3,
        ..ModelSpec::default()
    }
}

fn scene(
    folder: &Path,
    width: usize,
    height: usize,
    value: impl Fn(usize, usize) -> u8,
) -> PathBuf {
    let path = folder.join("scene.tif");
    let grid = Grid {
        width,
        height,
        transform: GeoTransform([500_000.0, 0.3, 0.0, 3_000_000.0, 0.0, -0.3]),
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: None,
    };
    let data: Vec<u8> = (0..width * height).map(|i| value(i % width, i / width)).collect();
    write_geotiff(&path, &grid, 1, &data, Some(255.0), Compression::Deflate).unwrap();
    path
}

fn config(window_px: usize, overlap_px: usize, batch: usize) -> InferConfig {
    InferConfig {
        inference: InferenceConfig {
            window_px,
            overlap_px,
            batch,
            scores: ScoresType::Float32,
            ..InferenceConfig::default()
        },
        ..InferConfig::default()
    }
}

fn noise(col: usize, row: usize) -> u8 {
    ((col * 2_654_435_761 + row * 40_503 + (col * row) % 91) % 251) as u8
}

#[expect(clippy::unnecessary_wraps, reason = "a scorer may fail")]
fn identity(batch: &Batch) -> Result<Vec<f32>> {
    Ok(batch.pixels.clone())
}

fn score(
    scene: &Path,
    config: &InferConfig,
    region: &Region,
    scorer: impl FnMut(&Batch) -> Result<Vec<f32>>,
) -> Result<(Report, Grid, Vec<f32>)> {
    let out = tempfile::tempdir().unwrap();
    let input = Input::open(scene, &spec(), config, region)?;
    let interrupt = Interrupt::default();
    let report = run(input, &config.inference, out.path(), scorer, &interrupt, Progress::Hidden)?;
    let band = Band::open(&report.raster).unwrap();
    let grid = band.grid().clone();
    let values = band.read_f32(Window::whole(grid.width, grid.height)).unwrap();
    Ok((report, grid, values))
}

#[test]
fn blending_gives_back_what_every_window_agrees_on() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(97, 61), (31, 200), (5, 3), (64, 64), (150, 149)] {
        let path = scene(folder.path(), width, height, noise);
        for (window, overlap, batch) in [(32, 8, 1), (32, 0, 3), (64, 32, 2), (96, 72, 4)] {
            let (report, _, values) =
                score(&path, &config(window, overlap, batch), &Region::default(), identity)
                    .unwrap();
            assert_eq!(report.scored_pixels as usize, width * height);
            for (i, value) in values.iter().enumerate() {
                let expected = f32::from(noise(i % width, i / width)) / 255.0;
                assert!(
                    (value - expected).abs() < 1e-5,
                    "{width}x{height}, window {window}: pixel {i} is {value}, not {expected}"
                );
            }
        }
    }
}

/// Scores that depend on the position inside the window: blended, they differ from window to window.
#[expect(clippy::unnecessary_wraps, reason = "a scorer may fail")]
fn ramp(batch: &Batch) -> Result<Vec<f32>> {
    let side = batch.window_px;
    let window = (0..side * side).map(|i| ((i % side) + 2 * (i / side)) as f32 / (3 * side) as f32);
    Ok(std::iter::repeat_n(window.collect::<Vec<_>>(), batch.positions.len()).flatten().collect())
}

#[test]
fn the_blend_is_the_weighted_mean_of_the_windows_over_a_pixel() {
    let folder = tempfile::tempdir().unwrap();
    let (width, height, side, overlap) = (83, 70, 32, 12);
    let path = scene(folder.path(), width, height, noise);
    let (_, _, values) = score(&path, &config(side, overlap, 2), &Region::default(), ramp).unwrap();
    let axis = |len| geoseg::infer::plan::Axis::new(len, 0, len, side, overlap);
    let hann = |i: isize| (std::f64::consts::PI * (i as f64 + 0.5) / side as f64).sin().powi(2);
    for row in 0..height as isize {
        for col in 0..width as isize {
            let (mut sum, mut weights) = (0.0, 0.0);
            for top in axis(height).starts {
                for left in axis(width).starts {
                    let (c, r) = (col - left, row - top);
                    if (0..side as isize).contains(&c) && (0..side as isize).contains(&r) {
                        let weight = hann(c) * hann(r);
                        sum += weight * (c + 2 * r) as f64 / (3 * side) as f64;
                        weights += weight;
                    }
                }
            }
            let found = f64::from(values[row as usize * width + col as usize]);
            assert!(
                (found - sum / weights).abs() < 1e-5,
                "({col}, {row}): {found} {}",
                sum / weights
            );
        }
    }
}

#[test]
fn the_batch_size_does_not_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 200, 120, noise);
    let mut seen = Vec::new();
    for batch in [1, 2, 7] {
        let mut config = config(64, 16, batch);
        config.inference.scores = ScoresType::Uint8;
        seen.push(score(&path, &config, &Region::default(), ramp).unwrap().2);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
}

#[test]
fn nodata_is_never_scored_and_windows_without_data_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let hole = |col: usize, row: usize| if col < 150 || row < 20 { 255 } else { noise(col, row) };
    let path = scene(folder.path(), 300, 100, hole);
    let (report, _, values) = score(&path, &config(32, 8, 2), &Region::default(), |batch| {
        Ok(vec![0.7; batch.pixels.len()])
    })
    .unwrap();
    assert!(report.skipped_windows > 10, "{report:?}");
    for (i, value) in values.iter().enumerate() {
        let nodata = hole(i % 300, i / 300) == 255;
        assert!(
            if nodata { value.is_nan() } else { (value - 0.7).abs() < 1e-5 },
            "pixel {i}: {value}"
        );
    }
}

#[test]
fn gaps_that_the_scene_does_not_declare_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let gap = |col: usize, row: usize| if col < 150 { 0 } else { noise(col, row).max(1) };
    let path = scene(folder.path(), 300, 100, gap);
    let (report, _, _) = score(&path, &config(32, 8, 2), &Region::default(), identity).unwrap();
    assert!(report.black_pixels == 150 * 100 && report.skipped_windows == 0, "{report:?}");
    let mut declared = config(32, 8, 2);
    declared.input.nodata = Some(0.0);
    let (report, _, _) = score(&path, &declared, &Region::default(), identity).unwrap();
    assert!(report.skipped_windows > 10 && report.black_pixels == 0, "{report:?}");
}

#[test]
fn a_box_scores_its_part_exactly_as_the_whole_scene_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 400, 300, noise);
    let utm = Crs::from_epsg(32645).unwrap();
    let way = Reprojection::new(&utm, &Crs::wgs84().unwrap()).unwrap();
    let (west, north) = way.point(500_000.0 + 30.0, 3_000_000.0 - 15.0).unwrap();
    let (east, south) = way.point(500_000.0 + 75.0, 3_000_000.0 - 60.0).unwrap();
    let region = Region { bbox: Some([west, south, east, north]), aoi: None };
    let (_, grid, values) = score(&path, &config(64, 16, 2), &region, identity).unwrap();
    assert!((150..=152).contains(&grid.width) && (150..=152).contains(&grid.height), "{grid:?}");
    let col0 = ((grid.transform.0[0] - 500_000.0) / 0.3).round() as usize;
    let row0 = ((3_000_000.0 - grid.transform.0[3]) / 0.3).round() as usize;
    for (i, value) in values.iter().enumerate() {
        let expected = f32::from(noise(col0 + i % grid.width, row0 + i / grid.width)) / 255.0;
        assert!((value - expected).abs() < 1e-5);
    }
    for wide in [
        [-180.0, -90.0, 180.0, 90.0],
        [0.0, 0.0, 180.0, 90.0],
        [-90.0, 0.0, 180.0, 90.0],
        [-290.0, 20.0, -200.0, 30.0],
    ] {
        let region = Region { bbox: Some(wide), aoi: None };
        let (_, grid, _) = score(&path, &config(64, 16, 2), &region, identity).unwrap();
        assert_eq!((grid.width, grid.height), (400, 300), "{wide:?}");
    }
    let elsewhere = Region { bbox: Some([10.0, 10.0, 11.0, 11.0]), aoi: None };
    let error = score(&path, &config(64, 16, 2), &elsewhere, identity).unwrap_err().to_string();
    assert!(error.contains("no overlap"), "{error}");
}

#[test]
fn an_area_of_interest_leaves_the_rest_nodata() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 200, 200, noise);
    let aoi = folder.path().join("aoi.geojson");
    let way = Reprojection::new(&Crs::from_epsg(32645).unwrap(), &Crs::wgs84().unwrap()).unwrap();
    let corners: Vec<String> = [(40, 40), (160, 40), (40, 160), (40, 40)]
        .iter()
        .map(|(c, r)| {
            let (lon, lat) = way
                .point(500_000.0 + 0.3 * f64::from(*c), 3_000_000.0 - 0.3 * f64::from(*r))
                .unwrap();
            format!("[{lon:.9},{lat:.9}]")
        })
        .collect();
    let text = format!(
        r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{}},"geometry":{{"type":"Polygon","coordinates":[[{}]]}}}}]}}"#,
        corners.join(",")
    );
    std::fs::write(&aoi, text).unwrap();
    let region = Region { bbox: None, aoi: Some(aoi) };
    let (report, grid, values) = score(&path, &config(64, 16, 2), &region, identity).unwrap();
    assert!(grid.width <= 122 && grid.height <= 122);
    let half = report.scored_pixels as f64 / (120.0 * 120.0);
    assert!((half - 0.5).abs() < 0.02, "{half}");
    assert_eq!(values.iter().filter(|v| !v.is_nan()).count() as u64, report.scored_pixels);
}

#[test]
fn a_scene_at_another_resolution_is_resampled() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 200, 100, |_, _| 100);
    let mut config = config(64, 16, 2);
    config.inference.gsd_m = Some(0.6);
    let (report, grid, values) = score(&path, &config, &Region::default(), identity).unwrap();
    assert_eq!((grid.width, grid.height), (100, 50));
    assert!((report.gsd_m.unwrap().0 - 0.6).abs() < 0.01);
    assert!(values.iter().all(|v| (v - 100.0 / 255.0).abs() < 1e-4));
}

#[test]
fn an_all_nodata_scene_and_a_failing_network_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 90, 90, |_, _| 255);
    let error = score(&path, &config(32, 8, 2), &Region::default(), identity).unwrap_err();
    assert!(error.to_string().contains("nodata only"), "{error}");
    let path = scene(folder.path(), 90, 90, noise);
    let mut calls = 0;
    let error = score(&path, &config(32, 8, 1), &Region::default(), |batch| {
        calls += 1;
        if calls > 3 { Err(Error::config("stub", "broke")) } else { identity(batch) }
    })
    .unwrap_err();
    assert!(error.to_string().contains("broke"), "{error}");
}

#[test]
fn a_run_that_broke_off_anywhere_goes_on_to_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 150, 260, noise);
    let values = |report: &Report| {
        let band = Band::open(&report.raster).unwrap();
        band.read_f32(Window::whole(band.grid().width, band.grid().height)).unwrap()
    };
    // A network that has an opinion of every pixel's place in its window.
    let opinion = |batch: &Batch| -> Vec<f32> {
        let of = |(i, value): (usize, &f32)| (value + (i % 997) as f32 / 997.0) / 2.0;
        batch.pixels.iter().enumerate().map(of).collect()
    };
    for (window, overlap, batch) in [(32, 8, 3), (64, 48, 2), (48, 0, 1)] {
        let config = config(window, overlap, batch);
        let run_in = |out: &Path, most: usize| {
            let input = Input::open(&path, &spec(), &config, &Region::default()).unwrap();
            let mut calls = 0;
            let scorer = |batch: &Batch| {
                calls += 1;
                if calls > most { Err(Error::config("stub", "broke")) } else { Ok(opinion(batch)) }
            };
            run(input, &config.inference, out, scorer, &Interrupt::default(), Progress::Hidden)
        };
        let whole = tempfile::tempdir().unwrap();
        let unbroken = run_in(whole.path(), usize::MAX).unwrap();
        let expected = values(&unbroken);
        for most in [1, 7, 12, 20] {
            let broken = tempfile::tempdir().unwrap();
            assert!(run_in(broken.path(), most).is_err());
            // What a killed run was writing counts for nothing.
            std::fs::write(broken.path().join("rows_000000099.tif"), "cut short").unwrap();
            let _may_end = run_in(broken.path(), most / 2);
            let report = run_in(broken.path(), usize::MAX).unwrap();
            assert!(report.windows <= unbroken.windows);
            assert_eq!(report.scored_pixels, unbroken.scored_pixels);
            assert!(values(&report).iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
            let again = run_in(broken.path(), 0).unwrap();
            assert_eq!((again.windows, again.scored_pixels), (0, unbroken.scored_pixels));
        }
    }
}

#[test]
fn an_interrupt_ends_the_run_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 300, 300, noise);
    let interrupt = Interrupt::default();
    let config = config(32, 8, 1);
    let input = Input::open(&path, &spec(), &config, &Region::default()).unwrap();
    let out = folder.path().join("scores");
    let raise = interrupt.clone();
    let outcome = run(
        input,
        &config.inference,
        &out,
        move |batch| {
            raise.raise();
            identity(batch)
        },
        &interrupt,
        Progress::Hidden,
    );
    assert!(matches!(outcome, Err(Error::Interrupted { .. })));
}

#[test]
fn a_scene_with_other_bands_or_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = scene(folder.path(), 90, 90, noise);
    let rgb = ModelSpec::default();
    let error =
        Input::open(&path, &rgb, &InferConfig::default(), &Region::default()).err().unwrap();
    assert!(error.to_string().contains("3 bands"), "{error}");
}
