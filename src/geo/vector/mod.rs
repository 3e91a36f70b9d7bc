//! Features in and out of files.

mod read;
mod write;

pub use read::{Footprints, VectorSource, read_footprints};
pub use write::{FieldKind, LayerWriter, Value};

pub use super::measure::area_m2;
