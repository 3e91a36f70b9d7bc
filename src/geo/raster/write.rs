//! GeoTIFFs out: tiles in one piece, scores row by row, cloud-optimized copies.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use gdal::raster::{Buffer, ColorInterpretation, GdalType, RasterCreationOptions};
use gdal::{Dataset, DatasetOptions, GdalOpenFlags, Metadata};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::geo::dataset::{close_checked, init};
use crate::geo::grid::{GeoTransform, Grid};
use crate::geo::written;

/// Side of a block in tiled outputs, px. Row-strip writers are fastest in multiples of it.
pub const BLOCK_PX: usize = 512;

/// Blocks of a TIFF have sides of a multiple of this, px.
const TIFF_STEP_PX: usize = 16;

/// How pixels are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Lossless, read everywhere.
    #[default]
    Deflate,
    /// Lossless, faster and smaller; needs a GDAL built with it.
    Zstd,
    /// Lossy (quality 90), smallest; 1 or 3 bands of 8 bits.
    Jpeg,
    /// As they are.
    None,
    /// Lossless, quick rather than small: for files that only pass something on.
    #[serde(skip)]
    Passing,
}

impl Compression {
    fn options(self, bands: usize) -> Vec<&'static str> {
        match self {
            Self::Deflate => vec!["COMPRESS=DEFLATE", "PREDICTOR=2"],
            Self::Zstd => vec!["COMPRESS=ZSTD", "PREDICTOR=2"],
            Self::Jpeg if bands == 3 => {
                vec!["COMPRESS=JPEG", "JPEG_QUALITY=90", "PHOTOMETRIC=YCBCR"]
            }
            Self::Jpeg => vec!["COMPRESS=JPEG", "JPEG_QUALITY=90"],
            Self::None => Vec::new(),
            Self::Passing => vec!["COMPRESS=DEFLATE", "ZLEVEL=1", "PREDICTOR=2"],
        }
    }
}

/// Writes a small 8-bit raster in place (give it a staged path).
///
/// `data` is `[band, row, col]` over the whole of `grid`.
///
/// # Errors
/// GDAL cannot write there, or the disk is full.
pub fn write_geotiff(
    path: &Path,
    grid: &Grid,
    bands: usize,
    data: &[u8],
    nodata: Option<f64>,
    compression: Compression,
) -> Result<()> {
    let mut options = compression.options(bands);
    options.push("INTERLEAVE=PIXEL");
    let dataset = create::<u8>(path, grid, bands, nodata, &options)?;
    let size = (grid.width, grid.height);
    if bands == 3 {
        for (band, colour) in [
            (1, ColorInterpretation::RedBand),
            (2, ColorInterpretation::GreenBand),
            (3, ColorInterpretation::BlueBand),
        ] {
            let mut raster = dataset.rasterband(band).map_err(Error::gdal(path))?;
            raster.set_color_interpretation(colour).map_err(Error::gdal(path))?;
        }
    }
    written(path, || {
        for (band, values) in data.chunks(grid.width * grid.height).enumerate().take(bands) {
            let mut buffer = Buffer::new(size, values.to_vec());
            dataset.rasterband(band + 1)?.write((0, 0), size, &mut buffer)?;
        }
        Ok(())
    })?;
    close_checked(dataset, path)
}

/// A tiled GeoTIFF that grows row by row.
pub struct RasterWriter<T> {
    dataset: Dataset,
    path: PathBuf,
    width: usize,
    bands: usize,
    value: PhantomData<T>,
}

impl<T: GdalType + Copy> RasterWriter<T> {
    /// Creates the file (give it a staged path) with a band for every name.
    ///
    /// # Errors
    /// GDAL cannot write there.
    pub fn create(
        path: &Path,
        grid: &Grid,
        names: &[&str],
        nodata: Option<f64>,
        compression: Compression,
    ) -> Result<Self> {
        let mut options = compression.options(1);
        // Floating point values have no use for the integer predictor.
        if matches!(T::gdal_ordinal(), gdal_sys::GDALDataType::GDT_Float32) {
            options.retain(|option| *option != "PREDICTOR=2");
        }
        // What is lower than a block would be packed with as many rows again of nothing.
        let block_rows = BLOCK_PX.min(grid.height.next_multiple_of(TIFF_STEP_PX));
        let block = [format!("BLOCKXSIZE={BLOCK_PX}"), format!("BLOCKYSIZE={block_rows}")];
        options.extend(["TILED=YES", "BIGTIFF=IF_SAFER", "INTERLEAVE=BAND", &block[0], &block[1]]);
        let (width, bands) = (grid.width, names.len());
        let dataset = create::<T>(path, grid, bands, nodata, &options)?;
        for (band, name) in (1..).zip(names) {
            let mut band = dataset.rasterband(band).map_err(Error::gdal(path))?;
            band.set_description(name).map_err(Error::gdal(path))?;
        }
        Ok(Self { dataset, path: path.to_owned(), width, bands, value: PhantomData })
    }

