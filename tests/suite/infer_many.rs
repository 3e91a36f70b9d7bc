//! A scene seen in several views and by several models: numbers of PyTorch, ensembles, soft labels, averaged weights.

use std::path::Path;

use crate::support::program::Place;
use crate::support::reference::{gap, read, reference};
use crate::support::untrained;
use burn::backend::{Flex, flex::FlexDevice};
use geoseg::config::ensemble::Mean;
use geoseg::config::infer::InferenceConfig;
use geoseg::config::tta::Symmetry;
use geoseg::geo::Window;
use geoseg::infer::{Batch, Scorer, tta};
use geoseg::model::weights::{Provenance, describe, read_tensors};
use geoseg::model::{ModelSpec, Network, save};
use geoseg::scores::Layer;
use serde_json::Value;

/// Logits of the reference's network: a 3x3 convolution of images `[n, 3, side, side]`, padded with zeros.
fn convolution(kernel: &[f32], images: &[f32], side: usize) -> Vec<f32> {
    let mut logits = Vec::new();
    for image in images.chunks_exact(3 * side * side) {
        for i in 0..side * side {
            let mut sum = 0.0;
            for (k, weight) in kernel.iter().enumerate() {
                let (band, row, col) = (k / 9, i / side + k % 9 / 3, i % side + k % 3);
                if (1..=side).contains(&row) && (1..=side).contains(&col) {
                    sum += weight * image[band * side * side + (row - 1) * side + col - 1];
                }
            }
            logits.push(sum);
        }
    }
    logits
}

#[test]
fn views_and_their_means_are_those_of_pytorch() {
    let Some(file) = reference("ops/ops.safetensors") else { return };
    let tensors = read(&file);
    let values = |name: &str| tensors[&format!("tta/{name}")].to_vec::<f32>().unwrap();
    let (x, kernel, views) = (values("x"), values("kernel"), values("views"));
    let side = 6;
    for (i, symmetry) in Symmetry::ALL.into_iter().enumerate() {
        let view = symmetry.apply(&x, side);
        assert_eq!(view, views[i * view.len()..(i + 1) * view.len()], "{}", symmetry.name());
        let logits = convolution(&kernel, &view, side);
        let back = symmetry.inverse().apply(&logits, side);
        let expected = &values("logits")[i * 36..(i + 1) * 36];
        assert!(gap(&back, expected).0 < 1e-5, "{}", symmetry.name());
    }
    let logit: Vec<f32> =
        values("mean_logit").iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
    for (mean, expected) in [
        (Mean::Arithmetic, values("mean_probability")),
        (Mean::Geometric, values("geometric_mean_probability")),
        (Mean::Logit, logit),
    ] {
        let kernel = kernel.clone();
        let scorer: Scorer = Box::new(move |batch| {
            let logits = convolution(&kernel, &batch.pixels, batch.window_px);
            Ok(logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect())
        });
        let config =
            InferenceConfig { tta: "d4".parse().unwrap(), tta_mean: mean, ..Default::default() };
        // Two windows at once, the second turned: its scores are turned.
        let pixels = [x.clone(), Symmetry::Turn90.apply(&x, side)].concat();
        let batch = Batch { positions: vec![(0, 0); 2], bands: 3, window_px: side, pixels };
        let found = tta::with_views(scorer, &config)(&batch).unwrap();
        let expected = [expected.clone(), Symmetry::Turn90.apply(&expected, side)].concat();
        assert!(gap(&found, &expected).0 < 1e-6, "{mean:?}");
    }
}

const SCENE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data-samples/test.tif");

/// A small network with first weights.
fn model(place: &Place, name: &str, seed: u64, gsd_m: f64) {
    untrained::model(&place.path().join(name), seed, gsd_m);
}

fn run(place: &Place, arguments: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let ran = place.run(&[&words[..], &["-q"]].concat());
    assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr);
    ran.stdout
}

