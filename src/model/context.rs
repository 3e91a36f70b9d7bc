//! The global context block (Cao et al. 2019): every position learns what the image as a whole shows.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation, backend::Backend};

use super::conv::{Conv, zeros};
use super::graph::{Graph, Image, Operator, SumOver, floats};
use super::survey::{Row, Survey};
use super::tap::tap_block;
use crate::kernels::{self, Activation, Kernels, Norm, NormOver};

/// Channels between the two layers.
const BOTTLENECK: usize = 8;

/// Epsilon of the normalisation between them.
const EPS: f64 = 1e-5;

/// Layer normalisation over the channels of a vector.
#[derive(Module, Debug)]
pub struct LayerNorm<B: Backend> {
    /// Scale, `[channels, 1, 1]`.
    pub weight: Param<Tensor<B, 3>>,
    /// Shift, `[channels, 1, 1]`.
    pub bias: Param<Tensor<B, 3>>,
}

impl<B: Kernels> LayerNorm<B> {
    fn new(channels: usize, device: &B::Device) -> Self {
        Self { weight: zeros([channels, 1, 1], device), bias: zeros([channels, 1, 1], device) }
    }

    /// `[n, channels]` to the same shape, through `ReLU`.
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [n, c] = x.dims();
        // One group of all channels.
        let norm = Norm { over: NormOver::Groups(1), eps: EPS, activation: Activation::Relu };
        let (weight, bias) = (self.weight.val().reshape([c]), self.bias.val().reshape([c]));
        kernels::normalize(x.reshape([n, c, 1, 1]), weight, bias, norm).0.reshape([n, c])
    }

    fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let affine = (floats(self.weight.val()), floats(self.bias.val()));
        graph.normalise((1, EPS), affine, Activation::Relu, x)
    }
}

/// A weighted mean over the image, through a bottleneck, added to every position.
#[derive(Module, Debug)]
pub struct ContextBlock<B: Backend> {
    /// 1x1 with bias to one channel: the weight of a position, before the softmax.
    pub mask: Conv<B>,
    /// 1x1 with bias to 8 channels.
    pub reduce: Conv<B>,
    /// Over the 8 channels.
    pub norm: LayerNorm<B>,
    /// 1x1 with bias back.
    pub expand: Conv<B>,
}

impl<B: Kernels> ContextBlock<B> {
    /// With zero weights.
    pub fn new(channels: usize, device: &B::Device) -> Self {
        let point = |inputs, outputs| Conv::pointwise(inputs, outputs, true, device);
        Self {
            mask: point(channels, 1),
            reduce: point(channels, BOTTLENECK),
            norm: LayerNorm::new(BOTTLENECK, device),
            expand: point(BOTTLENECK, channels),
        }
    }

    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [n, c, h, w] = x.dims();
        let weight = self.mask.forward(x.clone()).reshape([n, h * w]);
        let weight = activation::softmax(weight, 1).reshape([n, 1, h * w]);
        let context = x.clone().reshape([n, c, h * w]) * weight; // [n, c, h w]
        let context = context.sum_dim(2).reshape([n, c]);
        let context = self.norm.forward(self.reduce.forward_vectors(context)); // [n, 8]
        let context = self.expand.forward_vectors(context).reshape([n, c, 1, 1]);
        let context = kernels::in_format(context, x.dtype());
        tap_block(self, x + context)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        survey.conv(&self.mask, x);
        survey.of_means(&self.reduce);
        survey.of_means(&self.expand);
        x.clone()
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let weight = graph.conv(&self.mask, x);
        let weight = graph.apply(Operator::Softmax(SumOver::Pixels), &[weight]);
        let weighted = graph.multiply(x, weight);
        let context = graph.apply(Operator::Sum, &[weighted]);
        let context = graph.conv(&self.reduce, context);
        let context = self.norm.graph(context, graph);
        let context = graph.conv(&self.expand, context);
        graph.add(x, context)
    }
}
