//! `evaluate::run` on files: scenes, vectors, scores and masks whose metrics are known by hand.

use std::path::{Path, PathBuf};

use geo::{Geometry, Rect};
use geoseg::evaluate::{EvalOptions, EvalReport, SceneInputs, Source, run};
use geoseg::geo::vector::{LayerWriter, VectorSource};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};
use geoseg::progress::Progress;

/// Upper left corner of the test scene, metres in UTM 36S.
const ORIGIN: (f64, f64) = (450_000.0, 9_900_000.0);

/// A scene of `width` x `height` pixels of half a metre.
fn grid(width: usize, height: usize) -> Grid {
    Grid {
        width,
        height,
        transform: GeoTransform([ORIGIN.0, 0.5, 0.0, ORIGIN.1, 0.0, -0.5]),
        crs: Some(Crs::from_epsg(32736).unwrap()),
        gsd_m: Some((0.5, 0.5)),
    }
}

/// A rectangle `[col, row, columns, rows]` in pixels of the scene, in the world.
fn building([col, row, columns, rows]: [f64; 4]) -> Geometry<f64> {
    let corner = |c: f64, r: f64| (ORIGIN.0 + c * 0.5, ORIGIN.1 - r * 0.5);
    Rect::new(corner(col, row), corner(col + columns, row + rows)).to_polygon().into()
}

fn write_vectors(path: &Path, buildings: &[[f64; 4]]) -> VectorSource {
    let crs = Crs::from_epsg(32736).unwrap();
    let mut writer = LayerWriter::create(path, "buildings", Some(&crs), &[]).unwrap();
    for &b in buildings {
        writer.push(&building(b), &[]).unwrap();
    }
    writer.finish().unwrap();
    VectorSource::file(path)
}

fn write_raster(path: &Path, values: &[u8], nodata: Option<f64>) -> PathBuf {
    write_geotiff(path, &grid(100, 100), 1, values, nodata, Compression::Deflate).unwrap();
    path.to_owned()
}

/// A raster of 100 x 100 with `inside` in the rectangles and `outside` elsewhere.
fn painted(rectangles: &[[usize; 4]], inside: u8, outside: u8) -> Vec<u8> {
    let mut values = vec![outside; 100 * 100];
    for &[col, row, columns, rows] in rectangles {
        for r in row..row + rows {
            values[r * 100 + col..][..columns].fill(inside);
        }
    }
    values
}

fn evaluate(inputs: SceneInputs) -> EvalReport {
    let options =
        EvalOptions { scenes: vec![inputs], all_touched: false, ..EvalOptions::default() };
    run(&options, Progress::Hidden).unwrap()
}

const TRUTH: [[f64; 4]; 3] =
    [[10.0, 10.0, 20.0, 20.0], [50.0, 10.0, 20.0, 20.0], [10.0, 60.0, 20.0, 20.0]];

#[test]
fn truth_and_predictions_are_not_replaced_by_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let truth = write_vectors(&folder.path().join("truth.gpkg"), &[[10.0, 10.0, 20.0, 20.0]]);
    let before = std::fs::read(&truth.path).unwrap();
    let inputs = SceneInputs {
        truth: truth.clone(),
        predicted: Some(truth.clone()),
        ..SceneInputs::default()
    };
    let options = EvalOptions {
        scenes: vec![inputs],
        json: Some(truth.path.clone()),
        overwrite: true,
        ..EvalOptions::default()
    };
    let error = run(&options, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("an output beside the inputs"), "{error}");
    assert!(std::fs::read(&truth.path).unwrap() == before);
}

#[test]
fn degrees_are_not_compared_with_coordinates_of_nobody_knows_where() {
    let folder = tempfile::tempdir().unwrap();
    let without = folder.path().join("truth.gpkg");
    let mut writer = LayerWriter::create(&without, "buildings", None, &[]).unwrap();
    writer.push(&building([10.0, 10.0, 20.0, 20.0]), &[]).unwrap();
    writer.finish().unwrap();
    let with = write_vectors(&folder.path().join("found.gpkg"), &[[10.0, 10.0, 20.0, 20.0]]);
    let judged = |truth: VectorSource, predicted: VectorSource| {
        let inputs = SceneInputs { truth, predicted: Some(predicted), ..SceneInputs::default() };
        run(&EvalOptions { scenes: vec![inputs], ..EvalOptions::default() }, Progress::Hidden)
    };
    let source = VectorSource::file(&without);
    for outcome in [judged(source.clone(), with.clone()), judged(with, source)] {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("ogr2ogr -a_srs"), "{error}");
    }
}

