//! Features in and out of files.

pub mod antimeridian;
mod features;
mod flatgeobuf;
mod format;
mod geojson;
mod geoparquet;
mod ogr;
mod output_crs;
mod read;
mod write;

pub use features::{Attribute, Feature, FeatureReader};
pub use format::{Format, NAMES};
pub use output_crs::OutputCrs;
pub use read::{Footprints, VectorSource, brought, mended, polygons_of, read_footprints};
pub use write::{FieldKind, LayerWriter, Value};

pub use super::measure::area_m2;
