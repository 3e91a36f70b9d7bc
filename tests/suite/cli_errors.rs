//! Wrong input: one line that says what is wrong, a failing exit code, nothing left behind.

use crate::support::program::Place;

/// Stages with a configuration, and the arguments that they need besides.
const CONFIGURED: &[(&str, &[&str])] = &[
    ("tiles", &["-o", "out"]),
    ("train", &["-o", "out"]),
    ("lr-find", &["-o", "out.png"]),
    ("search", &["-o", "out"]),
    ("infer", &["scene.tif", "--model", "m.safetensors", "-o", "out.geojson"]),
    ("polygonize", &["scores.tif", "-o", "out.geojson"]),
    ("merge", &["a.gpkg", "b.gpkg", "-o", "out.gpkg"]),
    ("conflate", &["a.gpkg", "b.gpkg", "-o", "out.gpkg"]),
    ("validate", &["a.gpkg"]),
];

fn with<'a>(stage: &'a str, needed: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&[stage], needed, more].concat()
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    let place = Place::new();
    for arguments in [
        &["frobnicate"][..],
        &["tiles"],
        &["infer"],
        &["doctor", "--jsn"],
        &["train", "-o", "x", "--device", "gpu"],
        &["infer", "a.tif", "--model", "m", "-o", "b.geojson", "--bbox", "1,2,3"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    assert!(place.names().is_empty());
}

#[test]
fn a_folder_that_nobody_may_write_into_is_named_before_any_work() {
    let place = Place::new();
    for stage in
        [&["polygonize", "scores.tif"][..], &["infer", "a.tif", "--model", "m.safetensors"]]
    {
        // Of the kernel: not even root makes files there.
        let ran = place.run(&[stage, &["-o", "/sys/out.geojson"]].concat());
        let error = ran.error();
        assert!(error.contains("/sys/out.geojson: expected a folder that may be"), "{error}");
    }
}

#[test]
fn a_missing_configuration_file_is_named() {
    for (stage, needed) in CONFIGURED {
        let place = Place::new();
        let ran = place.run(&with(stage, needed, &["--config", "nowhere.toml"]));
        assert!(ran.error().contains("nowhere.toml"), "{stage}: {}", ran.stderr);
        assert!(place.names().is_empty(), "{stage} left {:?}", place.names());
    }
}

#[test]
fn an_unknown_key_is_an_error_in_every_stage() {
    for (stage, needed) in CONFIGURED {
        let place = Place::new();
        let ran = place.run(&with(stage, needed, &["--set", "no_such_table.key=1"]));
        assert!(ran.error().contains("no_such_table"), "{stage}: {}", ran.stderr);
        assert!(ran.error().contains("--set"), "{stage}: {}", ran.stderr);
        assert!(place.names().is_empty(), "{stage} left {:?}", place.names());
    }
}

#[test]
fn a_misspelt_key_names_the_nearest_one_and_its_file() {
    let place = Place::new();
    place.write("dataset.toml", "[tiles]\ntile_pix = 256\n");
    let ran = place.run(&["tiles", "--config", "dataset.toml", "-o", "out"]);
    let error = ran.error();
    assert!(error.contains("`tiles.tile_pix`"), "{error}");
    assert!(error.contains("did you mean `tiles.tile_px`?"), "{error}");
    assert!(error.contains("dataset.toml"), "{error}");
    assert_eq!(place.names(), ["dataset.toml"]);
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_range_names_its_key() {
    let place = Place::new();
    let ran = place.run(&["tiles", "-o", "out", "--set", "tiles.tile_px=many"]);
    assert!(ran.error().contains("`tiles.tile_px`"), "{}", ran.stderr);
    let scene = ["--set", "scene.0.image=a.tif", "--set", "scene.0.footprints=a.gpkg"];
    let range = ["tiles", "-o", "out", "--set", "tiles.tile_px=1", "--set", "scene=[{}]"];
    let ran = place.run(&[&range[..], &scene[..]].concat());
    assert!(ran.error().contains("`tiles.tile_px`"), "{}", ran.stderr);
    assert!(place.names().is_empty());
}

#[test]
fn broken_toml_names_its_line() {
    let place = Place::new();
    place.write("broken.toml", "[tiles]\ntile_px = = 3\n");
    let ran = place.run(&["tiles", "--config", "broken.toml", "-o", "out"]);
    assert!(ran.error().contains("line 2"), "{}", ran.stderr);
}

#[test]
fn a_missing_scene_is_named() {
    let place = Place::new();
    let ran = place.run(&[
        "tiles",
        "-o",
        "out",
        "--set",
        "scene=[{image='nowhere.tif', footprints='nowhere.gpkg'}]",
    ]);
    assert!(ran.error().contains("nowhere.tif"), "{}", ran.stderr);
    assert!(place.names().is_empty(), "left {:?}", place.names());
}

#[test]
fn an_output_that_exists_is_kept_without_overwrite() {
    let place = Place::new();
    place.write("out.geojson", "precious");
    place.write("scores.tif", "not a raster");
    let ran = place.run(&["polygonize", "scores.tif", "-o", "out.geojson"]);
    assert!(ran.error().contains("--overwrite"), "{}", ran.stderr);
    let kept = std::fs::read_to_string(place.path().join("out.geojson")).unwrap();
    assert_eq!(kept, "precious");
}

#[test]
fn an_output_in_a_missing_folder_is_refused() {
    let place = Place::new();
    place.write("scores.tif", "not a raster");
    let ran = place.run(&["polygonize", "scores.tif", "-o", "nowhere/out.geojson"]);
    assert!(ran.error().contains("nowhere"), "{}", ran.stderr);
    assert_eq!(place.names(), ["scores.tif"]);
}

#[test]
fn what_is_no_raster_is_refused_and_leaves_nothing() {
    let place = Place::new();
    place.write("scores.tif", "not a raster");
    let ran = place.run(&["polygonize", "scores.tif", "-o", "out.geojson"]);
    assert!(ran.error().contains("scores.tif"), "{}", ran.stderr);
    assert_eq!(place.names(), ["scores.tif"]);
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_reason() {
    let place = Place::new();
    let ran = place.run(&["train", "-o", "out", "--device", "cuda:99"]);
    let error = ran.error();
    assert!(error.contains("device cuda:99: "), "{error}");
    assert!(place.names().is_empty(), "left {:?}", place.names());
}

#[test]
fn a_json_log_holds_the_error_and_nothing_else_is_on_stderr() {
    let ran = Place::new().run(&["train", "-o", "out", "--log-format", "json", "--set", "x=1"]);
    assert_eq!(ran.code, Some(1));
    for line in ran.stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string(), "{line}");
    }
    assert!(ran.stderr.contains("\"ERROR\""), "{}", ran.stderr);
}
