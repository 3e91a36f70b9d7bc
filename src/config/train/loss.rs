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
    /// Soft Dice: added to numerator and denominator.
    pub dice_smooth: f64,
    /// Weight of binary cross-entropy.
    pub bce_weight: f64,
}

impl Default for LossSection {
    fn default() -> Self {
        Self {
            focal_weight: 1.0,
            focal_gamma: 2.0,
            focal_alpha: -1.0,
            dice_weight: 1.0,
            dice_smooth: 1e-5,
            bce_weight: 0.0,
        }
    }
}

impl LossSection {
    pub(super) fn validate(&self) -> Result<()> {
        let weights = [self.focal_weight, self.dice_weight, self.bce_weight];
        for (key, weight) in
            ["loss.focal_weight", "loss.dice_weight", "loss.bce_weight"].into_iter().zip(weights)
        {
            within(key, weight, 0.0, 1000.0)?;
        }
        require(
            weights.iter().sum::<f64>() > 0.0,
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
        within("loss.dice_smooth", self.dice_smooth, 1e-12, 1e6)
    }
}
