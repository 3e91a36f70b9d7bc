//! A scene: any raster that GDAL opens, and what its bands mean.

mod read;
mod upright;

use std::path::{Path, PathBuf};

use gdal::Dataset;
use gdal::raster::{ColorInterpretation, GdalDataType};
use serde::{Deserialize, Serialize};

pub use self::read::Pixels;
use self::upright::Turn;
use crate::error::{Error, Result};
use crate::geo::dataset::{self, VrtProgram, reason};
use crate::geo::grid::{GeoTransform, Grid};

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
    /// Whether a picture without georeference is turned as its EXIF data say: photos are.
    #[serde(skip)]
    pub upright: bool,
}

/// An open scene. May move between threads; each thread that reads opens its own.
pub struct Scene {
    dataset: Dataset,
    /// What `dataset` reads from where it is a VRT in memory: closing a source closes it for good,
    /// whoever refers to it. Fields drop in this order.
    _sources: Vec<Dataset>,
    path: PathBuf,
    grid: Grid,
    /// How the file's pixels lie on `grid`.
    turn: Turn,
    bands: Vec<usize>,
    dtype: GdalDataType,
    range: [f64; 2],
    palette: Option<Vec<[u8; 4]>>,
    mask: Mask,
    /// A band of alpha that `mask` does not tell of: where there is a nodata value, GDAL looks at that alone.
    alpha: Option<usize>,
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
        check_types(&dataset, &path, options.nodata)?;
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
        let mut grid = super::grid_of(&dataset);
        let mut turn = Turn::default();
        if options.upright && grid.crs.is_none() && grid.transform == GeoTransform::PIXEL {
            turn = Turn::of(&path);
            grid = turn.grid(&grid);
        }
        let gdal_error = Error::gdal(&path);
        let first = dataset.rasterband(1).map_err(gdal_error)?;
        let dtype = first.band_type();
        let palette = palette_of(&first);
        let bands = choose_bands(&dataset, &path, options.bands.as_deref())?;
        if palette.is_some() && dtype != GdalDataType::UInt8 {
            return Err(Error::input(
                &path,
                "a palette behind 8-bit values",
                format!("one behind {} values", dtype.name()),
                "make colours of them first (`gdal_translate -expand rgb`)",
            ));
        }
        let mask = mask_of(&dataset, &path, &bands)?;
        let alpha = if mask == Mask::Shared { None } else { alpha_of(&dataset) };
        let mut scene = Self {
            dataset,
            _sources: sources,
            path,
            grid,
            turn,
            bands,
            dtype,
            range: [0.0, 255.0],
            palette,
            mask,
            alpha,
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

    /// The name of the scene in a file: without folder and extension.
    pub fn name_of(path: &Path) -> String {
        path.file_stem().map_or_else(|| "scene".into(), |s| s.to_string_lossy().into_owned())
    }

    /// When it was taken, where the file's metadata of imagery say so.
    pub fn date(&self) -> Option<String> {
        use gdal::Metadata as _;
        self.dataset.metadata_item("ACQUISITIONDATETIME", "IMAGERY")
    }

    /// Bands that [`Scene::read`] returns.
    pub fn bands(&self) -> usize {
        if self.palette.is_some() { 3 } else { self.bands.len() }
    }

    /// Their numbers in the file, from 1; a single one where a palette gives the colours.
    pub fn band_numbers(&self) -> &[usize] {
        &self.bands
    }

    /// The value that means "nothing here", of the first band.
    pub fn nodata(&self) -> Option<f64> {
        self.dataset.rasterband(self.bands[0]).ok()?.no_data_value()
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

    /// The file's own pixel grid, upright where that was asked for.
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

/// Refuses values that are no grey levels, and a nodata value that none of them can be.
fn check_types(dataset: &Dataset, path: &Path, nodata: Option<f64>) -> Result<()> {
    for band in 1..=dataset.raster_count() {
        let raster = dataset.rasterband(band).map_err(Error::gdal(path))?;
        let (mut clamped, mut rounded) = (0, 0);
        // SAFETY: reads the type of an open band; the flags outlive the call.
        let (is_complex, name) = unsafe {
            let dtype = gdal_sys::GDALGetRasterDataType(raster.c_rasterband());
            let value = nodata.unwrap_or(0.0);
            gdal_sys::GDALAdjustValueToDataType(dtype, value, &raw mut clamped, &raw mut rounded);
            let name = std::ffi::CStr::from_ptr(gdal_sys::GDALGetDataTypeName(dtype));
            (gdal_sys::GDALDataTypeIsComplex(dtype) != 0, name.to_string_lossy().into_owned())
        };
        if is_complex {
            let (expected, hint) = ("integer or floating point values", "convert the scene first");
            return Err(Error::input(path, expected, format!("{name} values"), hint));
        }
        if let (Some(nodata), true) = (nodata, clamped + rounded > 0) {
            return Err(Error::input(
                path,
                format!("pixels that can be {nodata}, the nodata value asked for"),
                format!("{name} values"),
                "choose one of these, or leave the nodata value out",
            ));
        }
    }
    Ok(())
}

pub(super) fn alpha_of(dataset: &Dataset) -> Option<usize> {
    (1..=dataset.raster_count()).find(|&band| {
        let raster = dataset.rasterband(band);
        raster.is_ok_and(|r| r.color_interpretation() == ColorInterpretation::AlphaBand)
    })
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
