//! `config/infer.toml`: how a scene becomes buildings.

use serde::{Deserialize, Serialize};

use super::polygonize::PolygonizeOptions;
use super::precision::Precision;
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
    /// Scores into buildings.
    pub polygonize: PolygonizeOptions,
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
        }
    }
}

impl InferConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let InferenceConfig { window_px, overlap_px, batch, gsd_m, .. } = self.inference;
        if !(32..=8192).contains(&window_px) {
            let problem = format!("expected 32 to 8192 px, found {window_px}");
            return Err(Error::config("inference.window_px", problem));
        }
        if overlap_px * 4 > window_px * 3 {
            let problem = format!(
                "expected at most three quarters of window_px = {window_px}, found {overlap_px}"
            );
            return Err(Error::config("inference.overlap_px", problem));
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
        self.polygonize.validate()
    }
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
            ("[polygonize]\nthreshold = 2.0", "polygonize.threshold"),
        ];
        for (text, key) in wrong {
            let config: InferConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
