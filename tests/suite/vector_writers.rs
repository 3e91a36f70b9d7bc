//! FlatGeobuf and GeoJSON files hold what GDAL's own drivers would have written, in the same order.

use std::path::Path;

use gdal::spatial_ref::{AxisMappingStrategy, SpatialRef};
use gdal::vector::{Geometry, LayerAccess, LayerOptions, OGRFieldType, OGRwkbGeometryType};
use gdal::{Dataset, DriverManager};
use geo::{Coord, MapCoords, MultiPolygon, Polygon, Validation, coord, polygon};
use geoseg::geo::Crs;
use geoseg::geo::vector::{
    Attribute, FeatureReader, FieldKind, LayerWriter, OutputCrs, Value, VectorSource,
};
use geozero::{CoordDimensions, ToWkb};
use proptest::prelude::*;

const FIELDS: [(&str, FieldKind); 3] =
    [("id", FieldKind::Text), ("confidence", FieldKind::Real), ("floors", FieldKind::Int)];

/// A CRS that no register knows.
const SURVEY: &str = r#"PROJCS["survey",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],
    PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],
    PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",86],PARAMETER["scale_factor",1],
    PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]"#;

/// A feature that both drivers write.
type Row = (geo::Geometry<f64>, Vec<Attribute>);

fn ours(path: &Path, crs: Option<&Crs>, rows: &[Row]) {
    let mut writer = LayerWriter::create(path, "buildings", crs, &FIELDS).unwrap();
    for (geometry, attributes) in rows {
        let values: Vec<_> = attributes.iter().map(Attribute::value).collect();
        writer.push(geometry, &values).unwrap();
    }
    writer.finish().unwrap();
}

fn gdals(path: &Path, crs: Option<&Crs>, rows: &[Row]) {
    let is_json = path.extension().is_some_and(|extension| extension == "geojson");
    let (driver, options): (_, &[&str]) =
        if is_json { ("GeoJSON", &["RFC7946=YES"]) } else { ("FlatGeobuf", &[]) };
    let driver = DriverManager::get_driver_by_name(driver).unwrap();
    let mut dataset = driver.create_vector_only(path).unwrap();
    let srs = crs.map(|crs| {
        let mut srs = SpatialRef::from_wkt(crs.wkt()).unwrap();
        srs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        srs
    });
    let layer = dataset
        .create_layer(LayerOptions {
            name: "buildings",
            srs: srs.as_ref(),
            ty: OGRwkbGeometryType::wkbUnknown,
            options: Some(options),
        })
        .unwrap();
    let kinds = [OGRFieldType::OFTString, OGRFieldType::OFTReal, OGRFieldType::OFTInteger64];
    layer.create_defn_fields(&[0, 1, 2].map(|i: usize| (FIELDS[i].0, kinds[i]))).unwrap();
    for (geometry, attributes) in rows {
        let mut feature = gdal::vector::Feature::new(layer.defn()).unwrap();
        for (index, value) in attributes.iter().enumerate() {
            match value {
                Attribute::Null => feature.set_field_null(index),
                Attribute::Int(value) => feature.set_field_integer64(index, *value),
                Attribute::Real(value) => feature.set_field_double(index, *value),
                Attribute::Text(value) => feature.set_field_string(index, value),
            }
            .unwrap();
        }
        let wkb = geometry.to_wkb(CoordDimensions::xy()).unwrap();
        feature.set_geometry(Geometry::from_wkb(&wkb).unwrap()).unwrap();
        feature.create(&layer).unwrap();
    }
    dataset.close().unwrap();
}

/// Every feature as GDAL's driver reads it, in file order.
fn rows(path: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    FeatureReader::open(&VectorSource::file(path))
        .unwrap()
        .each(|feature| {
            rows.push((feature.geometry.unwrap(), feature.attributes));
            Ok(())
        })
        .unwrap();
    rows
}

/// Ids of the features whose boxes meet a rectangle, found by the index.
fn within(path: &Path, [west, south, east, north]: [f64; 4]) -> Vec<String> {
    let dataset = Dataset::open(path).unwrap();
    let mut layer = dataset.layer(0).unwrap();
    layer.set_spatial_filter_rect(west, south, east, north);
    layer
        .features()
        .map(|feature| feature.field_as_string(0).unwrap().unwrap_or_default())
        .collect()
}

fn utm() -> Crs {
    Crs::from_epsg(32645).unwrap()
}

/// A court: a square of `side` metres with a square hole.
fn court(x: f64, y: f64, side: f64) -> Polygon<f64> {
    let (a, b) = (side / 4.0, side / 2.0);
    polygon!(
        exterior: [(x: x, y: y), (x: x + side, y: y), (x: x + side, y: y + side), (x: x, y: y + side)],
        interiors: [[(x: x + a, y: y + a), (x: x + a, y: y + b), (x: x + b, y: y + b), (x: x + b, y: y + a)]],
    )
}

