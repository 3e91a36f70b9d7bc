//! The spec of a network whose weights another program made.

use super::family::{Convention, Family};
use super::{Options, Part};
use crate::config::Layers;
use crate::model::ModelSpec;
use crate::{Error, Result};

/// What a file says about its network beside the weights themselves.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Who named the tensors.
    pub family: Family,
    /// What that program does at padding and normalisation.
    pub convention: Convention,
    /// The part of the network that is there.
    pub part: Part,
    /// Input channels of the first convolution, where it was found.
    pub bands: Option<usize>,
    /// Output channels of the head, where it was found.
    pub classes: Option<usize>,
}

/// The spec, and notes on what was assumed for it.
///
/// # Errors
/// [`Error::Config`] for options that do not go together or a key out of range.
pub fn spec(told: &Told, options: &Options) -> Result<(ModelSpec, Vec<String>)> {
    let mut notes = Vec::new();
    let defaults = ModelSpec::default();
    let theirs = told.bands.unwrap_or(defaults.bands.len());
    let bands = options.bands.clone().unwrap_or_else(|| band_names(theirs));
    let classes = match (&options.classes, told.classes) {
        (Some(given), _) => given.clone(),
        (None, Some(count)) if count != 1 => {
            let problem =
                format!("is needed: the file has {count}; name them, \"building\" among them");
            return Err(Error::config("--classes", problem));
        }
        _ => defaults.classes.clone(),
    };
    // ImageNet's statistics belong to its three bands.
    let spread = |values: &[f64]| options.first_convolution.spread(values, bands.len());
    if told.family == Family::Timm {
        notes.push(
            "normalisation of ImageNet assumed: some weights of timm (ap, ra4) want \
             --set mean=[0.5,0.5,0.5] --set std=[0.5,0.5,0.5]"
                .to_owned(),
        );
    }
    if bands.len() != defaults.bands.len() {
        notes.push(format!(
            "normalisation of ImageNet spread over {} bands: --set mean=[..] --set std=[..] say another",
            bands.len()
        ));
    }
    if theirs != bands.len() {
        let how = options.first_convolution;
        notes.push(format!("first convolution: {theirs} bands to {} by {how}", bands.len()));
    }
    if told.part == Part::All && options.gsd_m.is_none() {
        notes.push(format!("{} m a pixel assumed: --gsd says another", defaults.gsd_m));
    }
    let base = ModelSpec {
        arch: options.arch.clone(),
        encoder: options.encoder.clone(),
        encoder_padding: told.convention.padding,
        batch_norm_eps: told.convention.eps,
        batch_norm_momentum: told.convention.momentum,
        mean: spread(&defaults.mean),
        std: spread(&defaults.std),
        bands,
        classes,
        gsd_m: options.gsd_m.unwrap_or(defaults.gsd_m),
        ..defaults
    };
    let spec = Layers::read(&[], &options.sets)?.parse_over(&base)?;
    spec.validate()?;
    Ok((spec, notes))
}

/// Names of bands that have none, as tile sets give them.
pub fn band_names(count: usize) -> Vec<String> {
    if count == 3 {
        return ModelSpec::default().bands;
    }
    (1..=count).map(|band| format!("band{band}")).collect()
}
