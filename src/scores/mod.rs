//! Scores rasters: probabilities of a building, as bytes or floats. Written ([`ScoresWriter`]), read on any grid ([`Layer`]), made one of
//! several ([`combine()`]), with their [`Provenance`] in them.

mod combine;
mod layer;
pub mod mean;
pub mod outlier;
pub mod provenance;
mod strips;
mod write;

/// Names of the bands: the probability of a building, and, of a model that knows such a class, of its boundary or of the narrow ground between two.
pub const BANDS: [&str; 2] = ["building", "wall"];

pub use combine::{Options, Part, Report, combine};
pub use layer::Layer;
pub use provenance::{Origin, Provenance};
pub use strips::Strips;
pub use write::{NODATA, SCALE, ScoresWriter};
