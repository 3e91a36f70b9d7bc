//! The block of `EfficientNet`: inverted bottleneck with squeeze and excitation (Tan and Le 2019, after Sandler et al. 2018).

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{conv::Conv, noise, noise::Mode, norm::BatchNorm2d};
use crate::kernels::{self, Activation, Kernels, Sliding};

/// Batch normalisation's two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Weight of a new batch in the running statistics.
    pub momentum: f64,
}

/// Convolution without bias, batch normalisation, activation.
#[derive(Module, Debug)]
pub struct ConvNorm<B: Backend> {
    /// The convolution.
    pub conv: Conv<B>,
    /// Its normalisation.
    pub norm: BatchNorm2d<B>,
    #[module(skip)]
    pub(super) activation: Activation,
}

impl<B: Kernels> ConvNorm<B> {
    /// `channels` is what the convolution puts out.
    pub fn new(
        conv: Conv<B>,
        channels: usize,
        norm: BatchNormOptions,
        activation: Activation,
        device: &B::Device,
    ) -> Self {
        Self { conv, norm: BatchNorm2d::new(channels, norm.eps, norm.momentum, device), activation }
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.norm.forward(self.conv.forward(x), self.activation, mode)
    }
}

/// Channels weighted by a small network on their means.
#[derive(Module, Debug)]
pub struct SqueezeExcite<B: Backend> {
    /// 1x1 to few channels.
    pub reduce: Conv<B>,
    /// 1x1 back.
    pub expand: Conv<B>,
}

impl<B: Kernels> SqueezeExcite<B> {
    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        kernels::squeeze_excite(x, self.reduce.as_matrix(), self.expand.as_matrix())
    }
}

/// Shape of one block.
#[derive(Debug, Clone, Copy)]
pub struct BlockShape {
    /// Input channels.
    pub channels_in: usize,
    /// Output channels.
    pub channels_out: usize,
    /// Channels between, as a multiple of the input's.
    pub expand: usize,
    /// Taps a side of the depthwise kernel.
    pub kernel: usize,
    /// Movement of the depthwise kernel.
    pub sliding: Sliding,
    /// Probability that the residual branch of a sample is dropped in training.
    pub drop: f64,
}

/// Expand 1x1, depthwise, squeeze and excitation, project 1x1; added to the input where shapes allow.
#[derive(Module, Debug)]
pub struct MbConv<B: Backend> {
    /// 1x1 to more channels; absent where the factor is 1.
    pub expand: Option<ConvNorm<B>>,
    /// Depthwise convolution.
    pub depthwise: ConvNorm<B>,
    /// Squeeze and excitation.
    pub excite: SqueezeExcite<B>,
    /// 1x1 to the output channels, not activated.
    pub project: ConvNorm<B>,
    #[module(skip)]
    pub(super) residual: bool,
    #[module(skip)]
    pub(super) drop: f64,
    /// Names the random stream.
    #[module(skip)]
    name: String,
}

impl<B: Kernels> MbConv<B> {
    /// `index` counts the blocks of the encoder.
    pub fn new(
        index: usize,
        shape: BlockShape,
        norm: BatchNormOptions,
        device: &B::Device,
    ) -> Self {
        let inner = shape.channels_in * shape.expand;
        let expand = (shape.expand > 1).then(|| {
            let conv = Conv::pointwise(shape.channels_in, inner, false, device);
            ConvNorm::new(conv, inner, norm, Activation::Silu, device)
        });
        let depthwise = Conv::depthwise(inner, shape.kernel, shape.sliding, device);
        // A quarter of the block's input, not of the expanded channels.
        let squeezed = (shape.channels_in / 4).max(1);
        let project = Conv::pointwise(inner, shape.channels_out, false, device);
        Self {
            expand,
            depthwise: ConvNorm::new(depthwise, inner, norm, Activation::Silu, device),
            excite: SqueezeExcite {
                reduce: Conv::pointwise(inner, squeezed, true, device),
                expand: Conv::pointwise(squeezed, inner, true, device),
            },
            project: ConvNorm::new(project, shape.channels_out, norm, Activation::Identity, device),
            residual: shape.sliding.stride == 1 && shape.channels_in == shape.channels_out,
            drop: shape.drop,
            name: format!("encoder.blocks.{index}"),
        }
    }

    /// `[n, in, h, w]` to `[n, out, h / stride, w / stride]`.
    pub fn forward(&self, input: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let skip = self.residual.then(|| input.clone());
        let x = match &self.expand {
            Some(expand) => expand.forward(input, mode), // [n, expand in, h, w]
            None => input,
        };
        let x = self.depthwise.forward(x, mode); // [n, expand in, h / stride, w / stride]
        let x = self.excite.forward(x);
        let x = self.project.forward(x, mode); // [n, out, h / stride, w / stride]
        match skip {
            Some(skip) => noise::drop_samples(x, &self.name, self.drop, mode) + skip,
            None => x,
        }
    }
}
