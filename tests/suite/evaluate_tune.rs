//! The search for the best settings, end to end.

use geo::Rect;
use geoseg::config::infer::InferConfig;
use geoseg::config::polygonize::PolygonizeOptions;
use geoseg::evaluate::tune::{self, Objective, TuneOptions};
use geoseg::evaluate::{EvalOptions, SceneInputs, run};
use geoseg::geo::vector::{LayerWriter, OutputCrs, VectorSource};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};
use geoseg::polygonize;
use geoseg::progress::Progress;

const SIDE: usize = 200;

/// Buildings that score 200 of 254, specks that score 230, and haze of 100 around the buildings.
fn scene(folder: &std::path::Path) -> SceneInputs {
    let grid = Grid {
        width: SIDE,
        height: SIDE,
        transform: GeoTransform([450_000.0, 0.5, 0.0, 9_900_000.0, 0.0, -0.5]),
        crs: Some(Crs::from_epsg(32736).unwrap()),
        gsd_m: Some((0.5, 0.5)),
    };
    let mut scores = vec![10; SIDE * SIDE];
    let mut paint = |col: usize, row: usize, side: usize, score: u8| {
        for r in row..row + side {
            scores[r * SIDE + col..][..side].fill(score);
        }
    };
    let truth = folder.join("truth.gpkg");
    let mut writer = LayerWriter::create(&truth, "roofs", grid.crs.as_ref(), &[]).unwrap();
    for i in 0..16 {
        let (col, row) = (10 + 48 * (i % 4), 10 + 48 * (i / 4));
        paint(col - 3, row - 3, 26, 100);
        paint(col, row, 20, 200);
        paint(col + 30, row + 30, 3, 230);
        let corner = |c: usize, r: usize| grid.transform.apply(c as f64, r as f64);
        let roof = Rect::new(corner(col, row), corner(col + 20, row + 20)).to_polygon();
        writer.push(&roof.into(), &[]).unwrap();
    }
    writer.finish().unwrap();
    let path = folder.join("scores.tif");
    write_geotiff(&path, &grid, 1, &scores, Some(255.0), Compression::Deflate).unwrap();
    SceneInputs {
        name: "town".into(),
        truth: VectorSource::file(truth),
        scores: Some(path),
        ..SceneInputs::default()
    }
}

#[test]
fn the_winner_beats_haze_and_specks_and_the_pipeline_scores_what_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let inputs = scene(folder.path());
    std::fs::write(at("infer.toml"), "# mine\n[polygonize]\nthreshold = 0.1 # too low\n").unwrap();
    for objective in [Objective::PixelIou, Objective::BuildingF1] {
        let options = TuneOptions {
            scenes: vec![inputs.clone()],
            objective,
            thresholds: vec![0.2, 0.35, 0.5, 0.65, 0.9],
            min_areas_m2: vec![0.0, 4.0, 400.0],
            openings_m: vec![0.0],
            closings_m: vec![0.0, 1.0],
            config: Some(at("infer.toml")),
            chart: Some(at("tune.png")),
            json: Some(at("tune.json")),
            overwrite: true,
            ..TuneOptions::default()
        };
        let report = tune::run(&options, Progress::Hidden).unwrap();
        assert_eq!(report.trials.len(), 5 * 3 * 2);
        let best = report.best;
        assert_eq!((best.settings.threshold, best.settings.min_area_m2), (0.5, 4.0));
        assert_eq!((best.settings.opening_m, best.settings.closing_m), (0.0, 0.0));
        assert_eq!((best.pixels.iou, best.buildings.f1), (1.0, 1.0));
        assert!(report.table().contains("0.50"));
        assert!(at("tune.png").is_file() && at("tune.json").is_file());

        // Every trial's numbers are those of polygonize and eval.
        for trial in report.trials.iter().step_by(7) {
            let settings = PolygonizeOptions {
                threshold: trial.settings.threshold,
                min_area_m2: trial.settings.min_area_m2,
                opening_m: trial.settings.opening_m,
                closing_m: trial.settings.closing_m,
                ..PolygonizeOptions::default()
            };
            let found = at("found.gpkg");
            let scores = inputs.scores.clone().unwrap();
            polygonize::run(
                &scores,
                &settings,
                &found,
                OutputCrs::Auto,
                true,
                "town",
                Progress::Hidden,
            )
            .unwrap();
            let scenes =
                vec![SceneInputs { predicted: Some(VectorSource::file(found)), ..inputs.clone() }];
            let options = EvalOptions { scenes, ..EvalOptions::default() };
            let report = run(&options, Progress::Hidden).unwrap();
            let (pixels, buildings) =
                (report.total.pixels[0].scores, report.total.buildings.unwrap());
            assert_eq!(buildings, trial.buildings, "{:?}", trial.settings);
            assert_eq!(
                (pixels.true_positive, pixels.false_positive, pixels.false_negative),
                (
                    trial.pixels.true_positive,
                    trial.pixels.false_positive,
                    trial.pixels.false_negative
                ),
                "{:?}",
                trial.settings
            );
        }
    }
    let text = std::fs::read_to_string(at("infer.toml")).unwrap();
    assert!(text.contains("# mine") && text.contains("threshold = 0.5 # too low"), "{text}");
    let config: InferConfig = toml::from_str(&text).unwrap();
    assert_eq!((config.polygonize.threshold, config.polygonize.min_area_m2), (0.5, 4.0));
    config.validate().unwrap();
}

