//! How to train: `config/train.toml` lists every key with its default.

mod augment;
mod data;
mod loss;
mod model;
mod optimizer;
mod run;
mod schedule;
mod tracking;

use serde::{Deserialize, Serialize};

pub use self::augment::AugmentSection;
pub use self::data::{Balance, DataSection};
pub use self::loss::{Loss, LossSection};
pub use self::model::{InitScope, ModelSection};
pub use self::optimizer::{OptimizerName, OptimizerSection};
pub use self::run::RunSection;
pub use self::schedule::{ScheduleKind, ScheduleSection};
pub use self::tracking::TrackingSection;
use crate::error::{Error, Result};

/// Everything `geoseg train` can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The network.
    pub model: ModelSection,
    /// The tiles and how batches are drawn from them.
    pub data: DataSection,
    /// Random changes to training tiles.
    pub augment: AugmentSection,
    /// What is minimised.
    pub loss: LossSection,
    /// How weights follow gradients.
    pub optimizer: OptimizerSection,
    /// The learning rate over the steps.
    pub schedule: ScheduleSection,
    /// Length, validation, checkpoints, seed.
    pub run: RunSection,
    /// Where else metrics go.
    pub tracking: TrackingSection,
}

impl TrainConfig {
    /// Checks every value that can be checked without the tiles.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key out of range.
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.data.validate()?;
        self.augment.validate()?;
        self.loss.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.run.validate()?;
        self.tracking.validate()
    }
}

fn require(holds: bool, key: &str, found: impl std::fmt::Display, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::config(key, format!("is {found}, must be {expected}"))) }
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<()> {
    let expected = format!("from {low} to {high}");
    require((low..=high).contains(&value), key, value, &expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMENTED: &str = include_str!("../../../config/train.toml");

    #[test]
    fn the_commented_file_equals_the_defaults() {
        let written: TrainConfig = toml::from_str(COMMENTED).unwrap();
        assert_eq!(written, TrainConfig::default());
    }

    #[test]
    fn the_commented_file_lists_every_key_with_a_comment() {
        let listed: toml::Table = toml::from_str(COMMENTED).unwrap();
        assert_eq!(listed, toml::Table::try_from(TrainConfig::default()).unwrap());
        let mut previous = "";
        for line in COMMENTED.lines() {
            if line.contains('=') && !line.starts_with('#') {
                assert!(previous.starts_with('#') || line.contains('#'), "no comment: {line}");
            }
            previous = line;
        }
    }

    #[test]
    fn defaults_are_valid_and_values_out_of_range_name_their_key() {
        TrainConfig::default().validate().unwrap();
        for (text, key) in [
            ("[data]\nbatch = 0", "data.batch"),
            ("[augment]\nflip_probability = 1.5", "augment.flip_probability"),
            ("[loss]\nfocal_gamma = 0.5", "loss.focal_gamma"),
            ("[loss]\nhard_fraction = 0.0", "loss.hard_fraction"),
            ("[loss]\nlovasz_weight = -1.0", "loss.lovasz_weight"),
            ("[loss]\nfocal_weight = 0.0\ndice_weight = 0.0", "all weights 0"),
            ("[optimizer]\nnesterov = true", "optimizer.nesterov"),
            ("[schedule]\nwarmup_steps = 9", "schedule.warmup_steps"),
            ("[schedule]\nplateau_factor = 2.0", "schedule.plateau_factor"),
            ("[optimizer]\nlearning_rate = nan", "optimizer.learning_rate"),
            ("[data.scale_weights]\nhalf = -1.0", "data.scale_weights.half"),
            ("[model]\nfreeze_encoder_stages = 6", "model.freeze_encoder_stages"),
            ("[optimizer]\nencoder_lr_factor = -1.0", "optimizer.encoder_lr_factor"),
            ("[model]\nclasses = [\"road\"]", "model.classes"),
            ("[tracking]\nmlflow = \"host:5000\"", "tracking.mlflow"),
            ("[tracking]\nmlflow = \"http://a:b@host\"", "tracking.mlflow"),
            ("[tracking]\nmlflow = \"http://host\"\nexperiment = \"\"", "tracking.experiment"),
            ("[model]\ndecoder_channels = [64, 32, 0, 16, 16]", "model.decoder_channels"),
        ] {
            let config: TrainConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<TrainConfig>("[data]\nbatchsize = 4").is_err());
    }
}
