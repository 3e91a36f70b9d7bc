//! A disk that fills while an output is written: one error that names the output, nothing half-written, nothing lost.

use std::process::Command;

use crate::support::program::{Place, Ran};
use crate::support::synthetic::run;
use crate::support::untrained::model;

/// Runs the program where no file may grow beyond `kib`, which is to a program as a full disk is.
fn run_on_full_disk(place: &Place, kib: u32, arguments: &[&str]) -> Ran {
    let program = place.command(arguments);
    let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kib);
    let mut command = Command::new("sh");
    command.args(["-c", &limited]).arg(program.get_program()).args(program.get_args());
    Ran::from(command.current_dir(place.path()).env_remove("RUST_LOG").output().unwrap())
}

/// A town's scene and footprints, and these once more, elsewhere.
fn town() -> Place {
    let place = Place::new();
    for (name, seed) in [("town", "1"), ("other", "2")] {
        let town = ["synth", "-o", ".", "--name", name, "--size-px", "512", "--seed", seed];
        run(&place, &[&town[..], &["--set", "origin=[400000, 3000000]"]].concat());
    }
    place
}

#[test]
fn buildings_of_every_format_appear_whole_or_not_at_all() {
    let place = town();
    let before = place.names();
    let formats = ["geojson", "geojsonl", "gpkg", "fgb", "parquet", "shp", "mbtiles"];
    for (name, kib) in
        formats.iter().flat_map(|format| [1, 7].map(|kib| (format!("b.{format}"), kib)))
    {
        let merge = ["merge", "town.geojson", "other.geojson", "-o", &name];
        let ran = run_on_full_disk(&place, kib, &merge);
        assert!(ran.error().starts_with(&format!("error: {name}: ")), "{}", ran.error());
        assert_eq!(place.names(), before, "{name}");
        run(&place, &merge);
        for file in place.names().iter().filter(|file| file.starts_with("b.")) {
            std::fs::remove_file(place.path().join(file)).unwrap();
        }
    }
}

#[test]
fn rasters_appear_whole_or_not_at_all() {
    let place = Place::new();
    for kib in [1, 30] {
        let town = ["synth", "-o", ".", "--name", "town", "--size-px", "512"];
        let error = run_on_full_disk(&place, kib, &town).error().to_owned();
        assert!(error.starts_with("error: ./town."), "{error}");
        assert!(place.names().is_empty(), "{:?}", place.names());
    }
}

#[test]
fn tiles_go_on_where_they_stopped() {
    let place = town();
    let scene = "[[scene]]\nimage = 'town.tif'\nfootprints = 'town.geojson'\nsplit = 'train'\n";
    place.write("dataset.toml", &format!("[tiles]\ntile_px = 128\noverlap_px = 0\n{scene}"));
    let tiles = |folder: &'static str| ["tiles", "--config", "dataset.toml", "-o", folder];
    let ran = run_on_full_disk(&place, 20, &tiles("tiles"));
    assert!(
        ran.error().contains("/tiles/") && ran.error().contains("free space"),
        "{}",
        ran.error()
    );
    run(&place, &tiles("tiles"));
    run(&place, &tiles("whole"));
    let files = |folder| {
        let pattern = place.path().join(folder).join("**/*.*");
        let files = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
        files.map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    assert!(files("whole").len() > 32);
    assert!(files("tiles") == files("whole"));
}

#[test]
fn scored_scenes_are_not_lost() {
    let place = town();
    model(&place.path().join("m.safetensors"), 5, 0.3);
    let words = "infer town.tif --model m.safetensors --device cpu --set inference.window_px=128 \
                 --set inference.overlap_px=32";
    let infer = |out, scores, more: &[&'static str]| {
        let fixed = words.split_whitespace().chain(["-o", out, "--scores", scores]);
        fixed.chain(more.iter().copied()).collect::<Vec<_>>()
    };
    run(&place, &infer("whole.fgb", "whole.tif", &[]));
    let size = |name| std::fs::metadata(place.path().join(name)).unwrap().len();
    let read = |name| std::fs::read(place.path().join(name)).unwrap();
    // Strips of scores fit, the whole raster does not; then no strip does.
    for kib in [size("whole.tif") as u32 / 1024 - 1, 4] {
        let ran = run_on_full_disk(&place, kib, &infer("b.fgb", "b.tif", &[]));
        assert!(ran.error().contains("free space"), "{}", ran.error());
        assert!(ran.error().starts_with("error: b."), "{}", ran.error());
        assert!(!place.names().iter().any(|name| name == "b.fgb" || name == "b.tif"));
        run(&place, &infer("b.fgb", "b.tif", &["--resume"]));
        assert!(read("b.fgb") == read("whole.fgb") && read("b.tif") == read("whole.tif"));
        for name in ["b.fgb", "b.tif"] {
            std::fs::remove_file(place.path().join(name)).unwrap();
        }
    }
}
