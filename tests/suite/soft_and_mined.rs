//! Tile sets beyond footprints: soft labels cut from a raster of probabilities, and what `geoseg mine` picks out.

use std::path::Path;

use crate::support::program::Place;
use burn::backend::Flex;
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};
use geoseg::model::weights::{self, Provenance};
use geoseg::model::{ModelSpec, Network};
use geoseg::tiles::{Labels, Split, TileSet};

const SIDE: usize = 256;

/// A north-up grid of `side` pixels over the test ground: UTM zone 45 north, 76.8 m wide.
fn grid(side: usize) -> Grid {
    let gsd_m = 76.8 / side as f64;
    Grid {
        width: side,
        height: side,
        transform: GeoTransform([400_000.0, gsd_m, 0.0, 3_000_000.0, 0.0, -gsd_m]),
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: Some((gsd_m, gsd_m)),
    }
}

/// A scene without data in its first eight columns.
fn write_scene(path: &Path) {
    let values = (0..3 * SIDE * SIDE).map(|i| {
        let (row, col) = (i / SIDE % SIDE, i % SIDE);
        if col < 8 { 0 } else { (1 + (row * 31 + col * 17 + i / SIDE / SIDE * 5) % 200) as u8 }
    });
    let values: Vec<u8> = values.collect();
    write_geotiff(path, &grid(SIDE), 3, &values, Some(0.0), Compression::Deflate).unwrap();
}

/// Probabilities that grow with the row, at half the scene's resolution; none in the lowest 16 of 128 rows.
fn write_soft(path: &Path, grid: &Grid) {
    let values = (0..grid.width * grid.height).map(|i| {
        let row = i / grid.width;
        if row >= grid.height * 7 / 8 { 255 } else { (2 * (row * 128 / grid.height)) as u8 }
    });
    let values: Vec<u8> = values.collect();
    write_geotiff(path, grid, 1, &values, Some(255.0), Compression::Deflate).unwrap();
}

const CONFIG: &str =
    "[tiles]\ntile_px = 128\nmin_valid_fraction = 0.0\n\n[[scene]]\nimage = 'scene.tif'\n";

fn place() -> Place {
    let place = Place::new();
    write_scene(&place.path().join("scene.tif"));
    write_soft(&place.path().join("soft.tif"), &grid(128));
    place.write("soft.toml", &format!("{CONFIG}soft = 'soft.tif'\nsplit = 'train'\n"));
    place
}

