//! All that must be known to build a network and to feed it: it travels in the metadata of the weights.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    efficientnet::{Padding, Variant},
    registry,
};
use crate::{Error, Result};

/// More channels than any network has: beyond, a wish is a slip of the keys.
const MOST_CHANNELS: usize = 8192;

/// Architecture, classes and preprocessing of a model.
///
/// An input is `(x01 - mean) / std` per band with `x01` in 0..1; invalid pixels are 0 after that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSpec {
    /// A name of [`super::ARCHITECTURES`].
    pub arch: String,
    /// `efficientnet-b0` to `efficientnet-b7`, for networks that have an encoder.
    pub encoder: String,
    /// Where the encoder's convolutions of stride 2 put their padding.
    pub encoder_padding: Padding,
    /// Epsilon of batch normalisation, in the encoder and wherever a network does not fix its own.
    pub batch_norm_eps: f64,
    /// Weight of a new batch in the running statistics.
    pub batch_norm_momentum: f64,
    /// FPN: channels of the pyramid's levels (`efficient-fpn` has 64).
    pub pyramid_channels: usize,
    /// FPN: channels of the decoder's blocks, a multiple of 32 (`efficient-fpn` has 64).
    pub segmentation_channels: usize,
    /// U-Nets with an encoder: channels of the decoder's blocks, from stride 16 to stride 1.
    pub decoder_channels: [usize; 5],
    /// FPN: probability that a channel is dropped before the head in training.
    pub dropout: f64,
    /// Probability that the encoder's last residual branch is dropped in training; it grows linearly from the first block.
    pub drop_connect: f64,
    /// `efficient-fpn`: Mish in place of `ReLU` before the heads (the encoder's stem and head have it in any case).
    pub use_mish: bool,
    /// `efficient-fpn`: a global context block behind the pyramid.
    pub use_context_block: bool,
    /// `efficient-fpn`: a factor a channel and position before the heads.
    pub use_attention: bool,
    /// Names of the logits. One: a sigmoid; the background has no logit of its own then.
    pub classes: Vec<String>,
    /// Names of the input bands, in order.
    pub bands: Vec<String>,
    /// Values of a scene that become 0 and 1.
    pub value_range: [f64; 2],
    /// Mean per band of inputs in 0..1.
    pub mean: Vec<f64>,
    /// Standard deviation per band of inputs in 0..1.
    pub std: Vec<f64>,
    /// Ground size of a pixel that the model was trained for, in metres.
    pub gsd_m: f64,
}

impl Default for ModelSpec {
    /// FPN on `EfficientNet`-b0 for three bands with ImageNet's statistics, one class.
    fn default() -> Self {
        Self {
            arch: "fpn".into(),
            encoder: "efficientnet-b0".into(),
            encoder_padding: Padding::Nominal,
            batch_norm_eps: 1e-3,
            batch_norm_momentum: 0.01,
            pyramid_channels: 256,
            segmentation_channels: 128,
            decoder_channels: [256, 128, 64, 32, 16],
            dropout: 0.2,
            drop_connect: 0.2,
            use_mish: false,
            use_context_block: false,
            use_attention: true,
            classes: vec!["building".into()],
            bands: vec!["red".into(), "green".into(), "blue".into()],
            value_range: [0.0, 255.0],
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            gsd_m: 0.3,
        }
    }
}

impl ModelSpec {
    /// Whether a pixel is of one class only, among them `background`: probabilities are a softmax. Otherwise every class has
    /// a sigmoid of its own, as `geoseg train` learns them (a boundary is part of its building).
    pub fn is_exclusive(&self) -> bool {
        self.classes.iter().any(|class| class == "background")
    }

