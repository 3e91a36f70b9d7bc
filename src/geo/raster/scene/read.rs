//! Pixels of a scene, at any resolution.

use gdal::raster::{GdalType, RasterBand, ResampleAlg};

use super::{Mask, Scene};
use crate::error::{Error, Result};
use crate::geo::failures;
use crate::geo::grid::{Grid, Window};

/// Longest side, px, of the decimated copy from which an automatic value range is taken.
const RANGE_SAMPLE_PX: usize = 1024;

/// Pixels of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bands.
    pub bands: usize,
    /// Values, band by band, row by row (`[band, row, col]`).
    pub data: Vec<u8>,
    /// False where the scene has nodata, alpha 0, a masked pixel or NaN (`[row, col]`).
    pub valid: Vec<bool>,
}

impl Scene {
    /// Reads a window of `grid`, which spans the scene's extent at any resolution: averaged where
    /// it is coarser than the file, bilinear where it is finer.
    ///
    /// # Errors
    /// The window leaves the grid, or the file is damaged there.
    pub fn read(&self, grid: &Grid, window: Window) -> Result<Pixels> {
        if window.area() == 0 || window.right() > grid.width || window.bottom() > grid.height {
            return Err(Error::input(
                &self.path,
                format!("a window inside {} x {} px", grid.width, grid.height),
                format!("{window:?}"),
                "this is a defect in geoseg: please report it",
            ));
        }
        let in_file = self.turn.window(window, (grid.width, grid.height));
        let pixels = failures::read(&self.path, || self.read_lying(&self.turn.grid(grid), in_file));
        Ok(self.turn.pixels(pixels?))
    }

    /// Reads a window of `grid`, which spans the file's extent, as the file has it.
    fn read_lying(&self, grid: &Grid, window: Window) -> Result<Pixels> {
        let source = SourceWindow::of(&self.turn.grid(&self.grid), grid, window);
        let size = window.area();
        let mut valid = self.read_validity(&source, window)?;
        let data = if let Some(palette) = &self.palette {
            let indices: Vec<u8> =
                self.read_bands(&source, window, ResampleAlg::NearestNeighbour)?;
            let mut data = vec![0; 3 * size];
            for (i, &index) in indices.iter().enumerate() {
                let entry = palette.get(usize::from(index)).copied().unwrap_or([0, 0, 0, 0]);
                for band in 0..3 {
                    data[band * size + i] = entry[band];
                }
                valid[i] &= entry[3] > 0;
            }
            data
        } else if self.is_8_bit() && self.range == [0.0, 255.0] {
            self.read_bands(&source, window, source.resampling())?
        } else {
            let values: Vec<f32> = self.read_bands(&source, window, source.resampling())?;
            let [low, high] = self.range;
            let scale = 255.0 / (high - low);
            for (i, valid) in valid.iter_mut().enumerate() {
                *valid &= (0..self.bands.len()).all(|band| values[band * size + i].is_finite());
            }
            // NaN becomes 0, which `valid` disowns.
            values.iter().map(|&v| ((f64::from(v) - low) * scale + 0.5) as u8).collect()
        };
        Ok(Pixels { width: window.width, height: window.height, bands: self.bands(), data, valid })
    }

    fn read_validity(&self, source: &SourceWindow, window: Window) -> Result<Vec<bool>> {
        let bands = match self.mask {
            Mask::None => &[][..],
            Mask::Shared => &self.bands[..1],
            Mask::PerBand => &self.bands[..],
        };
        let mut valid = vec![bands.is_empty(); window.area()];
        let mut buffer = vec![0_u8; window.area()];
        for &band in bands {
            let raster = self.dataset.rasterband(band).map_err(Error::gdal(&self.path))?;
            let mask = raster.open_mask_band().map_err(Error::gdal(&self.path))?;
            self.read_nearest(&mask, source, window, &mut buffer)?;
            for (valid, &mask) in valid.iter_mut().zip(&buffer) {
                *valid |= mask > 0;
            }
        }
        if let Some(band) = self.alpha {
            let alpha = self.dataset.rasterband(band).map_err(Error::gdal(&self.path))?;
            self.read_nearest(&alpha, source, window, &mut buffer)?;
            for (valid, &alpha) in valid.iter_mut().zip(&buffer) {
                *valid &= alpha > 0;
            }
        }
        Ok(valid)
    }

    /// A band's values `[row, col]`, which are 0 or not, into `buffer`.
    fn read_nearest(
        &self,
        band: &RasterBand<'_>,
        source: &SourceWindow,
        window: Window,
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut extra = source.extra(ResampleAlg::NearestNeighbour);
        // SAFETY: the buffer holds width * height bytes, tightly packed.
        let code = unsafe {
            gdal_sys::GDALRasterIOEx(
                band.c_rasterband(),
                gdal_sys::GDALRWFlag::GF_Read,
                source.col,
                source.row,
                source.width,
                source.height,
                buffer.as_mut_ptr().cast(),
                window.width as i32,
                window.height as i32,
                u8::gdal_ordinal(),
                0,
                0,
                &raw mut extra,
            )
        };
        self.check(code, window)
    }

