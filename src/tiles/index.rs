//! `tiles.gpkg`: a rectangle and a row per tile.

use std::path::Path;

use gdal::Dataset;
use gdal::vector::{Feature, LayerAccess};

use crate::error::{Error, Result};

use super::set::TileRecord;

/// The index's only layer.
const LAYER: &str = "tiles";
/// `fold` of a tile in a set without folds: the column has no nulls, so that QGIS styles by number.
const NO_FOLD: i64 = -1;

/// Reads all rows, in the order in which they were written.
pub(super) fn read(path: &Path) -> Result<Vec<TileRecord>> {
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
