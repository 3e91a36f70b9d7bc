//! What a network computes, as data: a list of operators that other programs' formats can be written from.
//!
//! Every layer has a `graph` beside its `forward`, which adds to the list what `forward` computes in evaluation: batch
//! normalisation is folded into the convolution before it, dropout is gone.

use burn::tensor::{Tensor, backend::Backend};

use super::{conv::Conv, mbconv::ConvNorm, norm::GroupNorm};
use crate::kernels::{Activation, Kernels, Sliding};

/// An image `[n, channels, h, w]` within a [`Graph`]: where in the list it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image(usize);

impl Image {
    /// The place of the operator that computes it.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Numbers in C order, with their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// All sizes.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: Vec<f32>,
}

impl Values {
    fn of<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Self {
        Self { shape: tensor.dims().into(), values: floats(tensor) }
    }

    fn vector(values: Vec<f32>) -> Self {
        Self { shape: vec![values.len()], values }
    }
}

/// The numbers of a tensor.
pub(super) fn floats<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    // Parameters are single precision on every backend, or convert to it.
    tensor.into_data().convert::<f32>().into_vec().unwrap_or_default()
}

/// Over what a softmax sums to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumOver {
    /// The channels of a pixel.
    Channels,
    /// The pixels of a plane.
    Pixels,
}

/// One step. Images are `[n, c, h, w]`; pairs are of one size, or one of them has a single pixel or channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// The network's input.
    Input,
    /// Convolution by `weight` `[out, in / groups, k, k]`, plus `bias` `[out]`.
    Conv {
        /// The kernel.
        weight: Values,
        /// What is added to every output.
        bias: Option<Values>,
        /// How the kernel moves.
        sliding: Sliding,
        /// 1, or as many as channels for a depthwise convolution.
        groups: usize,
    },
    /// An activation.
    Activation(Activation),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `exp(x)` over the sum of all `exp(x)`.
    Softmax(SumOver),
    /// `ln(max(x, least))`.
    Log {
        /// Smaller values count as this.
        least: f32,
    },
    /// Normalisation over groups of neighbouring channels and all pixels, then scale and shift a channel.
    GroupNorm {
        /// Number of groups.
        groups: usize,
        /// Added to the variance.
        eps: f32,
        /// Factor a channel, `[c]`.
        scale: Values,
        /// Summand a channel, `[c]`.
        shift: Values,
    },
    /// Bilinear upsampling.
    Bilinear {
        /// Whole.
        factor: usize,
        /// Whether the corners' centres stay at the corners.
        align_corners: bool,
    },
    /// Every pixel becomes `factor` by `factor` pixels.
    Nearest {
        /// Whole.
        factor: usize,
    },
    /// The largest of every 2 by 2 pixels.
    MaxPool,
    /// Mean of every plane, `[n, c, 1, 1]`.
    Mean,
    /// Sum of every plane, `[n, c, 1, 1]`.
    Sum,
    /// Sum of two images.
    Add,
    /// Product of two images, value by value.
    Multiply,
    /// Channels of all images, one behind the other.
    Concat,
    /// The first image, of one pixel, repeated to the size of the second.
    Spread,
    /// `mask` `[classes, side, side]` stretched to the size of the image by bilinear sampling at pixel centres.
    Stretched {
        /// One plane a class.
        mask: Values,
    },
}

/// An operator and what it takes in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is computed.
    pub operator: Operator,
    /// From what: images of earlier nodes.
    pub inputs: Vec<Image>,
}

