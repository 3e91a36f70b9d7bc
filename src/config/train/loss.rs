//! `[loss]` of `config/train.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::error::Result;

/// A loss of logits by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Focal loss.
    Focal,
    /// Soft Dice.
    Dice,
    /// Binary cross-entropy.
    Bce,
    /// 1 - BF1 of outlines.
    Boundary,
    /// Lovász hinge.
    Lovasz,
    /// Tversky.
    Tversky,
}

impl Loss {
    /// All losses, in the order in which they are summed.
    pub const ALL: [Self; 6] =
        [Self::Focal, Self::Dice, Self::Bce, Self::Boundary, Self::Lovasz, Self::Tversky];

    /// As in configurations and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Focal => "focal",
            Self::Dice => "dice",
            Self::Bce => "bce",
            Self::Boundary => "boundary",
            Self::Lovasz => "lovasz",
            Self::Tversky => "tversky",
        }
    }
}

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
    /// "efficient-fpn": weights of losses of its second head.
    pub second_head: BTreeMap<Loss, f64>,
    /// "efficient-fpn": weight of the focal loss of the head that says whether a crop shows a building.
    pub class_weight: f64,
    /// "efficient-fpn": weight of the squared error of the head that says how many metres a pixel covers (as a
    /// binary logarithm).
    pub scale_weight: f64,
    /// Weight of the divergence from soft labels, in batches of `data.soft_tiles`.
    pub kl_weight: f64,
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
            second_head: BTreeMap::new(),
            class_weight: 0.0,
            scale_weight: 0.0,
            kl_weight: 1.0,
            hard_fraction: 1.0,
        }
    }
}

impl LossSection {
    /// The weight of a loss of the logits; 0 leaves it out.
    pub fn weight(&self, loss: Loss) -> f64 {
        match loss {
            Loss::Focal => self.focal_weight,
            Loss::Dice => self.dice_weight,
            Loss::Bce => self.bce_weight,
            Loss::Boundary => self.boundary_weight,
            Loss::Lovasz => self.lovasz_weight,
            Loss::Tversky => self.tversky_weight,
        }
    }

    /// Whether a loss is asked for that only networks with more heads than one have.
    pub fn needs_more_heads(&self) -> bool {
        let second = self.second_head.values().any(|weight| *weight > 0.0);
        second || self.class_weight > 0.0 || self.scale_weight > 0.0
    }

    pub(super) fn validate(&self) -> Result<()> {
        for loss in Loss::ALL {
            within(&format!("loss.{}_weight", loss.name()), self.weight(loss), 0.0, 1000.0)?;
        }
        require(
            Loss::ALL.into_iter().any(|loss| self.weight(loss) > 0.0),
            "loss",
            "all weights 0",
            "at least one weight above 0",
        )?;
        for (key, weight) in [
            ("loss.class_weight", self.class_weight),
            ("loss.scale_weight", self.scale_weight),
            ("loss.kl_weight", self.kl_weight),
        ] {
            within(key, weight, 0.0, 1000.0)?;
        }
        for (loss, &weight) in &self.second_head {
            within(&format!("loss.second_head.{}", loss.name()), weight, 0.0, 1000.0)?;
        }
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