fn infer(place: &Place, arguments: &str, out: &str) -> Vec<f32> {
    run(place, &format!("infer {SCENE} --device cpu --scores {out} {SMALL} {arguments}"));
    scores(&place.path().join(out))
}

const SMALL: &str = "--set inference.window_px=128 --set inference.overlap_px=32";
const FLOATS: &str = "--set inference.scores=float32";

fn scores(path: &Path) -> Vec<f32> {
    let layer = Layer::open(path).unwrap();
    layer.read(Window::whole(layer.grid().width, layer.grid().height)).unwrap()
}

fn provenance(path: &Path) -> Value {
    let json = Layer::open(path).unwrap().metadata("GEOSEG_PROVENANCE").unwrap();
    serde_json::from_str(&json).unwrap()
}

fn differences(a: &[f32], b: &[f32]) -> f64 {
    gap(a, b).0
}

#[test]
fn pixels_that_the_decoder_made_up_are_warned_of_once() {
    let place = Place::new();
    model(&place, "m.safetensors", 1, 0.3);
    let path = place.path().join("town.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").unwrap();
    let options = ["COMPRESS=JPEG", "TILED=YES", "PHOTOMETRIC=YCBCR"].into_iter().collect();
    gdal::Dataset::open(SCENE).unwrap().create_copy(&driver, &path, &options).unwrap();
    let arguments =
        format!("infer town.tif --device cpu --model m.safetensors {SMALL} --overwrite");
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    arguments.extend(["--scores", "scores.tif"]);
    let warned = || {
        let ran = place.run(&arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr.matches("town.tif: damaged (").count()
    };
    assert_eq!(warned(), 0);
    // The end of a picture, in the middle of one.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2].copy_from_slice(&[0xff, 0xd9]);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(warned(), 1);
}

#[test]
fn several_models_give_the_mean_of_what_each_gives() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    model(&place, "b.safetensors", 2, 0.3);
    let a = infer(&place, &format!("--model a.safetensors {FLOATS}"), "a.tif");
    let b = infer(&place, &format!("--model b.safetensors {FLOATS}"), "b.tif");
    assert!(differences(&a, &b) > 0.01);
    let both = "--model a.safetensors --model b.safetensors --weight 2,1";
    let found = infer(&place, &format!("{both} {FLOATS}"), "both.tif");
    let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (2.0 * a + b) / 3.0).collect();
    assert!(differences(&found, &mean) < 1e-6);
    // The same from files, and from a file as from memory.
    run(&place, &format!("combine a.tif b.tif -o files.tif --weight 2,1 {FLOATS}"));
    assert_eq!(scores(&place.path().join("files.tif")), found);
    let other = infer(&place, &format!("{both} --mean geometric"), "bytes.tif");
    let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a * a * b).cbrt()).collect();
    assert!(differences(&other, &mean) < 0.51 / 254.0);
}

#[test]
fn scenes_of_one_name_are_told_apart_by_their_folders() {
    let place = Place::new();
    model(&place, "m.safetensors", 1, 0.3);
    for folder in ["a", "b", "scores"] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
    }
    std::fs::copy(SCENE, place.path().join("a/x.tif")).unwrap();
    std::fs::copy(SCENE, place.path().join("b/x.tif")).unwrap();
    std::fs::copy(SCENE, place.path().join("y.tif")).unwrap();
    run(
        &place,
        &format!(
            "infer a/x.tif b/x.tif y.tif --device cpu --model m.safetensors --scores scores {SMALL}"
        ),
    );
    let mut names: Vec<_> = std::fs::read_dir(place.path().join("scores")).unwrap().collect();
    names.retain(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "tif");
    let mut names: Vec<String> =
        names.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["a_x_scores.tif", "b_x_scores.tif", "y_scores.tif"]);
}

#[test]
fn one_model_named_twice_changes_nothing() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    let once = infer(&place, "--model a.safetensors", "once.tif");
    let twice = infer(&place, "--model a.safetensors --model a.safetensors", "twice.tif");
    assert_eq!(once, twice);
}

