//! Typed configuration files.

pub mod train;
