//! Runs of `geoseg infer` that are killed, and taken up again.
#![allow(clippy::unwrap_used, reason = "clippy.toml covers tests, not their helpers")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use support::program::Place;
use support::untrained::model;

const SCENE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data-samples/test.tif");

fn place() -> Place {
    let place = Place::new();
    model(&place.path().join("model.safetensors"), 5, 0.3);
    place
}

fn arguments<'a>(out: &'a str, scores: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "infer",
        SCENE,
        "--model",
        "model.safetensors",
        "--device",
        "cpu",
        "--set",
        "inference.window_px=64",
        "--set",
        "inference.overlap_px=16",
        "-o",
        out,
        "--scores",
        scores,
    ];
    fixed.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let place = place();
    let ran = place.run(&arguments("whole.geojson", "whole.tif", &[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
    let expected = (read("whole.geojson"), read("whole.tif"));

    let mut kills = 0;
    for round in 1..60 {
        let mut command = place.command(&arguments("b.geojson", "b.tif", &["--resume"]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 * round));
        child.kill().unwrap();
        let ended = child.wait().unwrap().success();
        let done = place.path().join("b.geojson").exists()
            && !place.path().join("b.geojson.unfinished").exists();
        if ended || done {
            break;
        }
        kills += 1;
        let target = place.path().join("b.geojson");
        assert!(!target.exists() || read("b.geojson") == expected.0, "nothing half-written");
    }
    assert!(kills > 0);
    // Unless the last one was killed when it had removed its work already.
    if place.path().join("b.geojson.unfinished").exists() {
        let ran = place.run(&arguments("b.geojson", "b.tif", &["--resume"]));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let ran = place.run(&arguments("b.geojson", "b.tif", &["--resume"]));
    assert!(ran.error().contains("already exists"), "a run that is done is left alone");
    assert!(read("b.geojson") == expected.0 && read("b.tif") == expected.1);
    assert!(!place.path().join("b.geojson.unfinished").exists());
}

#[test]
fn work_that_is_there_is_neither_lost_nor_mixed_up() {
    let place = place();
    let folder = place.path().join("b.geojson.unfinished");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("run.json"), "{}").unwrap();
    let ran = place.run(&arguments("b.geojson", "b.tif", &[]));
    assert!(ran.error().contains("--resume") && ran.error().contains("b.geojson.unfinished"));
    let ran = place.run(&arguments("b.geojson", "b.tif", &["--resume"]));
    assert!(ran.error().contains("other scenes, models or settings"), "{}", ran.error());
    assert!(folder.join("run.json").is_file());
    let ran = place.run(&arguments("b.geojson", "b.tif", &["--overwrite"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!folder.exists());
}
