//! Footprints into label masks.
