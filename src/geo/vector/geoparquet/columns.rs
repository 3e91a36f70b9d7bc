//! Columns of Parquet as attributes.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::dates;
use crate::geo::vector::features::Attribute;
use crate::geo::vector::write::FieldKind;

/// A column that is an attribute.
pub(super) struct Column {
    pub(super) name: String,
    /// Among all columns of the file.
    pub(super) place: usize,
    meaning: Meaning,
}

/// What the numbers or bytes of a column stand for.
#[derive(Clone, Copy)]
enum Meaning {
    Whole,
    /// Whole numbers from 0 on, with so many bits.
    Unsigned(u8),
    Real,
    /// Whole numbers that stand for themselves over a power of ten.
    Decimal(i32),
    Text,
    Date,
    /// Fractions of seconds, by the number of them in a millisecond: 1, 1e3 or 1e6.
    Time(i64),
    /// As `Time`, since 1970, in UTC or who knows where.
    Timestamp(i64, bool),
}

/// The attributes of a file: columns with one value a row of a kind that has a meaning here. Lists, structures and bytes
/// are left out, and so are the columns named `geometries`.
pub(super) fn attributes(schema: &SchemaDescriptor, geometries: &[&str]) -> Vec<Column> {
    let columns = schema.columns().iter().enumerate();
    columns
        .filter(|(_, column)| is_flat(column) && !geometries.contains(&column.name()))
        .filter_map(|(place, column)| {
            Some(Column { name: column.name().to_owned(), place, meaning: meaning(column)? })
        })
        .collect()
}

/// Whether every row has one value at most, and no name before its own.
pub(super) fn is_flat(column: &ColumnDescriptor) -> bool {
    column.path().parts().len() == 1 && column.max_rep_level() == 0
}

/// By the logical type, or by the older one that it has replaced.
fn meaning(column: &ColumnDescriptor) -> Option<Meaning> {
    let older = column.converted_type();
    let by_type = match column.logical_type_ref() {
        Some(LogicalType::Decimal(_)) => Some(Meaning::Decimal(column.type_scale())),
        Some(LogicalType::Date) => Some(Meaning::Date),
        Some(LogicalType::Time(time)) => Some(Meaning::Time(per_ms(time.unit))),
        Some(LogicalType::Timestamp(time)) => {
            Some(Meaning::Timestamp(per_ms(time.unit), time.is_adjusted_to_u_t_c))
        }
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Some(Meaning::Text),
        Some(LogicalType::Integer(whole)) if !whole.is_signed => {
            Some(Meaning::Unsigned(whole.bit_width as u8))
        }
        _ => match older {
            ConvertedType::DECIMAL => Some(Meaning::Decimal(column.type_scale())),
            ConvertedType::DATE => Some(Meaning::Date),
            ConvertedType::TIME_MILLIS => Some(Meaning::Time(1)),
            ConvertedType::TIME_MICROS => Some(Meaning::Time(1000)),
            ConvertedType::TIMESTAMP_MILLIS => Some(Meaning::Timestamp(1, true)),
            ConvertedType::TIMESTAMP_MICROS => Some(Meaning::Timestamp(1000, true)),
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Some(Meaning::Text),
            ConvertedType::UINT_32 => Some(Meaning::Unsigned(32)),
            ConvertedType::UINT_64 => Some(Meaning::Unsigned(64)),
            _ => None,
        },
    };
    by_type.or(match column.physical_type() {
        Physical::BOOLEAN | Physical::INT32 | Physical::INT64 => Some(Meaning::Whole),
        Physical::FLOAT | Physical::DOUBLE => Some(Meaning::Real),
        Physical::INT96 => Some(Meaning::Timestamp(1, false)),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => None,
    })
}

fn per_ms(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1,
        TimeUnit::MICROS => 1000,
        TimeUnit::NANOS => 1_000_000,
    }
}

