//! Files that others have written, well or badly.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

fn problem(path: &Path) -> String {
    read(path).unwrap_err().to_string()
}

/// A file with one column of these geometries, and this metadata.
fn write_raw(path: &Path, wkb: &[&[u8]], metadata: Option<&str>) {
    let schema = "message schema { optional binary geometry; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<ByteArray> = wkb.iter().map(|bytes| bytes.to_vec().into()).collect();
    let levels = vec![1; wkb.len()];
    column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let metadata = metadata.map(str::to_owned);
    writer.append_key_value_metadata(KeyValue { key: "geo".to_owned(), value: metadata });
    writer.close().unwrap();
}

/// The metadata of WKB with what else is said of the column.
fn wkb_with(more: &str) -> String {
    format!(
        r#"{{"primary_column": "geometry", "columns": {{"geometry": {{"encoding": "WKB"{more}}}}}}}"#
    )
}

#[test]
fn the_crs_is_the_files_longitude_and_latitude_where_it_is_silent_and_none_where_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let crs_of = |more: &str| {
        write_raw(&path, &[], Some(&wkb_with(more)));
        FeatureReader::open(&VectorSource::file(&path)).map(|reader| reader.crs().cloned())
    };
    let wgs84 = Crs::wgs84().unwrap();
    assert_eq!(crs_of("").unwrap(), Some(wgs84.clone()));
    assert_eq!(crs_of(r#", "crs": null"#).unwrap(), None);
    let utm = Crs::from_epsg(32645).unwrap();
    let projjson = format!(r#", "crs": {}"#, utm.projjson().unwrap());
    assert_eq!(crs_of(&projjson).unwrap(), Some(utm));
    let crs84 = crs_of(CRS84).unwrap().unwrap();
    assert_eq!(crs84.label(), wgs84.label(), "coordinates are the same");
    let local = r#", "crs": {"type": "EngineeringCRS", "name": "site", "datum": {"name": "corner"},
        "coordinate_system": {"subtype": "Cartesian", "axis": [
        {"name": "x", "abbreviation": "x", "direction": "east", "unit": "metre"},
        {"name": "y", "abbreviation": "y", "direction": "north", "unit": "metre"}]}}"#;
    assert_eq!(crs_of(local).unwrap(), None);
    for wrong in [r#", "crs": {"type": "GeographicCRS"}"#, r#", "crs": "somewhere""#] {
        let problem = crs_of(wrong).unwrap_err().to_string();
        assert!(problem.contains("PROJJSON"), "{problem}");
    }
}

/// As other programs name longitude and latitude.
const CRS84: &str = r#", "crs": {"type": "GeographicCRS", "name": "WGS 84 (CRS84)", "datum": {
    "type": "GeodeticReferenceFrame", "name": "World Geodetic System 1984",
    "ellipsoid": {"name": "WGS 84", "semi_major_axis": 6378137, "inverse_flattening": 298.257223563}},
    "coordinate_system": {"subtype": "ellipsoidal", "axis": [
    {"name": "Geodetic longitude", "abbreviation": "Lon", "direction": "east", "unit": "degree"},
    {"name": "Geodetic latitude", "abbreviation": "Lat", "direction": "north", "unit": "degree"}]},
    "id": {"authority": "OGC", "code": "CRS84"}}"#;

#[test]
fn rubbish_in_a_row_is_a_feature_without_a_geometry_and_heights_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let triangle = polygon![(x: 0.0, y: 0.0), (x: 3.0, y: 0.0), (x: 3.0, y: 4.0)].into();
    // Ring by ring: 4 vertices of so many numbers each.
    let wkb = |kind: u32, more: &[f64]| {
        let mut bytes = vec![1];
        for number in [kind, 1, 4] {
            bytes.extend(number.to_le_bytes());
        }
        for (x, y) in [(0.0, 0.0), (3.0, 0.0), (3.0, 4.0), (0.0, 0.0)] {
            for number in [x, y].iter().chain(more) {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    };
    // Dimensions as ISO counts them, and as older programs mark them.
    let read_as_polygons = [
        wkb(3, &[]),
        wkb(1003, &[7.0]),
        wkb(2003, &[8.0]),
        wkb(3003, &[7.0, 8.0]),
        wkb(0x8000_0003, &[7.0]),
    ];
    let mut endless = wkb(3, &[]);
    endless[5..9].fill(0xff);
    let mut without_end = wkb(3, &[]);
    without_end.truncate(60);
    let rubbish = [b"house".to_vec(), Vec::new(), endless, without_end, wkb(77, &[])];
    let rows: Vec<&[u8]> = read_as_polygons.iter().chain(&rubbish).map(Vec::as_slice).collect();
    write_raw(&path, &rows, Some(&wkb_with("")));
    let found = read(&path).unwrap();
    assert_eq!(found.len(), rows.len());
    for (row, feature) in found.into_iter().enumerate() {
        let expected = (row < read_as_polygons.len()).then_some(&triangle);
        assert_eq!(feature.geometry.as_ref(), expected, "row {row}");
    }
    let footprints = read_footprints(&VectorSource::file(&path), None).unwrap();
    assert_eq!((footprints.polygons.len(), footprints.dropped), (5, 5));
}

#[test]
fn what_is_no_geoparquet_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let with = |text: Option<&str>| {
        write_raw(&path, &[], text);
        problem(&path)
    };
    let column = |column: &str| {
        format!(r#"{{"primary_column": "geometry", "columns": {{"geometry": {column}}}}}"#)
    };
    for (text, expected) in [
        (None, "found Parquet without it"),
        (Some("{"), "the metadata `geo` of GeoParquet, found EOF"),
        (Some("{}"), "no `primary_column`"),
        (Some(r#"{"primary_column": "geometry"}"#), "no `columns`"),
        (Some(&column(r#"{"encoding": "multipolygon"}"#)), "the encoding `multipolygon`"),
        (Some(&wkb_with("").replace("geometry", "shape")), "a column `shape` of geometries"),
    ] {
        let problem = with(text);
        assert!(
            problem.contains("b.parquet: expected ") && problem.contains(expected),
            "{problem}"
        );
    }
    let named = VectorSource { layer: Some("roofs".to_owned()), ..VectorSource::file(&path) };
    write_raw(&path, &[], Some(&wkb_with("")));
    let refused = FeatureReader::open(&named).err().unwrap().to_string();
    assert!(refused.contains("a layer `roofs`, found b"), "{refused}");
    let own = VectorSource { layer: Some("b".to_owned()), ..named };
    assert!(FeatureReader::open(&own).is_ok());
    std::fs::write(&path, r#"{"type": "FeatureCollection", "features": []}"#).unwrap();
    assert!(problem(&path).contains("expected a GeoParquet file"), "{}", problem(&path));
    std::fs::remove_file(&path).unwrap();
    assert!(problem(&path).contains("found no such file"), "{}", problem(&path));
    std::fs::create_dir(&path).unwrap();
    assert!(problem(&path).contains("found a folder"), "{}", problem(&path));
}

#[test]
fn a_damaged_or_shortened_file_never_makes_the_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    write(&path, 40);
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut read_anyway) = (0, 0);
    for place in (0..whole.len()).step_by(5) {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] ^= mask;
            std::fs::write(&path, damaged).unwrap();
            match read(&path) {
                Ok(_) => read_anyway += 1,
                Err(_) => refused += 1,
            }
        }
        std::fs::write(&path, &whole[..place]).unwrap();
        assert!(problem(&path).contains("check that the file is whole"), "{place} bytes");
    }
    assert!(refused > 500 && read_anyway > 500, "{refused} refused, {read_anyway} read");
}
