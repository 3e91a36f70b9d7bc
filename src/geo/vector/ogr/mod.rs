//! The formats of GDAL's drivers.

mod read;
mod write;

pub(super) use read::OgrReader;
pub(super) use write::OgrLayer;
