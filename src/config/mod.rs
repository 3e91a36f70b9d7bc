//! Typed configuration files.

pub mod dataset;
pub mod train;
