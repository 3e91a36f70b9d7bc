//! `geoseg validate`, `merge` and `conflate` on files whose answer is known.

use std::collections::BTreeMap;

use crate::support::program::Place;
use crate::support::synthetic::run;
use geo::{BoundingRect, Polygon, Translate, polygon};
use geoseg::geo::vector::{
    Attribute, FeatureReader, FieldKind, LayerWriter, OutputCrs, Value, VectorSource,
};
use geoseg::geo::{Crs, Reprojection};

const FIELDS: [(&str, FieldKind); 3] =
    [("id", FieldKind::Text), ("confidence", FieldKind::Real), ("scene", FieldKind::Text)];

/// A house 10 m wide at so many metres east and north of a corner near Kathmandu.
fn house(east: f64, north: f64, length: f64) -> Polygon<f64> {
    let (x, y) = (330_000.0 + east, 3_060_000.0 + north);
    polygon![(x: x, y: y), (x: x + length, y: y), (x: x + length, y: y + 10.0), (x: x, y: y + 10.0)]
}

/// Writes houses given in UTM 45 N, as a file in another CRS.
fn write(place: &Place, name: &str, epsg: u32, houses: &[(&str, f64, &str, Polygon<f64>)]) {
    let utm = Crs::from_epsg(32645).unwrap();
    let path = place.path().join(name);
    let crs = OutputCrs::Epsg(epsg);
    let mut writer = LayerWriter::create_in(&path, "buildings", Some(&utm), crs, &FIELDS).unwrap();
    for (id, confidence, scene, polygon) in houses {
        let values = [Value::Text(id), Value::Real(*confidence), Value::Text(scene)];
        writer.push(&polygon.clone().into(), &values).unwrap();
    }
    writer.finish().unwrap();
}

/// Attributes by name of every feature.
fn rows(place: &Place, name: &str) -> Vec<BTreeMap<String, Attribute>> {
    let mut reader = FeatureReader::open(&VectorSource::file(place.path().join(name))).unwrap();
    let names: Vec<String> = reader.fields().iter().map(|(name, _)| name.clone()).collect();
    let mut rows = Vec::new();
    reader
        .each(|feature| {
            rows.push(names.iter().cloned().zip(feature.attributes).collect());
            Ok(())
        })
        .unwrap();
    rows
}

fn ids(place: &Place, name: &str) -> Vec<String> {
    let mut ids: Vec<String> = rows(place, name).iter().map(|row| row["id"].text()).collect();
    ids.sort();
    ids
}

