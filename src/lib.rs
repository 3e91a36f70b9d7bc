//! geoseg turns aerial and satellite scenes into building footprints.
//!
//! Stages meet only through files: `tiles` cuts scenes and footprints into a tile set, `train` learns a
//! model from it, `infer` scores a whole scene, `polygonize` turns scores into buildings, `evaluate`
//! compares buildings with the truth; `mask` masks photos. `docs/architecture.md` draws the picture.

pub mod bench;
pub mod check;
pub mod cli;
pub mod config;
pub mod conflate;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod geo;
pub mod import;
pub mod infer;
pub mod interrupt;
pub mod kernels;
pub mod mask;
pub mod memory;
pub mod merge;
pub mod mine;
pub mod model;
mod morphology;
pub mod output;
pub mod picture;
pub mod polygonize;
pub mod progress;
pub mod qgis;
pub mod scores;
pub mod search;
pub mod stac;
pub mod synth;
mod table;
pub mod tiles;
pub mod train;
pub mod truth;
pub mod validate;

pub use error::{Error, Result};