/// A network as data: every node computes one image from earlier ones, the first is the input, the last the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// The input alone.
    pub fn new() -> (Self, Image) {
        let mut graph = Self { nodes: Vec::new() };
        let input = graph.apply(Operator::Input, &[]);
        (graph, input)
    }

    /// All nodes; the image of a node has its place as index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The image that is computed last.
    pub fn output(&self) -> Image {
        Image(self.nodes.len().saturating_sub(1))
    }

    /// Adds an operator.
    pub fn apply(&mut self, operator: Operator, inputs: &[Image]) -> Image {
        self.nodes.push(Node { operator, inputs: inputs.into() });
        self.output()
    }

    /// A convolution.
    pub fn conv<B: Kernels>(&mut self, conv: &Conv<B>, x: Image) -> Image {
        let weight = Values::of(conv.weight.val());
        let bias = conv.bias.as_ref().map(|bias| Values::of(bias.val()));
        self.slide(conv, weight, bias, x)
    }

    /// A convolution with its normalisation and activation.
    pub fn conv_norm<B: Kernels>(&mut self, layer: &ConvNorm<B>, x: Image) -> Image {
        let (weight, bias) = layer.folded();
        let weight = Values { shape: layer.conv.weight.dims().into(), values: weight };
        let x = self.slide(&layer.conv, weight, Some(Values::vector(bias)), x);
        self.activate(layer.activation, x)
    }

    fn slide<B: Kernels>(
        &mut self,
        conv: &Conv<B>,
        weight: Values,
        bias: Option<Values>,
        x: Image,
    ) -> Image {
        let (sliding, groups) = (conv.sliding, conv.groups());
        self.apply(Operator::Conv { weight, bias, sliding, groups }, &[x])
    }

    /// An activation, if it is one.
    pub fn activate(&mut self, activation: Activation, x: Image) -> Image {
        match activation {
            Activation::Identity => x,
            activation => self.apply(Operator::Activation(activation), &[x]),
        }
    }

    /// Group normalisation and the activation behind it.
    pub fn group_norm<B: Kernels>(
        &mut self,
        norm: &GroupNorm<B>,
        activation: Activation,
        x: Image,
    ) -> Image {
        let (groups, eps) = norm.options();
        let (scale, shift) = (floats(norm.weight.val()), floats(norm.bias.val()));
        self.normalise((groups, eps), (scale, shift), activation, x)
    }

    /// The same from its numbers: groups and epsilon, scale and shift.
    pub fn normalise(
        &mut self,
        (groups, eps): (usize, f64),
        (scale, shift): (Vec<f32>, Vec<f32>),
        activation: Activation,
        x: Image,
    ) -> Image {
        let (scale, shift) = (Values::vector(scale), Values::vector(shift));
        let norm = Operator::GroupNorm { groups, eps: eps as f32, scale, shift };
        let x = self.apply(norm, &[x]);
        self.activate(activation, x)
    }

    /// Bilinear upsampling.
    pub fn bilinear(&mut self, x: Image, factor: usize, align_corners: bool) -> Image {
        self.apply(Operator::Bilinear { factor, align_corners }, &[x])
    }

    /// Nearest upsampling.
    pub fn nearest(&mut self, x: Image, factor: usize) -> Image {
        self.apply(Operator::Nearest { factor }, &[x])
    }

    /// The sum of two images.
    pub fn add(&mut self, a: Image, b: Image) -> Image {
        self.apply(Operator::Add, &[a, b])
    }

    /// The product of two images.
    pub fn multiply(&mut self, a: Image, b: Image) -> Image {
        self.apply(Operator::Multiply, &[a, b])
    }

    /// The channels of all images.
    pub fn concat(&mut self, images: &[Image]) -> Image {
        self.apply(Operator::Concat, images)
    }

    /// The second channel of two less the first: a convolution that has nothing to learn.
    pub fn second_less_first(&mut self, x: Image) -> Image {
        let weight = Values { shape: vec![1, 2, 1, 1], values: vec![-1.0, 1.0] };
        let sliding = Sliding::new(1, Default::default());
        self.apply(Operator::Conv { weight, bias: None, sliding, groups: 1 }, &[x])
    }

    /// A mask whatever `like` shows, in its size.
    pub fn stretched<B: Backend>(&mut self, mask: Tensor<B, 3>, like: Image) -> Image {
        self.apply(Operator::Stretched { mask: Values::of(mask) }, &[like])
    }
}
