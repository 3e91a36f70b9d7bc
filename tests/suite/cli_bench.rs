//! `geoseg bench`: every case runs and says what was asked for.

use std::collections::HashSet;

use crate::support::program::Place;

fn figure(arguments: &[&str]) -> serde_json::Value {
    let ran = Place::new().run(&[&["bench", "--json", "--threads", "2"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_default()
}

#[test]
fn every_case_gives_its_figures() {
    let small =
        ["--window", "64", "--batch", "2", "--scene", "192", "--repeat", "2", "--device", "cpu"];
    for case in ["infer", "train", "loader", "polygonize", "tiles", "infer-scene"] {
        let figure = figure(&[&[case], &small[..]].concat());
        let number = |key: &str| figure[key].as_f64().unwrap_or_default();
        assert!(figure["case"].as_str().is_some_and(|text| text.starts_with(case)), "{figure}");
        assert!(number("ms_min") > 0.0 && number("ms_median") >= number("ms_min"), "{figure}");
        let pixels =
            if matches!(case, "infer" | "train" | "loader") { 2 * 64 * 64 } else { 192 * 192 };
        let rate = f64::from(pixels) / 1e3 / number("ms_median");
        assert!((number("mpx_per_s") / rate - 1.0).abs() < 1e-6, "{figure}");
        assert_eq!((number("threads"), figure["device"].as_str()), (2.0, Some("cpu")), "{figure}");
    }
}

#[test]
fn what_cannot_be_timed_is_one_error() {
    for (arguments, text) in [
        (&["infer", "--encoder", "resnet50"][..], "resnet50"),
        (&["infer", "--window", "8"], "--window"),
        (&["train", "--profile"], "--profile"),
        (&["infer", "--profile", "--arch", "carvana-cnn", "--window", "64"], "no fused form"),
        (
            &["infer-scene", "--scene", "192", "--model", "nowhere.safetensors"],
            "nowhere.safetensors",
        ),
    ] {
        let ran = Place::new().run(&[&["bench"], arguments].concat());
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    }
}

fn list<'a>(report: &'a serde_json::Value, key: &str) -> &'a [serde_json::Value] {
    report[key].as_array().map_or(&[], Vec::as_slice)
}

fn number(row: &serde_json::Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or(f64::NAN)
}

fn positive(row: &serde_json::Value, keys: &[&str]) {
    for key in keys {
        let value = number(row, key);
        assert!(value.is_finite() && value > 0.0, "{key} is {value}: {row}");
    }
}

fn sizes(row: &serde_json::Value, key: &str) -> Vec<u64> {
    list(row, key).iter().filter_map(serde_json::Value::as_u64).collect()
}

#[test]
fn a_profile_accounts_for_the_whole_network() {
    let arguments = ["infer", "--profile", "--window", "512", "--repeat", "3", "--device", "cpu"];
    let profile = figure(&arguments);
    let layers = list(&profile, "layers");
    let names: HashSet<_> = layers.iter().filter_map(|layer| layer["name"].as_str()).collect();
    assert_eq!(names.len(), layers.len(), "every layer has a name of its own");
    // Three for each of the 16 blocks, besides stem, four levels, seven convolutions and what follows them.
    assert_eq!(layers.len(), 3 * 16 + 1 + 4 + 7 + 4 + 6 + 1);
    for layer in layers {
        positive(layer, &["ms_median", "share", "bytes"]);
        assert!(
            number(layer, "gflop_s").is_finite() && sizes(layer, "output").len() == 3,
            "{layer}"
        );
    }
    // The usual count of the network's convolutions.
    let flops: f64 = layers.iter().map(|layer| number(layer, "flops")).sum();
    assert!((flops / 19.75e9 - 1.0).abs() < 1e-3, "{flops:e}");
    let shares: f64 = layers.iter().map(|layer| number(layer, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let of = |name: &str| layers.iter().find(|layer| layer["name"] == name);
    let output = |name: &str| of(name).map(|layer| sizes(layer, "output")).unwrap_or_default();
    assert_eq!(output("encoder.stem"), [256, 256, 32]);
    assert_eq!(output("encoder.blocks.15.project"), [16, 16, 320]);
    assert_eq!(output("decoder.p2"), [128, 128, 256]);
    assert_eq!(output("upsample"), [512, 512, 1]);
    // Time goes nowhere else: other work on the machine may stretch either sum, but not tenfold.
    let ratio = number(&profile, "layers_ms") / number(&profile["whole"], "ms_median");
    assert!((0.1..10.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_batch_adds_its_images_up() {
    let flops = |batch: &str| {
        let window = ["infer", "--profile", "--window", "64", "--repeat", "1", "--device", "cpu"];
        let profile = figure(&[&window[..], &["--batch", batch]].concat());
        (number(&profile, "flops"), list(&profile, "layers").len())
    };
    let (one, three) = (flops("1"), flops("3"));
    assert_eq!((3.0 * one.0, one.1), three);
}

#[test]
fn operators_are_the_networks_and_have_finite_shares() {
    let small = ["--window", "64", "--batch", "2", "--repeat", "1", "--device", "cpu"];
    let report = figure(&[&["operators"], &small[..]].concat());
    positive(&report["peaks"], &["registers_gflop_s", "gemm_gflop_s", "copy_gb_s"]);
    let (inference, training) = (list(&report, "inference"), list(&report, "training"));
    for row in inference.iter().chain(training) {
        positive(row, &["count", "ms_median", "gb_s", "share"]);
        assert!(matches!(row["bound"].as_str(), Some("compute" | "memory")), "{row}");
    }
    // A group has one row: what the network repeats is counted.
    for rows in [inference, training] {
        let key = |row: &serde_json::Value| {
            let keys = ["operator", "form", "input", "output"];
            keys.map(|key| row[key].to_string()).join(" ")
        };
        assert_eq!(rows.iter().map(key).collect::<HashSet<_>>().len(), rows.len());
    }
    let count = |rows: &[serde_json::Value], form: &str, operator: &str| -> f64 {
        let of = |row: &&serde_json::Value| {
            row["form"] == form && row["operator"].as_str().is_some_and(|o| o.starts_with(operator))
        };
        rows.iter().filter(of).map(|row| number(row, "count")).sum()
    };
    // FPN-b0 has 16 depthwise convolutions, seven 3x3 in the decoder, and a gradient by the input for all but the stem.
    assert_eq!(count(inference, "inference", "3x3"), 7.0);
    for form in ["forward", "by-input", "by-weight"] {
        assert_eq!(count(training, form, "depthwise"), 16.0);
    }
    assert_eq!(count(training, "forward", "3x3") - count(training, "by-input", "3x3"), 1.0);
    for (operator, expected) in [
        ("batch norm", 48.0),
        ("group norm", 7.0),
        ("squeeze", 16.0),
        ("bilinear", 7.0),
        ("nearest", 3.0),
    ] {
        assert_eq!(count(training, "forward", operator), expected, "{operator}");
        assert_eq!(count(training, "backward", operator), expected, "{operator}");
    }
    // Both forms count the same network; the fused one has its head before an upsampling.
    let total = |rows: &[serde_json::Value], images: f64| -> f64 {
        let flops = |row: &serde_json::Value| {
            number(row, "gflop_s") * number(row, "ms_median") * number(row, "count")
        };
        rows.iter()
            .filter(|row| matches!(row["form"].as_str(), Some("inference" | "forward")))
            .map(flops)
            .sum::<f64>()
            / images
    };
    let ratio = total(inference, 1.0) / total(training, 2.0);
    assert!((ratio - 1.0).abs() < 1e-3, "{ratio}");
}
