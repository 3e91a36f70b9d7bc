//! How to train: `config/train.toml` lists every key with its default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
}

/// `[model]`: the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// The decoder: "fpn".
    pub arch: String,
    /// The encoder: "efficientnet-b0" to "efficientnet-b7".
    pub encoder: String,
    /// Channels of the pyramid's levels.
    pub pyramid_channels: usize,
    /// Channels of the segmentation branches.
    pub segmentation_channels: usize,
    /// Share of the decoder's output channels dropped while training.
    pub dropout: f64,
    /// Share of residual branches dropped in the encoder's last block while training.
    pub drop_connect: f64,
    /// The classes to learn, one logit each; the tile set must mark them.
    pub classes: Vec<String>,
    /// Ground sample distance written into the model, metres; 0 takes the tiles' own.
    pub gsd_m: f64,
}

/// `[data]`: the tiles and how batches are drawn from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Folder of the tile set.
    pub tiles: PathBuf,
    /// The fold to validate on in a set cut into folds; -1 uses the set's own splits.
    pub fold: i64,
    /// Side of the square crops that the network sees, pixels.
    pub crop_px: usize,
    /// Crops in a batch.
    pub batch: usize,
    /// Whole tiles in a validation batch.
    pub validation_batch: usize,
    /// What is drawn equally often.
    pub balance: Balance,
    /// Relative frequency of a scale, by its name; 1 where it is missing.
    pub scale_weights: BTreeMap<String, f64>,
    /// Relative frequency of a scene, by its name; 1 where it is missing.
    pub scene_weights: BTreeMap<String, f64>,
    /// Relative frequency of tiles without a building.
    pub empty_weight: f64,
    /// Threads that read and augment; 0 chooses.
    pub workers: usize,
}

/// What the sampler draws equally often, before the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Every pair of scene and scale.
    Uniform,
    /// Every scene.
    Scene,
    /// Every scale.
    Scale,
    /// Every tile.
    Tile,
}

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

/// `[optimizer]`: how weights follow gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSection {
    /// The rule: "adamw".
    pub name: OptimizerName,
    /// The schedule's peak rate.
    pub learning_rate: f64,
    /// Decoupled weight decay, as a share of the learning rate.
    pub weight_decay: f64,
    /// Decay rates of the running mean of gradients and of their squares.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Largest Euclidean norm of all gradients together; 0 does not clip.
    pub clip_norm: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
    /// Decay of the exponential moving average of the weights, which is then what is validated and
    /// kept; 0 keeps none.
    pub ema_decay: f64,
}

/// The optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay.
    Adamw,
}

/// `[schedule]`: the learning rate over the steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSection {
    /// The curve.
    pub kind: ScheduleKind,
    /// One cycle: share of the steps spent rising.
    pub warmup: f64,
    /// One cycle: peak over first rate.
    pub div_factor: f64,
    /// One cycle: first over last rate.
    pub final_div_factor: f64,
    /// Cosine: last rate over peak.
    pub final_fraction: f64,
}

/// The learning rate's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Up to the peak, then down to almost nothing.
    OneCycle,
    /// From the peak down along half a cosine.
    Cosine,
    /// The peak rate throughout.
    Constant,
}

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
    /// Number format of the computation.
    pub precision: Precision,
    /// Seeds weights, batches, augmentation and dropout.
    pub seed: u64,
}

/// Number formats of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// The best that the device is known to train well in; float32 everywhere for now.
    Auto,
    /// 32-bit floating point.
    F32,
    /// bfloat16 where it is safe; not available yet.
    Bf16,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            arch: "fpn".into(),
            encoder: "efficientnet-b0".into(),
            pyramid_channels: 256,
            segmentation_channels: 128,
            dropout: 0.2,
            drop_connect: 0.2,
            classes: vec!["building".into()],
            gsd_m: 0.0,
        }
    }
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            tiles: "tiles".into(),
            fold: -1,
            crop_px: 512,
            batch: 8,
            validation_batch: 4,
            balance: Balance::Uniform,
            scale_weights: BTreeMap::new(),
            scene_weights: BTreeMap::new(),
            empty_weight: 1.0,
            workers: 0,
        }
    }
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

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            name: OptimizerName::Adamw,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            clip_norm: 5.0,
            accumulate: 1,
            ema_decay: 0.0,
        }
    }
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::OneCycle,
            warmup: 0.3,
            div_factor: 25.0,
            final_div_factor: 10_000.0,
            final_fraction: 0.01,
        }
    }
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
        self.run.validate()
    }
}