fn shape() -> impl Strategy<Value = geo::Geometry<f64>> {
    let place = (0.0..5000.0, -3000.0..3000.0, 1.0..300.0);
    let single = place.clone().prop_map(|(x, y, side)| {
        polygon![(x: x, y: y), (x: x + side, y: y), (x: x, y: y + side)].into()
    });
    let holed = place.clone().prop_map(|(x, y, side)| court(x, y, side).into());
    let many = prop::collection::vec(place, 2..4).prop_map(|places| {
        MultiPolygon(places.into_iter().map(|(x, y, side)| court(x, y, side)).collect()).into()
    });
    prop_oneof![3 => single, 2 => holed, 1 => many]
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let maybe =
        |value: BoxedStrategy<Attribute>| prop_oneof![1 => Just(Attribute::Null), 3 => value];
    let text = "[ -~äß屋]{0,12}".prop_map(Attribute::Text).boxed();
    let real = prop::num::f64::NORMAL.prop_map(Attribute::Real).boxed();
    let int = any::<i64>().prop_map(Attribute::Int).boxed();
    (maybe(text), maybe(real), maybe(int)).prop_map(|(a, b, c)| vec![a, b, c])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn features_and_index_are_those_of_gdals_driver(
        written in prop::collection::vec((shape(), attributes()), 1..90),
        corner in (0.0..5000.0, -3000.0..3000.0, 1.0..2000.0),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.fgb"), folder.path().join("b.fgb"));
        ours(&a, Some(&utm()), &written);
        gdals(&b, Some(&utm()), &written);
        let read = rows(&a);
        prop_assert_eq!(read.len(), written.len());
        prop_assert_eq!(read, rows(&b));
        let (x, y, side) = corner;
        let window = [x, y, x + side, y + side];
        prop_assert_eq!(within(&a, window), within(&b, window));
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        prop_assert_eq!(names.len(), 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn geojson_is_that_of_gdals_driver(
        written in prop::collection::vec((shape(), attributes()), 0..30),
    ) {
        let degrees = |at: Coord| coord! { x: 179.0 - at.x / 7000.0, y: at.y / 3000.0 };
        let written: Vec<Row> = written
            .into_iter()
            .map(|(shape, attributes)| (shape.map_coords(degrees), attributes))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let wgs84 = Crs::wgs84().unwrap();
        let (a, b) = (folder.path().join("a.geojson"), folder.path().join("b.geojson"));
        ours(&a, Some(&wgs84), &written);
        gdals(&b, Some(&wgs84), &written);
        prop_assert_eq!(json(&a), json(&b));
        let lines = folder.path().join("a.geojsonl");
        ours(&lines, Some(&wgs84), &written);
        prop_assert_eq!(rows(&lines), rows(&a));
        let text = std::fs::read_to_string(&lines).unwrap();
        prop_assert_eq!(text.lines().count(), written.len());
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn outlines_finer_than_a_centimetre_are_not_rounded_into_each_other() {
    let folder = tempfile::tempdir().unwrap();
    // A comb whose teeth are 3 mm wide, and a house.
    let teeth = (0..20).flat_map(|tooth| {
        let x = 10.0 + 2e-8 + f64::from(tooth) * 6e-8;
        [(x, 1e-6), (x, 3e-7), (x + 3e-8, 3e-7), (x + 3e-8, 1e-6)]
    });
    let comb: geo::LineString<f64> =
        [(10.0, 0.0)].into_iter().chain(teeth).chain([(10.00001, 0.0)]).collect();
    let comb = Polygon::new(comb, Vec::new());
    assert!(comb.is_valid());
    let path = folder.path().join("a.geojson");
    let wgs84 = Crs::wgs84().unwrap();
    ours(
        &path,
        Some(&wgs84),
        &[
            (comb.into(), vec![Attribute::Null; 3]),
            (court(5.123_456_789, 6.0, 1e-3).into(), vec![Attribute::Null; 3]),
        ],
    );
    let read = rows(&path);
    assert!(read.iter().all(|(geometry, _)| geometry.is_valid()));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("5.1234568,") && !text.contains("5.12345678"), "{text}");
}

#[test]
fn geojson_says_its_crs_where_it_is_not_wgs_84() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.geojson");
    let house = [(court(330_000.0, 3_060_000.0, 8.0).into(), vec![Attribute::Null; 3])];
    let mut writer =
        LayerWriter::create_in(&path, "b", Some(&utm()), OutputCrs::Native, &FIELDS).unwrap();
    writer.push(&house[0].0, &[Value::Real(f64::NAN); 3]).unwrap();
    writer.finish().unwrap();
    let reader = FeatureReader::open(&VectorSource::file(&path)).unwrap();
    assert_eq!(reader.crs(), Some(&utm()));
    assert_eq!(rows(&path), house);
    ours(&path, Some(&utm()), &house);
    assert!(json(&path)["crs"].is_null());
    ours(&path, None, &house);
    assert_eq!(rows(&path)[0].0, house[0].0);
}

#[test]
fn the_layer_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.fgb");
    let single = (court(0.0, 0.0, 8.0).into(), vec![Attribute::Null; 3]);
    let two = MultiPolygon(vec![court(0.0, 0.0, 8.0), court(20.0, 0.0, 8.0)]);
    let many = (two.into(), vec![Attribute::Null; 3]);
    let unnamed = Crs::from_wkt(SURVEY).unwrap();
    for (crs, written, kind) in [
        (Some(utm()), vec![single.clone()], OGRwkbGeometryType::wkbPolygon),
        (Some(unnamed), vec![single.clone(), many], OGRwkbGeometryType::wkbUnknown),
        (None, vec![single], OGRwkbGeometryType::wkbPolygon),
        (Some(Crs::wgs84().unwrap()), vec![], OGRwkbGeometryType::wkbPolygon),
    ] {
        ours(&path, crs.as_ref(), &written);
        let reader = FeatureReader::open(&VectorSource::file(&path)).unwrap();
        assert_eq!(reader.count(), written.len() as u64);
        assert_eq!(reader.crs(), crs.as_ref());
        let fields: Vec<_> = reader.fields().iter().map(|(n, k)| (n.as_str(), *k)).collect();
        assert_eq!(fields, FIELDS);
        assert_eq!(rows(&path).len(), written.len());
        let dataset = Dataset::open(&path).unwrap();
        let layer = dataset.layer(0).unwrap();
        assert_eq!((layer.name(), layer.defn().geometry_type()), ("buildings".to_owned(), kind));
        assert_eq!(layer.try_get_extent().unwrap().is_some(), !written.is_empty());
    }
}
