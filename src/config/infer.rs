//! `config/infer.toml`: how a scene becomes buildings.

use serde::{Deserialize, Serialize};

use super::conflate::ConflateOptions;
use super::ensemble::{EnsembleConfig, Mean};
use super::merge::MergeOptions;
use super::output::OutputOptions;
use super::polygonize::PolygonizeOptions;
use super::precision::Precision;
use super::tta::Symmetries;
use super::validate::ValidateOptions;
use crate::error::{Error, Result};
use crate::geo::SceneOptions;

/// Everything that `geoseg infer` can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferConfig {
    /// How scenes are read.
    pub input: SceneOptions,
    /// The sliding window.
    pub inference: InferenceConfig,
    /// Scores of several models into one.
    pub ensemble: EnsembleConfig,
    /// Scores into buildings.
    pub polygonize: PolygonizeOptions,
    /// How buildings are written.
    pub output: OutputOptions,
    /// What written buildings are checked for.
    pub validate: ValidateOptions,
    /// Buildings of several scenes into one file.
    pub merge: MergeOptions,
    /// Buildings against known ones.
    pub conflate: ConflateOptions,
}

/// The sliding window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferenceConfig {
    /// Sides of a window, px of the model's ground sample distance; a multiple of 32 wastes nothing.
    pub window_px: usize,
    /// Pixels that neighbouring windows share; half of it is context that each window only looks at.
    pub overlap_px: usize,
    /// Windows scored at once.
    pub batch: usize,
    /// Number format of the network.
    pub precision: Precision,
    /// Ground sample distance to work at, metres; the model's own where absent.
    pub gsd_m: Option<f64>,
    /// Value type of the scores raster.
    pub scores: ScoresType,
    /// Test-time augmentation: the symmetries in which each window is scored.
    pub tta: Symmetries,
    /// Sizes at which each window is scored, relative to its own; each with every symmetry.
    pub tta_scales: Vec<f64>,
    /// How the scores of the views become one.
    pub tta_mean: Mean,
}

/// How a probability is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoresType {
    /// `round(p * 254)`, 255 = nodata.
    #[default]
    Uint8,
    /// As it is, NaN = nodata.
    Float32,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            window_px: 512,
            overlap_px: 128,
            batch: 1,
            precision: Precision::Auto,
            gsd_m: None,
            scores: ScoresType::Uint8,
            tta: Symmetries::default(),
            tta_scales: vec![1.0],
            tta_mean: Mean::Arithmetic,
        }
    }
}

impl InferConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let InferenceConfig { window_px, batch, gsd_m, .. } = self.inference;
        self.validate_window("inference.window_px", window_px)?;
        for &window_px in &self.ensemble.window_px {
            self.validate_window("ensemble.window_px", window_px)?;
        }
        if !(1..=1024).contains(&batch) {
            return Err(Error::config(
                "inference.batch",
                format!("expected 1 to 1024 windows, found {batch}"),
            ));
        }
        if gsd_m.is_some_and(|gsd_m| !(0.001..=1000.0).contains(&gsd_m)) {
            return Err(Error::config(
                "inference.gsd_m",
                format!("expected 0.001 to 1000 m, found {}", gsd_m.unwrap_or_default()),
            ));
        }
        self.ensemble.validate()?;
        self.polygonize.validate()?;
        self.validate.validate()?;
        self.merge.validate()?;
        self.conflate.validate()
    }

    /// A window, and what is measured by it.
    fn validate_window(&self, key: &str, window_px: usize) -> Result<()> {
        let InferenceConfig { overlap_px, tta_scales, .. } = &self.inference;
        if !WINDOWS_PX.contains(&window_px) {
            let problem = format!("expected 32 to 8192 px, found {window_px}");
            return Err(Error::config(key, problem));
        }
        if overlap_px * 4 > window_px * 3 {
            let problem = format!(
                "expected at most three quarters of window_px = {window_px}, found {overlap_px}"
            );
            return Err(Error::config("inference.overlap_px", problem));
        }
        if tta_scales.is_empty() {
            let problem = "expected at least one size; [1.0] takes windows as they are";
            return Err(Error::config("inference.tta_scales", problem));
        }
        for (index, scale) in tta_scales.iter().enumerate() {
            let problem = if !TTA_SCALES.contains(scale) {
                format!("expected sizes from 0.25 to 4, found {scale}")
            } else if tta_scales[..index].contains(scale) {
                format!("{scale} stands in the list twice")
            } else if !WINDOWS_PX.contains(&scaled_px(window_px, *scale)) {
                let side = scaled_px(window_px, *scale);
                format!(
                    "{scale} makes the window of {window_px} px one of {side}; expected 32 to 8192 px"
                )
            } else {
                continue;
            };
            return Err(Error::config("inference.tta_scales", problem));
        }
        Ok(())
    }
}

/// Sides that a window may have, px.
const WINDOWS_PX: std::ops::RangeInclusive<usize> = 32..=8192;

/// Sizes of a view, relative to the window. Beyond them buildings look like nothing that a model has learnt.
const TTA_SCALES: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// Side of a window's view, whole pixels.
pub fn scaled_px(window_px: usize, scale: f64) -> usize {
    (window_px as f64 * scale).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_holds_the_defaults() {
        let config: InferConfig = toml::from_str(include_str!("../../config/infer.toml")).unwrap();
        assert_eq!(config, InferConfig::default());
        config.validate().unwrap();
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        let wrong = [
            ("[inference]\nwindow_px = 16", "inference.window_px"),
            ("[inference]\noverlap_px = 500", "inference.overlap_px"),
            ("[inference]\nbatch = 0", "inference.batch"),
            ("[inference]\ngsd_m = 0.0", "inference.gsd_m"),
            ("[inference]\ntta_scales = []", "inference.tta_scales"),
            ("[inference]\ntta_scales = [1.0, 1.0]", "inference.tta_scales"),
            ("[inference]\ntta_scales = [5.0]", "inference.tta_scales"),
            (
                "[inference]\nwindow_px = 64\noverlap_px = 0\ntta_scales = [0.3]",
                "inference.tta_scales",
            ),
            ("[ensemble]\nweights = [1.0, 0.0]", "ensemble.weights"),
            ("[ensemble]\nwindow_px = [512, 31]", "ensemble.window_px"),
            ("[polygonize]\nthreshold = 2.0", "polygonize.threshold"),
            ("[validate]\nmin_width_m = -1.0", "validate.min_width_m"),
            ("[validate]\nmax_overlap_m2 = nan", "validate.max_overlap_m2"),
            ("[merge]\niou = 0.0", "merge.iou"),
            ("[merge]\ncontained = 1.5", "merge.contained"),
            ("[conflate]\niou = 2.0", "conflate.iou"),
            ("[conflate]\nshared = 0.0", "conflate.shared"),
        ];
        for (text, key) in wrong {
            let config: InferConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
