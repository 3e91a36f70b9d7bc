//! Synthetic towns: scenes and footprints of any size.

mod block;
mod building;
mod camera;
mod canvas;
mod ground;
mod hash;
mod lots;
mod plots;
mod render;
mod roofs;
mod rooftop;
mod shape;
mod style;
mod things;
mod town;
mod vegetation;

pub use canvas::Frame;
pub use render::window;
pub use style::{Style, StyleName};
pub use town::Town;
