//! A disk that fills while an output is written: one error that names the file, and nothing half-written.
#![allow(clippy::unwrap_used, reason = "clippy.toml covers tests, not their helpers")]

mod support;

use std::process::Command;

use support::program::{Place, Ran};
use support::synthetic::{run, tiles};

/// Runs the program where no file may grow beyond `blocks` of 512 bytes; to a program, that is a full disk (with another
/// number).
fn run_short_of_space(place: &Place, blocks: u32, arguments: &[&str]) -> Ran {
    let program = place.command(arguments);
    let output = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(place.path())
        .env_remove("RUST_LOG")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    Ran::from(output)
}

/// A town's scene, its footprints and its mask.
fn town() -> Place {
    let place = Place::new();
    let origin = "origin=[400000, 3000000]";
    run(&place, &["synth", "-o", ".", "--name", "town", "--size-px", "512", "--set", origin]);
    place
}

#[test]
fn buildings_of_every_format() {
    let place = town();
    let config = "[dataset]\n";
    let _ = config;
    let before = place.names();
    for name in ["b.geojson", "b.geojsonl", "b.gpkg", "b.fgb", "b.parquet", "b.shp", "b.mbtiles"] {
        let ran = run_short_of_space(&place, 2, &["polygonize", "town_mask.tif", "-o", name]);
        let error = ran.error();
        println!("{error}");
        assert!(error.contains(name), "{error}");
        assert_eq!(place.names(), before, "{name}");
    }
}