#[test]
fn vectors_scores_and_mask_of_one_scene_give_the_metrics_counted_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The first is exact, the second shifted by four columns (IoU 320/480), the third missed.
    let found = [[10.0, 10.0, 20.0, 20.0], [54.0, 10.0, 20.0, 20.0]];
    let cells = [[10, 10, 20, 20], [54, 10, 20, 20]];
    let report = evaluate(SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &TRUTH),
        predicted: Some(write_vectors(&at("found.gpkg"), &found)),
        scores: Some(write_raster(&at("scores.tif"), &painted(&cells, 127, 126), Some(255.0))),
        mask: Some(write_raster(&at("mask.tif"), &painted(&cells, 2, 3), None)),
        ..SceneInputs::default()
    });
    assert_eq!(report.scenes.len(), 1);
    let kinds: Vec<Source> = report.total.pixels.iter().map(|p| p.source).collect();
    assert_eq!(kinds, [Source::Vectors, Source::Scores, Source::Mask]);
    for pixels in &report.total.pixels {
        let s = pixels.scores;
        let counts = (s.true_positive, s.false_positive, s.false_negative, s.true_negative);
        assert_eq!(counts, (720, 80, 480, 8720), "{:?}", pixels.source);
        assert!((s.iou - 720.0 / 1280.0).abs() < 1e-12 && s.f1 == s.dice);
    }
    let b = report.total.buildings.unwrap();
    assert_eq!((b.true_positive, b.false_positive, b.false_negative), (2, 0, 1));
    // Half of the corners of the shifted one are 2 m off, seen from either side, none of the exact one.
    let polis = report.total.polis_m.unwrap();
    assert!((polis - 0.5).abs() < 1e-3, "{polis}");
}

#[test]
fn truth_against_itself_is_perfect_however_truth_is_rasterized() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Outlines that pass through pixels.
    let truth = [[10.3, 10.7, 20.1, 20.6], [50.5, 10.5, 19.9, 7.3]];
    let inputs = SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &truth),
        predicted: Some(write_vectors(&at("found.gpkg"), &truth)),
        scene: Some(write_raster(&at("scene.tif"), &[90; 10_000], None)),
        ..SceneInputs::default()
    };
    for all_touched in [true, false] {
        let scenes = vec![inputs.clone()];
        let options = EvalOptions { scenes, all_touched, ..EvalOptions::default() };
        let report = run(&options, Progress::Hidden).unwrap();
        assert_eq!((report.pixel_iou(), report.building_f1()), (Some(1.0), Some(1.0)));
        assert!(report.total.polis_m.unwrap() < 1e-6);
    }
}

#[test]
fn vectors_alone_give_the_same_building_metrics_in_any_crs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let found = [[10.0, 10.0, 20.0, 20.0], [54.0, 10.0, 20.0, 20.0], [90.0, 90.0, 5.0, 5.0]];
    for name in ["found.gpkg", "found.geojson"] {
        let report = evaluate(SceneInputs {
            name: "town".into(),
            // GeoJSON is in degrees: the made grid is, too.
            truth: write_vectors(&at(&name.replace("found", "truth")), &TRUTH),
            predicted: Some(write_vectors(&at(name), &found)),
            ..SceneInputs::default()
        });
        let b = report.total.buildings.unwrap();
        assert_eq!((b.true_positive, b.false_positive, b.false_negative), (2, 1, 1), "{name}");
        let iou = report.pixel_iou().unwrap();
        let exact = 720.0 / (1280.0 + 25.0);
        assert!((iou - exact).abs() < 0.01, "{name}: {iou} against {exact}");
    }
}

