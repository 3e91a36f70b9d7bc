//! Rasters and vectors in the world: grids, scenes, footprints, coordinate reference systems.
//!
//! GDAL and threads: a dataset handle may move between threads but is never shared; every parallel
//! task opens its own. [`init`] runs before the first GDAL call.

pub mod boxes;
pub mod crs;
mod dataset;
mod failures;
pub mod grid;
pub mod measure;
pub mod overlap;
pub mod raster;
pub mod remote;
pub mod vector;

pub use crs::{Crs, Reprojection};
pub use dataset::{close_checked, init};
pub(crate) use dataset::{files_of, reason as gdal_reason};
pub(crate) use failures::written;
pub use grid::{GeoTransform, Grid, Window};
pub use raster::{
    BLOCK_PX, Band, Compression, Pixels, RasterWriter, Scene, SceneOptions, annotate, to_cog,
    write_geotiff,
};
