use std::fs::File;
use std::path::Path;

use geo::polygon;
use parquet::basic::ColumnOrder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::RowAccessor;
use serde_json::json;

use super::write::GROUP_ROWS;
use crate::geo::Crs;
use crate::geo::vector::{
    Attribute, Feature, FeatureReader, FieldKind, LayerWriter, Value, VectorSource,
};

fn square(x: f64) -> geo::Geometry<f64> {
    polygon![(x: x, y: 0.0), (x: x + 1.0, y: 0.0), (x: x + 1.0, y: 2.0), (x: x, y: 2.0)].into()
}

fn write(path: &Path, count: usize) -> SerializedFileReader<File> {
    let fields = [("id", FieldKind::Text), ("n", FieldKind::Int), ("share", FieldKind::Real)];
    let utm = Crs::from_epsg(32645).unwrap();
    let mut writer = LayerWriter::create(path, "buildings", Some(&utm), &fields).unwrap();
    for i in 0..count {
        let id = format!("b{i}");
        let share = if i % 2 == 0 { Value::Real(i as f64 / 4.0) } else { Value::Null };
        writer.push(&square(i as f64), &[Value::Text(&id), Value::Int(i as i64), share]).unwrap();
    }
    writer.finish().unwrap();
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

fn geo_metadata(reader: &SerializedFileReader<File>) -> serde_json::Value {
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let text = pairs.iter().find(|pair| pair.key == "geo").unwrap().value.clone().unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn rows_and_metadata_are_those_of_geoparquet_1_1() {
    let folder = tempfile::tempdir().unwrap();
    let reader = write(&folder.path().join("b.parquet"), 3);
    let geo = geo_metadata(&reader);
    assert_eq!(
        (geo["version"].as_str(), geo["primary_column"].as_str()),
        (Some("1.1.0"), Some("geometry"))
    );
    let column = &geo["columns"]["geometry"];
    assert_eq!(column["encoding"], "WKB");
    assert_eq!(column["geometry_types"], json!(["Polygon"]));
    assert_eq!(column["bbox"], json!([0.0, 0.0, 3.0, 2.0]));
    assert_eq!(column["crs"]["id"], json!({ "authority": "EPSG", "code": 32645 }));
    assert_eq!(column["covering"]["bbox"]["xmax"], json!(["bbox", "xmax"]));

    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.get_string(0).unwrap(), &format!("b{i}"));
        assert_eq!(row.get_long(1).unwrap(), i as i64);
        assert_eq!(row.get_double(2).ok(), (i % 2 == 0).then_some(i as f64 / 4.0));
        let bbox = row.get_group(3).unwrap();
        let corners = [0, 1, 2, 3].map(|corner| bbox.get_double(corner).unwrap());
        assert_eq!(corners, [i as f64, 0.0, i as f64 + 1.0, 2.0]);
        let wkb = row.get_bytes(4).unwrap().data().to_vec();
        let found = geozero::ToGeo::to_geo(&geozero::wkb::Wkb(wkb)).unwrap();
        assert_eq!(found, square(i as f64));
    }
}

#[test]
fn row_groups_are_flushed_as_they_fill_and_say_where_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let reader = write(&folder.path().join("b.parquet"), GROUP_ROWS + 10);
    let groups = reader.metadata().row_groups();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[1].num_rows(), 10);
    let column = groups[1].columns().iter().find(|c| c.column_path().string() == "bbox.xmin");
    let Some(Statistics::Double(xmin)) = column.unwrap().statistics() else { panic!("no range") };
    assert_eq!(xmin.min_opt(), Some(&(GROUP_ROWS as f64)));
    // Other readers ignore ranges in orders that they do not know.
    let orders = reader.metadata().file_metadata().column_orders().unwrap();
    assert!(orders.iter().all(|order| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_))));
}

#[test]
fn a_file_without_buildings_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let reader = write(&folder.path().join("b.parquet"), 0);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    assert!(geo_metadata(&reader)["columns"]["geometry"].get("bbox").is_none());
}

/// Every feature of a file.
fn read(path: &Path) -> crate::error::Result<Vec<Feature>> {
    let mut features = Vec::new();
    FeatureReader::open(&VectorSource::file(path))?.each(|feature| {
        features.push(feature);
        Ok(())
    })?;
    Ok(features)
}

#[test]
fn no_damaged_byte_makes_the_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    write(&path, 40);
    if let Ok(f) = std::env::var("FUZZ") {
        std::fs::copy(f, &path).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut read_anyway) = (0, 0);
    for place in (0..whole.len()).step_by(1) {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] ^= mask;
            std::fs::write(&path, damaged).unwrap();
            match std::panic::catch_unwind(|| read(&path)) {
                Ok(Ok(_)) => read_anyway += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => eprintln!("PANIC at {place} of {} {mask}", whole.len()),
            }
        }
    }
    eprintln!("{refused} {read_anyway}");
    assert!(refused > 0 && read_anyway > 0, "{refused} {read_anyway}");
}
