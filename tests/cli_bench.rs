//! `geoseg bench`: every case runs and says what was asked for.

mod support;

use support::program::Place;

fn figure(arguments: &[&str]) -> serde_json::Value {
    let ran = Place::new().run(&[&["bench", "--json", "--threads", "2"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_default()
}

#[test]
fn every_case_gives_its_figures() {
    let small =
        ["--window", "64", "--batch", "2", "--scene", "192", "--repeat", "2", "--device", "cpu"];
    for case in ["infer", "train", "polygonize", "tiles", "infer-scene"] {
        let figure = figure(&[&[case], &small[..]].concat());
        let number = |key: &str| figure[key].as_f64().unwrap_or_default();
        assert!(figure["case"].as_str().is_some_and(|text| text.starts_with(case)), "{figure}");
        assert!(number("ms_min") > 0.0 && number("ms_median") >= number("ms_min"), "{figure}");
        let pixels = if matches!(case, "infer" | "train") { 2 * 64 * 64 } else { 192 * 192 };
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
