//! Typed configuration files.

pub mod synth;