impl ModelSection {
    fn validate(&self) -> Result<()> {
        require(
            self.pyramid_channels > 0,
            "model.pyramid_channels",
            self.pyramid_channels,
            "at least 1",
        )?;
        require(
            self.segmentation_channels > 0,
            "model.segmentation_channels",
            self.segmentation_channels,
            "at least 1",
        )?;
        within("model.dropout", self.dropout, 0.0, 0.99)?;
        within("model.drop_connect", self.drop_connect, 0.0, 0.99)?;
        within("model.gsd_m", self.gsd_m, 0.0, 1000.0)?;
        let known = ["building", "boundary", "contact"];
        for class in &self.classes {
            require(
                known.contains(&class.as_str()),
                "model.classes",
                class,
                "building, boundary or contact",
            )?;
        }
        require(
            self.classes.first().is_some_and(|class| class == "building"),
            "model.classes",
            format!("{:?}", self.classes),
            "a list that begins with \"building\"",
        )
    }
}

impl DataSection {
    fn validate(&self) -> Result<()> {
        require(self.crop_px >= 32, "data.crop_px", self.crop_px, "at least 32")?;
        require(self.batch > 0, "data.batch", self.batch, "at least 1")?;
        require(
            self.validation_batch > 0,
            "data.validation_batch",
            self.validation_batch,
            "at least 1",
        )?;
        require(self.fold >= -1, "data.fold", self.fold, "a fold's number, or -1")?;
        within("data.empty_weight", self.empty_weight, 0.0, 1000.0)?;
        require(self.workers <= 256, "data.workers", self.workers, "at most 256")?;
        for (key, weights) in [
            ("data.scale_weights", &self.scale_weights),
            ("data.scene_weights", &self.scene_weights),
        ] {
            for (name, &weight) in weights {
                within(&format!("{key}.{name}"), weight, 0.0, 1000.0)?;
            }
        }
        Ok(())
    }
}

impl AugmentSection {
    fn validate(&self) -> Result<()> {
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

impl LossSection {
    fn validate(&self) -> Result<()> {
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

impl OptimizerSection {
    fn validate(&self) -> Result<()> {
        within("optimizer.learning_rate", self.learning_rate, 1e-12, 10.0)?;
        within("optimizer.weight_decay", self.weight_decay, 0.0, 10.0)?;
        for beta in self.betas {
            within("optimizer.betas", beta, 0.0, 0.999_999)?;
        }
        within("optimizer.epsilon", self.epsilon, 1e-16, 1.0)?;
        within("optimizer.clip_norm", self.clip_norm, 0.0, 1e9)?;
        require(self.accumulate > 0, "optimizer.accumulate", self.accumulate, "at least 1")?;
        within("optimizer.ema_decay", self.ema_decay, 0.0, 0.999_999)
    }
}

impl ScheduleSection {
    fn validate(&self) -> Result<()> {
        within("schedule.warmup", self.warmup, 0.0, 1.0)?;
        within("schedule.div_factor", self.div_factor, 1.0, 1e12)?;
        within("schedule.final_div_factor", self.final_div_factor, 1.0, 1e12)?;
        within("schedule.final_fraction", self.final_fraction, 0.0, 1.0)
    }
}

impl RunSection {
    fn validate(&self) -> Result<()> {
        require(
            self.steps > 0 || (self.epochs > 0.0 && self.epochs.is_finite()),
            "run.epochs",
            self.epochs,
            "above 0 (or set run.steps)",
        )?;
        within("run.threshold", self.threshold, 1e-6, 1.0 - 1e-6)?;
        require(
            self.precision != Precision::Bf16,
            "run.precision",
            "bf16",
            "\"auto\" or \"f32\": training in bfloat16 is not available yet",
        )
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

    const COMMENTED: &str = include_str!("../../config/train.toml");

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
            ("[optimizer]\nlearning_rate = nan", "optimizer.learning_rate"),
            ("[run]\nprecision = \"bf16\"", "run.precision"),
            ("[data.scale_weights]\nhalf = -1.0", "data.scale_weights.half"),
            ("[model]\nclasses = [\"road\"]", "model.classes"),
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
