//! Scores of a file, as probabilities on any grid.

use std::path::Path;

use super::BANDS;
use super::mean::{BYTE_STEP, FLOAT_STEP};
use super::write::{NODATA, SCALE};
use crate::error::{Error, Result};
use crate::geo::{Band, GeoTransform, Grid, Reprojection, Window};

/// Side of the cells, px, between whose corners positions are interpolated: a coordinate system bends by nothing that
/// matters over them, and the part of the file under one is small at any resolution.
const CELL_PX: usize = 32;

/// Grids whose corners lie nearer than this, px, are one grid.
const SAME_PX: f64 = 1e-3;

/// A scores raster seen on a grid of its own or of another file.
pub struct Layer {
    band: Band,
    /// Whether values are bytes.
    bytes: bool,
    way: Option<Way>,
}

/// From pixels of the wanted grid to those of the file.
struct Way {
    wanted: GeoTransform,
    reprojection: Option<Reprojection>,
    to_file: GeoTransform,
}

impl Layer {
    /// Opens the scores of a file: bytes with 255 as no data, or floating point.
    ///
    /// # Errors
    /// The file is missing, no raster, or holds no scores.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(Band::open(path)?, path)
    }

    /// Opens the walls of a file ([`BANDS`]`[1]`), if it has any.
    ///
    /// # Errors
    /// As [`Layer::open`].
    pub fn open_walls(path: &Path) -> Result<Option<Self>> {
        Band::open_named(path, BANDS[1])?.map(|band| Self::of(band, path)).transpose()
    }

    fn of(band: Band, path: &Path) -> Result<Self> {
        let bytes = band.is_u8() && band.nodata() == Some(f64::from(NODATA));
        if bytes || band.is_float() {
            return Ok(Self { band, bytes, way: None });
        }
        let nodata =
            band.nodata().map_or("no nodata".to_owned(), |value| format!("nodata {value}"));
        Err(Error::input(
            path,
            "scores (uint8 with 255 as no data, or float32 from 0 to 1)",
            format!("values of type {}, {nodata}", band.dtype()),
            "give rasters that `geoseg infer --scores` writes",
        ))
    }

    /// Its own grid.
    pub fn grid(&self) -> &Grid {
        self.band.grid()
    }

    /// The file's metadata.
    pub fn metadata(&self, name: &str) -> Option<String> {
        self.band.metadata(name)
    }

    /// How near to 0 and 1 its values are taken.
    pub fn step(&self) -> f64 {
        if self.bytes { BYTE_STEP } else { FLOAT_STEP }
    }

    /// The same scores on another grid, for [`Layer::read`].
    ///
    /// # Errors
    /// Nothing tells how the two grids lie to each other.
    pub fn on(mut self, wanted: &Grid) -> Result<Self> {
        let own = self.band.grid();
        let located = own.crs.is_some();
        if located != wanted.crs.is_some() {
            let what = |located: bool| if located { "a georeference" } else { "none" };
            return Err(Error::input(
                self.band.path(),
                format!("{}, as the first raster has", what(wanted.crs.is_some())),
                what(located),
                "only rasters with a georeference can be brought to another grid",
            ));
        }
        let reprojection = match (&wanted.crs, &own.crs) {
            (Some(from), Some(to)) if !from.same_as(to) => Some(Reprojection::new(from, to)?),
            _ => None,
        };
        let to_file = own.transform.invert().unwrap_or(GeoTransform::PIXEL);
        let way = Way { wanted: wanted.transform, reprojection, to_file };
        if !way.is_identity(wanted, own) {
            self.way = Some(way);
        }
        Ok(self)
    }

    /// Probabilities of a window of the wanted grid, row by row; NaN where the file has none. Between two grids the nearest pixel decides
    /// whether there is a value; the value is interpolated where the file is coarser, and averaged (by a triangle) where it is finer.
    ///
    /// # Errors
    /// The file is damaged there, or holds something else than probabilities.
    pub fn read(&self, window: Window) -> Result<Vec<f32>> {
        let Some(way) = &self.way else { return self.values(window) };
        let mut out = vec![f32::NAN; window.area()];
        // Cells lie where the wanted grid has them, wherever windows begin: the same values however it is read.
        for top in (window.row / CELL_PX * CELL_PX..window.bottom()).step_by(CELL_PX) {
            for left in (window.col / CELL_PX * CELL_PX..window.right()).step_by(CELL_PX) {
                let cell = Window { col: left, row: top, width: CELL_PX, height: CELL_PX };
                let Some(part) = cell.intersection(&window) else { continue };
                self.fill(way, cell, part, window, &mut out)?;
            }
        }
        Ok(out)
    }

    /// The part of a cell inside a window.
    fn fill(
        &self,
        way: &Way,
        cell: Window,
        part: Window,
        window: Window,
        out: &mut [f32],
    ) -> Result<()> {
        let Some(place) = Placed::new(way, cell) else { return Ok(()) };
        let Some(source) = place.source(self.grid()) else { return Ok(()) };
        let values = self.values(source)?;
        for row in part.row..part.bottom() {
            for col in part.col..part.right() {
                let (x, y) = place.position(col - cell.col, row - cell.row);
                let at = (row - window.row) * window.width + col - window.col;
                out[at] = sample(&values, source, (x, y), place.reach);
            }
        }
        Ok(())
    }

    /// Probabilities of a window of the file; NaN where it has none.
    fn values(&self, window: Window) -> Result<Vec<f32>> {
        if self.bytes {
            let values = self.band.read_u8(window)?;
            let score = |value| if value == NODATA { f32::NAN } else { f32::from(value) / SCALE };
            return Ok(values.into_iter().map(score).collect());
        }
        let mut values = self.band.read_f32(window)?;
        let nodata = self.band.nodata().map(|value| value as f32);
        for value in &mut values {
            if Some(*value) == nodata {
                *value = f32::NAN;
            }
            if !(value.is_nan() || (0.0..=1.0).contains(value)) {
                return Err(Error::input(
                    self.band.path(),
                    "probabilities from 0 to 1",
                    format!("{value} in rows {}..{}", window.row, window.bottom()),
                    "give rasters that `geoseg infer --scores` writes",
                ));
            }
        }
        Ok(values)
    }
}

