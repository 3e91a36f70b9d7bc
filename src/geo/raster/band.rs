//! One band of a raster read as it is: scores, masks.

use std::path::{Path, PathBuf};

use gdal::raster::{GdalDataType, GdalType, RasterBand};
use gdal::{Dataset, Metadata};

use super::scene::alpha_of;
use crate::error::{Error, Result};
use crate::geo::dataset;
use crate::geo::grid::{Grid, Window};

/// GDAL's name for virtual rasters.
const MOSAIC: &str = "VRT";

/// A band of a raster, values untouched.
pub struct Band {
    dataset: Dataset,
    /// Its number, from 1 on.
    number: usize,
    path: PathBuf,
    grid: Grid,
    dtype: GdalDataType,
    nodata: Option<f64>,
    /// Whether the file has a mask, which says where there is nothing.
    masked: bool,
    /// A band of alpha, which says the same: where there is a nodata value, GDAL looks at that alone.
    alpha: Option<usize>,
}

/// What a byte is under a mask.
const COVERED: u8 = 255;

impl Band {
    /// Opens the first band.
    ///
    /// # Errors
    /// The file is missing or no raster.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::of(dataset::open(path, false)?, 1, path)
    }

    /// Opens the first band of a name (GDAL: its description), if there is one.
    ///
    /// # Errors
    /// The file is missing or no raster.
    pub fn open_named(path: impl AsRef<Path>, name: &str) -> Result<Option<Self>> {
        let path = path.as_ref();
        let dataset = dataset::open(path, false)?;
        let is_named = |number: &usize| {
            let description = dataset.rasterband(*number).and_then(|band| band.description());
            description.is_ok_and(|description| description == name)
        };
        let number = (1..=dataset.raster_count()).find(is_named);
        number.map(|number| Self::of(dataset, number, path)).transpose()
    }

    fn of(dataset: Dataset, number: usize, path: &Path) -> Result<Self> {
        let (dtype, nodata, flags) = {
            let band = dataset.rasterband(number).map_err(Error::gdal(path))?;
            let flags = band.mask_flags().map_err(Error::gdal(path))?;
            (band.band_type(), band.no_data_value(), flags)
        };
        let masked = !flags.is_all_valid() && !flags.is_nodata();
        let alpha = if masked { None } else { alpha_of(&dataset).filter(|band| *band != number) };
        let grid = super::grid_of(&dataset);
        Ok(Self { dataset, number, path: path.to_owned(), grid, dtype, nodata, masked, alpha })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its pixel grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The value that means "nothing here".
    pub fn nodata(&self) -> Option<f64> {
        self.nodata
    }

    /// Whether values are unsigned bytes.
    pub fn is_u8(&self) -> bool {
        self.dtype == GdalDataType::UInt8
    }

    /// Whether values are floating point.
    pub fn is_float(&self) -> bool {
        matches!(self.dtype, GdalDataType::Float32 | GdalDataType::Float64)
    }

    /// The value type as GDAL names it.
    pub fn dtype(&self) -> String {
        self.dtype.name()
    }

    /// An item of the file's metadata.
    pub fn metadata(&self, name: &str) -> Option<String> {
        self.dataset.metadata_item(name, "")
    }

    /// Values of a window, row by row; 255 where a mask covers them.
    ///
    /// # Errors
    /// The file is damaged there.
    pub fn read_u8(&self, window: Window) -> Result<Vec<u8>> {
        self.read_uncovered(window, COVERED)
    }

    /// Values of a window, row by row; NaN where a mask covers them.
    ///
    /// # Errors
    /// The file is damaged there.
    pub fn read_f32(&self, window: Window) -> Result<Vec<f32>> {
        self.read_uncovered(window, f32::NAN)
    }

    /// Where a mask covers a window's values, row by row; `None` where the file has no mask.
    ///
    /// # Errors
    /// The file is damaged there.
    pub fn covered(&self, window: Window) -> Result<Option<Vec<bool>>> {
        let band = |number| self.dataset.rasterband(number).map_err(Error::gdal(&self.path));
        let mask: Vec<u8> = match self.alpha {
            Some(alpha) => self.read_as(&band(alpha)?, window)?,
            None if self.masked => {
                let band = band(self.number)?;
                let mask = band.open_mask_band().map_err(Error::gdal(&self.path))?;
                self.read_as(&mask, window)?
            }
            None => return Ok(None),
        };
        Ok(Some(mask.into_iter().map(|value| value == 0).collect()))
    }

    fn read_uncovered<T: GdalType + Copy>(&self, window: Window, instead: T) -> Result<Vec<T>> {
        let band = self.dataset.rasterband(self.number).map_err(Error::gdal(&self.path))?;
        let mut values = self.read_as(&band, window)?;
        if let Some(covered) = self.covered(window)? {
            for (value, covered) in values.iter_mut().zip(covered) {
                *value = if covered { instead } else { *value };
            }
        }
        Ok(values)
    }

    /// Forgets the decoded blocks that GDAL keeps of this band: for a reader that comes by once.
    ///
    /// # Errors
    /// The file is no longer there.
    pub fn forget_blocks(&mut self) -> Result<()> {
        // The files of a mosaic keep what they have, whatever the mosaic forgets, until it is closed.
        if self.dataset.driver().short_name() == MOSAIC {
            self.dataset = dataset::open(&self.path, false)?;
            return Ok(());
        }
        let band = self.dataset.rasterband(self.number).map_err(Error::gdal(&self.path))?;
        // SAFETY: the handle belongs to the open dataset, which nobody else uses; nothing was written to it.
        unsafe { gdal_sys::GDALFlushRasterCache(band.c_rasterband()) };
        Ok(())
    }

    fn read_as<T: GdalType + Copy>(&self, band: &RasterBand<'_>, window: Window) -> Result<Vec<T>> {
        let size = (window.width, window.height);
        let buffer = band
            .read_as::<T>((window.col as isize, window.row as isize), size, size, None)
            .map_err(|source| {
                Error::input(
                    &self.path,
                    format!("readable pixels in rows {}..{}", window.row, window.bottom()),
                    dataset::reason(&source),
                    "the file is damaged or cut short: make it again",
                )
            })?;
        Ok(buffer.into_shape_and_vec().1)
    }
}
