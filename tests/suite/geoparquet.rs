//! GeoParquet as input of every command that reads buildings: the same outcome as with a GeoPackage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::files::FileServer;
use crate::support::program::Place;
use crate::support::synthetic::run;
use geo::{Polygon, polygon};
use geoseg::geo::vector::{
    Attribute, Feature, FeatureReader, FieldKind, LayerWriter, Value, VectorSource, read_footprints,
};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};

/// Lower left corner of the ground, UTM zone 45 north, metres.
const ORIGIN: (f64, f64) = (330_000.0, 3_060_000.0);

fn utm() -> Crs {
    Crs::from_epsg(32645).unwrap()
}

/// A house 10 m deep.
fn house(east: f64, north: f64, length: f64) -> Polygon<f64> {
    let (x, y) = (ORIGIN.0 + east, ORIGIN.1 + north);
    polygon![(x: x, y: y), (x: x + length, y: y), (x: x + length, y: y + 10.0), (x: x, y: y + 10.0)]
}

const FIELDS: [(&str, FieldKind); 3] =
    [("id", FieldKind::Text), ("confidence", FieldKind::Real), ("floors", FieldKind::Int)];

/// Writes houses as GeoParquet and as a GeoPackage.
fn write(place: &Place, name: &str, houses: &[(&str, f64, Polygon<f64>)]) {
    for extension in ["parquet", "gpkg"] {
        let path = place.path().join(format!("{name}.{extension}"));
        let mut writer = LayerWriter::create(&path, name, Some(&utm()), &FIELDS).unwrap();
        for (id, confidence, shape) in houses {
            let floors = if *confidence > 0.8 { Value::Int(2) } else { Value::Null };
            let values = [Value::Text(id), Value::Real(*confidence), floors];
            writer.push(&shape.clone().into(), &values).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn town() -> Place {
    let place = Place::new();
    let west = [
        ("w1", 0.9, house(2.0, 2.0, 20.0)),
        ("w2", 0.8, house(50.0, 2.0, 20.0)),
        ("w3", 0.7, house(2.0, 50.0, 20.0)),
    ];
    let east = [("e2", 0.85, house(51.0, 2.5, 20.0)), ("e4", 0.6, house(50.0, 50.0, 20.0))];
    write(&place, "west", &west);
    write(&place, "east", &east);
    write(&place, "none", &[]);
    place
}

fn features(path: PathBuf) -> (Vec<(String, FieldKind)>, Vec<Feature>) {
    let mut reader = FeatureReader::open(&VectorSource::file(path)).unwrap();
    let mut features = Vec::new();
    reader
        .each(|feature| {
            features.push(feature);
            Ok(())
        })
        .unwrap();
    (reader.fields().to_vec(), features)
}

/// Geometries and attributes of a file.
fn content(place: &Place, name: &str) -> String {
    let (fields, features) = features(place.path().join(name));
    let rows: Vec<_> = features.into_iter().map(|f| (f.geometry, f.attributes)).collect();
    format!("{fields:?} {rows:?}")
}

#[test]
fn merge_reads_what_it_writes() {
    let place = town();
    for extension in ["parquet", "gpkg"] {
        let files = ["west", "east", "none"].map(|name| format!("{name}.{extension}"));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let out = format!("all_{extension}.parquet");
        let printed = run(&place, &[&["merge"], &files[..], &["-o", &out]].concat());
        assert!(printed.contains("4 buildings of 5 in 3 files (1 duplicates"), "{printed}");
        let checked = format!("{out}: 4 features checked: 0 invalid");
        assert!(printed.contains(&checked), "what is written is read back: {printed}");
    }
    assert_eq!(content(&place, "all_parquet.parquet"), content(&place, "all_gpkg.parquet"));
    run(&place, &["merge", "all_parquet.parquet", "none.gpkg", "-o", "again.gpkg"]);
    assert_eq!(content(&place, "again.gpkg"), content(&place, "all_gpkg.parquet"));
}

#[test]
fn conflate_finds_the_same_changes() {
    let place = town();
    for extension in ["parquet", "gpkg"] {
        let (predicted, known) = (format!("west.{extension}"), format!("east.{extension}"));
        let out = format!("changes_{extension}.geojson");
        let printed = run(&place, &["conflate", &predicted, &known, "-o", &out]);
        assert!(printed.contains("3 predicted, 2 known"), "{printed}");
    }
    let changes = content(&place, "changes_parquet.geojson");
    assert_eq!(changes, content(&place, "changes_gpkg.geojson"));
    assert!(["matched", "new", "missing", "e2"].iter().all(|word| changes.contains(word)));
    run(&place, &["conflate", "west.parquet", "none.parquet", "-o", "changes.parquet"]);
    run(&place, &["conflate", "west.gpkg", "none.gpkg", "-o", "changes.gpkg"]);
    assert_eq!(content(&place, "changes.parquet"), content(&place, "changes.gpkg"));
}

#[test]
fn validate_names_the_same_defects() {
    let place = Place::new();
    let narrow = house(2.0, 50.0, 0.2);
    let houses =
        [("a", 0.9, house(0.0, 0.0, 20.0)), ("b", 0.9, house(15.0, 0.0, 20.0)), ("c", 0.9, narrow)];
    write(&place, "bad", &houses);
    let found = ["bad.parquet", "bad.gpkg"].map(|name| {
        let json = format!("{name}.json");
        let ran = place.run(&["validate", name, "--json", &json]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let text = std::fs::read_to_string(place.path().join(json)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["problems"].clone()
    });
    assert_eq!(found[0].as_array().unwrap().len(), 3);
    assert_eq!(found[0], found[1]);
    let short = std::fs::read(place.path().join("bad.parquet")).unwrap();
    std::fs::write(place.path().join("short.parquet"), &short[..short.len() / 2]).unwrap();
    let ran = place.run(&["validate", "short.parquet"]);
    assert!(ran.error().contains("short.parquet: expected a GeoParquet file"), "{}", ran.stderr);
}

/// A scene over the town, 200 x 160 px of half a metre.
fn write_scene(path: &Path) {
    let (width, height) = (200, 160);
    let top = ORIGIN.1 + height as f64 * 0.5;
    let grid = Grid {
        width,
        height,
        transform: GeoTransform([ORIGIN.0, 0.5, 0.0, top, 0.0, -0.5]),
        crs: Some(utm()),
        gsd_m: Some((0.5, 0.5)),
    };
    let pixels: Vec<u8> = (0..3 * width * height).map(|i| (i % 251) as u8 | 1).collect();
    write_geotiff(path, &grid, 3, &pixels, None, Compression::Deflate).unwrap();
}

#[test]
fn eval_gives_the_same_figures_for_files_and_for_a_folder_of_predictions() {
    let place = town();
    write_scene(&place.path().join("town.tif"));
    let found = ["parquet", "gpkg"].map(|extension| {
        let (predicted, truth) = (format!("west.{extension}"), format!("east.{extension}"));
        run(&place, &["eval", "--predicted", &predicted, "--truth", &truth, "--image", "town.tif"])
    });
    assert_eq!(found[0], found[1]);
    std::fs::create_dir(place.path().join("predictions")).unwrap();
    std::fs::rename(
        place.path().join("west.parquet"),
        place.path().join("predictions/town.parquet"),
    )
    .unwrap();
    place.write(
        "dataset.toml",
        "[[scene]]\nimage = 'town.tif'\nfootprints = 'east.parquet'\nsplit = 'val'\n",
    );
    let arguments = ["eval", "--dataset", "dataset.toml", "--predictions", "predictions"];
    let of_split = run(&place, &[&arguments[..], &["--json", "m.json"]].concat());
    assert!(of_split.contains("town"), "{of_split}");
}

#[test]
fn tiles_cut_from_geoparquet_are_those_cut_from_a_geopackage() {
    let place = town();
    write_scene(&place.path().join("town.tif"));
    let masks = ["parquet", "gpkg"].map(|extension| {
        place.write(
            "dataset.toml",
            &format!(
                "[tiles]\ntile_px = 64\n[[scene]]\nimage = 'town.tif'\n\
                 footprints = 'west.{extension}'\nfilter = \"confidence > 0.75\"\n\
                 split = 'train'\n"
            ),
        );
        run(&place, &["tiles", "--config", "dataset.toml", "-o", extension]);
        let pattern = place.path().join(extension).join("**/*_mask.png");
        let masks = glob::glob(&pattern.to_string_lossy()).unwrap().map(Result::unwrap);
        masks
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    });
    assert!(masks[0].len() > 5);
    assert!(masks[0] == masks[1]);
}

/// The folder of files that another program wrote.
fn foreign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/geoparquet").join(name)
}

#[test]
fn buildings_as_overture_maps_ships_them_are_read() {
    let (fields, features) = features(foreign("overture.parquet"));
    let kinds = fields.iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>();
    let expected = [
        ("id", FieldKind::Text),
        ("version", FieldKind::Int),
        ("class", FieldKind::Text),
        ("height", FieldKind::Real),
        ("level", FieldKind::Real),
        ("has_parts", FieldKind::Int),
        ("update_time", FieldKind::Text),
        ("surveyed", FieldKind::Text),
    ];
    assert_eq!(kinds, expected, "without the nested ones");
    let text = |text: &str| Attribute::Text(text.to_owned());
    assert_eq!(
        features[0].attributes,
        [
            text("08b3"),
            Attribute::Int(1),
            text("house"),
            Attribute::Real(3.5),
            Attribute::Real(0.5),
            Attribute::Int(1),
            text("2024/06/01 10:05:00.250+00"),
            text("2024/06/02"),
        ]
    );
    let ids: Vec<Attribute> = features.iter().map(|f| f.attributes[0].clone()).collect();
    assert_eq!(ids[1..], [text("08b4"), Attribute::Null, text("08b6"), text("08b7")]);
    assert_eq!(features[1].attributes[6], Attribute::Null);
    let shape = |x: f64| -> Polygon<f64> {
        let corner = |east: f64, north: f64| ((x + east) / 1e4, (276_500.0 + north) / 1e4);
        let corners = [corner(0.0, 0.0), corner(2.0, 0.0), corner(2.0, 1.0), corner(0.0, 1.0)];
        Polygon::new(corners.into_iter().collect(), Vec::new())
    };
    let geometries: Vec<_> = features.into_iter().map(|feature| feature.geometry).collect();
    let two = geo::MultiPolygon(vec![shape(852_810.0), shape(852_820.0)]);
    let point = geo::Point::new(85.284, 27.65);
    let expected = [
        Some(shape(852_800.0).into()),
        Some(two.into()),
        Some(shape(852_830.0).into()),
        Some(point.into()),
        None,
    ];
    assert_eq!(geometries, expected);
    let found = read_footprints(&VectorSource::file(foreign("overture.parquet")), Some(&utm()));
    let found = found.unwrap();
    assert_eq!((found.polygons.len(), found.dropped), (3, 2));
}

#[test]
fn another_codec_is_named() {
    let place = Place::new();
    std::fs::copy(foreign("lz4.parquet"), place.path().join("lz4.parquet")).unwrap();
    let ran = place.run(&["validate", "lz4.parquet"]);
    assert!(ran.error().contains("found LZ4"), "{}", ran.stderr);
}

#[test]
fn a_file_on_a_server_is_read_in_ranges() {
    let place = town();
    let mut files = BTreeMap::new();
    let remote = std::fs::read(place.path().join("west.parquet")).unwrap();
    files.insert("/west.parquet".to_owned(), remote);
    let server = FileServer::new(files);
    let url = format!("http://{}/west.parquet?signature=1", server.address);
    run(&place, &["conflate", &url, "east.parquet", "-o", "remote.geojson"]);
    run(&place, &["conflate", "west.parquet", "east.parquet", "-o", "local.geojson"]);
    assert_eq!(content(&place, "remote.geojson"), content(&place, "local.geojson"));
    let missing = format!("http://{}/nowhere.parquet", server.address);
    let ran = place.run(&["validate", &missing]);
    assert!(ran.error().contains("nowhere.parquet: expected a readable file"), "{}", ran.stderr);
}
