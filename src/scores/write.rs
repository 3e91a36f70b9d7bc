//! Scores rasters out: bytes or floats, row by row.

use std::path::Path;

use super::BANDS;
use crate::config::infer::ScoresType;
use crate::error::Result;
use crate::geo::{Compression, Grid, RasterWriter};

/// 8-bit scores: `round(p * 254)`.
pub const SCALE: f32 = 254.0;
/// 8-bit scores: nothing was scored here.
pub const NODATA: u8 = 255;

/// A scores raster that grows row by row.
pub enum ScoresWriter {
    /// `round(p * 254)`.
    Bytes(RasterWriter<u8>),
    /// As they are.
    Floats(RasterWriter<f32>),
}

impl ScoresWriter {
    /// Creates the file (give it a staged path) with the first so many of [`BANDS`].
    ///
    /// # Errors
    /// GDAL cannot write there.
    pub fn create(out: &Path, grid: &Grid, bands: usize, scores: ScoresType) -> Result<Self> {
        // Strips and the means of several models are copied or polygonized, and deleted.
        let compression = Compression::Passing;
        let names = &BANDS[..bands];
        Ok(match scores {
            ScoresType::Uint8 => {
                let nodata = Some(f64::from(NODATA));
                Self::Bytes(RasterWriter::create(out, grid, names, nodata, compression)?)
            }
            ScoresType::Float32 => {
                Self::Floats(RasterWriter::create(out, grid, names, Some(f64::NAN), compression)?)
            }
        })
    }

    /// Writes whole rows of probabilities `[band, row, col]`, the first at `row`; NaN is no data.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_rows(&mut self, row: usize, scores: &[f32]) -> Result<()> {
        match self {
            Self::Bytes(writer) => {
                // As `round` does it, without a call for each value: in 64 bits the sum is exact.
                let byte = |score: &f32| {
                    let byte = (f64::from(score * SCALE) + 0.5) as u8;
                    if score.is_nan() { NODATA } else { byte }
                };
                writer.write_rows(row, &scores.iter().map(byte).collect::<Vec<u8>>())
            }
            Self::Floats(writer) => writer.write_rows(row, scores),
        }
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Bytes(writer) => writer.finish(),
            Self::Floats(writer) => writer.finish(),
        }
    }
}
