//! U-Net (Ronneberger et al. 2015) on an encoder, as `segmentation_models_pytorch` builds it.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{
    conv::Conv,
    efficientnet::EfficientNet,
    graph::{Graph, Image},
    mbconv::{BatchNormOptions, ConvNorm},
    noise::Mode,
    spec::ModelSpec,
    survey::{Row, Survey},
};
use crate::Result;
use crate::kernels::{self, Kernels, Padding, Sliding};

/// `PyTorch`'s defaults, unlike the encoder's.
const NORM: BatchNormOptions = BatchNormOptions { eps: 1e-5, momentum: 0.1 };

/// Two 3x3 convolutions, each with batch normalisation and `ReLU`.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// From the concatenation.
    pub conv1: ConvNorm<B>,
    /// Keeps the channels.
    pub conv2: ConvNorm<B>,
}

impl<B: Kernels> Block<B> {
    /// With zero weights.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        norm: BatchNormOptions,
        device: &B::Device,
    ) -> Self {
        Self {
            conv1: ConvNorm::relu3x3(channels_in, channels_out, norm, device),
            conv2: ConvNorm::relu3x3(channels_out, channels_out, norm, device),
        }
    }

    /// Blocks that start from `top` channels and take in the channels of a skip each; 0 is none.
    pub fn ladder(
        top: usize,
        skips: [usize; 5],
        channels: [usize; 5],
        norm: BatchNormOptions,
        device: &B::Device,
    ) -> Vec<Self> {
        let mut above = top;
        let mut blocks = Vec::with_capacity(channels.len());
        for (skip, channels) in skips.into_iter().zip(channels) {
            blocks.push(Self::new(above + skip, channels, norm, device));
            above = channels;
        }
        blocks
    }

    /// `[n, in, h, w]` to `[n, out, h, w]`.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.conv2.forward(self.conv1.forward(x, mode), mode)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let x = self.conv1.survey(x, survey);
        self.conv2.survey(&x, survey)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let x = graph.conv_norm(&self.conv1, x);
        graph.conv_norm(&self.conv2, x)
    }
}

/// The way up, from stride 32 to 1.
#[derive(Module, Debug)]
pub struct UnetDecoder<B: Backend> {
    /// For stride 16, 8, 4, 2, 1.
    pub blocks: Vec<Block<B>>,
}

/// Encoder, decoder and head.
#[derive(Module, Debug)]
pub struct Unet<B: Backend> {
    /// Features at five strides.
    pub encoder: EfficientNet<B>,
    /// The blocks.
    pub decoder: UnetDecoder<B>,
    /// 3x3 with bias to the classes.
    pub head: Conv<B>,
}

impl<B: Kernels> Unet<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the encoder is not known.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let encoder = EfficientNet::of(spec, device)?;
        let [c1, c2, c3, c4, c5] = encoder.channels();
        let channels = spec.decoder_channels;
        let blocks = Block::ladder(c5, [c4, c3, c2, c1, 0], channels, NORM, device);
        let sliding = Sliding::new(1, Padding::uniform(1));
        let head = Conv::dense(channels[4], spec.classes.len(), 3, sliding, true, device);
        Ok(Self { encoder, decoder: UnetDecoder { blocks }, head })
    }

    /// `[n, bands, h, w]` to logits `[n, classes, h, w]`; h and w multiples of 32.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let [c1, c2, c3, c4, mut x] = self.encoder.forward(x, mode);
        let skips = [Some(c4), Some(c3), Some(c2), Some(c1), None];
        for (block, skip) in self.decoder.blocks.iter().zip(skips) {
            x = kernels::nearest(x, 2); // [n, above, 2 h, 2 w]
            if let Some(skip) = skip {
                x = Tensor::cat(vec![x, skip], 1); // [n, above + skip, 2 h, 2 w]
            }
            x = block.forward(x, mode); // [n, channels, 2 h, 2 w]
        }
        self.head.forward(x)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let [c1, c2, c3, c4, mut x] = self.encoder.survey(x, survey);
        let skips = [Some(c4), Some(c3), Some(c2), Some(c1), None];
        for (block, skip) in self.decoder.blocks.iter().zip(skips) {
            x = x.nearest(2);
            if let Some(skip) = skip {
                x = x.joined(&skip);
            }
            x = block.survey(&x, survey);
        }
        survey.conv(&self.head, &x)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let [c1, c2, c3, c4, mut x] = self.encoder.graph(x, graph);
        let skips = [Some(c4), Some(c3), Some(c2), Some(c1), None];
        for (block, skip) in self.decoder.blocks.iter().zip(skips) {
            x = graph.nearest(x, 2);
            if let Some(skip) = skip {
                x = graph.concat(&[x, skip]);
            }
            x = block.graph(x, graph);
        }
        graph.conv(&self.head, x)
    }
}