    /// The network in words: `fpn efficientnet-b0`, `carvana-unet`.
    pub fn title(&self) -> String {
        match registry::listed(&self.arch) {
            Ok(listed) if !listed.has_encoder => self.arch.clone(),
            _ => format!("{} {}", self.arch, self.encoder),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        registry::listed(&self.arch)?;
        if Variant::named(&self.encoder).is_none() {
            let problem = format!(
                "`{}` is not known; use \"efficientnet-b0\" to \"efficientnet-b7\"",
                self.encoder
            );
            return Err(wrong("encoder", problem));
        }
        let widths = [self.pyramid_channels, self.segmentation_channels];
        if widths.iter().chain(&self.decoder_channels).any(|width| *width > MOST_CHANNELS) {
            let problem = format!("{MOST_CHANNELS} channels are the most");
            let key = "pyramid_channels, segmentation_channels or decoder_channels";
            return Err(wrong(key, problem));
        }
        if self.pyramid_channels == 0 {
            return Err(wrong("pyramid_channels", "must be at least 1"));
        }
        if self.segmentation_channels == 0 || !self.segmentation_channels.is_multiple_of(32) {
            let problem = format!("{} is not a multiple of 32", self.segmentation_channels);
            return Err(wrong("segmentation_channels", problem));
        }
        if self.decoder_channels.contains(&0) {
            return Err(wrong("decoder_channels", "must each be at least 1"));
        }
        for (key, p) in [("dropout", self.dropout), ("drop_connect", self.drop_connect)] {
            if !(0.0..1.0).contains(&p) {
                return Err(wrong(key, format!("{p} is not a probability below 1")));
            }
        }
        let small = |v: f64| v > 0.0 && v < 1.0;
        if !small(self.batch_norm_eps) {
            return Err(wrong("batch_norm_eps", "must lie between 0 and 1"));
        }
        if !small(self.batch_norm_momentum) {
            return Err(wrong("batch_norm_momentum", "must lie between 0 and 1"));
        }
        if self.classes.is_empty() {
            return Err(wrong("classes", "needs at least one name"));
        }
        let mut names = HashSet::new();
        if let Some(name) = self.classes.iter().find(|name| name.is_empty() || !names.insert(*name))
        {
            return Err(wrong("classes", format!("needs different names, found `{name}` again")));
        }
        if self.arch == "efficient-fpn" && self.classes.len() != 1 {
            let problem = format!(
                "{} names; \"efficient-fpn\" tells one class from the background",
                self.classes.len()
            );
            return Err(wrong("classes", problem));
        }
        if self.bands.is_empty() {
            return Err(wrong("bands", "needs at least one name"));
        }
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.bands.len() {
                let problem = format!("{} values for {} bands", values.len(), self.bands.len());
                return Err(wrong(key, problem));
            }
            if values.iter().any(|v| !v.is_finite() || (key == "std" && *v <= 0.0)) {
                return Err(wrong(key, format!("{values:?} cannot be used")));
            }
        }
        let [low, high] = self.value_range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(wrong("value_range", format!("[{low}, {high}] is empty")));
        }
        if !(self.gsd_m.is_finite() && self.gsd_m > 0.0) {
            return Err(wrong("gsd_m", format!("{} is not a size in metres", self.gsd_m)));
        }
        Ok(())
    }
}

fn wrong(key: &str, problem: impl Into<String>) -> Error {
    Error::config(format!("model.{key}"), problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_survives_json() {
        let spec = ModelSpec::default();
        spec.validate().unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
        assert_eq!(spec.title(), "fpn efficientnet-b0");
        assert_eq!(ModelSpec { arch: "mean-mask".into(), ..spec }.title(), "mean-mask");
    }

    #[test]
    fn a_wrong_value_is_named() {
        let spec = ModelSpec { mean: vec![0.5], ..ModelSpec::default() };
        assert!(spec.validate().unwrap_err().to_string().contains("model.mean"));
        let spec = ModelSpec { encoder: "resnet".into(), ..ModelSpec::default() };
        assert!(spec.validate().unwrap_err().to_string().contains("model.encoder"));
        let spec = ModelSpec { arch: "u-net".into(), ..ModelSpec::default() };
        let message = spec.validate().unwrap_err().to_string();
        assert!(
            message.contains("model.arch") && message.contains("did you mean `unet`"),
            "{message}"
        );
        let spec = ModelSpec { decoder_channels: [256, 128, 0, 32, 16], ..ModelSpec::default() };
        assert!(spec.validate().unwrap_err().to_string().contains("model.decoder_channels"));
        let spec = ModelSpec {
            arch: "efficient-fpn".into(),
            classes: vec!["building".into(), "boundary".into()],
            ..ModelSpec::default()
        };
        assert!(spec.validate().unwrap_err().to_string().contains("model.classes"));
    }
}
