//! Help, completions, doctor: what the program says about itself.

use crate::support::program::Place;

const SUBCOMMANDS: &[&str] = &[
    "synth",
    "tiles",
    "train",
    "lr-find",
    "search",
    "mine",
    "infer",
    "label",
    "combine",
    "mask",
    "polygonize",
    "merge",
    "validate",
    "conflate",
    "eval",
    "tune",
    "models",
    "weights",
    "info",
    "explain",
    "bench",
    "doctor",
    "completions",
];

#[test]
fn help_lists_every_subcommand() {
    let ran = Place::new().run(&["--help"]);
    assert_eq!(ran.code, Some(0));
    for subcommand in SUBCOMMANDS {
        assert!(ran.stdout.contains(&format!("\n  {subcommand} ")), "{subcommand}");
    }
}

#[test]
fn every_subcommand_has_help_with_global_options_and_an_example() {
    let place = Place::new();
    for subcommand in SUBCOMMANDS {
        let ran = place.run(&[subcommand, "--help"]);
        assert_eq!(ran.code, Some(0), "{subcommand}");
        for text in ["Usage: geoseg", "--log-format", "--threads", "Examples:"] {
            assert!(ran.stdout.contains(text), "{subcommand} --help lacks {text}");
        }
    }
}

#[test]
fn stages_take_config_files_and_single_keys() {
    let place = Place::new();
    for subcommand in [
        "tiles",
        "train",
        "lr-find",
        "search",
        "infer",
        "label",
        "combine",
        "polygonize",
        "merge",
        "conflate",
        "validate",
        "tune",
    ] {
        let ran = place.run(&[subcommand, "--help"]);
        for text in ["--config <FILE>", "--set <KEY.PATH=VALUE>", "--overwrite"] {
            assert!(ran.stdout.contains(text), "{subcommand} --help lacks {text}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let ran = Place::new().run(&["--version"]);
    assert_eq!(ran.stdout.trim(), concat!("geoseg ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_scripts_that_know_the_subcommands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        for subcommand in SUBCOMMANDS {
            assert!(ran.stdout.contains(subcommand), "{shell} lacks {subcommand}");
        }
    }
}

#[test]
fn doctor_finds_what_the_tests_need() {
    let ran = Place::new().run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let drivers = report["gdal"]["drivers"].as_array().unwrap();
    assert!(drivers.iter().all(|driver| driver["present"] == true), "{drivers:?}");
    assert_eq!(report["gdal"]["proj_problem"], serde_json::Value::Null);
    assert!(report["processor"]["cores"].as_u64().unwrap() > 0);
    let devices = report["cuda"]["devices"].as_array().unwrap();
    assert!(!devices.is_empty() || report["cuda"]["missing"].is_string());
}

#[test]
fn doctor_is_readable_without_json() {
    let ran = Place::new().run(&["doctor"]);
    for text in ["GDAL", "GPKG", "PROJ database", "CUDA", "memory"] {
        assert!(ran.stdout.contains(text), "{}", ran.stdout);
    }
}

#[test]
fn models_lists_every_architecture_with_every_encoder_and_its_figures() {
    let place = Place::new();
    let ran = place.run(&["models", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let models: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    let listed = geoseg::model::ARCHITECTURES;
    let expected =
        listed.iter().map(|listed| if listed.has_encoder { 8 } else { 1 }).sum::<usize>();
    assert_eq!(models.len(), expected);
    let fpn = &models[0];
    assert_eq!(
        (fpn["arch"].as_str(), fpn["encoder"].as_str()),
        (Some("fpn"), Some("efficientnet-b0"))
    );
    // docs/performance.md counts 19.7 for a window of 512 px.
    let window = fpn["gflops_per_mpx"].as_f64().unwrap() * 0.512 * 0.512;
    assert!((window - 19.7).abs() < 0.05, "{window}");
    let table = place.run(&["models"]);
    for listed in listed {
        assert!(table.stdout.contains(listed.about), "{}", table.stdout);
    }
    assert_eq!(table.stdout.matches("efficientnet-b7").count(), 4, "{}", table.stdout);
}
