//! A scene: any raster that GDAL opens, read as 8-bit pixels with their validity.

use std::path::{Path, PathBuf};

use gdal::Dataset;
use gdal::raster::{ColorInterpretation, GdalDataType, GdalType, ResampleAlg};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::geo::dataset::{self, VrtProgram, reason};
use crate::geo::grid::{Grid, Window};

/// Longest side, px, of the decimated copy from which an automatic value range is taken.
const RANGE_SAMPLE_PX: usize = 1024;

/// How to read a scene.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneOptions {
    /// Bands to read, counted from 1; all that are not alpha where absent.
    pub bands: Option<Vec<usize>>,
    /// Values that become 0 and 255. 8-bit scenes default to `[0, 255]`, others to the 2nd and 98th
    /// percentile of the scene.
    pub value_range: Option<[f64; 2]>,
    /// A nodata value instead of the file's own.
    pub nodata: Option<f64>,
}

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

/// An open scene. May move between threads; each thread that reads opens its own.
pub struct Scene {
    dataset: Dataset,
    /// What `dataset` reads from where it is a VRT in memory: closing a source closes it for good,
    /// whoever refers to it. Fields drop in this order.
    _sources: Vec<Dataset>,
    path: PathBuf,
    grid: Grid,
    bands: Vec<usize>,
    dtype: GdalDataType,
    range: [f64; 2],
    palette: Option<Vec<[u8; 4]>>,
    mask: Mask,
}

/// Where validity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    /// Every pixel is valid.
    None,
    /// One mask serves all bands: an alpha band or an internal mask.
    Shared,
    /// A pixel is valid where any band differs from nodata.
    PerBand,
}

