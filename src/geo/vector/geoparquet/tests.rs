mod foreign;

use std::fs::File;
use std::path::Path;

use geo::polygon;
use parquet::basic::ColumnOrder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::RowAccessor;
use proptest::prelude::*;
use serde_json::json;

use super::write::GROUP_ROWS;
use crate::error::Result;
use crate::geo::Crs;
use crate::geo::vector::{
    Attribute, Feature, FeatureReader, FieldKind, LayerWriter, Value, VectorSource, read_footprints,
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

    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect();
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
fn features(source: &VectorSource) -> Result<Vec<Feature>> {
    let mut features = Vec::new();
    FeatureReader::open(source)?.each(|feature| {
        features.push(feature);
        Ok(())
    })?;
    Ok(features)
}

fn read(path: &Path) -> Result<Vec<Feature>> {
    features(&VectorSource::file(path))
}

#[test]
fn all_row_groups_are_read_as_often_as_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let count = GROUP_ROWS + 10;
    write(&path, count);
    let mut reader = FeatureReader::open(&VectorSource::file(&path)).unwrap();
    assert_eq!(reader.count(), count as u64);
    assert!(reader.crs().unwrap().same_as(&Crs::from_epsg(32645).unwrap()));
    for _ in 0..2 {
        let mut next = 0;
        reader
            .each(|feature| {
                assert_eq!(feature.fid, next);
                assert_eq!(feature.attributes[1], Attribute::Int(next as i64));
                if next % 1000 == 0 {
                    assert_eq!(feature.geometry, Some(square(next as f64)));
                }
                next += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(next, count as u64);
    }
    let mut bare = 0;
    let mut reader = reader.without_attributes();
    reader
        .each(|feature| {
            bare += usize::from(feature.geometry.is_some() && feature.attributes.is_empty());
            Ok(())
        })
        .unwrap();
    assert_eq!(bare, count);
}

#[test]
fn a_filter_holds_for_the_same_features_as_in_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["b.parquet", "b.gpkg"].map(|name| folder.path().join(name));
    write(&paths[0], 3000);
    copy(&paths[0], &paths[1]);
    for (condition, count) in [
        ("n >= 1020 AND n < 1030", 10),
        ("id = 'b7' OR id LIKE 'b299%'", 12),
        ("share IS NULL", 1500),
        ("share > 100 AND N < 500", 49),
    ] {
        let found = paths.each_ref().map(|path| {
            let filter = Some(condition.to_owned());
            let source = VectorSource { filter, ..VectorSource::file(path) };
            let geometries = read_footprints(&source, None).unwrap().polygons;
            let found = features(&source).unwrap();
            assert_eq!(geometries.len(), found.len());
            found.into_iter().map(|feature| feature.attributes).collect::<Vec<_>>()
        });
        assert_eq!(found[0].len(), count, "{condition}");
        assert_eq!(found[0], found[1], "{condition}");
    }
    for wrong in ["height > 3", "n >"] {
        let filter = Some(wrong.to_owned());
        let source = VectorSource { filter, ..VectorSource::file(&paths[0]) };
        let problem = FeatureReader::open(&source).err().unwrap().to_string();
        assert!(problem.contains("a filter that fits the attributes"), "{problem}");
    }
}

/// Copies a file into another format.
fn copy(from: &Path, to: &Path) {
    let mut reader = FeatureReader::open(&VectorSource::file(from)).unwrap();
    let fields = reader.fields().to_vec();
    let fields: Vec<_> = fields.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut writer = LayerWriter::create(to, "copy", reader.crs(), &fields).unwrap();
    reader
        .each(|feature| {
            let values: Vec<_> = feature.attributes.iter().map(Attribute::value).collect();
            writer.push(&feature.geometry.unwrap(), &values)
        })
        .unwrap();
    writer.finish().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read_back_bit_by_bit_and_as_from_a_geopackage(
        rows in proptest::collection::vec(
            (proptest::collection::vec((-1e6..1e6, -1e6..1e6, 1e-3..1e3, any::<bool>()), 1..4),
             proptest::option::of(any::<i64>()),
             proptest::option::of(-1e300..1e300),
             proptest::option::of("\\PC{0,12}")),
            0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let utm = Crs::from_epsg(32645).unwrap();
        let fields = [("n", FieldKind::Int), ("share", FieldKind::Real), ("id", FieldKind::Text)];
        let rows: Vec<(geo::Geometry<f64>, Vec<Attribute>)> = rows
            .into_iter()
            .map(|(parts, n, share, id)| {
                let mut parts: Vec<_> = parts.into_iter().map(part).collect();
                let geometry = match parts.len() {
                    1 => parts.remove(0).into(),
                    _ => geo::MultiPolygon(parts).into(),
                };
                (geometry, vec![
                    n.map_or(Attribute::Null, Attribute::Int),
                    share.map_or(Attribute::Null, Attribute::Real),
                    id.map_or(Attribute::Null, Attribute::Text),
                ])
            })
            .collect();
        for name in ["b.parquet", "b.gpkg"] {
            let path = folder.path().join(name);
            let mut writer = LayerWriter::create(&path, "b", Some(&utm), &fields).unwrap();
            for (geometry, attributes) in &rows {
                let values: Vec<_> = attributes.iter().map(Attribute::value).collect();
                writer.push(geometry, &values).unwrap();
            }
            writer.finish().unwrap();
            let reader = FeatureReader::open(&VectorSource::file(&path)).unwrap();
            prop_assert!(reader.crs().unwrap().same_as(&utm));
            prop_assert_eq!(reader.fields(), fields.map(|(name, kind)| (name.to_owned(), kind)));
            let found: Vec<_> = read(&path).unwrap().into_iter()
                .map(|feature| (feature.geometry.unwrap(), feature.attributes)).collect();
            prop_assert_eq!(&found, &rows, "{}", name);
        }
    }
}

/// A rectangle, with a courtyard or without.
fn part((x, y, side, courtyard): (f64, f64, f64, bool)) -> geo::Polygon<f64> {
    let ring = |from: f64, to: f64| {
        geo::Rect::new((x + from * side, y + from), (x + to * side, y + to)).to_polygon()
    };
    let holes = if courtyard { vec![ring(0.25, 0.75).into_inner().0] } else { Vec::new() };
    geo::Polygon::new(ring(0.0, 1.0).into_inner().0, holes)
}
