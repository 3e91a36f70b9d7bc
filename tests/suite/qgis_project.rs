//! `geoseg infer --qgis`: the project beside the results, opened by QGIS itself where that is installed.

use std::path::Path;
use std::process::Command;

use crate::support::program::Place;
use crate::support::synthetic::run;
use crate::support::untrained::model;
use serde_json::Value;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data-samples");

/// The results of a network with first weights, which finds something everywhere.
fn results(place: &Place, buildings: &str) {
    for name in ["test.tif", "test.geojson"] {
        std::fs::copy(Path::new(SAMPLES).join(name), place.path().join(name)).unwrap();
    }
    model(&place.path().join("m.safetensors"), 3, 0.3);
    let words = "infer test.tif --device cpu --model m.safetensors --scores scores.tif \
                 --set inference.window_px=128 --set inference.overlap_px=32 --set polygonize.threshold=0.5 \
                 --set polygonize.min_area_m2=20 --qgis town.qgz --truth test.geojson -o";
    let mut arguments: Vec<&str> = words.split_whitespace().collect();
    arguments.push(buildings);
    run(place, &arguments);
}

/// What QGIS says of a project or a file, after it has drawn it; nothing (with a message) where it is not installed.
#[expect(clippy::print_stderr, reason = "says which tests did not look at anything")]
fn by_qgis(path: &Path, picture: &Path) -> Option<Value> {
    let python =
        std::env::var_os("GEOSEG_QGIS_PYTHON").unwrap_or_else(|| "/usr/bin/python3".into());
    let found = Command::new(&python).args(["-c", "import qgis.core"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        let python = python.display();
        eprintln!("skipped: {python} cannot import qgis.core (GEOSEG_QGIS_PYTHON names another)");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qgis/project.py");
    let output = Command::new(&python).arg(script).arg(path).arg(picture).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    Some(serde_json::from_str(text.lines().last().unwrap()).unwrap())
}

#[test]
fn the_project_names_its_layers_by_relative_paths() {
    let place = Place::new();
    results(&place, "b.geojson");
    let bytes = std::fs::read(place.path().join("town.qgz")).unwrap();
    assert!(bytes.starts_with(b"PK"), "a zip archive");
    // Stored, not compressed: the XML can be read as it lies there.
    let xml = String::from_utf8_lossy(&bytes);
    assert!(xml.contains("town.qgs"));
    let sources: Vec<&str> = xml
        .split("<datasource>")
        .skip(1)
        .map(|rest| rest.split("</datasource>").next().unwrap())
        .collect();
    let expected =
        ["./test.geojson", "./town_changes.gpkg", "./b.geojson", "./scores.tif", "./test.tif"];
    assert_eq!(sources, expected);
    for source in sources {
        assert!(place.path().join(source).is_file(), "{source}");
    }
    let ran = place.run(&[
        "infer",
        "test.tif",
        "--model",
        "m.safetensors",
        "-o",
        "c.gpkg",
        "--qgis",
        "town.qgz",
    ]);
    assert!(ran.error().contains("town.qgz") && ran.error().contains("--overwrite"));
}

#[test]
fn qgis_opens_the_project_and_draws_every_layer() {
    let place = Place::new();
    results(&place, "b.gpkg");
    let picture = place.path().join("town.png");
    let Some(found) = by_qgis(&place.path().join("town.qgz"), &picture) else { return };
    let layers = found["layers"].as_array().unwrap();
    let seen: Vec<(&str, &str)> = layers
        .iter()
        .map(|layer| (layer["name"].as_str().unwrap(), layer["renderer"].as_str().unwrap()))
        .collect();
    let expected = [
        ("truth", "singleSymbol"),
        ("differences", "categorizedSymbol"),
        ("buildings", "graduatedSymbol"),
        ("scores of test", "singlebandpseudocolor"),
        ("test", "multibandcolor"),
    ];
    assert_eq!(seen, expected);
    assert!(layers.iter().all(|layer| layer["valid"] == true), "{found}");
    assert!(layers[..3].iter().all(|layer| layer["features"].as_u64().unwrap() > 0), "{found}");
    assert_eq!(found["crs"], "EPSG:32651", "{found}");
    let systems: Vec<&str> = layers.iter().map(|layer| layer["crs"].as_str().unwrap()).collect();
    assert_eq!(systems[0], "EPSG:4326");
    assert!(systems[1..].iter().all(|crs| *crs == "EPSG:32651"), "{systems:?}");
    let visible: Vec<bool> =
        layers.iter().map(|layer| layer["visible"].as_bool().unwrap()).collect();
    assert_eq!(visible, [true, true, false, false, true]);
    assert!(found["colours"].as_u64().unwrap() > 500, "a picture, not a blank: {found}");

    let found = by_qgis(&place.path().join("b.gpkg"), &picture).unwrap();
    assert_eq!(found["layers"][0]["renderer"], "graduatedSymbol", "the style in the GeoPackage");
}
