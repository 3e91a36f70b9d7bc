//! `[augment]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
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
    /// Probability of a flip across the diagonal, which swaps rows and columns.
    pub transpose_probability: f64,
    /// Probability of an uneven grid: rows and columns of five by five cells get other widths.
    pub grid_probability: f64,
    /// Largest change of a cell's width: 0.3 draws factors from 0.7 to 1.3.
    pub grid_limit: f64,
    /// Probability of a lens: pixels move along their radius.
    pub optical_probability: f64,
    /// Largest move at the middle of an edge, as a share of its distance from the centre.
    pub optical_limit: f64,
    /// Probability of a crop of exactly `reference_gsd_m`, whatever its tile's scale.
    pub reference_probability: f64,
    /// The ground sample distance of such crops, metres.
    pub reference_gsd_m: f64,
    /// Probability of a change of gamma.
    pub gamma_probability: f64,
    /// Largest change of gamma: 0.25 draws exponents from 1/1.25 to 1.25.
    pub gamma_limit: f64,
    /// Probability of a shift of each of the first three bands by an amount of its own.
    pub rgb_probability: f64,
    /// Largest such shift; 1 is the whole value range.
    pub rgb_limit: f64,
    /// Probability of taking the colours away.
    pub grey_probability: f64,
    /// Probability of a blur along a line.
    pub motion_blur_probability: f64,
    /// Longest such line, pixels.
    pub motion_blur_limit_px: f64,
    /// Probability of hiding squares of the image (their labels stay).
    pub dropout_probability: f64,
    /// Squares that are hidden then.
    pub dropout_patches: usize,
    /// Largest side of such a square, as a share of the crop.
    pub dropout_limit: f64,
    /// Probability that a batch's images are mixed in pairs, and judged by both labels.
    pub mixup_probability: f64,
    /// The share of the first is drawn from Beta(alpha, alpha): near 0 or 1 where alpha is small.
    pub mixup_alpha: f64,
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
            transpose_probability: 0.0,
            grid_probability: 0.0,
            grid_limit: 0.3,
            optical_probability: 0.0,
            optical_limit: 0.1,
            reference_probability: 0.0,
            reference_gsd_m: 0.1,
            gamma_probability: 0.0,
            gamma_limit: 0.25,
            rgb_probability: 0.0,
            rgb_limit: 0.08,
            grey_probability: 0.0,
            motion_blur_probability: 0.0,
            motion_blur_limit_px: 7.0,
            dropout_probability: 0.0,
            dropout_patches: 8,
            dropout_limit: 0.12,
            mixup_probability: 0.0,
            mixup_alpha: 0.2,
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
            ("transpose", self.transpose_probability),
            ("grid", self.grid_probability),
            ("optical", self.optical_probability),
            ("reference", self.reference_probability),
            ("gamma", self.gamma_probability),
            ("rgb", self.rgb_probability),
            ("grey", self.grey_probability),
            ("motion_blur", self.motion_blur_probability),
            ("dropout", self.dropout_probability),
            ("mixup", self.mixup_probability),
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
        within("augment.noise_limit", self.noise_limit, 0.0, 1.0)?;
        within("augment.grid_limit", self.grid_limit, 0.0, 0.9)?;
        // Beyond a sixth, a lens that draws inwards folds the corners over.
        within("augment.optical_limit", self.optical_limit, 0.0, 0.16)?;
        within("augment.reference_gsd_m", self.reference_gsd_m, 0.001, 1000.0)?;
        within("augment.gamma_limit", self.gamma_limit, 0.0, 10.0)?;
        within("augment.rgb_limit", self.rgb_limit, 0.0, 1.0)?;
        within("augment.motion_blur_limit_px", self.motion_blur_limit_px, 0.0, 100.0)?;
        require(
            self.dropout_patches <= 1000,
            "augment.dropout_patches",
            self.dropout_patches,
            "at most 1000",
        )?;
        within("augment.dropout_limit", self.dropout_limit, 0.0, 1.0)?;
        within("augment.mixup_alpha", self.mixup_alpha, 0.01, 100.0)
    }
}