impl Scene {
    /// Opens with default options.
    ///
    /// # Errors
    /// See [`Scene::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &SceneOptions::default())
    }

    /// Opens a scene. Ground control points without a geotransform are warped on the fly.
    ///
    /// # Errors
    /// The file is missing, no raster, has no such band, or its values are complex numbers.
    pub fn open_with(path: impl AsRef<Path>, options: &SceneOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let mut dataset = dataset::open(&path, false)?;
        if dataset.raster_count() == 0 {
            return Err(Error::input(
                &path,
                "a raster with bands",
                "none",
                "if the file holds subdatasets, name one (`gdalinfo` lists them)",
            ));
        }
        let mut sources = Vec::new();
        if let Some(nodata) = options.nodata
            && let Some(vrt) =
                dataset::to_vrt(&dataset, VrtProgram::AssignNodata(&nodata.to_string()))
        {
            sources.insert(0, std::mem::replace(&mut dataset, vrt));
        }
        // SAFETY: counts the ground control points of an open dataset.
        let control_points = unsafe { gdal_sys::GDALGetGCPCount(dataset.c_dataset()) };
        if control_points > 0
            && dataset.geo_transform().is_err()
            && let Some(warped) = dataset::to_vrt(&dataset, VrtProgram::WarpWithAlpha)
        {
            sources.insert(0, std::mem::replace(&mut dataset, warped));
        }
        let grid = super::grid_of(&dataset);
        let gdal_error = Error::gdal(&path);
        let first = dataset.rasterband(1).map_err(gdal_error)?;
        let dtype = first.band_type();
        let palette = palette_of(&first);
        let bands = choose_bands(&dataset, &path, options.bands.as_deref())?;
        if dtype.name().starts_with('C') {
            return Err(Error::input(
                &path,
                "integer or floating point values",
                format!("{} values", dtype.name()),
                "convert the scene first",
            ));
        }
        let mask = mask_of(&dataset, &path, &bands)?;
        let mut scene = Self {
            dataset,
            _sources: sources,
            path,
            grid,
            bands,
            dtype,
            range: [0.0, 255.0],
            palette,
            mask,
        };
        scene.range = match options.value_range {
            Some(range) if range[1] > range[0] => range,
            Some(range) => {
                return Err(Error::config(
                    "value_range",
                    format!("expected [low, high] with low < high, found {range:?}"),
                ));
            }
            None if scene.dtype == GdalDataType::UInt8 => [0.0, 255.0],
            None => scene.percentile_range()?,
        };
        Ok(scene)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name without folder and extension.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "scene".into(), |s| s.to_string_lossy().into_owned())
    }

    /// Bands that [`Scene::read`] returns.
    pub fn bands(&self) -> usize {
        if self.palette.is_some() { 3 } else { self.bands.len() }
    }

    /// The file's value type, as GDAL names it (`Byte`, `UInt16`, ...).
    pub fn dtype(&self) -> String {
        self.dtype.name()
    }

    /// Whether values are 8-bit already.
    pub fn is_8_bit(&self) -> bool {
        self.dtype == GdalDataType::UInt8
    }

    /// Values that become 0 and 255.
    pub fn value_range(&self) -> [f64; 2] {
        self.range
    }

    /// The file's own pixel grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The same extent at another ground sample distance.
    ///
    /// # Errors
    /// The distance is not positive, or so large or small that no sensible grid results.
    pub fn grid_at(&self, gsd_m: f64) -> Result<Grid> {
        if !(gsd_m.is_finite() && gsd_m > 0.0) {
            return Err(Error::config("gsd_m", format!("expected metres above 0, found {gsd_m}")));
        }
        let grid = self.grid.at_gsd(gsd_m);
        if grid.width.max(grid.height) > i32::MAX as usize {
            return Err(Error::input(
                &self.path,
                format!("a scene of at most {} px a side at {gsd_m} m", i32::MAX),
                format!("{} x {} px", grid.width, grid.height),
                "check the scene's georeference",
            ));
        }
        Ok(grid)
    }

    /// The world coordinates' tie to the ground is known.
    pub fn is_georeferenced(&self) -> bool {
        self.grid.crs.is_some()
    }

    /// Reads a window of `grid`, which spans the scene's extent at any resolution: averaged where
    /// it is coarser than the file, bilinear where it is finer.
    ///
    /// # Errors
    /// The window leaves the grid, or the file is damaged there.
    pub fn read(&self, grid: &Grid, window: Window) -> Result<Pixels> {
        let source = SourceWindow::of(&self.grid, grid, window);
        if window.area() == 0 || window.right() > grid.width || window.bottom() > grid.height {
            return Err(Error::input(
                &self.path,
                format!("a window inside {} x {} px", grid.width, grid.height),
                format!("{window:?}"),
                "this is a defect in geoseg: please report it",
            ));
        }
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
            Mask::None => return Ok(vec![true; window.area()]),
            Mask::Shared => &self.bands[..1],
            Mask::PerBand => &self.bands[..],
        };
        let mut valid = vec![false; window.area()];
        let mut buffer = vec![0_u8; window.area()];
        for &band in bands {
            let raster = self.dataset.rasterband(band).map_err(Error::gdal(&self.path))?;
            let mask = raster.open_mask_band().map_err(Error::gdal(&self.path))?;
            let mut extra = source.extra(ResampleAlg::NearestNeighbour);
            // SAFETY: the buffer holds width * height bytes, tightly packed.
            let code = unsafe {
                gdal_sys::GDALRasterIOEx(
                    mask.c_rasterband(),
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
            self.check(code, window)?;
            for (valid, &mask) in valid.iter_mut().zip(&buffer) {
                *valid |= mask > 0;
            }
        }
        Ok(valid)
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
    fn percentile_range(&self) -> Result<[f64; 2]> {
        let shrink = self.grid.width.max(self.grid.height).div_ceil(RANGE_SAMPLE_PX).max(1);
        let small = self.grid.resized(
            self.grid.width.div_ceil(shrink).max(1),
            self.grid.height.div_ceil(shrink).max(1),
        );
        let window = Window::whole(small.width, small.height);
        let source = SourceWindow::of(&self.grid, &small, window);
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
        gdal_sys::GDALRasterIOExtraArg {
            nVersion: 1,
            eResampleAlg: resampling.to_gdal(),
            pfnProgress: None,
            pProgressData: std::ptr::null_mut(),
            bFloatingPointWindowValidity: 1,
            dfXOff: self.exact[0],
            dfYOff: self.exact[1],
            dfXSize: self.exact[2],
            dfYSize: self.exact[3],
        }
    }
}

fn palette_of(band: &gdal::raster::RasterBand) -> Option<Vec<[u8; 4]>> {
    let table = band.color_table()?;
    let byte = |value: i16| value.clamp(0, 255) as u8;
    let entries = (0..table.entry_count())
        .map(|i| {
            table
                .entry_as_rgb(i)
                .map_or([0, 0, 0, 0], |e| [byte(e.r), byte(e.g), byte(e.b), byte(e.a)])
        })
        .collect();
    Some(entries)
}

fn choose_bands(dataset: &Dataset, path: &Path, wanted: Option<&[usize]>) -> Result<Vec<usize>> {
    let count = dataset.raster_count();
    if let Some(wanted) = wanted {
        if let Some(&band) = wanted.iter().find(|&&band| band == 0 || band > count) {
            return Err(Error::input(
                path,
                format!("band {band} (bands count from 1)"),
                format!("{count} bands"),
                "correct `bands`",
            ));
        }
        if !wanted.is_empty() {
            return Ok(wanted.to_vec());
        }
    }
    let mut bands = Vec::new();
    for band in 1..=count {
        let raster = dataset.rasterband(band).map_err(|source| {
            Error::input(path, "readable bands", reason(&source), "check that the file is whole")
        })?;
        if raster.color_interpretation() != ColorInterpretation::AlphaBand {
            bands.push(band);
        }
    }
    // A raster of alpha alone is a picture of something all the same.
    Ok(if bands.is_empty() { vec![1] } else { bands })
}

fn mask_of(dataset: &Dataset, path: &Path, bands: &[usize]) -> Result<Mask> {
    let mut mask = Mask::None;
    for &band in bands {
        let raster = dataset.rasterband(band).map_err(Error::gdal(path))?;
        let flags = raster.mask_flags().map_err(Error::gdal(path))?;
        if flags.is_all_valid() {
            // One band without nodata makes every pixel valid.
            return Ok(Mask::None);
        }
        mask =
            if flags.is_per_dataset() && !flags.is_nodata() { Mask::Shared } else { Mask::PerBand };
    }
    Ok(mask)
}
