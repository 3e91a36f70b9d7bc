//! Synthetic towns: scenes and footprints of any size.
