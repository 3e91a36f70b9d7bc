//! How fast the stages run on this machine, on data made up on the spot: what `geoseg bench` prints.

mod forms;
mod measure;
mod network;
mod operators;
mod peak;
mod pipeline;
mod profile;
mod stages;

use std::path::PathBuf;

pub use measure::Figure;
pub use operators::{Form, OperatorReport, OperatorRow, operators};
pub use peak::{Bound, Peaks};
pub use profile::{LayerRow, Profile, profile};

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
    /// Batches of augmented crops from tiles of a synthetic scene, on one thread.
    Loader,
    /// A synthetic scene into scores and polygons, file to file.
    InferScene,
    /// The same around a network that costs nothing.
    Pipeline,
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
    /// Rows of the scene of `Pipeline`, if not as many as columns.
    pub scene_rows_px: Option<usize>,
    /// Whether `Pipeline` writes a cloud-optimized raster of the scores, too.
    pub cog: bool,
    /// Timed repetitions; one or two before them are not counted.
    pub repeat: usize,
    /// Number format of the network.
    pub precision: Precision,
    /// Where networks run.
    pub device: Device,
}

impl Options {
    /// FPN on `encoder` on the CPU, `batch` images of `window_px`.
    pub fn standard(encoder: &str, window_px: usize, batch: usize, repeat: usize) -> Self {
        Self {
            precision: Precision::Auto,
            spec: ModelSpec { encoder: encoder.to_owned(), ..ModelSpec::default() },
            model: None,
            window_px,
            batch,
            scene_px: 4096,
            scene_rows_px: None,
            cog: false,
            repeat,
            device: Device::Cpu,
        }
    }
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
        Case::Loader => stages::loader(options),
        Case::InferScene => stages::infer_scene(options),
        Case::Pipeline => pipeline::pipeline(options),
    }
}
