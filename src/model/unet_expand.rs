//! U-Net whose skips are the encoder's expanded images: six times the channels, taken before each halving, where Keras
//! names them `block2a_expand_activation` and so on.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{
    conv::Conv,
    efficientnet::EfficientNet,
    graph::{Graph, Image},
    mbconv::BatchNormOptions,
    noise::{self, Mode},
    spec::ModelSpec,
    survey::{Row, Survey},
    unet::{Block, UnetDecoder},
};
use crate::kernels::{self, Kernels};
use crate::{Error, Result};

/// Share of values dropped before the blocks for stride 16, 8, 4, 2, 1 in training.
const DROPOUT: [f64; 5] = [0.5, 0.5, 0.5, 0.25, 0.25];

/// Encoder with its last convolution, decoder and head.
#[derive(Module, Debug)]
pub struct UnetExpand<B: Backend> {
    /// Expanded images at four strides, and the last convolution's at stride 32.
    pub encoder: EfficientNet<B>,
    /// The blocks.
    pub decoder: UnetDecoder<B>,
    /// 1x1 with bias to the classes.
    pub head: Conv<B>,
}

impl<B: Kernels> UnetExpand<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// [`Error::Config`] if the encoder is not known.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let encoder = EfficientNet::with_head(spec, device)?;
        let (skips, top) = encoder.expanded_channels();
        let &[c1, c2, c3, c4] = skips.as_slice() else {
            let problem = format!("`{}` does not halve as often as it must", spec.encoder);
            return Err(Error::config("model.encoder", problem));
        };
        let (channels, norm) = (spec.decoder_channels, BatchNormOptions::of(spec));
        let blocks = Block::ladder(top, [c4, c3, c2, c1, 0], channels, norm, device);
        let head = Conv::pointwise(channels[4], spec.classes.len(), true, device);
        Ok(Self { encoder, decoder: UnetDecoder { blocks }, head })
    }

    /// `[n, bands, h, w]` to logits `[n, classes, h, w]`; h and w multiples of 32.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let (mut skips, mut x) = self.encoder.forward_expanded(x, mode);
        for (level, (block, drop)) in self.decoder.blocks.iter().zip(DROPOUT).enumerate() {
            x = kernels::bilinear(x, 2, false); // [n, above, 2 h, 2 w]
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(vec![x, skip], 1); // [n, above + skip, 2 h, 2 w]
            }
            x = noise::drop_values(x, &format!("decoder.blocks.{level}"), drop, mode);
            x = block.forward(x, mode); // [n, channels, 2 h, 2 w]
        }
        self.head.forward(x)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let (mut skips, mut x) = self.encoder.survey_expanded(x, survey);
        for block in &self.decoder.blocks {
            x = x.bilinear(2, false);
            if let Some(skip) = skips.pop() {
                x = x.joined(&skip);
            }
            x = block.survey(&x, survey);
        }
        survey.conv(&self.head, &x)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let (mut skips, mut x) = self.encoder.graph_expanded(x, graph);
        for block in &self.decoder.blocks {
            x = graph.bilinear(x, 2, false);
            if let Some(skip) = skips.pop() {
                x = graph.concat(&[x, skip]);
            }
            x = block.graph(x, graph);
        }
        graph.conv(&self.head, x)
    }
}