#[test]
fn models_of_other_resolutions_and_windows_meet_on_the_first_ones_grid() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    model(&place, "coarse.safetensors", 1, 0.5);
    let fine = infer(&place, &format!("--model a.safetensors {FLOATS}"), "a.tif");
    let alone = infer(&place, &format!("--model coarse.safetensors {FLOATS}"), "coarse.tif");
    assert!(alone.len() * 2 < fine.len());
    let both = "--model a.safetensors --model coarse.safetensors --set ensemble.window_px=[128,96]";
    let found = infer(&place, &format!("{both} {FLOATS}"), "both.tif");
    assert_eq!(found.len(), fine.len());
    let parts = provenance(&place.path().join("both.tif"))["parts"].clone();
    assert_eq!((&parts[0]["window_px"], &parts[1]["window_px"]), (&128.into(), &96.into()));
    assert!((parts[1]["gsd_m"].as_f64().unwrap() - 0.5).abs() < 0.01, "{parts}");
    // The second has a say, everywhere: without its weight the mean is the first's alone.
    let said = found.iter().zip(&fine).filter(|(both, fine)| both != fine).count();
    assert!(said * 10 > fine.len() * 9, "{said} of {}", fine.len());
    run(&place, &format!("combine a.tif coarse.tif -o files.tif {FLOATS}"));
    // Windows of 96 px blend otherwise than those of 128.
    assert!(differences(&scores(&place.path().join("files.tif")), &found) < 0.05);
}

#[test]
fn soft_labels_are_bytes_that_say_where_they_come_from() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    model(&place, "b.safetensors", 2, 0.3);
    let both = "--model a.safetensors --model b.safetensors --tta flips --mean logit";
    run(&place, &format!("label {SCENE} --device cpu {SMALL} {both} -o soft"));
    let soft = place.path().join("soft/test_soft.tif");
    assert!(place.path().join("soft/test_soft.tif.toml").is_file());
    assert_eq!(std::fs::read_dir(place.path().join("soft")).unwrap().count(), 2);
    let by_infer = infer(&place, both, "scores.tif");
    assert_eq!(scores(&soft), by_infer);
    let plain =
        infer(&place, "--model a.safetensors --model b.safetensors --mean logit", "plain.tif");
    assert!(differences(&plain, &by_infer) > 1.0 / 254.0, "views have a say");
    let dataset = gdal::Dataset::open(&soft).unwrap();
    let band = dataset.rasterband(1).unwrap();
    assert_eq!(band.band_type(), gdal::raster::GdalDataType::UInt8);
    assert_eq!(band.no_data_value(), Some(255.0));
    assert!(band.overview_count().unwrap() > 0);
    let found = provenance(&soft);
    assert_eq!(found["geoseg"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&found["scene"], &found["mean"]), (&"test.tif".into(), &"logit".into()));
    let part = &found["parts"][1];
    assert_eq!((&part["file"], &part["tta"]), (&"b.safetensors".into(), &"flips".into()));
    assert_eq!((&part["window_px"], &part["overlap_px"]), (&128.into(), &32.into()));
    assert_eq!(part["sha256"].as_str().unwrap().len(), 64);
    assert_ne!(part["sha256"], found["parts"][0]["sha256"]);
}

#[test]
fn labels_that_would_overwrite_each_other_are_refused_before_any_work() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    std::fs::copy(SCENE, place.path().join("test.tif")).unwrap();
    let ran = place.run(&["label", SCENE, "test.tif", "--model", "a.safetensors", "-o", "soft"]);
    assert!(ran.error().contains("different names"), "{}", ran.error());
    let floats = "inference.scores=float32";
    let ran = place.run(&["label", SCENE, "-m", "a.safetensors", "-o", "soft", "--set", floats]);
    assert!(ran.error().contains("inference.scores"), "{}", ran.error());
    assert_eq!(std::fs::read_dir(place.path().join("soft")).unwrap().count(), 0);
    std::fs::write(place.path().join("soft/test_soft.tif"), "mine").unwrap();
    let ran = place.run(&["label", SCENE, "-m", "a.safetensors", "-o", "soft"]);
    assert!(ran.error().contains("already exists"), "{}", ran.error());
}

