//! The scene's file: three bands of 8 bits, tiled, written block by block.

use std::path::{Path, PathBuf};

use gdal::Dataset;
use gdal::raster::{Buffer, ColorInterpretation, RasterCreationOptions};

use super::canvas::Frame;
use crate::config::synth::{ScenePacking, SynthOptions};
use crate::error::{Error, Result};
use crate::geo::{Grid, close_checked, init, written};

/// Side of a block of the file, px.
pub const BLOCK_PX: usize = 256;

/// Whether the scene has data at a pixel, when it has a wedge without: the upper-left corner is cut off.
pub fn has_data(col: usize, row: usize, width: usize, height: usize) -> bool {
    col as f64 / (0.24 * width as f64) + row as f64 / (0.7 * height as f64) >= 1.0
}

/// Writes an RGB `GeoTIFF` block by block.
pub struct RgbWriter {
    dataset: Dataset,
    path: PathBuf,
    size_px: (usize, usize),
    wedge: bool,
    mask: bool,
}

impl RgbWriter {
    /// Creates the file (give it a staged path).
    ///
    /// A wedge without data is an internal mask where pixels are JPEG, and the value 0 where they are
    /// lossless (the camera never yields it).
    ///
    /// # Errors
    /// GDAL cannot write there.
    pub fn create(path: &Path, grid: &Grid, options: &SynthOptions) -> Result<Self> {
        init();
        let driver = gdal::DriverManager::get_driver_by_name("GTiff").map_err(Error::gdal(path))?;
        let block = [format!("BLOCKXSIZE={BLOCK_PX}"), format!("BLOCKYSIZE={BLOCK_PX}")];
        let quality = format!("JPEG_QUALITY={}", options.jpeg_quality);
        let mut creation =
            vec!["TILED=YES", "INTERLEAVE=PIXEL", "BIGTIFF=IF_SAFER", &block[0], &block[1]];
        let jpeg = options.packing == ScenePacking::Jpeg;
        if jpeg {
            creation.extend(["COMPRESS=JPEG", "PHOTOMETRIC=YCBCR", quality.as_str()]);
        } else {
            creation.extend(["COMPRESS=DEFLATE", "PREDICTOR=2"]);
        }
        let mut dataset = driver
            .create_with_band_type_with_options::<u8, _>(
                path,
                grid.width,
                grid.height,
                3,
                &RasterCreationOptions::from_iter(creation),
            )
            .map_err(Error::gdal(path))?;
        dataset.set_geo_transform(&grid.transform.0).map_err(Error::gdal(path))?;
        if let Some(crs) = &grid.crs {
            let reference = gdal::spatial_ref::SpatialRef::from_wkt(crs.wkt());
            dataset
                .set_spatial_ref(&reference.map_err(Error::gdal(path))?)
                .map_err(Error::gdal(path))?;
        }
        let colours = [
            ColorInterpretation::RedBand,
            ColorInterpretation::GreenBand,
            ColorInterpretation::BlueBand,
        ];
        for (band, colour) in (1..).zip(colours) {
            let mut raster = dataset.rasterband(band).map_err(Error::gdal(path))?;
            if !jpeg {
                raster.set_color_interpretation(colour).map_err(Error::gdal(path))?;
            }
            if options.nodata_wedge && !jpeg {
                raster.set_no_data_value(Some(0.0)).map_err(Error::gdal(path))?;
            }
        }
        let mask = options.nodata_wedge && jpeg;
        if mask {
            const INTERNAL: &str = "GDAL_TIFF_INTERNAL_MASK";
            gdal::config::set_thread_local_config_option(INTERNAL, "YES")
                .map_err(Error::gdal(path))?;
            let mut raster = dataset.rasterband(1).map_err(Error::gdal(path))?;
            let made = raster.create_mask_band(true).map_err(Error::gdal(path));
            gdal::config::clear_thread_local_config_option(INTERNAL).map_err(Error::gdal(path))?;
            made?;
        }
        Ok(Self {
            dataset,
            path: path.to_owned(),
            size_px: (grid.width, grid.height),
            wedge: options.nodata_wedge,
            mask,
        })
    }

    /// Writes the block whose upper-left pixel is (`col`, `row`) from a painted window that holds it.
    ///
    /// `pixels` is the window's RGB, interleaved, row by row.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_block(
        &mut self,
        col: usize,
        row: usize,
        window: &Frame,
        pixels: &[u8],
    ) -> Result<()> {
        let (width, height) = self.size_px;
        let size = (BLOCK_PX.min(width - col), BLOCK_PX.min(height - row));
        let (x0, y0) = (col - window.col as usize, row - window.row as usize);
        let mut planes: [Vec<u8>; 3] = Default::default();
        let mut valid = Vec::new();
        for y in 0..size.1 {
            for x in 0..size.0 {
                let data = !self.wedge || has_data(col + x, row + y, width, height);
                let at = ((y0 + y) * window.width + x0 + x) * 3;
                for (plane, value) in planes.iter_mut().zip(&pixels[at..at + 3]) {
                    plane.push(if data { *value } else { 0 });
                }
                if self.mask {
                    valid.push(if data { 255 } else { 0 });
                }
            }
        }
        let place = (col as isize, row as isize);
        written(&self.path, || {
            for (band, plane) in (1..).zip(planes) {
                let mut raster = self.dataset.rasterband(band)?;
                raster.write(place, size, &mut Buffer::new(size, plane))?;
            }
            if self.mask {
                let raster = self.dataset.rasterband(1)?;
                let mut mask = raster.open_mask_band()?;
                mask.write(place, size, &mut Buffer::new(size, valid))?;
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