#[test]
fn nothing_outside_the_area_of_interest_or_on_nodata_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The lower third has no data: the third building lies there.
    let mut scene = vec![90; 100 * 100];
    scene[67 * 100..].fill(0);
    let inputs = SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &TRUTH),
        predicted: Some(write_vectors(&at("found.gpkg"), &TRUTH[..1])),
        scene: Some(write_raster(&at("scene.tif"), &scene, Some(0.0))),
        ..SceneInputs::default()
    };
    let b = evaluate(inputs.clone()).total.buildings.unwrap();
    assert_eq!((b.true_positive, b.false_positive, b.false_negative), (1, 0, 1));
    // The left half: the second building lies outside.
    let aoi = Some(write_vectors(&at("aoi.gpkg"), &[[0.0, 0.0, 45.0, 100.0]]));
    let report = evaluate(SceneInputs { aoi, ..inputs });
    assert_eq!(report.building_f1(), Some(1.0));
    let s = report.total.pixels[0].scores;
    let counts = (s.true_positive, s.false_positive, s.false_negative, s.true_negative);
    assert_eq!(counts, (400, 0, 140, 45 * 67 - 540));
}

#[test]
fn scores_that_skipped_valid_pixels_do_not_gain_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let scores = painted(&[[10, 10, 20, 20]], 254, 255);
    let inputs = SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &TRUTH),
        scores: Some(write_raster(&at("scores.tif"), &scores, Some(255.0))),
        ..SceneInputs::default()
    };
    assert_eq!(evaluate(inputs.clone()).pixel_iou(), Some(1.0));
    let scene = Some(write_raster(&at("scene.tif"), &[90; 10_000], None));
    let with_scene = evaluate(SceneInputs { scene, ..inputs });
    assert!((with_scene.pixel_iou().unwrap() - 400.0 / 1200.0).abs() < 1e-12);
}

#[test]
fn a_large_place_is_counted_in_strips_as_if_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // 0.3 m pixels over 900 m: several strips. One building crosses many of their borders.
    let truth = [[0.0, 0.0, 10.0, 1800.0], [1790.0, 0.0, 10.0, 10.0]];
    let report = evaluate(SceneInputs {
        name: "long".into(),
        truth: write_vectors(&at("truth.gpkg"), &truth),
        predicted: Some(write_vectors(&at("found.gpkg"), &truth[..1])),
        ..SceneInputs::default()
    });
    let s = report.total.pixels[0].scores;
    // A metre of the map is not quite one on the ground, so rows are not exactly 3000.
    let rows = s.true_positive / 17;
    assert!(s.true_positive.is_multiple_of(17) && (2999..=3003).contains(&rows), "{rows} rows");
    assert!(s.false_positive == 0 && (17 * 16..=17 * 18).contains(&s.false_negative), "{s:?}");
}

#[test]
fn the_report_and_an_overlay_are_written_and_never_silently_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let inputs = SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &TRUTH),
        predicted: Some(write_vectors(&at("found.gpkg"), &TRUTH)),
        scene: Some(write_raster(&at("scene.tif"), &[90; 10_000], None)),
        ..SceneInputs::default()
    };
    let options = EvalOptions {
        scenes: vec![inputs],
        json: Some(at("report.json")),
        overlay: Some(at("overlay.png")),
        ..EvalOptions::default()
    };
    run(&options, Progress::Hidden).unwrap();
    assert!(at("report.json").is_file());
    assert_eq!(image::image_dimensions(at("overlay.png")).unwrap(), (100, 100));
    assert!(run(&options, Progress::Hidden).unwrap_err().to_string().contains("--overwrite"));
    run(&EvalOptions { overwrite: true, ..options }, Progress::Hidden).unwrap();
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let far = [[50_000.0, 0.0, 10.0, 10.0]];
    let inputs = SceneInputs {
        name: "town".into(),
        truth: write_vectors(&at("truth.gpkg"), &far),
        predicted: Some(write_vectors(&at("found.gpkg"), &TRUTH)),
        scene: Some(write_raster(&at("scene.tif"), &[90; 10_000], None)),
        ..SceneInputs::default()
    };
    let problem = |inputs: SceneInputs| {
        let options = EvalOptions { scenes: vec![inputs], ..EvalOptions::default() };
        run(&options, Progress::Hidden).unwrap_err().to_string()
    };
    assert!(problem(inputs.clone()).contains("truth.gpkg"));
    let missing =
        SceneInputs { predicted: Some(VectorSource::file(at("no.gpkg"))), ..inputs.clone() };
    assert!(problem(missing).contains("no.gpkg"));
    let without = SceneInputs { predicted: None, ..inputs };
    assert!(problem(without).contains("town"));
    assert!(run(&EvalOptions::default(), Progress::Hidden).is_err());
}