#[test]
fn options_that_do_not_fit_the_models_name_their_key() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    let models = ["-m", "a.safetensors", "-m", "a.safetensors"];
    for (option, parts) in [
        (["--weight", "1"], ["ensemble.weights", "each of 2 models, found 1"]),
        (["--set", "ensemble.window_px=[512]"], ["ensemble.window_px", "each of 2 models"]),
        (["--set", "inference.tta=turn-45"], ["inference.tta", "found `turn-45`"]),
    ] {
        let arguments = [&["infer", SCENE, "-o", "b.geojson"], &models[..], &option].concat();
        let ran = place.run(&arguments);
        for part in parts {
            assert!(ran.error().contains(part), "{}", ran.error());
        }
        assert_eq!(place.names(), ["a.safetensors"]);
    }
}

#[test]
fn averaged_weights_are_a_model_that_lists_its_parts() {
    let place = Place::new();
    let spec = ModelSpec { pyramid_channels: 8, segmentation_channels: 32, ..ModelSpec::default() };
    for (name, seed) in [("a.safetensors", 1), ("b.safetensors", 2)] {
        let network = Network::<Flex>::seeded(&spec, seed, &FlexDevice).unwrap();
        let steps = Provenance::from([("step".to_owned(), seed.to_string())]);
        save(&place.path().join(name), &spec, &network, &steps).unwrap();
    }
    run(&place, "weights average a.safetensors b.safetensors --weight 3,1 -o mean.safetensors");
    let file = |name: &str| read_tensors(&place.path().join(name)).unwrap();
    let (a, b, mean) = (file("a.safetensors"), file("b.safetensors"), file("mean.safetensors"));
    assert_eq!(mean.len(), a.len());
    for (name, data) in &mean {
        let values =
            |tensors: &crate::support::reference::Tensors| tensors[name].to_vec::<f32>().unwrap();
        for ((a, b), mean) in values(&a).iter().zip(values(&b)).zip(data.to_vec::<f32>().unwrap()) {
            assert!((0.75 * a + 0.25 * b - mean).abs() <= 1e-6 * a.abs().max(1.0), "{name}");
        }
    }
    let (found, provenance) = describe(&place.path().join("mean.safetensors")).unwrap();
    assert_eq!(found, spec);
    let parts: Value = serde_json::from_str(&provenance["geoseg.average"]).unwrap();
    assert_eq!((&parts[0]["file"], &parts[0]["weight"]), (&"a.safetensors".into(), &3.0.into()));
    assert_eq!(parts[1]["provenance"]["step"], "2");
    assert_eq!(parts[1]["sha256"].as_str().unwrap().len(), 64);
    // A model like any other; a model and itself have itself as their mean.
    run(&place, "weights average a.safetensors a.safetensors -o same.safetensors");
    assert_eq!(file("same.safetensors"), a);
    infer(&place, "--model mean.safetensors", "scores.tif");
}

#[test]
fn models_without_a_mean_are_refused_by_what_differs() {
    let place = Place::new();
    model(&place, "a.safetensors", 1, 0.3);
    model(&place, "coarse.safetensors", 1, 0.5);
    let average = |other: &str| {
        place.run(&["weights", "average", "a.safetensors", other, "-o", "mean.safetensors"])
    };
    let ran = average("coarse.safetensors");
    for part in ["coarse.safetensors", "`gsd_m` = 0.3", "found 0.5"] {
        assert!(ran.error().contains(part), "{}", ran.error());
    }
    place.write("text.safetensors", "no model");
    assert!(average("text.safetensors").error().contains("text.safetensors"));
    assert!(!place.path().join("mean.safetensors").exists());
}
