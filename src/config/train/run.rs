//! `[run]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::config::Precision;
use crate::error::Result;

/// `[run]`: length, validation, checkpoints, seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSection {
    /// Optimizer steps; 0 takes `epochs`.
    pub steps: usize,
    /// Passes over as many crops as there are training tiles; used when `steps` is 0.
    pub epochs: f64,
    /// Steps between validations; 0 validates once an epoch.
    pub validate_every: usize,
    /// Validations without a better IoU before training stops; 0 never stops early.
    pub patience: usize,
    /// Probability from which a pixel counts as building in the metrics.
    pub threshold: f64,
    /// Batches of training tiles over which batch norm's statistics are measured afresh before each
    /// validation; 0 validates with the running ones.
    pub recalibrate_batches: usize,
    /// Older checkpoints kept beside `last` and `best`.
    pub keep: usize,
    /// Number format of the steps; validation is in float32.
    pub precision: Precision,
    /// Seeds weights, batches, augmentation and dropout.
    pub seed: u64,
}

impl Default for RunSection {
    fn default() -> Self {
        Self {
            steps: 0,
            epochs: 40.0,
            validate_every: 0,
            patience: 0,
            threshold: 0.5,
            recalibrate_batches: 16,
            keep: 0,
            precision: Precision::Auto,
            seed: 0,
        }
    }
}

impl RunSection {
    pub(super) fn validate(&self) -> Result<()> {
        require(
            self.steps > 0 || (self.epochs > 0.0 && self.epochs.is_finite()),
            "run.epochs",
            self.epochs,
            "above 0 (or set run.steps)",
        )?;
        within("run.steps", self.steps as f64, 0.0, 1e9)?;
        within("run.threshold", self.threshold, 1e-6, 1.0 - 1e-6)
    }
}