impl Column {
    /// As GDAL presents such columns.
    pub(super) fn kind(&self) -> FieldKind {
        match self.meaning {
            Meaning::Unsigned(64) | Meaning::Real | Meaning::Decimal(_) => FieldKind::Real,
            Meaning::Whole | Meaning::Unsigned(_) => FieldKind::Int,
            Meaning::Text | Meaning::Date | Meaning::Time(_) | Meaning::Timestamp(..) => {
                FieldKind::Text
            }
        }
    }

    /// The next `rows` values.
    pub(super) fn next(
        &self,
        reader: &mut ColumnReader,
        rows: usize,
    ) -> ParquetResult<Vec<Attribute>> {
        let found = match reader {
            ColumnReader::BoolColumnReader(r) => {
                next(r, rows, |value| Attribute::Int(value.into()))
            }
            ColumnReader::Int32ColumnReader(r) => next(r, rows, |value| self.whole(value.into())),
            ColumnReader::Int64ColumnReader(r) => next(r, rows, |value| self.whole(value)),
            ColumnReader::Int96ColumnReader(r) => {
                next(r, rows, |value| self.whole(value.to_millis()))
            }
            ColumnReader::FloatColumnReader(r) => {
                next(r, rows, |value| Attribute::Real(value.into()))
            }
            ColumnReader::DoubleColumnReader(r) => next(r, rows, Attribute::Real),
            ColumnReader::ByteArrayColumnReader(r) => {
                next(r, rows, |value| self.bytes(value.data()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(r) => {
                next(r, rows, |value| self.bytes(value.data()))
            }
        }?;
        Ok(found.into_iter().map(|value| value.unwrap_or(Attribute::Null)).collect())
    }

    fn whole(&self, value: i64) -> Attribute {
        let text = match self.meaning {
            Meaning::Decimal(scale) => return decimal(value as f64, scale),
            // Stored as signed numbers of the same bits.
            Meaning::Unsigned(64) => return Attribute::Real(value as u64 as f64),
            Meaning::Unsigned(32) => return Attribute::Int((value as u32).into()),
            Meaning::Date => dates::date(value),
            Meaning::Time(per_ms) => dates::time(value.div_euclid(per_ms)),
            Meaning::Timestamp(per_ms, utc) => dates::timestamp(value.div_euclid(per_ms), utc),
            Meaning::Whole | Meaning::Unsigned(_) | Meaning::Real | Meaning::Text => {
                return Attribute::Int(value);
            }
        };
        text.map_or(Attribute::Null, Attribute::Text)
    }

    fn bytes(&self, value: &[u8]) -> Attribute {
        let Meaning::Decimal(scale) = self.meaning else {
            return Attribute::Text(String::from_utf8_lossy(value).into_owned());
        };
        // Two's complement, the highest byte first.
        let negative = value.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1.0 } else { 0.0 };
        let whole = value.iter().fold(start, |sum, byte| sum * 256.0 + f64::from(*byte));
        decimal(whole, scale)
    }
}

fn decimal(whole: f64, scale: i32) -> Attribute {
    Attribute::Real(whole / 10_f64.powi(scale))
}

/// The next `rows` geometries; `None` where there is none.
pub(super) fn geometries(
    reader: &mut ColumnReader,
    rows: usize,
) -> ParquetResult<Vec<Option<ByteArray>>> {
    match reader {
        ColumnReader::ByteArrayColumnReader(reader) => next(reader, rows, |value| value),
        _ => Err(ParquetError::General("the geometry column holds no bytes".to_owned())),
    }
}

/// The next `rows` values of a column with at most one value a row.
fn next<T: DataType, V>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    value: impl Fn(T::T) -> V,
) -> ParquetResult<Vec<Option<V>>> {
    let early = || ParquetError::EOF("a column ends early".to_owned());
    let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::new());
    let (read, _, _) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if read < rows {
        return Err(early());
    }
    let mut values = values.into_iter().map(value);
    if levels.is_empty() {
        return Ok(values.map(Some).collect());
    }
    let mut row = |known: bool| known.then(|| values.next().ok_or_else(early)).transpose();
    levels.into_iter().map(|level| row(level > 0)).collect()
}
