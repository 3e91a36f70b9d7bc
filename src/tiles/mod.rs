//! Scenes and footprints into a tile set.