impl Way {
    fn apply(&self, col: f64, row: f64) -> Option<(f64, f64)> {
        let (x, y) = self.wanted.apply(col, row);
        let (x, y) = match &self.reprojection {
            // What has no place in the file's coordinate system has no score there either.
            Some(reprojection) => reprojection.point(x, y).ok()?,
            None => (x, y),
        };
        let (col, row) = self.to_file.apply(x, y);
        (col.is_finite() && row.is_finite()).then_some((col, row))
    }

    fn is_identity(&self, wanted: &Grid, own: &Grid) -> bool {
        let (w, h) = (wanted.width as f64, wanted.height as f64);
        let same = |(col, row): (f64, f64)| {
            let near = |(x, y): (f64, f64)| (x - col).abs() < SAME_PX && (y - row).abs() < SAME_PX;
            self.apply(col, row).is_some_and(near)
        };
        (wanted.width, wanted.height) == (own.width, own.height)
            && [(0.0, 0.0), (w, 0.0), (0.0, h), (w, h)].into_iter().all(same)
    }
}

/// A cell of the wanted grid in pixels of the file.
struct Placed {
    /// Upper left, upper right, lower left, lower right.
    corners: [(f64, f64); 4],
    /// How far along (columns, rows) of the file a pixel reaches: at least to its neighbours, further where the file is finer.
    reach: (f64, f64),
}

impl Placed {
    fn new(way: &Way, cell: Window) -> Option<Self> {
        let (left, top) = (cell.col as f64, cell.row as f64);
        let (right, bottom) = (cell.right() as f64, cell.bottom() as f64);
        let corner = |col, row| way.apply(col, row);
        let corners = [
            corner(left, top)?,
            corner(right, top)?,
            corner(left, bottom)?,
            corner(right, bottom)?,
        ];
        let [a, b, c, _] = corners;
        let pixel = |along: f64, down: f64| (along.hypot(down) / CELL_PX as f64).max(1.0);
        let reach = (pixel(b.0 - a.0, c.0 - a.0), pixel(b.1 - a.1, c.1 - a.1));
        Some(Self { corners, reach })
    }

    /// Where the middle of a pixel lies.
    fn position(&self, col: usize, row: usize) -> (f64, f64) {
        let share = |at: usize| (at as f64 + 0.5) / CELL_PX as f64;
        let (u, v) = (share(col), share(row));
        let [a, b, c, d] = self.corners;
        let between = |a: f64, b: f64, c: f64, d: f64| {
            (1.0 - v) * ((1.0 - u) * a + u * b) + v * ((1.0 - u) * c + u * d)
        };
        (between(a.0, b.0, c.0, d.0), between(a.1, b.1, c.1, d.1))
    }

    /// The part of the file that the cell's pixels reach.
    fn source(&self, grid: &Grid) -> Option<Window> {
        let range = |values: [f64; 4], reach: f64, len: usize| {
            let low = values.into_iter().fold(f64::INFINITY, f64::min) - reach;
            let high = values.into_iter().fold(f64::NEG_INFINITY, f64::max) + reach;
            let (low, high) = (low.floor().max(0.0), high.ceil().min(len as f64));
            (low < high).then_some((low as usize, (high - low) as usize))
        };
        let (col, width) = range(self.corners.map(|corner| corner.0), self.reach.0, grid.width)?;
        let (row, height) = range(self.corners.map(|corner| corner.1), self.reach.1, grid.height)?;
        Some(Window { col, row, width, height })
    }
}

/// The value at a position of the file, weighted with a triangle over its pixels within reach; NaN where the nearest has none.
fn sample(values: &[f32], source: Window, (x, y): (f64, f64), reach: (f64, f64)) -> f32 {
    let at = |col: usize, row: usize| values[(row - source.row) * source.width + col - source.col];
    let inside = (source.col as f64..source.right() as f64).contains(&x)
        && (source.row as f64..source.bottom() as f64).contains(&y);
    if !inside || at(x as usize, y as usize).is_nan() {
        return f32::NAN;
    }
    let taps = |position: f64, reach: f64, from: usize, to: usize| {
        let middle = position - 0.5;
        let first = (middle - reach).ceil().max(from as f64) as usize;
        let last = ((middle + reach).floor() as usize).min(to - 1);
        (first..=last).map(move |pixel| (pixel, 1.0 - (pixel as f64 - middle).abs() / reach))
    };
    let (mut sum, mut total) = (0.0, 0.0);
    for (row, row_weight) in taps(y, reach.1, source.row, source.bottom()) {
        for (col, col_weight) in taps(x, reach.0, source.col, source.right()) {
            let value = at(col, row);
            if !value.is_nan() {
                sum += row_weight * col_weight * f64::from(value);
                total += row_weight * col_weight;
            }
        }
    }
    (sum / total) as f32
}