#[test]
fn validate_names_every_defect_and_its_feature() {
    let place = Place::new();
    place.write(
        "bad.geojson",
        r#"{"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"id": "good"}, "geometry": {"type": "Polygon", "coordinates":
            [[[85.0, 27.0], [85.0001, 27.0], [85.0001, 27.0001], [85.0, 27.0001], [85.0, 27.0]]]}},
        {"type": "Feature", "properties": {"id": "bow"}, "geometry": {"type": "Polygon", "coordinates":
            [[[85.001, 27.0], [85.0011, 27.0001], [85.0011, 27.0], [85.001, 27.0001], [85.001, 27.0]]]}},
        {"type": "Feature", "properties": {"id": "none"}, "geometry": null},
        {"type": "Feature", "properties": {"id": "point"}, "geometry": {"type": "Point", "coordinates": [85, 27]}},
        {"type": "Feature", "properties": {"id": "thin"}, "geometry": {"type": "Polygon", "coordinates":
            [[[85.002, 27.0], [85.0024, 27.0], [85.0024, 27.000002], [85.002, 27.000002], [85.002, 27.0]]]}},
        {"type": "Feature", "properties": {"id": "twin"}, "geometry": {"type": "Polygon", "coordinates":
            [[[85.00005, 27.0], [85.00015, 27.0], [85.00015, 27.0001], [85.00005, 27.0001], [85.00005, 27.0]]]}},
        {"type": "Feature", "properties": {"id": "neighbour"}, "geometry": {"type": "Polygon", "coordinates":
            [[[85.00015, 27.0], [85.00025, 27.0], [85.00025, 27.0001], [85.00015, 27.0001], [85.00015, 27.0]]]}}
        ]}"#,
    );
    let ran = place.run(&["validate", "bad.geojson", "--json", "problems.json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("6 of 7 features failed"), "{}", ran.stderr);
    let counts = "7 features checked: 1 invalid, 2 empty, 1 slivers, 2 overlapping";
    assert!(ran.stdout.contains(counts), "{}", ran.stdout);
    let text = std::fs::read_to_string(place.path().join("problems.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let found: Vec<(&str, &str)> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["id"].as_str().unwrap(), p["problem"].as_str().unwrap()))
        .collect();
    let expected = [
        ("bow", "invalid"),
        ("none", "empty"),
        ("point", "empty"),
        ("thin", "sliver"),
        ("good", "overlap"),
        ("twin", "overlap"),
    ];
    assert_eq!(found, expected);
    // Half of a house of 9.93 m by 11.08 m.
    let reason = json["problems"][4]["reason"].as_str().unwrap();
    assert_eq!(reason, "shares 55.0 m2 with twin");
    let lenient = ["--set", "validate.max_overlap_m2=60", "--set", "validate.min_width_m=0.1"];
    let ran = place.run(&[&["validate", "bad.geojson"], &lenient[..]].concat());
    assert!(ran.stdout.contains("0 slivers, 0 overlapping"), "{}", ran.stdout);
}

#[test]
fn validate_is_content_with_what_polygonize_wrote_and_says_so() {
    let place = Place::new();
    write(&place, "a.gpkg", 32645, &[("a", 0.9, "s", house(0.0, 0.0, 20.0))]);
    let ran = place.run(&["validate", "a.gpkg"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("1 features checked: 0 invalid"), "{}", ran.stdout);
    assert!(place.run(&["validate", "nowhere.gpkg"]).error().contains("nowhere.gpkg"));
}

/// Two scenes that overlap: a building that both show, one of which the edge of the first cuts a part
/// off, and one that is in each alone.
fn overlapping_scenes(place: &Place) {
    let west = [
        ("w1", 0.90, "west", house(0.0, 0.0, 20.0)),
        ("w2", 0.80, "west", house(100.0, 0.0, 20.0)),
        ("w3", 0.99, "west", house(200.0, 0.0, 6.0)),
    ];
    let east = [
        ("e2", 0.85, "east", house(101.0, 0.5, 20.0)),
        ("e3", 0.70, "east", house(200.0, 0.0, 25.0)),
        ("e4", 0.60, "east", house(300.0, 0.0, 20.0)),
    ];
    write(place, "west.gpkg", 32645, &west);
    write(place, "east.geojson", 4326, &east);
}

#[test]
fn merge_keeps_every_building_once_and_its_attributes() {
    let place = Place::new();
    overlapping_scenes(&place);
    let out = run(&place, &["merge", "west.gpkg", "east.geojson", "-o", "all.gpkg"]);
    assert!(out.contains("4 buildings of 6 in 2 files (1 duplicates, 1 parts"), "{out}");
    assert!(out.contains("all.gpkg: 4 features checked: 0 invalid"), "{out}");
    assert_eq!(ids(&place, "all.gpkg"), ["e2", "e3", "e4", "w1"]);
    let winner = rows(&place, "all.gpkg").into_iter().find(|row| row["id"].text() == "e2").unwrap();
    assert_eq!(winner["scene"], Attribute::Text("east".into()));
    assert_eq!(winner["confidence"], Attribute::Real(0.85));
    let reader = FeatureReader::open(&VectorSource::file(place.path().join("all.gpkg"))).unwrap();
    assert!(reader.crs().unwrap().same_as(&Crs::wgs84().unwrap()), "the files' CRS differ");

    let parts_stay = ["--set", "merge.contained=0", "--overwrite"];
    run(
        &place,
        &[&["merge", "west.gpkg", "east.geojson", "-o", "all.gpkg"], &parts_stay[..]].concat(),
    );
    assert_eq!(ids(&place, "all.gpkg"), ["e2", "e3", "e4", "w1", "w3"]);
    let strict = ["--set", "merge.iou=0.95", "--overwrite"];
    run(&place, &[&["merge", "west.gpkg", "east.geojson", "-o", "all.gpkg"], &strict[..]].concat());
    assert_eq!(ids(&place, "all.gpkg"), ["e3", "e4", "w1", "w2"], "then the smaller one is a part");
}

#[test]
fn merge_does_not_depend_on_the_order_of_its_inputs_nor_on_threads() {
    let place = Place::new();
    overlapping_scenes(&place);
    // A chain through three scenes, and exact twins.
    let third = [
        ("t2", 0.80, "third", house(103.0, 1.0, 20.0)),
        ("t4", 0.60, "third", house(300.0, 0.0, 20.0)),
    ];
    write(&place, "third.fgb", 32645, &third);
    let mut seen = Vec::new();
    for (threads, files) in [
        ("1", ["west.gpkg", "east.geojson", "third.fgb"]),
        ("2", ["third.fgb", "west.gpkg", "east.geojson"]),
        ("2", ["east.geojson", "third.fgb", "west.gpkg"]),
    ] {
        let options = ["--overwrite", "--threads", threads, "-o", "all.geojson"];
        run(&place, &[&["merge"], &files[..], &options[..]].concat());
        seen.push(std::fs::read(place.path().join("all.geojson")).unwrap());
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
    assert_eq!(ids(&place, "all.geojson"), ["e2", "e3", "e4", "w1"]);
}

#[test]
fn scenes_of_one_file_are_merged_too_and_a_scene_with_itself_is_not() {
    let place = Place::new();
    let both = [
        ("a", 0.9, "north", house(0.0, 0.0, 20.0)),
        ("b", 0.8, "south", house(0.0, 0.0, 20.0)),
        ("c", 0.7, "south", house(50.0, 0.0, 20.0)),
        ("d", 0.6, "south", house(51.0, 0.0, 20.0)),
    ];
    write(&place, "both.gpkg", 32645, &both);
    run(&place, &["merge", "both.gpkg", "--set", "validate.outputs=false", "-o", "all.gpkg"]);
    assert_eq!(ids(&place, "all.gpkg"), ["a", "c", "d"]);
}

#[test]
fn merge_reconciles_attributes_and_refuses_a_file_without_a_crs() {
    let place = Place::new();
    let collection = |crs: &str, properties: &str| {
        format!(
            r#"{{"type": "FeatureCollection", {crs} "features": [{{"type": "Feature", "properties": {properties},
            "geometry": {{"type": "Polygon", "coordinates": [[[85, 27], [85.001, 27], [85.001, 27.001], [85, 27]]]}}}}]}}"#
        )
    };
    place.write("a.geojson", &collection("", r#"{"id": 7, "height": 3, "scene": "a"}"#));
    place.write(
        "b.geojson",
        &collection("", r#"{"id": "x", "height": 3.5, "scene": "b", "roof": "flat"}"#),
    );
    run(&place, &["merge", "a.geojson", "b.geojson", "--set", "merge.iou=1", "-o", "all.fgb"]);
    let rows = rows(&place, "all.fgb");
    assert_eq!(rows.len(), 1, "twins");
    assert_eq!(rows[0]["id"], Attribute::Text("7".into()));
    assert_eq!(rows[0]["height"], Attribute::Real(3.0));
    assert_eq!(rows[0]["roof"], Attribute::Null);

    std::fs::write(place.path().join("plain.csv"), "WKT,id\n\"POLYGON((0 0,1 0,1 1,0 0))\",1\n")
        .unwrap();
    let ran = place.run(&["merge", "a.geojson", "plain.csv", "-o", "none.gpkg"]);
    assert!(ran.error().contains("plain.csv"), "{}", ran.stderr);
    assert!(!place.path().join("none.gpkg").exists());
}

#[test]
fn scenes_on_both_sides_of_the_antimeridian_meet() {
    let place = Place::new();
    let utm = Crs::from_epsg(32760).unwrap();
    let way = Reprojection::new(&Crs::wgs84().unwrap(), &utm).unwrap();
    let (x, y) = way.point(179.999_999, -16.8).unwrap();
    let house = house(0.0, 0.0, 20.0);
    let corner = house.bounding_rect().unwrap().min();
    let house = house.translate(x - 12.0 - corner.x, y - corner.y);
    for (name, crs) in [("a.gpkg", 32760), ("b.gpkg", 32701)] {
        let path = place.path().join(name);
        let crs = OutputCrs::Epsg(crs);
        let mut writer = LayerWriter::create_in(&path, "b", Some(&utm), crs, &FIELDS).unwrap();
        let values = [Value::Text(name), Value::Real(0.5), Value::Text(name)];
        writer.push(&house.clone().into(), &values).unwrap();
        writer.finish().unwrap();
    }
    let out = run(&place, &["merge", "a.gpkg", "b.gpkg", "-o", "all.geojson"]);
    assert!(out.contains("1 buildings of 2"), "{out}");
    assert!(
        out.contains("1 features checked: 0 invalid, 0 empty, 0 slivers, 0 overlapping"),
        "{out}"
    );
}

#[test]
fn conflate_tells_matched_changed_new_and_missing_apart() {
    let place = Place::new();
    let predicted = [
        ("p1", 0.9, "s", house(0.0, 0.0, 20.0)),
        ("p2", 0.8, "s", house(100.0, 0.0, 9.0)),
        ("p3", 0.8, "s", house(111.0, 0.0, 9.0)),
        ("p4", 0.7, "s", house(200.0, 0.0, 40.0)),
        ("p5", 0.7, "s", house(300.0, 0.0, 20.0)),
        ("p6", 0.7, "s", house(400.0, 0.0, 20.0)),
    ];
    let known = [
        ("r1", 0.0, "", house(1.0, 0.0, 20.0)),
        ("r2", 0.0, "", house(100.0, 0.0, 20.0)),
        ("r4a", 0.0, "", house(200.0, 0.0, 18.0)),
        ("r4b", 0.0, "", house(220.0, 0.0, 18.0)),
        ("r5", 0.0, "", house(312.0, 0.0, 20.0)),
        ("r7", 0.0, "", house(500.0, 0.0, 20.0)),
    ];
    write(&place, "predicted.gpkg", 32645, &predicted);
    write(&place, "known.geojson", 4326, &known);
    let arguments =
        ["conflate", "predicted.gpkg", "known.geojson", "--json", "c.json", "-o", "changes.gpkg"];
    let table = run(&place, &arguments);
    for line in ["6 predicted, 6 known", "1 of another shape, 2 split, 1 merged"] {
        assert!(table.contains(line), "{table}");
    }
    let rows = rows(&place, "changes.gpkg");
    let seen: Vec<[String; 4]> = rows
        .iter()
        .map(|row| ["id", "reference_id", "status", "change"].map(|name| row[name].text()))
        .collect();
    let expected = [
        ["p1", "r1", "matched", ""],
        ["p2", "r2", "changed", "split"],
        ["p3", "r2", "changed", "split"],
        ["p4", "r4a,r4b", "changed", "merged"],
        ["p5", "r5", "changed", "shape"],
        ["p6", "", "new", ""],
        ["", "r7", "missing", ""],
    ];
    assert_eq!(seen, expected.map(|row| row.map(str::to_owned)));
    let iou = rows[0]["iou"].number().unwrap();
    assert!((iou - 19.0 / 21.0).abs() < 2e-3, "{iou}");
    let text = std::fs::read_to_string(place.path().join("c.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["matched"].as_u64(), json["missing"].as_u64()), (Some(1), Some(1)));
    let styles = FeatureReader::open(&VectorSource {
        layer: Some("layer_styles".into()),
        ..VectorSource::file(place.path().join("changes.gpkg"))
    });
    assert!(styles.unwrap().field("styleQML").is_some());
}

#[test]
fn texts_that_a_shapefile_cuts_are_counted() {
    let place = Place::new();
    let long = "n".repeat(300);
    write(&place, "a.gpkg", 32645, &[(&long, 0.9, "s", house(0.0, 0.0, 20.0))]);
    write(&place, "b.gpkg", 32645, &[("b", 0.8, "t", house(100.0, 0.0, 20.0))]);
    let ran = place.run(&["merge", "a.gpkg", "b.gpkg", "-o", "all.shp"]);
    assert!(ran.stderr.contains("all.shp: 1 texts cut to 254 bytes"), "{}", ran.stderr);
}

#[test]
fn an_option_out_of_range_leaves_nothing() {
    let place = Place::new();
    overlapping_scenes(&place);
    let before = place.names();
    for (command, key) in [("merge", "merge.iou=2"), ("conflate", "conflate.shared=0")] {
        let ran = place.run(&[command, "west.gpkg", "east.geojson", "-o", "x.gpkg", "--set", key]);
        assert!(ran.error().contains(key.split('=').next().unwrap()), "{}", ran.stderr);
        assert_eq!(place.names(), before);
    }
}
