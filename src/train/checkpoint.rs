//! Checkpoints: all that a training needs to go on as if it had never stopped.
//!
//! ```text
//! <out>/checkpoints/last/model.safetensors       weights, running statistics, spec
//! <out>/checkpoints/last/optimizer.safetensors   the optimizer's moments by parameter name
//! <out>/checkpoints/last/average.safetensors     moving average of the weights, where one is kept
//! <out>/checkpoints/last/state.json              step, best validation, configuration
//! <out>/checkpoints/best/model.safetensors       the model that validated best
//! ```
//!
//! Nothing random needs saving: batches, augmentation and dropout are functions of the seed and the step.

use std::path::{Path, PathBuf};

use burn::module::{AutodiffModule, ParamId};
use burn::tensor::backend::AutodiffBackend;
use serde::{Deserialize, Serialize};

use super::loss_scale::LossScale;
use super::optimizer::Optimizer;
use super::schedule::Plateau;
use super::start::Start;
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::model::weights::{self, Provenance, encode, read_tensors};
use crate::model::{ModelSpec, Network, named_ids};

/// What of a training is neither weights nor moments. `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Optimizer steps done.
    pub step: usize,
    /// The step at which the last validation took place.
    pub validated_step: usize,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Validations since the best one.
    pub stale_validations: usize,
    /// What reduces the learning rate on a plateau.
    pub plateau: Plateau,
    /// The factor on the loss in 16-bit floating point.
    pub loss_scale: LossScale,
    /// Seconds spent so far.
    pub seconds: f64,
    /// The configuration.
    pub config: TrainConfig,
}

/// The best validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done then.
    pub step: usize,
    /// Its pixel IoU.
    pub iou: f64,
}

/// A training in memory.
#[derive(Debug)]
pub struct Learner<B: AutodiffBackend + Kernels>
where
    B::InnerBackend: Kernels,
{
    /// The network that learns.
    pub network: Network<B>,
    /// What moves its weights.
    pub optimizer: Optimizer<B::InnerBackend>,
    /// The moving average of the weights, where one is kept.
    pub average: Option<Network<B::InnerBackend>>,
    /// The rest.
    pub state: State,
}

