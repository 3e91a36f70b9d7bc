//! `[augment]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::within;
use crate::error::Result;

/// `[augment]`: random changes to training tiles; image and mask move together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSection {
    /// Off: plain random crops.
    pub enabled: bool,
    /// Probability of a left-right flip.
    pub flip_probability: f64,
    /// Probability of a turn by 90, 180 or 270 degrees.
    pub turn_probability: f64,
    /// Probability of a change of scale.
    pub scale_probability: f64,
    /// Largest change of scale: 0.25 draws factors from 1/1.25 to 1.25.
    pub scale_limit: f64,
    /// Probability of a rotation by any angle.
    pub rotation_probability: f64,
    /// Largest rotation to either side, degrees.
    pub rotation_limit_deg: f64,
    /// Probability of a shift on top of the random crop; what it uncovers is ignored.
    pub shift_probability: f64,
    /// Largest shift along each axis, as a share of the crop.
    pub shift_limit: f64,
    /// Probability of a change of brightness.
    pub brightness_probability: f64,
    /// Largest change of brightness; 1 is the whole value range.
    pub brightness_limit: f64,
    /// Probability of a change of contrast.
    pub contrast_probability: f64,
    /// Largest change of contrast: 0.2 draws factors from 0.8 to 1.2.
    pub contrast_limit: f64,
    /// Probability of a change of colour (the first three bands are taken as red, green, blue).
    pub hsv_probability: f64,
    /// Largest change of hue to either side, degrees.
    pub hue_limit_deg: f64,
    /// Largest change of saturation: 0.25 draws factors from 0.75 to 1.25.
    pub saturation_limit: f64,
    /// Largest change of value, likewise.
    pub value_limit: f64,
    /// Probability of a Gaussian blur.
    pub blur_probability: f64,
    /// Largest standard deviation of the blur, pixels.
    pub blur_limit_px: f64,
    /// Probability of Gaussian noise.
    pub noise_probability: f64,
    /// Largest standard deviation of the noise; 1 is the whole value range.
    pub noise_limit: f64,
}

impl Default for AugmentSection {
    fn default() -> Self {
        Self {
            enabled: true,
            flip_probability: 0.5,
            turn_probability: 0.75,
            scale_probability: 0.5,
            scale_limit: 0.25,
            rotation_probability: 0.3,
            rotation_limit_deg: 45.0,
            shift_probability: 0.3,
            shift_limit: 0.06,
            brightness_probability: 0.5,
            brightness_limit: 0.15,
            contrast_probability: 0.5,
            contrast_limit: 0.2,
            hsv_probability: 0.5,
            hue_limit_deg: 10.0,
            saturation_limit: 0.25,
            value_limit: 0.15,
            blur_probability: 0.1,
            blur_limit_px: 1.2,
            noise_probability: 0.2,
            noise_limit: 0.03,
        }
    }
}

impl AugmentSection {
    pub(super) fn validate(&self) -> Result<()> {
        for (name, probability) in [
            ("flip", self.flip_probability),
            ("turn", self.turn_probability),
            ("scale", self.scale_probability),
            ("rotation", self.rotation_probability),
            ("shift", self.shift_probability),
            ("brightness", self.brightness_probability),
            ("contrast", self.contrast_probability),
            ("hsv", self.hsv_probability),
            ("blur", self.blur_probability),
            ("noise", self.noise_probability),
        ] {
            within(&format!("augment.{name}_probability"), probability, 0.0, 1.0)?;
        }
        within("augment.scale_limit", self.scale_limit, 0.0, 3.0)?;
        within("augment.rotation_limit_deg", self.rotation_limit_deg, 0.0, 180.0)?;
        within("augment.shift_limit", self.shift_limit, 0.0, 0.5)?;
        within("augment.brightness_limit", self.brightness_limit, 0.0, 1.0)?;
        within("augment.contrast_limit", self.contrast_limit, 0.0, 1.0)?;
        within("augment.hue_limit_deg", self.hue_limit_deg, 0.0, 180.0)?;
        within("augment.saturation_limit", self.saturation_limit, 0.0, 1.0)?;
        within("augment.value_limit", self.value_limit, 0.0, 1.0)?;
        within("augment.blur_limit_px", self.blur_limit_px, 0.0, 10.0)?;
        within("augment.noise_limit", self.noise_limit, 0.0, 1.0)
    }
}
