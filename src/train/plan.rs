//! What a configuration and a tile set come to: steps, validations, the model's spec.

use super::batches::{Batches, Normalisation};
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::tiles::{TileRecord, TileSetInfo};

/// Validations of a training that does not say how many it wants.
const MOST_VALIDATIONS: usize = 20;
/// A band that hardly varies (a constant alpha, say) is divided by this instead of its deviation.
const SMALLEST_STD: f64 = 1e-3;

/// Lengths, in optimizer steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The whole training.
    pub total_steps: usize,
    /// One epoch.
    pub steps_per_epoch: usize,
    /// From one validation to the next.
    pub validate_every: usize,
}

impl Plan {
    /// Works out the lengths.
    pub fn new(config: &TrainConfig, batches_per_epoch: usize) -> Self {
        let accumulate = config.optimizer.accumulate;
        let steps_per_epoch = batches_per_epoch.div_ceil(accumulate).max(1);
        let total_steps = if config.run.steps > 0 {
            config.run.steps
        } else {
            let batches = config.run.epochs * batches_per_epoch as f64;
            ((batches / accumulate as f64).ceil() as usize).max(1)
        };
        let validate_every = if config.run.validate_every > 0 {
            config.run.validate_every
        } else {
            steps_per_epoch.max(total_steps.div_ceil(MOST_VALIDATIONS))
        };
        Self { total_steps, steps_per_epoch, validate_every }
    }

    /// The epoch, from 1, of the step that follows `done` steps.
    pub fn epoch(&self, done: usize) -> usize {
        1 + done / self.steps_per_epoch
    }

    /// Whether a validation is due after `done` steps.
    pub fn validates_after(&self, done: usize) -> bool {
        done > 0 && (done.is_multiple_of(self.validate_every) || done == self.total_steps)
    }

    /// Whether an epoch ends after `done` steps.
    pub fn epoch_ends_after(&self, done: usize) -> bool {
        done > 0 && (done.is_multiple_of(self.steps_per_epoch) || done == self.total_steps)
    }
}

/// How pixels of the set are normalised.
pub fn normalisation(info: &TileSetInfo) -> Normalisation {
    Normalisation {
        mean: info.band_mean.iter().map(|&mean| mean as f32).collect(),
        std: info.band_std.iter().map(|&std| std.max(SMALLEST_STD) as f32).collect(),
    }
}

/// The model that `config` asks for, on the tiles of `batches`.
///
/// # Errors
/// A key of `[model]` is out of range, or no tile has a ground sample distance and none is configured.
pub fn model_spec(
    config: &TrainConfig,
    info: &TileSetInfo,
    batches: &Batches<'_>,
) -> Result<ModelSpec> {
    let section = &config.model;
    let gsd_m = if section.gsd_m > 0.0 {
        section.gsd_m
    } else {
        usual_gsd_m(batches.train_tiles(), batches.train_weights()).ok_or_else(|| {
            Error::config(
                "model.gsd_m",
                "is needed: the tiles have no georeference; give the pixel's side in metres",
            )
        })?
    };
    let spec = ModelSpec {
        arch: section.arch.clone(),
        encoder: section.encoder.clone(),
        pyramid_channels: section.pyramid_channels,
        segmentation_channels: section.segmentation_channels,
        decoder_channels: section.decoder_channels,
        dropout: section.dropout,
        drop_connect: section.drop_connect,
        use_mish: section.use_mish,
        use_context_block: section.use_context_block,
        use_attention: section.use_attention,
        classes: section.classes.clone(),
        bands: info.band_names.clone(),
        value_range: info.value_range,
        mean: info.band_mean.clone(),
        std: info.band_std.iter().map(|std| std.max(SMALLEST_STD)).collect(),
        gsd_m,
        ..ModelSpec::default()
    };
    spec.validate()?;
    Ok(spec)
}

/// The weighted median of the tiles' ground sample distances: half the crops that the network learns from
/// are finer, half coarser.
fn usual_gsd_m(tiles: &[&TileRecord], weights: &[f64]) -> Option<f64> {
    let mut sizes: Vec<(f64, f64)> = tiles
        .iter()
        .zip(weights)
        .map(|(tile, &weight)| (tile.gsd_m, weight))
        .filter(|&(gsd_m, weight)| gsd_m.is_finite() && gsd_m > 0.0 && weight > 0.0)
        .collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = sizes.iter().map(|size| size.1).sum::<f64>() / 2.0;
    let mut reached = 0.0;
    // Weights that should sum to exactly half do so up to rounding.
    sizes.into_iter().find_map(|(gsd_m, weight)| {
        reached += weight;
        (reached >= half * (1.0 - 1e-9)).then_some(gsd_m)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_from_epochs_unless_they_are_given() {
        let mut config = TrainConfig::default();
        config.run.epochs = 3.0;
        let plan = Plan::new(&config, 10);
        assert_eq!((plan.total_steps, plan.steps_per_epoch, plan.validate_every), (30, 10, 10));
        config.optimizer.accumulate = 4;
        assert_eq!(Plan::new(&config, 10).total_steps, 8);
        config.run.steps = 600;
        let plan = Plan::new(&config, 10);
        assert_eq!((plan.total_steps, plan.validate_every), (600, 30));
    }

    #[test]
    fn the_last_step_ends_an_epoch_and_is_validated() {
        let plan = Plan { total_steps: 25, steps_per_epoch: 10, validate_every: 7 };
        let validated: Vec<_> = (0..=25).filter(|&done| plan.validates_after(done)).collect();
        assert_eq!(validated, [7, 14, 21, 25]);
        let ended: Vec<_> = (0..=25).filter(|&done| plan.epoch_ends_after(done)).collect();
        assert_eq!(ended, [10, 20, 25]);
        assert_eq!((plan.epoch(0), plan.epoch(9), plan.epoch(10)), (1, 1, 2));
    }
}
