//! Typed configuration files.
