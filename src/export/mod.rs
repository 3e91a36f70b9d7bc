//! Models for other programs: the counterpart of [`import`].
//!
//! [`onnx`] writes the whole network, [`weights`] the tensors alone, in the containers of safetensors and of PyTorch
//! ([`torch`]); [`card`] describes what was written.

pub mod card;
pub mod onnx;
pub mod torch;
pub mod weights;

pub(crate) mod zip;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use burn::backend::{Flex, flex::FlexDevice};
use serde::{Deserialize, Serialize};

use crate::model::weights::{Provenance, encode, summary};
use crate::model::{self, ModelSpec};
use crate::{Error, Result, import, output};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The network with its weights.
    Onnx,
    /// The weights, as safetensors.
    Safetensors,
    /// The weights, as `torch.save` writes them.
    Torch,
}

/// How a model is written.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For whom.
    pub format: Format,
    /// ONNX: the only side of images that the file takes, in pixels; any where absent.
    pub tile_px: Option<usize>,
    /// Whether a description is written beside the file.
    pub card: bool,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model that was read.
    pub model: PathBuf,
    /// The file that was written.
    pub output: PathBuf,
    /// The description beside it.
    pub card: Option<PathBuf>,
    /// What the file is for.
    pub format: Format,
    /// The network in words.
    pub network: String,
    /// Trainable values of the network.
    pub parameters: u64,
    /// Size of the file.
    pub bytes: usize,
    /// What segmentation_models_pytorch calls the network, as Python: it takes the tensors as they are.
    pub smp: Option<String>,
    /// What to know before using the file.
    pub notes: Vec<String>,
}

/// Writes the model `source` to `target` for another program.
///
/// # Errors
/// [`Error::Input`] if `source` is no trained model of this program; [`Error::Config`] for a tile that does not suit the
/// network; [`Error::Exists`] where a file may not be replaced; [`Error::Io`].
pub fn run(source: &Path, options: &Options, target: &Path) -> Result<Report> {
    let card = options.card.then(|| beside(target));
    output::check_distinct(&[Some(target), card.as_deref()], [source])?;
    for file in [Some(target), card.as_deref()].into_iter().flatten() {
        output::check_writable(file, options.overwrite)?;
    }
    let summary = summary(source)?;
    let tile_px = match (options.format, options.tile_px) {
        (Format::Onnx, tile_px) => tile_px,
        (_, None) => None,
        _ => {
            return Err(Error::config("--tile-px", "is for ONNX; weights take images of any size"));
        }
    };
    if options.format == Format::Onnx {
        import::refuse_untrained(source)?;
        onnx::check_tile(&summary.spec, tile_px)?;
    }
    let (spec, network) = model::load::<Flex>(source, &FlexDevice)?;
    let tensors = || weights::tensors(&spec, &network);
    let bytes = match options.format {
        Format::Onnx => onnx::encode(&spec, &network, tile_px),
        Format::Safetensors => {
            encode(&Provenance::from([("format".to_owned(), "pt".to_owned())]), &tensors())
        }
        Format::Torch => torch::encode(&tensors()).ok_or_else(|| {
            let (expected, hint) = ("weights of less than 4 GiB", "export them as safetensors");
            Error::input(source, expected, "more", hint)
        })?,
    };
    output::write_whole(target, &bytes, options.overwrite)?;
    if let Some(card) = &card {
        let text = card::text(target, options.format, &summary, tile_px);
        output::write_whole(card, text.as_bytes(), options.overwrite)?;
    }
    let (smp, notes) = match options.format {
        Format::Onnx => (None, onnx_notes(&spec, tile_px)),
        _ => (weights::smp(&spec), weights::notes(&spec)),
    };
    Ok(Report {
        model: source.to_owned(),
        output: target.to_owned(),
        card,
        format: options.format,
        network: spec.title(),
        parameters: summary.parameters,
        bytes: bytes.len(),
        smp,
        notes,
    })
}

/// The description's path: that of the file, with `.json` behind it.
fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".json");
    name.into()
}

fn onnx_notes(spec: &ModelSpec, tile_px: Option<usize>) -> Vec<String> {
    let mut notes = Vec::new();
    if tile_px.is_none() {
        notes
            .push("Deepness wants images of one size: --tile-px 512 writes such a file".to_owned());
    }
    let [low, high] = spec.value_range;
    if spec.value_range != [0.0, 255.0] {
        notes.push(format!(
            "values below {low} and above {high} are cut off in `geoseg infer`, and not in Deepness"
        ));
    }
    notes
}
