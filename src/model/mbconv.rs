//! The block of `EfficientNet`: inverted bottleneck with squeeze and excitation (Tan and Le 2019, after Sandler et al. 2018).

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{
    conv::Conv,
    graph::{Graph, Image, Operator, floats},
    noise,
    noise::Mode,
    norm::BatchNorm2d,
    spec::ModelSpec,
    survey::{Row, Survey},
    tap::tap_block,
};
use crate::kernels::{self, Activation, Kernels, Padding, Sliding};

/// Batch normalisation's two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Weight of a new batch in the running statistics.
    pub momentum: f64,
}

impl BatchNormOptions {
    /// Those of a spec.
    pub fn of(spec: &ModelSpec) -> Self {
        Self { eps: spec.batch_norm_eps, momentum: spec.batch_norm_momentum }
    }
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

    /// 3x3 of stride 1 and `ReLU`: what the decoders of U-Nets are made of.
    pub fn relu3x3(
        channels_in: usize,
        channels_out: usize,
        norm: BatchNormOptions,
        device: &B::Device,
    ) -> Self {
        let sliding = Sliding::new(1, Padding::uniform(1));
        let conv = Conv::dense(channels_in, channels_out, 3, sliding, false, device);
        Self::new(conv, channels_out, norm, Activation::Relu, device)
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.norm.forward(self.conv.forward(x), self.activation, mode)
    }

    /// Weights `[out, ..]` with the normalisation multiplied in, and the bias that is left of it.
    pub(super) fn folded(&self) -> (Vec<f32>, Vec<f32>) {
        let (scale, shift) = self.norm.settled_affine();
        let (scale, shift) = (floats(scale), floats(shift));
        let mut weight = floats(self.conv.weight.val());
        let of_output = weight.len() / scale.len();
        for (weights, scale) in weight.chunks_exact_mut(of_output).zip(&scale) {
            for weight in weights {
                *weight *= scale;
            }
        }
        (weight, shift)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        survey.conv(&self.conv, x)
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

    fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let mean = graph.apply(Operator::Mean, &[x]);
        let reduced = graph.conv(&self.reduce, mean);
        let reduced = graph.activate(Activation::Silu, reduced);
        let gate = graph.conv(&self.expand, reduced);
        let gate = graph.apply(Operator::Sigmoid, &[gate]);
        graph.multiply(x, gate)
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
        let expanded = self.expanded(input.clone(), mode);
        self.contracted(expanded, input, mode)
    }

    /// The first half: `[n, in, h, w]` to `[n, expand in, h, w]`.
    pub fn expanded(&self, input: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        match &self.expand {
            Some(expand) => expand.forward(input, mode),
            None => input,
        }
    }

    /// The second half, from the expanded image and the block's input.
    pub fn contracted(
        &self,
        expanded: Tensor<B, 4>,
        input: Tensor<B, 4>,
        mode: Mode,
    ) -> Tensor<B, 4> {
        let skip = self.residual.then_some(input);
        let x = self.depthwise.forward(expanded, mode); // [n, expand in, h / stride, w / stride]
        let x = self.excite.forward(x);
        let x = self.project.forward(x, mode); // [n, out, h / stride, w / stride]
        let out = match skip {
            Some(skip) => noise::drop_samples(x, &self.name, self.drop, mode) + skip,
            None => x,
        };
        tap_block(self, out)
    }

    /// Whether the block halves the image.
    pub(super) fn halves(&self) -> bool {
        self.depthwise.conv.sliding.stride == 2
    }

    /// The rows of the expanded image and of the output.
    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> (Row, Row) {
        let expanded = match &self.expand {
            Some(expand) => expand.survey(x, survey),
            None => x.clone(),
        };
        let out = self.depthwise.survey(&expanded, survey);
        survey.of_means(&self.excite.reduce);
        survey.of_means(&self.excite.expand);
        let out = self.project.survey(&out, survey);
        (expanded, if self.residual { out.joined(x) } else { out })
    }

    /// The expanded image and the output.
    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> (Image, Image) {
        let expanded = match &self.expand {
            Some(expand) => graph.conv_norm(expand, x),
            None => x,
        };
        let out = graph.conv_norm(&self.depthwise, expanded);
        let out = self.excite.graph(out, graph);
        let out = graph.conv_norm(&self.project, out);
        (expanded, if self.residual { graph.add(out, x) } else { out })
    }
}
