//! Runs of `geoseg infer` that are killed, and taken up again.

use std::process::Stdio;
use std::time::Duration;

use crate::support::program::Place;
use crate::support::untrained::model;

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
fn scored_rows_that_are_not_as_they_were_are_scored_again() {
    let place = place();
    let ran = place.run(&arguments("whole.geojson", "whole.tif", &[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
    let folder = place.path().join("b.geojson.unfinished");
    let strips = folder.join("scene-0/model-0");
    let strip = strips.join("rows_000000000.tif");
    let mut damaged = 0;
    for damage in ["cut short", "gone"] {
        let mut command = place.command(&arguments("b.geojson", "b.tif", &[]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !strips.join("journal.json").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if !strip.exists() {
            // It was faster.
            continue;
        }
        match damage {
            "gone" => std::fs::remove_file(&strip).unwrap(),
            _ => std::fs::File::options().write(true).open(&strip).unwrap().set_len(100).unwrap(),
        }
        damaged += 1;
        let ran = place.run(&arguments("b.geojson", "b.tif", &["--resume"]));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stderr.contains("scored again"), "{}", ran.stderr);
        assert!(read("b.geojson") == read("whole.geojson") && read("b.tif") == read("whole.tif"));
        for name in ["b.geojson", "b.tif"] {
            std::fs::remove_file(place.path().join(name)).unwrap();
        }
    }
    assert!(damaged > 0);
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

#[test]
fn what_schedulers_send_ends_a_run_as_ctrl_c_does() {
    let place = place();
    let mut command = place.command(&arguments("b.geojson", "b.tif", &[]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let work = place.path().join("b.geojson.unfinished/scene-0");
    while !work.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    // Or it was done already.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    assert!(!place.names().iter().any(|name| name.starts_with(".geoseg-")), "{:?}", place.names());
    if code == Some(130) {
        let ran = place.run(&arguments("b.geojson", "b.tif", &["--resume"]));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
}

#[test]
fn work_on_another_area_or_of_other_sources_is_refused() {
    let place = place();
    let bounds = |east: f64| {
        format!(
            "{{\"type\":\"Polygon\",\"coordinates\":[[[120,14],[{east},14],[{east},15],[120,15],[120,14]]]}}"
        )
    };
    place.write("aoi.geojson", &bounds(121.0));
    std::fs::copy(SCENE, place.path().join("part.tif")).unwrap();
    let vrt = gdal::Dataset::open(SCENE).unwrap();
    let (width, height) = vrt.raster_size();
    let band = |band: usize| {
        format!(
            "<VRTRasterBand dataType=\"Byte\" band=\"{band}\"><SimpleSource><SourceFilename relativeToVRT=\"1\">part.tif\
             </SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        )
    };
    let bands: String = (1..=3).map(band).collect();
    let text = format!(
        "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">{bands}</VRTDataset>"
    );
    place.write("scene.vrt", &text);
    let words = "infer scene.vrt --model model.safetensors --device cpu -o b.fgb --set inference.window_px=64 \
                 --set inference.overlap_px=16 --set inference.gsd_m=0.3 --resume";
    let infer: Vec<&str> = words.split_whitespace().collect();
    let with_area = [&infer[..], &["--aoi", "aoi.geojson"]].concat();
    for (arguments, changed) in [(&infer, "part.tif"), (&with_area, "aoi.geojson")] {
        let mut child = place.command(arguments).stderr(Stdio::null()).spawn().unwrap();
        let folder = place.path().join("b.fgb.unfinished");
        while !folder.join("run.json").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if !folder.exists() {
            continue;
        }
        let path = place.path().join(changed);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let ran = place.run(arguments);
        assert!(ran.error().contains("other scenes, models or settings"), "{}", ran.error());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn outputs_that_would_replace_something_are_refused() {
    let place = place();
    std::fs::create_dir(place.path().join("scores")).unwrap();
    for folder in ["a", "b"] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
        std::fs::copy(SCENE, place.path().join(folder).join("image.tif")).unwrap();
    }
    let fixed = ["infer", "a/image.tif", "--model", "model.safetensors", "--overwrite"];
    for (more, named) in [
        (&["a/image.tif", "--scores", "scores"][..], "a_image"),
        (&["-o", "same.fgb", "--scores", "same.fgb"], "same.fgb"),
        (&["--scores", "a/image.tif"], "a/image.tif"),
        (&["--scores", "model.safetensors"], "model.safetensors"),
        (&["--scores", "new/"], "new/"),
    ] {
        let ran = place.run(&[&fixed[..], more].concat());
        assert!(ran.error().contains(named), "{}", ran.error());
    }
    assert_eq!(place.names(), ["a", "b", "model.safetensors", "scores"]);
    place.write("mine.fgb.toml", "# My own settings.");
    let ran = place.run(&["infer", SCENE, "--model", "model.safetensors", "-o", "mine.fgb"]);
    assert!(ran.error().contains("mine.fgb.toml: already exists"), "{}", ran.error());
}
