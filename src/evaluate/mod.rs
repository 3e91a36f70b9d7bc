//! Predicted buildings against true ones.
