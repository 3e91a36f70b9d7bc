//! Typed configuration files.

pub mod dataset;