#[test]
fn masks_are_tried_as_they_are_polygonized_and_only_where_the_scene_has_data() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut inputs = scene(folder.path());
    let open = |name: &str| geoseg::geo::Band::open(at(name)).unwrap();
    let band = open("scores.tif");
    let scores = band.read_u8(geoseg::geo::Window::whole(SIDE, SIDE)).unwrap();
    let mask: Vec<u8> = scores.iter().map(|score| u8::from(*score >= 200)).collect();
    write_geotiff(&at("mask.tif"), band.grid(), 1, &mask, None, Compression::Deflate).unwrap();
    inputs.scores = Some(at("mask.tif"));
    // Data in the left half alone.
    let pixels: Vec<u8> =
        (0..3 * SIDE * SIDE).map(|i| if i % SIDE < SIDE / 2 { 90 } else { 0 }).collect();
    let image = at("scene.tif");
    write_geotiff(&image, band.grid(), 3, &pixels, Some(0.0), Compression::Deflate).unwrap();
    for image in [None, Some(image)] {
        let inputs = SceneInputs { scene: image, ..inputs.clone() };
        let options = TuneOptions {
            scenes: vec![inputs.clone()],
            thresholds: vec![0.5],
            min_areas_m2: vec![0.0],
            openings_m: vec![0.0],
            closings_m: vec![0.0],
            ..TuneOptions::default()
        };
        let tried = tune::run(&options, Progress::Hidden).unwrap().best;
        let settings = PolygonizeOptions { min_area_m2: 0.0, ..PolygonizeOptions::default() };
        let found = at("found.gpkg");
        let (auto, shown) = (OutputCrs::Auto, Progress::Hidden);
        polygonize::run(&at("mask.tif"), &settings, &found, auto, true, "t", shown).unwrap();
        let predicted = Some(VectorSource::file(found));
        let scenes = vec![SceneInputs { predicted, scores: None, ..inputs.clone() }];
        let judged =
            run(&EvalOptions { scenes, ..EvalOptions::default() }, Progress::Hidden).unwrap();
        assert_eq!(judged.total.buildings.unwrap(), tried.buildings);
        let houses = if inputs.scene.is_some() { 8 } else { 16 };
        assert_eq!(tried.buildings.true_positive + tried.buildings.false_negative, houses);
    }
}

#[test]
fn scenes_without_scores_and_values_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = scene(folder.path());
    let problem =
        |options: TuneOptions| tune::run(&options, Progress::Hidden).unwrap_err().to_string();
    let without = SceneInputs { scores: None, ..inputs.clone() };
    let options = TuneOptions { scenes: vec![without], ..TuneOptions::default() };
    assert!(problem(options).contains("town"));
    let options =
        TuneOptions { scenes: vec![inputs], thresholds: vec![f64::NAN], ..TuneOptions::default() };
    assert!(problem(options).contains("thresholds"));
}
