//! Vector files as users have them: what they hold is neither lost nor displaced, and what is beside them stays.

use crate::support::program::Place;
use crate::support::synthetic::run;
use gdal::DriverManager;
use gdal::vector::{Geometry, LayerAccess, LayerOptions, OGRwkbGeometryType};
use geo::{Area, Polygon, Translate, polygon};
use geoseg::geo::Crs;
use geoseg::geo::vector::{
    FeatureReader, FieldKind, LayerWriter, OutputCrs, Value, VectorSource, read_footprints,
};

fn square(x: f64, y: f64, side: f64) -> Polygon<f64> {
    polygon![(x: x, y: y), (x: x + side, y: y), (x: x + side, y: y + side), (x: x, y: y + side)]
}

/// Writes polygons with ids from 0 on, and with attributes that other programs like.
fn write(
    place: &Place,
    name: &str,
    crs: Option<u32>,
    to: OutputCrs,
    shapes: &[geo::Geometry<f64>],
) {
    let crs = crs.map(|code| Crs::from_epsg(code).unwrap());
    let fields = [("id", FieldKind::Text), ("fid", FieldKind::Int), ("geometry", FieldKind::Text)];
    let path = place.path().join(name);
    let mut writer = LayerWriter::create_in(&path, "b", crs.as_ref(), to, &fields).unwrap();
    for (number, shape) in (0..).zip(shapes) {
        let id = number.to_string();
        writer.push(shape, &[Value::Text(&id), Value::Int(7), Value::Text("x")]).unwrap();
    }
    writer.finish().unwrap();
}

fn area(place: &Place, name: &str) -> f64 {
    let read = read_footprints(&VectorSource::file(place.path().join(name)), None).unwrap();
    read.polygons.iter().map(Area::unsigned_area).sum()
}

#[test]
fn overlapping_parts_are_one_ground() {
    let place = Place::new();
    let two = |shift: f64| {
        geo::MultiPolygon(vec![square(0.0, 0.0, 10.0), square(shift, 0.0, 10.0)]).into()
    };
    let shapes = [two(0.0), two(5.0), two(20.0)];
    write(&place, "two.gpkg", Some(32645), OutputCrs::Auto, &shapes);
    assert!((area(&place, "two.gpkg") - 100.0 - 150.0 - 200.0).abs() < 1e-6);
}

#[test]
fn houses_across_the_antimeridian_are_compared_where_they_stand() {
    let place = Place::new();
    // EPSG:3832 has its middle at 150 degrees east: 180 lies at some 3,340 km.
    let houses: Vec<geo::Geometry<f64>> =
        (0..5).map(|i| square(3_339_584.7 - 5.0, 40.0 * f64::from(i), 20.0).into()).collect();
    write(&place, "pdc.gpkg", Some(3832), OutputCrs::Native, &houses);
    write(&place, "wgs.geojson", Some(3832), OutputCrs::Auto, &houses);
    for files in [["pdc.gpkg", "wgs.geojson"], ["wgs.geojson", "pdc.gpkg"]] {
        let args =
            ["conflate", files[0], files[1], "-o", "c.gpkg", "--json", "c.json", "--overwrite"];
        run(&place, &args);
        let text = std::fs::read_to_string(place.path().join("c.json")).unwrap();
        let counts: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(counts["matched"], 5, "{text}");
    }
}

#[test]
fn coordinates_without_a_crs_stay_where_they_are() {
    let place = Place::new();
    let shapes = [square(590.0, 300.0, 20.0).into(), square(10.0, 10.0, 20.0).into()];
    write(&place, "px.geojson", None, OutputCrs::Auto, &shapes);
    run(&place, &["merge", "px.geojson", "-o", "px.gpkg"]);
    assert!((area(&place, "px.gpkg") - 800.0).abs() < 1e-6);
    write(&place, "utm.gpkg", Some(32645), OutputCrs::Auto, &shapes);
    let ran = place.run(&["conflate", "px.gpkg", "utm.gpkg", "-o", "c.gpkg"]);
    assert!(
        ran.error().contains("utm.gpkg") && ran.error().contains("EPSG:32645"),
        "{}",
        ran.stderr
    );
}

