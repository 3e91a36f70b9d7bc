//! A scores raster, or a mask, as rows of `u8` scores.

use std::path::Path;

use super::threshold::{FULL, NODATA, score_of};
use crate::config::polygonize::{OutlineForm, PolygonizeOptions};
use crate::error::{Error, Result};
use crate::geo::{Band, Grid, Window};
use crate::scores::{BANDS, provenance};

/// What interpolation makes of probabilities is let pass.
const PROBABILITIES: std::ops::RangeInclusive<f32> = -0.1..=1.1;

/// How the values of a raster stand for scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes with 255 declared as no data: 0..=254 for 0..=1.
    Scores,
    /// Other bytes: everything but 0 and the declared no-data value is building, whatever the threshold.
    Mask,
    /// Floating point 0..=1; NaN and the declared no-data value are no data.
    Probabilities,
}

/// An open raster of scores.
pub struct Scores {
    band: Band,
    kind: Kind,
    walls: Option<Band>,
}

/// Rows of a scores raster, 0..=254 for 0..=1 and 255 for no data.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Of a building.
    pub scores: Vec<u8>,
    /// Of a wall, where the raster says so.
    pub walls: Option<Vec<u8>>,
}

impl From<Vec<u8>> for Rows {
    fn from(scores: Vec<u8>) -> Self {
        Self { scores, walls: None }
    }
}

impl Scores {
    /// Opens the first band of a raster, and the one named [`BANDS`]`[1]` if there is one.
    ///
    /// # Errors
    /// The file is missing, no raster, or of another value type than uint8, float32 and float64.
    pub fn open(path: &Path) -> Result<Self> {
        let band = Band::open(path)?;
        let kind = if band.is_float() {
            Kind::Probabilities
        } else if band.is_u8() {
            match band.nodata() {
                Some(nodata) if nodata == f64::from(NODATA) => Kind::Scores,
                _ => Kind::Mask,
            }
        } else {
            return Err(Error::input(
                path,
                "scores (uint8 with 255 as no data, or float32 from 0 to 1) or a uint8 mask",
                format!("values of type {}", band.dtype()),
                "give the raster that `geoseg infer --scores` writes",
            ));
        };
        let walls = if kind == Kind::Mask { None } else { Band::open_named(path, BANDS[1])? };
        Ok(Self { band, kind, walls })
    }

    /// Where the pixels lie.
    pub fn grid(&self) -> &Grid {
        self.band.grid()
    }

    /// How values stand for scores.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it says where walls are.
    pub fn tells_walls(&self) -> bool {
        self.walls.is_some()
    }

    /// The options that fit what the raster tells: a mask does not say where between two pixels a wall stands, and walls are split along
    /// only where they are known.
    pub fn fitting(&self, options: &PolygonizeOptions) -> PolygonizeOptions {
        let is_mask = self.kind == Kind::Mask;
        let outline = if is_mask { OutlineForm::Pixel } else { options.outline };
        let split_wall = if self.tells_walls() { options.split_wall } else { 0.0 };
        PolygonizeOptions { outline, split_wall, ..options.clone() }
    }

    /// When the scene was taken, where the scores say so.
    pub fn date(&self) -> Option<String> {
        let provenance = self.band.metadata(provenance::ITEM)?;
        let provenance: serde_json::Value = serde_json::from_str(&provenance).ok()?;
        provenance["date"].as_str().map(str::to_owned)
    }

    /// See [`Band::forget_blocks`].
    ///
    /// # Errors
    /// The file is no longer there.
    pub fn forget_blocks(&mut self) -> Result<()> {
        self.band.forget_blocks()?;
        self.walls.as_mut().map_or(Ok(()), Band::forget_blocks)
    }

    /// Rows `row..row + rows` as scores. Floating point is rounded to what a byte holds (1/254), so both forms
    /// of one raster give the same buildings.
    ///
    /// # Errors
    /// The file is damaged there.
    pub fn read_rows(&self, row: usize, rows: usize) -> Result<Rows> {
        let window = Window { col: 0, row, width: self.grid().width, height: rows };
        let read = |band: &Band| read(band, self.kind, window);
        Ok(Rows { scores: read(&self.band)?, walls: self.walls.as_ref().map(read).transpose()? })
    }
}

fn read(band: &Band, kind: Kind, window: Window) -> Result<Vec<u8>> {
    match kind {
        Kind::Scores => band.read_u8(window),
        Kind::Mask => {
            let nodata = band.nodata();
            let mut values = band.read_u8(window)?;
            for value in &mut values {
                *value = match *value {
                    value if nodata == Some(f64::from(value)) => NODATA,
                    0 => 0,
                    _ => FULL,
                };
            }
            for (value, covered) in values.iter_mut().zip(band.covered(window)?.unwrap_or_default())
            {
                *value = if covered { NODATA } else { *value };
            }
            Ok(values)
        }
        Kind::Probabilities => {
            let nodata = band.nodata().map(|value| value as f32);
            let values = band.read_f32(window)?;
            let beyond = |value: &&f32| value.is_finite() && !PROBABILITIES.contains(*value);
            if let Some(value) = values.iter().filter(|value| Some(**value) != nodata).find(beyond)
            {
                return Err(Error::input(
                    band.path(),
                    "probabilities from 0 to 1",
                    value.to_string(),
                    "bring the values to that range first, for example with `gdal_calc.py`",
                ));
            }
            let score = |value| if Some(value) == nodata { NODATA } else { score_of(value) };
            Ok(values.into_iter().map(score).collect())
        }
    }
}