    /// Writes whole rows, the first at `row`; `values` is `[band, row, col]`.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_rows(&mut self, row: usize, values: &[T]) -> Result<()> {
        let size = (self.width, values.len() / (self.bands * self.width));
        if size.1 == 0 {
            return Ok(());
        }
        written(&self.path, || {
            for (band, values) in (1..).zip(values.chunks_exact(size.0 * size.1)) {
                let mut buffer = Buffer::new(size, values.to_vec());
                self.dataset.rasterband(band)?.write((0, row as isize), size, &mut buffer)?;
            }
            Ok(())
        })
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        close_checked(self.dataset, &self.path)
    }
}

/// Writes items of metadata (name, text) into a GeoTIFF that is there (give it a staged path); copies of it have them, too.
///
/// # Errors
/// GDAL cannot write there.
pub fn annotate(path: &Path, items: &[(&str, String)]) -> Result<()> {
    init();
    let open_flags = GdalOpenFlags::GDAL_OF_RASTER | GdalOpenFlags::GDAL_OF_UPDATE;
    let options = DatasetOptions { open_flags, ..DatasetOptions::default() };
    let mut dataset = Dataset::open_ex(path, options).map_err(Error::gdal(path))?;
    written(path, || {
        items.iter().try_for_each(|(name, text)| dataset.set_metadata_item(name, text, ""))
    })?;
    close_checked(dataset, path)
}

/// Copies a raster into a cloud-optimized GeoTIFF with overviews.
///
/// # Errors
/// The disk is full, or GDAL lacks its COG driver.
pub fn to_cog(from: &Path, to: &Path, overview_resampling: &str) -> Result<()> {
    init();
    let source = Dataset::open(from).map_err(Error::gdal(from))?;
    let driver = gdal::DriverManager::get_driver_by_name("COG").map_err(Error::gdal(to))?;
    let resampling = format!("OVERVIEW_RESAMPLING={overview_resampling}");
    let options = RasterCreationOptions::from_iter([
        // Level 6, the default, takes half as long again for 3 % of the size of scores.
        "COMPRESS=DEFLATE",
        "LEVEL=3",
        "PREDICTOR=YES",
        "BIGTIFF=IF_SAFER",
        "NUM_THREADS=ALL_CPUS",
        "BLOCKSIZE=512",
        resampling.as_str(),
    ]);
    let copy = written(to, || source.create_copy(&driver, to, &options))?;
    close_checked(copy, to)
}

fn create<T: GdalType>(
    path: &Path,
    grid: &Grid,
    bands: usize,
    nodata: Option<f64>,
    options: &[&str],
) -> Result<Dataset> {
    init();
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").map_err(Error::gdal(path))?;
    let options: RasterCreationOptions = options.iter().copied().collect();
    let mut dataset = driver
        .create_with_band_type_with_options::<T, _>(path, grid.width, grid.height, bands, &options)
        .map_err(Error::gdal(path))?;
    if grid.transform != GeoTransform::PIXEL {
        dataset.set_geo_transform(&grid.transform.0).map_err(Error::gdal(path))?;
    }
    if let Some(crs) = &grid.crs {
        dataset.set_spatial_ref(&crs.spatial_ref()?).map_err(Error::gdal(path))?;
    }
    if nodata.is_some() {
        for band in 1..=bands {
            let mut raster = dataset.rasterband(band).map_err(Error::gdal(path))?;
            raster.set_no_data_value(nodata).map_err(Error::gdal(path))?;
        }
    }
    Ok(dataset)
}
