//! A scores raster, or a mask, as rows of `u8` scores.

use std::path::Path;

use super::threshold::{FULL, NODATA, score_of};
use crate::error::{Error, Result};
use crate::geo::{Band, Grid, Window};
use crate::scores::provenance;

/// How the values of a raster stand for scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes with 255 declared as no data: 0..=254 for 0..=1.
    Scores,
    /// Other bytes: everything but 0 is building, whatever the threshold.
    Mask,
    /// Floating point 0..=1; NaN and the declared no-data value are no data.
    Probabilities,
}

/// An open raster of scores.
pub struct Scores {
    band: Band,
    kind: Kind,
}

impl Scores {
    /// Opens the first band of a raster.
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
        Ok(Self { band, kind })
    }

    /// Where the pixels lie.
    pub fn grid(&self) -> &Grid {
        self.band.grid()
    }

    /// How values stand for scores.
    pub fn kind(&self) -> Kind {
        self.kind
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
        self.band.forget_blocks()
    }

    /// Rows `row..row + rows` as scores. Floating point is rounded to what a byte holds (1/254), so both forms
    /// of one raster give the same buildings.
    ///
    /// # Errors
    /// The file is damaged there.
    pub fn read_rows(&self, row: usize, rows: usize) -> Result<Vec<u8>> {
        let window = Window { col: 0, row, width: self.grid().width, height: rows };
        match self.kind {
            Kind::Scores => self.band.read_u8(window),
            Kind::Mask => {
                let mut values = self.band.read_u8(window)?;
                for value in &mut values {
                    *value = if *value == 0 { 0 } else { FULL };
                }
                Ok(values)
            }
            Kind::Probabilities => {
                let nodata = self.band.nodata().map(|value| value as f32);
                let values = self.band.read_f32(window)?;
                let score = |value| if Some(value) == nodata { NODATA } else { score_of(value) };
                Ok(values.into_iter().map(score).collect())
            }
        }
    }
}
