//! Features into GeoParquet 1.1: columns, a bounding box beside every geometry, row groups flushed as they fill.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use geo::BoundingRect;
use geozero::{CoordDimensions, ToWkb};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::metadata::{self, BBOX, CORNERS, GEOMETRY};
use crate::error::{Error, Result};
use crate::geo::crs::Crs;
use crate::geo::vector::write::{FieldKind, Value, distinct};

/// Features of a row group: what a reader can skip by its box, and what is in memory here (some 30 MB
/// of buildings).
pub(super) const GROUP_ROWS: usize = 65_536;
/// Bytes of geometries that end a row group early.
const GROUP_BYTES: usize = 64 << 20;

/// A file that grows row group by row group.
pub(in crate::geo::vector) struct GeoParquet {
    writer: SerializedFileWriter<File>,
    path: PathBuf,
    crs: serde_json::Value,
    columns: Vec<Column>,
    /// Min x, min y, max x, max y of each feature.
    boxes: [Vec<f64>; 4],
    geometries: Vec<ByteArray>,
    geometry_bytes: usize,
    /// Over all features.
    bounds: [f64; 4],
    kinds: BTreeSet<&'static str>,
}

/// An attribute of the features that wait for their row group.
struct Column {
    values: Values,
    /// 1 where there is a value, 0 where it is unknown.
    levels: Vec<i16>,
}

enum Values {
    Int(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl GeoParquet {
    /// Creates the file; `crs` is that of the coordinates.
    pub(in crate::geo::vector) fn create(
        path: &Path,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        let crs = match crs {
            Some(crs) => crs.projjson()?,
            None => serde_json::Value::Null,
        };
        let file = File::create(path).map_err(Error::io(path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("geoseg ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let names = distinct(fields.iter().map(|(name, _)| *name), &[GEOMETRY, BBOX]);
        let fields: Vec<_> =
            names.iter().zip(fields).map(|(name, (_, kind))| (name.as_str(), *kind)).collect();
        let writer = schema(&fields)
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties)))
            .map_err(|problem| Error::io(path)(problem.into()))?;
        let columns = fields
            .iter()
            .map(|(_, kind)| Column {
                values: match kind {
                    FieldKind::Int => Values::Int(Vec::new()),
                    FieldKind::Real => Values::Real(Vec::new()),
                    FieldKind::Text => Values::Text(Vec::new()),
                },
                levels: Vec::new(),
            })
            .collect();
        Ok(Self {
            writer,
            path: path.to_owned(),
            crs,
            columns,
            boxes: Default::default(),
            geometries: Vec::new(),
            geometry_bytes: 0,
            bounds: [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY],
            kinds: BTreeSet::new(),
        })
    }

    pub(in crate::geo::vector) fn push(
        &mut self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> Result<()> {
        let bounds = geometry.bounding_rect().map(|b| [b.min().x, b.min().y, b.max().x, b.max().y]);
        let wkb = geometry.to_wkb(CoordDimensions::xy());
        let (Some(bounds), Ok(wkb)) = (bounds, wkb) else {
            return Err(Error::input(&self.path, "polygons", "an empty one", "leave it out"));
        };
        for (corners, value) in self.boxes.iter_mut().zip(bounds) {
            corners.push(value);
        }
        for side in 0..2 {
            self.bounds[side] = self.bounds[side].min(bounds[side]);
            self.bounds[side + 2] = self.bounds[side + 2].max(bounds[side + 2]);
        }
        self.kinds.insert(match geometry {
            geo::Geometry::MultiPolygon(_) => "MultiPolygon",
            _ => "Polygon",
        });
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value);
        }
        self.geometry_bytes += wkb.len();
        self.geometries.push(wkb.into());
        if self.geometries.len() >= GROUP_ROWS || self.geometry_bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.geometries.is_empty() {
            return Ok(());
        }
        self.write_group().map_err(|problem| Error::io(&self.path)(problem.into()))?;
        for column in &mut self.columns {
            column.clear();
        }
        self.boxes.iter_mut().for_each(Vec::clear);
        self.geometries.clear();
        self.geometry_bytes = 0;
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &self.columns {
            let levels = Some(column.levels.as_slice());
            match &column.values {
                Values::Int(values) => write_column::<Int64Type>(&mut group, values, levels)?,
                Values::Real(values) => write_column::<DoubleType>(&mut group, values, levels)?,
                Values::Text(values) => write_column::<ByteArrayType>(&mut group, values, levels)?,
            }
        }
        for corner in &self.boxes {
            write_column::<DoubleType>(&mut group, corner, None)?;
        }
        write_column::<ByteArrayType>(&mut group, &self.geometries, None)?;
        group.close()?;
        Ok(())
    }

    /// Writes the last row group and the metadata.
    pub(in crate::geo::vector) fn finish(mut self) -> Result<()> {
        self.flush()?;
        let text = metadata::describe(&self.crs, &self.kinds, self.bounds);
        self.writer.append_key_value_metadata(KeyValue::new(metadata::KEY.to_owned(), text));
        self.writer.close().map_err(|problem| Error::io(&self.path)(problem.into()))?;
        Ok(())
    }
}

impl Column {
    /// A value of another kind than the column's is unknown to it.
    fn push(&mut self, value: Value<'_>) {
        let known = match (&mut self.values, value) {
            (Values::Int(values), Value::Int(value)) => {
                values.push(value);
                true
            }
            (Values::Real(values), Value::Real(value)) => {
                values.push(value);
                true
            }
            (Values::Text(values), Value::Text(value)) => {
                values.push(value.into());
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(known));
    }

    fn clear(&mut self) {
        match &mut self.values {
            Values::Int(values) => values.clear(),
            Values::Real(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
        self.levels.clear();
    }
}

fn schema(fields: &[(&str, FieldKind)]) -> Result<TypePtr, ParquetError> {
    let mut columns = Vec::new();
    for (name, kind) in fields {
        let (physical, logical) = match kind {
            FieldKind::Int => (Physical::INT64, None),
            FieldKind::Real => (Physical::DOUBLE, None),
            FieldKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        columns.push(primitive(name, physical, logical, Repetition::OPTIONAL)?);
    }
    let corners = CORNERS.map(|c| primitive(c, Physical::DOUBLE, None, Repetition::REQUIRED));
    let corners = corners.into_iter().collect::<Result<_, _>>()?;
    let bbox = Type::group_type_builder(BBOX)
        .with_repetition(Repetition::REQUIRED)
        .with_fields(corners)
        .build()?;
    columns.push(Arc::new(bbox));
    columns.push(primitive(GEOMETRY, Physical::BYTE_ARRAY, None, Repetition::REQUIRED)?);
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(columns).build()?))
}

fn primitive(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> Result<TypePtr, ParquetError> {
    let builder = Type::primitive_type_builder(name, physical);
    let column = builder.with_logical_type(logical).with_repetition(repetition).build()?;
    Ok(Arc::new(column))
}

fn write_column<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}
