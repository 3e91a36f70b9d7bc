//! Atrous spatial pyramid pooling (Chen et al. 2017): what lies around a pixel at several distances, and in the whole image.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{
    conv::Conv,
    graph::{Graph, Image, Operator},
    mbconv::{BatchNormOptions, ConvNorm},
    noise::{self, Mode},
    survey::{Row, Survey},
};
use crate::kernels::{self, Activation, Kernels, Padding, Sliding};

/// Distances between the taps of the 3x3 convolutions, in pixels.
const DILATIONS: [usize; 3] = [4, 8, 12];

/// Five branches side by side, joined by a 1x1 convolution. All keep the number of channels.
#[derive(Module, Debug)]
pub struct Aspp<B: Backend> {
    /// 1x1.
    pub point: ConvNorm<B>,
    /// 3x3 with taps 4, 8 and 12 pixels apart.
    pub dilated: Vec<ConvNorm<B>>,
    /// 1x1 on the mean of every plane.
    pub pooled: ConvNorm<B>,
    /// 1x1 from five times the channels.
    pub combine: ConvNorm<B>,
    #[module(skip)]
    dropout: f64,
}

impl<B: Kernels> Aspp<B> {
    /// With zero weights. `dropout` is the probability that an output channel is dropped in training.
    pub fn new(channels: usize, norm: BatchNormOptions, dropout: f64, device: &B::Device) -> Self {
        let branch = |conv| ConvNorm::new(conv, channels, norm, Activation::Relu, device);
        let point = |inputs| branch(Conv::pointwise(inputs, channels, false, device));
        let dilated = |dilation| {
            let sliding = Sliding { stride: 1, dilation, padding: Padding::uniform(dilation) };
            branch(Conv::dense(channels, channels, 3, sliding, false, device))
        };
        Self {
            point: point(channels),
            dilated: DILATIONS.map(dilated).into(),
            pooled: point(channels),
            combine: point((2 + DILATIONS.len()) * channels),
            dropout,
        }
    }

    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let mut branches = vec![self.point.forward(x.clone(), mode)];
        branches.extend(self.dilated.iter().map(|branch| branch.forward(x.clone(), mode)));
        branches.push(self.whole(x, mode));
        let joined = self.combine.forward(Tensor::cat(branches, 1), mode); // [n, c, h, w]
        noise::drop_channels(joined, "aspp.dropout", self.dropout, mode)
    }

    /// The branch of the whole image, the same at every position.
    fn whole(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let ([n, c, h, w], format) = (x.dims(), x.dtype());
        let ConvNorm { conv, norm, activation } = &self.pooled;
        let x = conv.forward_vectors(kernels::plane_mean(x)).reshape([n, c, 1, 1]);
        // A single sample has one value a channel here, thus no variance: it is normalised as in evaluation.
        let mode = if n == 1 { Mode::Eval } else { mode };
        let x = kernels::in_format(norm.forward(x, *activation, mode), format);
        x.expand([n, c, h, w])
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let mut joined = self.point.survey(x, survey);
        for branch in &self.dilated {
            joined = joined.joined(&branch.survey(x, survey));
        }
        survey.of_means(&self.pooled.conv);
        self.combine.survey(&joined, survey)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let point = graph.conv_norm(&self.point, x);
        let mut branches = vec![point];
        branches.extend(self.dilated.iter().map(|branch| graph.conv_norm(branch, x)));
        let whole = graph.apply(Operator::Mean, &[x]);
        let whole = graph.conv_norm(&self.pooled, whole);
        branches.push(graph.apply(Operator::Spread, &[whole, point]));
        let joined = graph.concat(&branches);
        graph.conv_norm(&self.combine, joined)
    }
}