impl<B: AutodiffBackend + Kernels> Learner<B>
where
    B::InnerBackend: Kernels,
{
    /// A training at its beginning, from random weights or those of `start`.
    ///
    /// # Errors
    /// The spec is not valid, or the weights do not fit it.
    pub fn new(
        config: &TrainConfig,
        spec: &ModelSpec,
        start: Option<&Start>,
        device: &B::Device,
    ) -> Result<Self> {
        let mut network = Network::<B>::seeded(spec, config.run.seed, device)?;
        if let Some(start) = start {
            network = start.apply(network, spec)?;
        }
        let network = network.freeze_encoder(config.model.freeze_encoder_stages);
        let average = (config.optimizer.ema_decay > 0.0).then(|| network.valid());
        let optimizer = Optimizer::new(&config.optimizer).with_encoder(encoder_of(&network));
        let state = State { config: config.clone(), ..State::default() };
        Ok(Self { network, optimizer, average, state })
    }

    /// Writes the checkpoint folder `to` in one piece, replacing an older one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, to: &Path, spec: &ModelSpec) -> Result<()> {
        let parent = to.parent().unwrap_or(Path::new("."));
        let staging = tempfile::Builder::new()
            .prefix(".geoseg-")
            .tempdir_in(parent)
            .map_err(Error::io(parent))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = staging.path().join(name);
            std::fs::write(&path, bytes).map_err(Error::io(path))
        };
        let nothing = Provenance::new();
        weights::save(&staging.path().join(MODEL), spec, &self.network, &nothing)?;
        let moments = self.optimizer.tensors(&named_ids(&self.network));
        write(OPTIMIZER, &encode(&nothing, &moments))?;
        if let Some(average) = &self.average {
            weights::save(&staging.path().join(AVERAGE), spec, average, &nothing)?;
        }
        let state = serde_json::to_vec_pretty(&self.state)
            .map_err(std::io::Error::from)
            .map_err(Error::io(to))?;
        write(STATE, &state)?;
        replace_folder(staging, to)
    }

    /// Reads the checkpoint folder `from`, made with the same `spec`.
    ///
    /// # Errors
    /// It is not there, not whole, or of another model.
    pub fn load(
        from: &Path,
        config: &TrainConfig,
        spec: &ModelSpec,
        device: &B::Device,
    ) -> Result<Self> {
        let from = &whole_folder(from)?;
        let path = from.join(STATE);
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        let mut state: State = serde_json::from_slice(&text).map_err(|error| {
            Error::input(&path, "a checkpoint's state", error.to_string(), START_AFRESH)
        })?;
        let (saved_spec, network) = weights::load::<B>(&from.join(MODEL), device)?;
        if saved_spec != *spec {
            return Err(Error::input(
                from,
                "a checkpoint of the configured model on these tiles",
                differences(spec, &saved_spec),
                "restore the configuration and the tiles, or start in another folder",
            ));
        }
        if state.config != *config {
            tracing::warn!(
                "{}: the configuration has changed since; training goes on with the new one",
                from.display()
            );
        }
        let (saved, wanted) = (state.config.optimizer.name, config.optimizer.name);
        if saved != wanted {
            return Err(Error::input(
                from,
                format!("a checkpoint of the configured optimizer, {wanted:?}"),
                format!("{saved:?}"),
                "restore optimizer.name, or start another training from the model with model.init",
            ));
        }
        let frozen = config.model.freeze_encoder_stages;
        let network = network.freeze_encoder(frozen);
        let names = named_ids(&network);
        let moments = read_tensors(&from.join(OPTIMIZER))?;
        let optimizer = Optimizer::load(&config.optimizer, state.step, &names, &moments, device)
            .with_encoder(encoder_of(&network));
        // Where the average begins only now, it begins with the weights.
        let began = state.config.optimizer.ema_decay > 0.0;
        let begin = from.join(if began { AVERAGE } else { MODEL });
        let average = if config.optimizer.ema_decay > 0.0 {
            Some(weights::load(&begin, device)?.1)
        } else {
            None
        };
        let average = average.map(|average: Network<_>| average.freeze_encoder(frozen));
        state.config = config.clone();
        Ok(Self { network, optimizer, average, state })
    }
}

/// The parameters of the encoder.
fn encoder_of<B: Kernels>(network: &Network<B>) -> impl Iterator<Item = ParamId> {
    let encoder = |(name, id): (String, ParamId)| name.starts_with("encoder.").then_some(id);
    named_ids(network).into_iter().filter_map(encoder)
}

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";
const STATE: &str = "state.json";
const START_AFRESH: &str = "start the training again, in another folder or with --overwrite";

/// Puts the finished folder `staging` at `to`. A crash between the two moves leaves the older one at
/// [`previous`], where [`whole_folder`] finds it.
fn replace_folder(staging: tempfile::TempDir, to: &Path) -> Result<()> {
    let previous = previous(to);
    if to.exists() {
        if previous.exists() {
            std::fs::remove_dir_all(&previous).map_err(Error::io(&previous))?;
        }
        std::fs::rename(to, &previous).map_err(Error::io(to))?;
    }
    std::fs::rename(staging.keep(), to).map_err(Error::io(to))?;
    if previous.exists() {
        std::fs::remove_dir_all(&previous).map_err(Error::io(&previous))?;
    }
    Ok(())
}

fn previous(folder: &Path) -> PathBuf {
    folder.with_extension("previous")
}

/// `folder`, or the one before it if a crash came in between.
fn whole_folder(folder: &Path) -> Result<PathBuf> {
    [folder.to_owned(), previous(folder)]
        .into_iter()
        .find(|candidate| candidate.join(STATE).is_file())
        .ok_or_else(|| {
            Error::input(folder, "a checkpoint to resume from", "none", "start without --resume")
        })
}

/// The keys in which two specs differ, with both values.
fn differences(wanted: &ModelSpec, saved: &ModelSpec) -> String {
    let json = |spec| serde_json::to_value(spec).unwrap_or_default();
    let (wanted, saved) = (json(wanted), json(saved));
    let keys = wanted.as_object().into_iter().flatten();
    let different = keys.filter(|(key, value)| saved[key.as_str()] != **value);
    let list: Vec<String> =
        different.map(|(key, value)| format!("{key} {} for {value}", saved[key])).collect();
    list.join(", ")
}
