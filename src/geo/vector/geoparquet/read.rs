//! Features out of GeoParquet: row group by row group, the columns that are wanted.

use std::path::{Path, PathBuf};

use parquet::basic::Compression;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::bytes::Source;
use super::columns::{self, Column};
use super::filter;
use super::metadata::{Geometries, KEY};
use super::pages::column_reader;
use crate::error::{Error, Result};
use crate::geo::crs::Crs;
use crate::geo::remote;
use crate::geo::vector::features::{Attribute, Feature, no_layer, plain};
use crate::geo::vector::read::VectorSource;
use crate::geo::vector::write::FieldKind;

/// Rows that are decoded at once. Memory is these, and a page of every column that is read.
const BATCH_ROWS: usize = 1024;

const EXTENSIONS: [&str; 2] = [".parquet", ".geoparquet"];

/// A file, read as often as wanted.
pub(in crate::geo::vector) struct GeoParquetReader {
    file: SerializedFileReader<Source>,
    path: PathBuf,
    filter: Option<String>,
    crs: Option<Crs>,
    /// The place of the geometries among all columns.
    geometry: usize,
    attributes: Vec<Column>,
}

impl GeoParquetReader {
    /// Whether a file is GeoParquet, by its name.
    pub(in crate::geo::vector) fn is_for(path: &Path) -> bool {
        let name = path.to_string_lossy().to_lowercase();
        // A signed address goes on after the name.
        let name = match name.split_once('?') {
            Some((name, _)) if remote::is_remote(path) => name,
            _ => &name,
        };
        EXTENSIONS.iter().any(|extension| name.ends_with(extension))
    }

    /// Opens a file. The only layer is called as the file is.
    pub(in crate::geo::vector) fn open(source: &VectorSource) -> Result<Self> {
        let path = &source.path;
        let file = SerializedFileReader::new(Source::open(path)?).map_err(|problem| {
            let hint = "check that the file is whole";
            Error::input(path, "a GeoParquet file", reason(&problem), hint)
        })?;
        let layer = path.file_stem().unwrap_or_default().to_string_lossy();
        if let Some(wanted) = source.layer.as_deref().filter(|wanted| *wanted != layer) {
            return Err(no_layer(path, wanted, &layer));
        }
        let metadata = file.metadata().file_metadata();
        let pairs = metadata.key_value_metadata().into_iter().flatten();
        let text = pairs.filter(|pair| pair.key == KEY).find_map(|pair| pair.value.as_deref());
        let Some(text) = text else {
            return Err(Error::input(
                path,
                format!("the metadata `{KEY}` of GeoParquet"),
                "Parquet without it",
                "write the file again with a program that knows GeoParquet",
            ));
        };
        let geometries = Geometries::read(path, text)?;
        let schema = metadata.schema_descr();
        let geometry = schema
            .columns()
            .iter()
            .position(|column| columns::is_flat(column) && column.name() == geometries.primary);
        let Some(geometry) = geometry else {
            return Err(Error::input(
                path,
                format!("a column `{}` of geometries", geometries.primary),
                "none",
                format!("name the column of geometries in the metadata `{KEY}`"),
            ));
        };
        let other: Vec<&str> = geometries.columns.iter().map(String::as_str).collect();
        let attributes = columns::attributes(schema, &other);
        let reader = Self {
            path: path.clone(),
            filter: source.filter.clone(),
            crs: geometries.crs,
            geometry,
            attributes,
            file,
        };
        reader.check_codecs()?;
        // A wrong condition is an error now, not at the first row.
        reader.holds(&reader.wanted(false), &[], (0, 0))?;
        Ok(reader)
    }

    /// The coordinates' CRS; `None` where the file names none.
    pub(in crate::geo::vector) fn crs(&self) -> Option<&Crs> {
        self.crs.as_ref()
    }

    /// Names and kinds of the attributes.
    pub(in crate::geo::vector) fn fields(&self) -> Vec<(String, FieldKind)> {
        self.attributes.iter().map(|column| (column.name.clone(), column.kind())).collect()
    }