fn ok(place: &Place, arguments: &[&str]) -> String {
    let ran = place.run(arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout
}

#[test]
fn soft_tiles_hold_the_rasters_probabilities_on_the_scenes_grid() {
    let place = place();
    ok(&place, &["tiles", "--config", "soft.toml", "-o", "tiles"]);
    let set = TileSet::open(place.path().join("tiles")).unwrap();
    assert_eq!(set.info.labels, Labels::Soft);
    assert_eq!(set.tiles.len(), 4);
    for tile in &set.tiles {
        let pixels = set.read(tile).unwrap();
        for (i, &label) in pixels.mask.iter().enumerate() {
            let (row, col) = (tile.row + i / 128, tile.col + i % 128);
            if col < 8 || row >= 224 {
                assert_eq!(label, 255, "row {row}, column {col}");
            } else if row < 222 {
                // Bilinear between rows of 2: within one of the half row's own value.
                let expected = (row as f64 / 2.0 - 0.25) * 2.0;
                let gap = (f64::from(label) - expected.max(0.0)).abs();
                assert!(gap <= 1.01, "row {row}, column {col}: {label}");
            }
        }
    }
}

#[test]
fn soft_labels_that_do_not_fit_are_refused() {
    let place = place();
    let error = |config: &str| {
        place.write("wrong.toml", config);
        let ran = place.run(&["tiles", "--config", "wrong.toml", "-o", "wrong"]);
        assert!(!place.path().join("wrong").exists());
        ran.error().to_owned()
    };
    let shifted = Grid {
        transform: GeoTransform([400_020.0, 0.6, 0.0, 3_000_000.0, 0.0, -0.6]),
        ..grid(128)
    };
    write_soft(&place.path().join("shifted.tif"), &shifted);
    let message = error(&format!("{CONFIG}soft = 'shifted.tif'\n"));
    assert!(message.contains("shifted.tif") && message.contains("extent"), "{message}");
    let message = error(&format!("{CONFIG}soft = 'soft.tif'\nfootprints = 'a.geojson'\n"));
    assert!(message.contains("scene.0.footprints"), "{message}");
    let message = error(&format!(
        "{CONFIG}soft = 'soft.tif'\n[[scene]]\nimage = 'b.tif'\nfootprints = 'b.gpkg'\n"
    ));
    assert!(message.contains("scene.1.soft"), "{message}");
    let buildings = CONFIG.replace("[tiles]", "[tiles]\nmode = 'buildings'");
    let message = error(&format!("{buildings}soft = 'soft.tif'\n"));
    assert!(message.contains("tiles.mode"), "{message}");
}

/// An untrained network, whose probabilities are near a half.
fn write_model(path: &Path, arch: &str) {
    let spec = ModelSpec {
        arch: arch.into(),
        pyramid_channels: 16,
        segmentation_channels: 32,
        mean: vec![0.4; 3],
        std: vec![0.2; 3],
        ..ModelSpec::default()
    };
    let network = Network::<Flex>::seeded(&spec, 4, &Default::default()).unwrap();
    weights::save(path, &spec, &network, &Provenance::new()).unwrap();
}

#[test]
fn a_set_is_not_mined_onto_itself() {
    let place = place();
    ok(&place, &["tiles", "--config", "soft.toml", "-o", "tiles"]);
    write_model(&place.path().join("m.safetensors"), "carvana-cnn");
    let ran = place.run(&[
        "mine",
        "--tiles",
        "tiles",
        "--model",
        "m.safetensors",
        "-o",
        "./tiles",
        "--overwrite",
        "--device",
        "cpu",
    ]);
    assert!(ran.error().contains("--output"), "{}", ran.stderr);
    assert!(TileSet::open(place.path().join("tiles")).is_ok());
}

#[test]
fn surely_empty_tiles_become_background_and_can_be_trained_on() {
    let place = place();
    ok(&place, &["tiles", "--config", "soft.toml", "-o", "tiles"]);
    write_model(&place.path().join("model.safetensors"), "efficient-fpn");
    let mine = ["mine", "--tiles", "tiles", "--model", "model.safetensors", "--device", "cpu"];
    let run = |more: &[&str]| place.run(&[&mine[..], more].concat());
    // A network that knows nothing is not sure of anything.
    let error = run(&["-o", "none", "--empty-below", "0.01"]).error().to_owned();
    assert!(error.contains("none among 4") && !place.path().join("none").exists(), "{error}");
    let ran = run(&["-o", "mined", "--empty-below", "0.99", "--most", "3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("3 of 4 tiles"), "{}", ran.stdout);
    let (from, mined) = (
        TileSet::open(place.path().join("tiles")).unwrap(),
        TileSet::open(place.path().join("mined")).unwrap(),
    );
    assert_eq!((mined.info.labels, mined.tiles.len()), (Labels::Classes, 3));
    for tile in &mined.tiles {
        let same =
            from.tiles.iter().find(|other| (other.row, other.col) == (tile.row, tile.col)).unwrap();
        let (new, old) = (mined.read(tile).unwrap(), from.read(same).unwrap());
        assert_eq!(new.image, old.image);
        assert!(
            new.mask
                .iter()
                .zip(&old.mask)
                .all(|(new, old)| *new == if *old == 255 { 255 } else { 0 })
        );
        assert_eq!((tile.building_count, tile.split), (0, Split::Train));
    }
    // The same again is the same; something else is refused.
    assert_eq!(run(&["-o", "mined", "--empty-below", "0.99", "--most", "3"]).code, Some(0));
    let error = run(&["-o", "mined", "--empty-below", "0.99", "--most", "2"]).error().to_owned();
    assert!(error.contains("mined"), "{error}");
}

#[test]
fn training_tiles_with_buildings_that_are_none_are_picked_and_keep_their_labels() {
    let place = place();
    place.write("none.geojson", r#"{"type": "FeatureCollection", "features": []}"#);
    place.write("hand.toml", &format!("{CONFIG}footprints = 'none.geojson'\nsplit = 'train'\n"));
    ok(&place, &["tiles", "--config", "hand.toml", "-o", "tiles"]);
    write_model(&place.path().join("model.safetensors"), "fpn");
    let mine =
        ["mine", "--tiles", "tiles", "--model", "model.safetensors", "--device", "cpu", "-o"];
    let sure = place.run(&[&mine[..], &["none", "--threshold", "0.999"]].concat());
    assert!(sure.error().contains("wrongly taken"), "{}", sure.stderr);
    ok(&place, &[&mine[..], &["mined", "--threshold", "0.001"]].concat());
    let mined = TileSet::open(place.path().join("mined")).unwrap();
    assert_eq!(mined.tiles.len(), 4);
    let train = [
        "train",
        "--tiles",
        "tiles",
        "--set",
        "data.mined_tiles=\"mined\"",
        "--set",
        "data.crop_px=64",
        "--set",
        "data.batch=2",
        "--set",
        "run.steps=2",
        "--set",
        "model.arch=\"carvana-cnn\"",
        "--device",
        "cpu",
        "-o",
        "run",
    ];
    ok(&place, &train);
    let preview = [&train[..train.len() - 2], &["--preview", "crops.png"]].concat();
    ok(&place, &preview);
    assert!(image::open(place.path().join("crops.png")).unwrap().width() > 300);
}
