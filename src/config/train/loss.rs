//! `[loss]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::error::Result;

/// `[loss]`: a weighted sum of losses; ignored pixels count in none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSection {
    /// Weight of the focal loss.
    pub focal_weight: f64,
    /// Focal loss: exponent of the modulating factor (1 - p)^gamma; 0 or at least 1.
    pub focal_gamma: f64,
    /// Focal loss: weight of building pixels, 1 - alpha that of the others; negative for none.
    pub focal_alpha: f64,
    /// Weight of the soft Dice loss.
    pub dice_weight: f64,
    /// Weight of binary cross-entropy.
    pub bce_weight: f64,
    /// Weight of the boundary loss.
    pub boundary_weight: f64,
    /// Weight of the Lovász hinge.
    pub lovasz_weight: f64,
    /// Weight of the Tversky loss.
    pub tversky_weight: f64,
    /// Tversky: weight of false positives.
    pub tversky_alpha: f64,
    /// Tversky: weight of false negatives.
    pub tversky_beta: f64,
    /// Soft Dice and Tversky: added to numerator and denominator.
    pub dice_smooth: f64,
    /// Focal loss and cross-entropy: share of the valid pixels, those with the highest loss, that count; 1 is all.
    pub hard_fraction: f64,
}

impl Default for LossSection {
    fn default() -> Self {
        Self {
            focal_weight: 1.0,
            focal_gamma: 2.0,
            focal_alpha: -1.0,
            dice_weight: 1.0,
            bce_weight: 0.0,
            boundary_weight: 0.0,
            lovasz_weight: 0.0,
            tversky_weight: 0.0,
            tversky_alpha: 0.3,
            tversky_beta: 0.7,
            dice_smooth: 1e-5,
            hard_fraction: 1.0,
        }
    }
}

impl LossSection {
    pub(super) fn validate(&self) -> Result<()> {
        let weights = [
            ("loss.focal_weight", self.focal_weight),
            ("loss.dice_weight", self.dice_weight),
            ("loss.bce_weight", self.bce_weight),
            ("loss.boundary_weight", self.boundary_weight),
            ("loss.lovasz_weight", self.lovasz_weight),
            ("loss.tversky_weight", self.tversky_weight),
        ];
        for (key, weight) in weights {
            within(key, weight, 0.0, 1000.0)?;
        }
        require(
            weights.iter().any(|(_, weight)| *weight > 0.0),
            "loss",
            "all weights 0",
            "at least one weight above 0",
        )?;
        // Between 0 and 1 the slope of (1 - p)^gamma is infinite at p = 1.
        require(
            self.focal_gamma == 0.0 || (1.0..=10.0).contains(&self.focal_gamma),
            "loss.focal_gamma",
            self.focal_gamma,
            "0, or from 1 to 10",
        )?;
        require(
            self.focal_alpha.is_finite() && self.focal_alpha <= 1.0,
            "loss.focal_alpha",
            self.focal_alpha,
            "from 0 to 1, or negative for none",
        )?;
        within("loss.tversky_alpha", self.tversky_alpha, 0.0, 1000.0)?;
        within("loss.tversky_beta", self.tversky_beta, 0.0, 1000.0)?;
        within("loss.dice_smooth", self.dice_smooth, 1e-12, 1e6)?;
        within("loss.hard_fraction", self.hard_fraction, 1e-6, 1.0)
    }
}