    /// `[band, row, col]` values, converted by GDAL to `T`.
    fn read_bands<T: GdalType + Copy + Default>(
        &self,
        source: &SourceWindow,
        window: Window,
        resampling: ResampleAlg,
    ) -> Result<Vec<T>> {
        let mut values = vec![T::default(); self.bands.len() * window.area()];
        let mut bands: Vec<i32> = self.bands.iter().map(|&band| band as i32).collect();
        let mut extra = source.extra(resampling);
        let bytes = size_of::<T>() as i64;
        // SAFETY: the buffer holds bands * width * height values at the spacings given.
        let code = unsafe {
            gdal_sys::GDALDatasetRasterIOEx(
                self.dataset.c_dataset(),
                gdal_sys::GDALRWFlag::GF_Read,
                source.col,
                source.row,
                source.width,
                source.height,
                values.as_mut_ptr().cast(),
                window.width as i32,
                window.height as i32,
                T::gdal_ordinal(),
                bands.len() as i32,
                bands.as_mut_ptr(),
                bytes,
                bytes * window.width as i64,
                bytes * window.area() as i64,
                &raw mut extra,
            )
        };
        self.check(code, window)?;
        Ok(values)
    }

    fn check(&self, code: gdal_sys::CPLErr::Type, window: Window) -> Result<()> {
        if code < gdal_sys::CPLErr::CE_Failure {
            return Ok(());
        }
        // SAFETY: this thread's last message, copied at once.
        let message = unsafe { std::ffi::CStr::from_ptr(gdal_sys::CPLGetLastErrorMsg()) };
        Err(Error::input(
            &self.path,
            format!(
                "readable pixels in columns {}..{}, rows {}..{}",
                window.col,
                window.right(),
                window.row,
                window.bottom()
            ),
            message.to_string_lossy().lines().next().unwrap_or("an error").to_owned(),
            "the file is damaged or cut short: copy it again",
        ))
    }

    /// 2nd and 98th percentile over all bands of a decimated copy.
    pub(super) fn percentile_range(&self) -> Result<[f64; 2]> {
        let native = self.turn.grid(&self.grid);
        let shrink = native.width.max(native.height).div_ceil(RANGE_SAMPLE_PX).max(1);
        let small = native
            .resized(native.width.div_ceil(shrink).max(1), native.height.div_ceil(shrink).max(1));
        let window = Window::whole(small.width, small.height);
        let source = SourceWindow::of(&native, &small, window);
        let valid = self.read_validity(&source, window)?;
        let values: Vec<f32> = self.read_bands(&source, window, ResampleAlg::NearestNeighbour)?;
        let mut seen: Vec<f32> = values
            .chunks(window.area())
            .flat_map(|band| band.iter().zip(&valid).filter(|(_, valid)| **valid).map(|(v, _)| *v))
            .filter(|v| v.is_finite())
            .collect();
        if seen.is_empty() {
            return Ok([0.0, 1.0]);
        }
        seen.sort_by(f32::total_cmp);
        let at = |share: f64| f64::from(seen[((seen.len() - 1) as f64 * share).round() as usize]);
        let (low, high) = (at(0.02), at(0.98));
        Ok(if high > low { [low, high] } else { [low, low + 1.0] })
    }
}

/// The part of the file under a window of a resampled grid, in fractions of file pixels.
struct SourceWindow {
    exact: [f64; 4],
    col: i32,
    row: i32,
    width: i32,
    height: i32,
    ratio: f64,
}

impl SourceWindow {
    fn of(native: &Grid, grid: &Grid, window: Window) -> Self {
        let sx = native.width as f64 / grid.width as f64;
        let sy = native.height as f64 / grid.height as f64;
        let (x0, y0) = (window.col as f64 * sx, window.row as f64 * sy);
        let x1 = (window.right() as f64 * sx).min(native.width as f64);
        let y1 = (window.bottom() as f64 * sy).min(native.height as f64);
        let (col, row) = (x0.floor(), y0.floor());
        Self {
            exact: [x0, y0, x1 - x0, y1 - y0],
            col: col as i32,
            row: row as i32,
            width: ((x1.ceil() - col) as i32).max(1),
            height: ((y1.ceil() - row) as i32).max(1),
            ratio: (sx * sy).sqrt(),
        }
    }

    fn resampling(&self) -> ResampleAlg {
        // One part in 1e6: grids that only differ by rounding are the same grid.
        if (self.ratio - 1.0).abs() < 1e-6 {
            ResampleAlg::NearestNeighbour
        } else if self.ratio > 1.0 {
            ResampleAlg::Average
        } else {
            ResampleAlg::Bilinear
        }
    }

    fn extra(&self, resampling: ResampleAlg) -> gdal_sys::GDALRasterIOExtraArg {
        // SAFETY: numbers, pointers and an optional function, for all of which zero is a value. Newer GDALs have more fields
        // than older ones; version 1 says that those are not looked at.
        let mut extra: gdal_sys::GDALRasterIOExtraArg = unsafe { std::mem::zeroed() };
        extra.nVersion = 1;
        extra.eResampleAlg = resampling.to_gdal();
        extra.bFloatingPointWindowValidity = 1;
        [extra.dfXOff, extra.dfYOff, extra.dfXSize, extra.dfYSize] = self.exact;
        extra
    }
}
