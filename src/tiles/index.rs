//! `tiles.gpkg`: a rectangle and a row per tile.

use std::path::Path;

use gdal::Dataset;
use gdal::vector::{Feature, LayerAccess};

use crate::error::{Error, Result};
use crate::geo::Crs;
use crate::geo::vector::{FieldKind, LayerWriter, Value};
use crate::output::Staged;

use super::set::TileRecord;

/// The index's only layer.
const LAYER: &str = "tiles";
/// `fold` of a tile in a set without folds: the column has no nulls, so that QGIS styles by number.
const NO_FOLD: i64 = -1;

/// A GeoPackage notes when it was last changed. A fixed time makes equal sets equal files.
const TIME: &str = "2000-01-01T00:00:00.000Z";

const FIELDS: [(&str, FieldKind); 12] = [
    ("image", FieldKind::Text),
    ("mask", FieldKind::Text),
    ("scene", FieldKind::Text),
    ("scale", FieldKind::Text),
    ("gsd_m", FieldKind::Real),
    ("split", FieldKind::Text),
    ("fold", FieldKind::Int),
    ("row", FieldKind::Int),
    ("col", FieldKind::Int),
    ("valid_fraction", FieldKind::Real),
    ("building_fraction", FieldKind::Real),
    ("building_count", FieldKind::Int),
];

/// Writes all rows, in their order; `outlines` are the rectangles, in `crs`.
pub(super) fn write(
    path: &Path,
    crs: Option<&Crs>,
    rows: &[(&TileRecord, geo::Geometry<f64>)],
) -> Result<()> {
    let staged = Staged::new(path, true)?;
    // This thread's alone, so that nothing else in the process sees the clock stand still.
    gdal::config::set_thread_local_config_option("OGR_CURRENT_DATE", TIME)
        .map_err(Error::gdal(path))?;
    let written = write_rows(staged.path(), crs, rows);
    gdal::config::clear_thread_local_config_option("OGR_CURRENT_DATE")
        .map_err(Error::gdal(path))?;
    written?;
    staged.commit()
}

fn write_rows(
    path: &Path,
    crs: Option<&Crs>,
    rows: &[(&TileRecord, geo::Geometry<f64>)],
) -> Result<()> {
    let mut layer = LayerWriter::create(path, LAYER, crs, &FIELDS)?;
    for (tile, outline) in rows {
        let image = tile.image.to_string_lossy();
        let mask = tile.mask.to_string_lossy();
        layer.push(
            outline,
            &[
                Value::Text(&image),
                Value::Text(&mask),
                Value::Text(&tile.scene),
                Value::Text(&tile.scale),
                Value::Real(if tile.gsd_m.is_finite() { tile.gsd_m } else { 0.0 }),
                Value::Text(tile.split.as_str()),
                Value::Int(tile.fold.map_or(NO_FOLD, i64::from)),
                Value::Int(tile.row as i64),
                Value::Int(tile.col as i64),
                Value::Real(tile.valid_fraction),
                Value::Real(tile.building_fraction),
                Value::Int(tile.building_count as i64),
            ],
        )?;
    }
    layer.finish()
}

/// Reads all rows, in the order in which they were written.
pub(super) fn read(path: &Path) -> Result<Vec<TileRecord>> {
    crate::geo::init();
    let dataset = Dataset::open(path).map_err(Error::gdal(path))?;
    let mut layer = dataset.layer_by_name(LAYER).map_err(Error::gdal(path))?;
    layer.features().map(|feature| record(path, &feature)).collect()
}

fn record(path: &Path, feature: &Feature<'_>) -> Result<TileRecord> {
    let row = Row { path, feature };
    let split = row.text("split")?;
    Ok(TileRecord {
        image: row.text("image")?.into(),
        mask: row.text("mask")?.into(),
        scene: row.text("scene")?,
        scale: row.text("scale")?,
        gsd_m: Some(row.real("gsd_m")?).filter(|gsd_m| *gsd_m > 0.0).unwrap_or(f64::NAN),
        split: split.parse().map_err(|problem: String| {
            Error::input(path, "a split", problem, "cut the tiles again")
        })?,
        fold: u32::try_from(row.integer("fold")?).ok(),
        row: row.count("row")?,
        col: row.count("col")?,
        valid_fraction: row.real("valid_fraction")?,
        building_fraction: row.real("building_fraction")?,
        building_count: row.count("building_count")?,
    })
}

struct Row<'a> {
    path: &'a Path,
    feature: &'a Feature<'a>,
}

impl Row<'_> {
    fn text(&self, field: &str) -> Result<String> {
        self.get(field, |at| self.feature.field_as_string(at))
    }

    fn real(&self, field: &str) -> Result<f64> {
        self.get(field, |at| self.feature.field_as_double(at))
    }

    fn integer(&self, field: &str) -> Result<i64> {
        self.get(field, |at| self.feature.field_as_integer64(at))
    }

    fn count(&self, field: &str) -> Result<usize> {
        usize::try_from(self.integer(field)?).map_err(|_| {
            Error::input(
                self.path,
                format!("a count in column `{field}`"),
                "a negative number",
                "cut the tiles again",
            )
        })
    }

    fn get<T>(
        &self,
        field: &str,
        read: impl FnOnce(usize) -> gdal::errors::Result<Option<T>>,
    ) -> Result<T> {
        let value =
            self.feature.field_index(field).and_then(read).map_err(Error::gdal(self.path))?;
        value.ok_or_else(|| {
            Error::input(
                self.path,
                format!("a value in column `{field}`"),
                "an empty cell",
                "cut the tiles again",
            )
        })
    }
}
