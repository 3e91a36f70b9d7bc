//! What QGIS is given beside the data: styles of layers, and projects that show them together.

mod project;
mod raster;
pub mod style;
mod xml;

pub use project::{Layer, Project, Show};
