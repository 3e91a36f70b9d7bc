//! Polygons into pixels, by GDAL's own rasterizer.

use gdal::DriverManager;
use gdal::raster::{RasterizeOptions, rasterize};
use gdal::vector::{Geometry, ToGdal};
use geo::{MapCoords, MultiPolygon};

use crate::error::{Error, Result};

use super::View;

/// A raster (`[row, col]`) of `view`'s window with `value` where `shapes` (in scene pixels) lie and 0
/// elsewhere.
pub(super) fn polygons<'a>(
    shapes: impl Iterator<Item = &'a MultiPolygon<f64>>,
    view: &View,
    value: u8,
    all_touched: bool,
) -> Result<Vec<u8>> {
    let size = (view.window.width, view.window.height);
    // Vertices move to the window's pixels: GDAL would take an identity geotransform for none at
    // all, so the raster gets none.
    let geometries: Vec<Geometry> = shapes
        .map(|shape| {
            shape
                .map_coords(|at| {
                    let (x, y) = view.to_window(at.x, at.y);
                    geo::Coord { x, y }
                })
                .to_gdal()
        })
        .collect::<Result<_, _>>()
        .map_err(Error::gdal("footprints"))?;
    if geometries.is_empty() {
        return Ok(vec![0; size.0 * size.1]);
    }
    crate::geo::init();
    let burn = || {
        let driver = DriverManager::get_driver_by_name("MEM")?;
        let mut raster = driver.create_with_band_type::<u8, _>("", size.0, size.1, 1)?;
        let values = vec![f64::from(value); geometries.len()];
        let options = RasterizeOptions { all_touched, ..RasterizeOptions::default() };
        rasterize(&mut raster, &[1], &geometries, &values, Some(options))?;
        raster.rasterband(1)?.read_as::<u8>((0, 0), size, size, None)
    };
    let buffer = burn().map_err(Error::gdal("footprints"))?;
    Ok(buffer.into_shape_and_vec().1)
}
