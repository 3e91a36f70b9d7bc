//! How fast the stages run on this machine, on data made up on the spot: what `geoseg bench` prints.

mod measure;
mod network;
mod stages;

use std::path::PathBuf;

pub use measure::Figure;

use crate::config::Precision;
use crate::device::Device;
use crate::error::Result;
use crate::model::ModelSpec;

/// What to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The network on windows in memory, as `infer` runs it.
    Infer,
    /// Training steps on a batch in memory.
    Train,
    /// Synthetic scores into FlatGeobuf.
    Polygonize,
    /// A synthetic scene into tiles.
    Tiles,
    /// A synthetic scene into scores and polygons, file to file.
    InferScene,
}

/// Sizes and repetitions.
#[derive(Debug, Clone)]
pub struct Options {
    /// The network of `Infer`, `Train` and `InferScene`; its weights are random.
    pub spec: ModelSpec,
    /// A trained model for `InferScene`, instead.
    pub model: Option<PathBuf>,
    /// Side of windows or crops, px.
    pub window_px: usize,
    /// Windows or crops at once.
    pub batch: usize,
    /// Side of the synthetic scene or scores of the other cases, px.
    pub scene_px: usize,
    /// Timed repetitions; one or two before them are not counted.
    pub repeat: usize,
    /// Number format of the network.
    pub precision: Precision,
    /// Where networks run.
    pub device: Device,
}

/// Times one case.
///
/// # Errors
/// The device or a stage fails, or the disk for temporary files is full.
pub fn run(case: Case, options: &Options) -> Result<Figure> {
    match case {
        Case::Infer => network::infer(options),
        Case::Train => network::train(options),
        Case::Polygonize => stages::polygonize(options),
        Case::Tiles => stages::tiles(options),
        Case::InferScene => stages::infer_scene(options),
    }
}
