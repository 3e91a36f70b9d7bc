//! A training that starts from another model's weights.

use std::path::{Path, PathBuf};

use super::batches::Normalisation;
use crate::config::train::{InitScope, ModelSection};
use crate::error::{Error, Result};
use crate::import;
use crate::kernels::Kernels;
use crate::model::tensors::map_tensors;
use crate::model::weights::{self, read_tensors};
use crate::model::{ModelSpec, Network};

/// The model to start from.
#[derive(Clone, Debug)]
pub struct Start {
    path: PathBuf,
    spec: ModelSpec,
    scope: InitScope,
}

const ENCODER: &str = "encoder.";

impl Start {
    /// The model that `[model] init` names, if it names one.
    ///
    /// # Errors
    /// It is no model of this program.
    pub fn open(section: &ModelSection) -> Result<Option<Self>> {
        if section.init.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from(&section.init);
        let (spec, provenance) = weights::describe(&path)?;
        // The rest of such a model is random: the run's own seed shall choose it.
        let encoder_only = import::only_encoder(&provenance);
        let scope = if encoder_only { InitScope::Encoder } else { section.init_scope };
        Ok(Some(Self { path, spec, scope }))
    }

    /// How pixels must be normalised for these weights.
    pub fn normalisation(&self) -> Normalisation {
        let floats = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        Normalisation { mean: floats(&self.spec.mean), std: floats(&self.spec.std) }
    }

    /// `spec`, the configured one, with all that the weights depend on.
    ///
    /// # Errors
    /// The weights are those of another network.
    pub fn adopted_by(&self, spec: ModelSpec) -> Result<ModelSpec> {
        let differs = |what: &str, configured: String, found: String, hint: &str| {
            Err(Error::input(
                &self.path,
                format!("{what} {configured}, as configured"),
                found,
                hint,
            ))
        };
        if self.spec.encoder != spec.encoder {
            let hint = "set model.encoder to that, or start from another model";
            return differs("the encoder", spec.encoder, self.spec.encoder.clone(), hint);
        }
        if self.scope == InitScope::All && self.spec.arch != spec.arch {
            let hint = "set model.arch to that, or model.init_scope to \"encoder\"";
            return differs("the architecture", spec.arch, self.spec.arch.clone(), hint);
        }
        let (theirs, ours) = (self.spec.bands.len(), spec.bands.len());
        if theirs != ours {
            return Err(Error::input(
                &self.path,
                format!("a model of {ours} bands, as the tiles have"),
                format!("{theirs} bands"),
                "import the weights with --bands, or cut tiles of as many bands",
            ));
        }
        Ok(ModelSpec {
            encoder_padding: self.spec.encoder_padding,
            batch_norm_eps: self.spec.batch_norm_eps,
            batch_norm_momentum: self.spec.batch_norm_momentum,
            mean: self.spec.mean.clone(),
            std: self.spec.std.clone(),
            ..spec
        })
    }

    /// `network`, built from the adopted `spec`, with the model's weights. A head of other classes stays as it is.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn apply<B: Kernels>(&self, network: Network<B>, spec: &ModelSpec) -> Result<Network<B>> {
        let mut given = read_tensors(&self.path)?;
        let (mut taken, mut new, mut wrong) = (0, Vec::new(), None);
        let classes = (spec.classes.len(), self.spec.classes.len());
        let network = map_tensors(network, |name, shape| {
            if self.scope == InitScope::Encoder && !name.starts_with(ENCODER) {
                return None;
            }
            let data = given.remove(name);
            let found = data.as_ref().map(|data| data.shape.to_vec());
            if found.as_deref() == Some(shape) {
                taken += 1;
                return data;
            }
            if found.as_ref().is_some_and(|found| only_classes_differ(shape, found, classes)) {
                new.push(name.to_owned());
            } else {
                wrong.get_or_insert_with(|| misfit(&self.path, name, shape, found.as_deref()));
            }
            None
        });
        if let Some(error) = wrong {
            return Err(error);
        }
        let part = if self.scope == InitScope::Encoder { "the encoder" } else { "all" };
        tracing::info!("starts from {}: {part}, {taken} tensors", self.path.display());
        if !new.is_empty() {
            tracing::warn!(
                "{} has other classes ({}): first weights for {}",
                self.path.display(),
                self.spec.classes.join(", "),
                new.join(", ")
            );
        }
        Ok(network)
    }
}

/// Whether a tensor has one row a class, and as many as either network has classes.
fn only_classes_differ(ours: &[usize], theirs: &[usize], classes: (usize, usize)) -> bool {
    classes.0 != classes.1
        && ours.first() == Some(&classes.0)
        && theirs.first() == Some(&classes.1)
        && ours.get(1..) == theirs.get(1..)
}

fn misfit(path: &Path, name: &str, expected: &[usize], found: Option<&[usize]>) -> Error {
    let found = found.map_or_else(|| "no such tensor".to_owned(), |found| format!("{found:?}"));
    Error::input(
        path,
        format!("`{name}` {expected:?}, as configured"),
        found,
        "set the keys of [model] to that model's, or model.init_scope to \"encoder\"",
    )
}
