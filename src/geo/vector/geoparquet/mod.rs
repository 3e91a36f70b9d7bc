//! GeoParquet, written in version 1.1 and read from 1.0 on, without GDAL, whose driver many systems lack
//! (<https://geoparquet.org/releases/v1.1.0/>).

mod bytes;
mod columns;
mod dates;
mod filter;
mod metadata;
mod pages;
mod read;
mod write;

pub(super) use read::GeoParquetReader;
pub(super) use write::GeoParquet;

#[cfg(test)]
mod tests;
