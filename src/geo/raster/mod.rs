//! Pixels in and out of files.

mod band;
mod scene;
mod write;

pub use band::Band;
pub use scene::{Pixels, Scene, SceneOptions};
pub use write::{BLOCK_PX, Compression, RasterWriter, annotate, to_cog, write_geotiff};

use gdal::Dataset;

use super::crs::Crs;
use super::grid::{GeoTransform, Grid};

/// The grid of an open dataset; pixel coordinates where it has no georeference.
fn grid_of(dataset: &Dataset) -> Grid {
    let (width, height) = dataset.raster_size();
    let transform = dataset
        .geo_transform()
        .ok()
        .map(GeoTransform)
        // GDAL reports the identity where a file has no geotransform.
        .filter(|map| *map != GeoTransform::PIXEL && map.invert().is_some());
    let crs = dataset
        .spatial_ref()
        .ok()
        .filter(|reference| reference.to_wkt().is_ok_and(|wkt| !wkt.is_empty()))
        .filter(|reference| !reference.is_local())
        .and_then(|reference| Crs::from_spatial_ref(&reference).ok())
        // A CRS without a geotransform places nothing.
        .filter(|_| transform.is_some());
    let gsd_m = transform.and_then(|map| gsd_m(&map, crs.as_ref(), width, height));
    Grid { width, height, transform: transform.unwrap_or(GeoTransform::PIXEL), crs, gsd_m }
}

/// Ground length of a pixel's sides at the raster's centre. Without a CRS, units are taken as metres.
fn gsd_m(map: &GeoTransform, crs: Option<&Crs>, width: usize, height: usize) -> Option<(f64, f64)> {
    let (x, y) = map.apply(width as f64 / 2.0, height as f64 / 2.0);
    let (mx, my) = match crs {
        Some(crs) => crs.metres_per_unit(x, y)?,
        None => (1.0, 1.0),
    };
    let g = &map.0;
    let along_columns = (g[1] * mx).hypot(g[4] * my);
    let along_rows = (g[2] * mx).hypot(g[5] * my);
    Some((along_columns, along_rows))
}