    /// How many rows there are, whatever the filter.
    pub(in crate::geo::vector) fn count(&self) -> u64 {
        self.file.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// Hands every feature to `visit`, in file order, with all attributes or none. Features are numbered from 0.
    pub(in crate::geo::vector) fn each(
        &self,
        with_attributes: bool,
        mut visit: impl FnMut(Feature) -> Result<()>,
    ) -> Result<()> {
        let wanted = self.wanted(with_attributes);
        let mut first = 0;
        for group in 0..self.file.num_row_groups() {
            let mut readers =
                self.readers(group, &wanted).map_err(|problem| self.broken(&problem))?;
            let mut left = self.file.metadata().row_group(group).num_rows().max(0) as usize;
            while left > 0 {
                let rows = left.min(BATCH_ROWS);
                let batch = readers.next(&wanted, rows).map_err(|problem| self.broken(&problem))?;
                let holds = self.holds(&wanted, &batch.attributes, (first, rows))?;
                let columns = if with_attributes { batch.attributes } else { Vec::new() };
                let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
                for (row, wkb) in batch.geometries.into_iter().enumerate() {
                    let attributes = columns.iter_mut().filter_map(Iterator::next).collect();
                    if holds.as_ref().is_none_or(|holds| holds[row]) {
                        let geometry = wkb.and_then(|wkb| geometry(wkb.data()));
                        visit(Feature { fid: first + row as u64, geometry, attributes })?;
                    }
                }
                first += rows as u64;
                left -= rows;
            }
        }
        Ok(())
    }

    /// The columns to read: all attributes, or those that the filter may look at.
    fn wanted(&self, with_attributes: bool) -> Vec<&Column> {
        let filter = self.filter.as_deref().unwrap_or_default().to_lowercase();
        let looks_at = |column: &&Column| filter.contains(&column.name.to_lowercase());
        self.attributes.iter().filter(|column| with_attributes || looks_at(column)).collect()
    }

    fn readers(&self, group: usize, wanted: &[&Column]) -> ParquetResult<Readers> {
        let group = self.file.get_row_group(group)?;
        let attributes = wanted.iter().map(|column| column_reader(&*group, column.place));
        Ok(Readers {
            geometry: column_reader(&*group, self.geometry)?,
            attributes: attributes.collect::<ParquetResult<_>>()?,
        })
    }

    /// Which rows of a batch the filter lets through; `None` without a filter.
    fn holds(
        &self,
        wanted: &[&Column],
        attributes: &[Vec<Attribute>],
        rows: (u64, usize),
    ) -> Result<Option<Vec<bool>>> {
        let Some(condition) = &self.filter else { return Ok(None) };
        let fields: Vec<_> =
            wanted.iter().map(|column| (column.name.as_str(), column.kind())).collect();
        filter::holds(&self.path, condition, &fields, attributes, rows).map(Some)
    }

    /// Refuses a file with columns that cannot be decompressed.
    fn check_codecs(&self) -> Result<()> {
        let places = self.attributes.iter().map(|column| column.place).chain([self.geometry]);
        let places: Vec<usize> = places.collect();
        for group in self.file.metadata().row_groups() {
            for &place in &places {
                let name = match group.column(place).compression() {
                    Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::GZIP(_)
                    | Compression::ZSTD(_) => continue,
                    Compression::LZO => "LZO",
                    Compression::BROTLI(_) => "Brotli",
                    Compression::LZ4 | Compression::LZ4_RAW => "LZ4",
                };
                return Err(Error::input(
                    &self.path,
                    "columns compressed with Zstandard, Snappy or gzip, or not at all",
                    name,
                    "write the file again with one of these",
                ));
            }
        }
        Ok(())
    }

    fn broken(&self, problem: &ParquetError) -> Error {
        let hint = "check that the file is whole";
        Error::input(&self.path, "readable features", reason(problem), hint)
    }
}

fn reason(problem: &ParquetError) -> String {
    problem.to_string().trim_start_matches("Parquet error: ").to_owned()
}

/// The columns of a row group that are wanted, as far as they have been read.
struct Readers {
    geometry: ColumnReader,
    attributes: Vec<ColumnReader>,
}

/// Rows that follow each other, column by column.
struct Batch {
    geometries: Vec<Option<ByteArray>>,
    attributes: Vec<Vec<Attribute>>,
}

impl Readers {
    fn next(&mut self, wanted: &[&Column], rows: usize) -> ParquetResult<Batch> {
        let attributes = wanted.iter().zip(&mut self.attributes);
        Ok(Batch {
            geometries: columns::geometries(&mut self.geometry, rows)?,
            attributes: attributes
                .map(|(column, reader)| column.next(reader, rows))
                .collect::<ParquetResult<_>>()?,
        })
    }
}

/// By GDAL, which knows every dialect of WKB and believes no count that it finds there; `None` where it is none.
fn geometry(wkb: &[u8]) -> Option<geo::Geometry<f64>> {
    plain(&gdal::vector::Geometry::from_wkb(wkb).ok()?)
}
