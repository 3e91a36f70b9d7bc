//! `[model]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::error::Result;

/// What of another model a training starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitScope {
    /// All tensors; a head of other classes keeps its first weights.
    All,
    /// The encoder.
    Encoder,
}

/// Levels of an encoder, by the stride of their features: 2, 4, 8, 16, 32.
const ENCODER_LEVELS: usize = 5;

/// `[model]`: the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// The network: a name that `geoseg models` lists.
    pub arch: String,
    /// The encoder, where the network has one: "efficientnet-b0" to "efficientnet-b7".
    pub encoder: String,
    /// FPN: channels of the pyramid's levels.
    pub pyramid_channels: usize,
    /// FPN: channels of the segmentation branches.
    pub segmentation_channels: usize,
    /// U-Nets with an encoder: channels of the decoder's blocks, from stride 16 to stride 1.
    pub decoder_channels: [usize; 5],
    /// FPN: share of the decoder's output channels dropped while training.
    pub dropout: f64,
    /// Share of residual branches dropped in the encoder's last block while training.
    pub drop_connect: f64,
    /// "efficient-fpn": Mish in place of ReLU before the heads.
    pub use_mish: bool,
    /// "efficient-fpn": a global context block behind the pyramid.
    pub use_context_block: bool,
    /// "efficient-fpn": a learned factor a channel and position before the heads.
    pub use_attention: bool,
    /// The classes to learn, one logit each; the tile set must mark them.
    pub classes: Vec<String>,
    /// Ground sample distance written into the model, metres; 0 takes the tiles' own.
    pub gsd_m: f64,
    /// A model of geoseg whose weights the training starts from; none where empty.
    pub init: String,
    /// What of that model is taken.
    pub init_scope: InitScope,
    /// Levels of the encoder that do not learn, from the input on: 0 none, 1 the stem, 5 all.
    pub freeze_encoder_stages: usize,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            arch: "fpn".into(),
            encoder: "efficientnet-b0".into(),
            pyramid_channels: 256,
            segmentation_channels: 128,
            decoder_channels: [256, 128, 64, 32, 16],
            dropout: 0.2,
            drop_connect: 0.2,
            use_mish: false,
            use_context_block: false,
            use_attention: true,
            classes: vec!["building".into()],
            gsd_m: 0.0,
            init: String::new(),
            init_scope: InitScope::All,
            freeze_encoder_stages: 0,
        }
    }
}

impl ModelSection {
    pub(super) fn validate(&self) -> Result<()> {
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
        require(
            !self.decoder_channels.contains(&0),
            "model.decoder_channels",
            format!("{:?}", self.decoder_channels),
            "at least 1 each",
        )?;
        within("model.dropout", self.dropout, 0.0, 0.99)?;
        within("model.drop_connect", self.drop_connect, 0.0, 0.99)?;
        within("model.gsd_m", self.gsd_m, 0.0, 1000.0)?;
        require(
            self.freeze_encoder_stages <= ENCODER_LEVELS,
            "model.freeze_encoder_stages",
            self.freeze_encoder_stages,
            "from 0 to 5",
        )?;
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
