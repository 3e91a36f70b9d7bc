//! Scenes and footprints into a tile set.

mod index;
pub mod set;

pub use set::{Split, TileCounts, TilePixels, TileRecord, TileSet, TileSetInfo};
