//! Weights of other programs into models of geoseg.
//!
//! [`file::read`] reads a file of any container into tensors by name, [`Family`] recognises who named them and renames
//! them, [`run`] fits them to a network and writes a model whose spec says what that program did beside the weights:
//! padding, epsilon, normalisation.

pub mod family;
pub mod file;

mod bytes;
mod element;
mod fit;
mod pickle;
mod problem;
mod spec;
mod torch;
pub(crate) mod zip;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::backend::{Flex, flex::FlexDevice};
use serde::Serialize;

pub use self::family::{Family, Variant};
pub use self::file::Checkpoint;
pub use self::fit::FirstConvolution;
pub use self::spec::band_names;
use crate::kernels::Kernels;
use crate::model::weights::{self, Provenance};
use crate::model::{ModelSpec, Network};
use crate::{Error, Result, output};

/// What the user knows about a file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Architecture of the network, as [`ModelSpec`] names it.
    pub arch: String,
    /// Encoder of the network, as [`ModelSpec`] names it.
    pub encoder: String,
    /// Which of timm's two kinds it is.
    pub variant: Option<Variant>,
    /// Names of the input bands; as many as the file has where absent.
    pub bands: Option<Vec<String>>,
    /// Names of the classes; `building` where absent.
    pub classes: Option<Vec<String>>,
    /// Ground size of a pixel that the model was trained for, metres.
    pub gsd_m: Option<f64>,
    /// How other bands than the file's get their weights.
    pub first_convolution: FirstConvolution,
    /// Leaves decoder and head at their first weights, whatever the file has.
    pub encoder_only: bool,
    /// Keys of the spec over all else, as `key=value`.
    pub sets: Vec<String>,
}

/// Which part of a network a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Only the encoder: decoder and head have their first weights.
    Encoder,
    /// The whole network.
    All,
}

/// How a file fitted a network.
#[derive(Debug, Clone, Serialize)]
pub struct Fitted {
    /// Who named the tensors.
    pub family: Family,
    /// The part of the network that they are.
    pub part: Part,
    /// Number of tensors that were used.
    pub used: usize,
    /// Tensors of the network that kept their first weights.
    pub kept: Vec<String>,
    /// Number of tensors that such files hold and the network does not need (the classifier, counters).
    pub not_needed: usize,
    /// Tensors of the file, under its own names, that nothing is known about.
    pub unexpected: Vec<String>,
    /// Functions and classes that a pickle named beside the weights; none was called.
    pub ignored: BTreeSet<String>,
    /// What was assumed or adapted.
    pub notes: Vec<String>,
    /// The model's spec.
    pub spec: ModelSpec,
}

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file that was read.
    pub source: PathBuf,
    /// The model that was written.
    pub model: PathBuf,
    /// Trainable values of the network.
    pub parameters: usize,
    /// How they fitted.
    #[serde(flatten)]
    pub fitted: Fitted,
}

/// Reads `source`, fits it to the network that `options` describe and writes the model `model`.
///
/// # Errors
/// As [`load`]; [`Error::Exists`] where `model` may not be replaced.
pub fn run(source: &Path, options: &Options, model: &Path, overwrite: bool) -> Result<Report> {
    output::check_distinct(&[Some(model)], [source])?;
    output::check_writable(model, overwrite)?;
    let (fitted, network) = load::<Flex>(source, options, &FlexDevice)?;
    weights::save(model, &fitted.spec, &network, &provenance(source, &fitted))?;
    let parameters = network.parameters();
    Ok(Report { source: source.to_owned(), model: model.to_owned(), parameters, fitted })
}

/// The network that `options` describe with the weights of `source`.
///
/// # Errors
/// [`Error::Input`] if the file cannot be read, is of no known family, lacks a tensor, or has one
/// of another shape or with values that are no numbers; [`Error::Config`] for options that do not
/// go together.
pub fn load<B: Kernels>(
    source: &Path,
    options: &Options,
    device: &B::Device,
) -> Result<(Fitted, Network<B>)> {
    let checkpoint = file::read(source)?;
    fit::fit(source, checkpoint, options, device)
}

/// Metadata of the model: where it comes from.
fn provenance(source: &Path, fitted: &Fitted) -> Provenance {
    let origin = serde_json::json!({
        "file": source.file_name().map(|name| name.to_string_lossy()),
        "family": fitted.family,
        "part": fitted.part,
        "notes": fitted.notes,
    });
    Provenance::from([
        ("geoseg.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (IMPORTED.to_owned(), origin.to_string()),
    ])
}

/// Whether a model's provenance says that only its encoder was imported.
pub fn only_encoder(provenance: &Provenance) -> bool {
    let origin = provenance.get(IMPORTED);
    let origin = origin.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    origin.is_some_and(|origin| origin["part"] == "encoder")
}

/// Refuses a model of which only the encoder was imported: it gives noise.
///
/// # Errors
/// [`Error::Input`] if it is one, or no model of this program.
pub fn refuse_untrained(model: &Path) -> Result<()> {
    let (_, provenance) = weights::describe(model)?;
    if !only_encoder(&provenance) {
        return Ok(());
    }
    Err(Error::input(
        model,
        "a trained model",
        "an imported encoder with a random decoder and head",
        "train it first: geoseg train --init",
    ))
}

/// Metadata key of a model's origin in another program, as JSON.
pub const IMPORTED: &str = "geoseg.import";