#[test]
fn attributes_named_like_a_formats_own_columns_are_kept() {
    let place = Place::new();
    let shapes = [square(0.0, 0.0, 10.0).into(), square(50.0, 0.0, 10.0).into()];
    write(&place, "a.geojson", Some(32645), OutputCrs::Auto, &shapes);
    for name in ["b.gpkg", "b.parquet"] {
        run(&place, &["merge", "a.geojson", "-o", name]);
        let mut reader = FeatureReader::open(&VectorSource::file(place.path().join(name))).unwrap();
        assert_eq!(reader.fields().len(), 3, "{name}: {:?}", reader.fields());
        let mut shapes = 0;
        let count = |feature: geoseg::geo::vector::Feature| {
            shapes += usize::from(feature.geometry.is_some());
            Ok(())
        };
        reader.each(count).unwrap();
        assert_eq!(shapes, 2, "{name}");
    }
}

#[test]
fn curves_become_polygons_and_a_cut_shapefile_is_an_error() {
    let place = Place::new();
    let driver = DriverManager::get_driver_by_name("GPKG").unwrap();
    let mut dataset = driver.create_vector_only(place.path().join("curve.gpkg")).unwrap();
    let layer = dataset
        .create_layer(LayerOptions {
            ty: OGRwkbGeometryType::wkbUnknown,
            ..LayerOptions::default()
        })
        .unwrap();
    for text in [
        "CURVEPOLYGON (CIRCULARSTRING (0 0, 10 10, 20 0, 10 -10, 0 0))",
        "MULTISURFACE (CURVEPOLYGON (CIRCULARSTRING (0 0, 10 10, 20 0, 10 -10, 0 0)))",
        "TRIANGLE ((0 0, 10 0, 0 10, 0 0))",
    ] {
        let mut feature = gdal::vector::Feature::new(layer.defn()).unwrap();
        feature.set_geometry(Geometry::from_wkt(text).unwrap()).unwrap();
        feature.create(&layer).unwrap();
    }
    dataset.close().unwrap();
    let round = std::f64::consts::PI * 100.0;
    assert!((area(&place, "curve.gpkg") - 2.0 * round - 50.0).abs() < 1.0);

    let row: Vec<geo::Geometry<f64>> = (0..50)
        .map(|i| square(0.0, 0.0, 10.0).translate(20.0 * f64::from(i), 0.0).into())
        .collect();
    write(&place, "row.shp", Some(32645), OutputCrs::Auto, &row);
    let shp = place.path().join("row.shp");
    let bytes = std::fs::read(&shp).unwrap();
    std::fs::write(&shp, &bytes[..bytes.len() / 2]).unwrap();
    let ran = place.run(&["merge", "row.shp", "-o", "m.gpkg"]);
    assert!(ran.error().contains("row.shp"), "{}", ran.stderr);
    assert!(!place.path().join("m.gpkg").exists());
}

#[test]
fn what_belongs_to_another_shapefile_is_neither_replaced_nor_taken_over() {
    let place = Place::new();
    write(&place, "a.gpkg", None, OutputCrs::Auto, &[square(0.0, 0.0, 10.0).into()]);
    place.write("b.dbf", "precious");
    let merge = ["merge", "a.gpkg", "-o", "b.shp"];
    assert!(place.run(&merge).error().contains("b.dbf"));
    place.write("b.prj", "of another file");
    place.write("b.qix", "of another file");
    run(&place, &[&merge[..], &["--overwrite"]].concat());
    assert!(!place.path().join("b.prj").exists() && !place.path().join("b.qix").exists());
    // A slash makes a folder of a name; the file of that name stays.
    let ran = place.run(&["merge", "a.gpkg", "-o", "a.gpkg/"]);
    assert!(ran.error().contains("a folder"), "{}", ran.stderr);
}

#[test]
fn places_that_a_format_or_crs_does_not_reach_are_named() {
    let place = Place::new();
    write(&place, "pole.gpkg", Some(3031), OutputCrs::Auto, &[square(-5.0, -5.0, 10.0).into()]);
    let ran = place.run(&["merge", "pole.gpkg", "-o", "pole.mbtiles"]);
    assert!(ran.error().contains("pole.mbtiles") && ran.error().contains("85"), "{}", ran.stderr);
    for code in ["EPSG:5773", "EPSG:4978"] {
        let ran = place.run(&["merge", "pole.gpkg", "--crs", code, "-o", "x.gpkg"]);
        assert!(ran.error().contains(code), "{}", ran.stderr);
    }
}
