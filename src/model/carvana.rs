//! Small networks of the Carvana Image Masking Challenge (Kaggle 2017), which learn from scratch: a U-Net for images of
//! 128 pixels, and three convolutions to compare with.

use burn::module::Module;
use burn::tensor::{Tensor, activation::relu, backend::Backend, module::max_pool2d};

use super::{
    conv::Conv,
    graph::{Graph, Image, Operator},
    mbconv::{BatchNormOptions, ConvNorm},
    noise::Mode,
    spec::ModelSpec,
    survey::{Row, Survey},
};
use crate::Result;
use crate::kernels::{self, Activation, Kernels, Padding, Sliding};

/// Filters at stride 1, 2, 4, and 8 in the centre.
const FILTERS: [usize; 3] = [64, 128, 256];
const CENTRE: usize = 512;
/// Convolutions of a block on the way down, and on the way up.
const DOWN: usize = 2;
const UP: usize = 3;
/// Pooling.
const HALVES: Sliding = Sliding::new(2, Padding::uniform(0));

/// 3x3 convolutions with batch normalisation and `ReLU`, one behind the other.
#[derive(Module, Debug)]
pub struct Stack<B: Backend> {
    /// The first takes in other channels than it puts out.
    pub layers: Vec<ConvNorm<B>>,
}

impl<B: Kernels> Stack<B> {
    fn new(
        layers: usize,
        channels_in: usize,
        channels_out: usize,
        norm: BatchNormOptions,
        device: &B::Device,
    ) -> Self {
        let inputs = |layer| if layer == 0 { channels_in } else { channels_out };
        let layer = |layer| ConvNorm::relu3x3(inputs(layer), channels_out, norm, device);
        Self { layers: (0..layers).map(layer).collect() }
    }

    /// `[n, in, h, w]` to `[n, out, h, w]`.
    fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x, mode))
    }

    fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        self.layers.iter().fold(x.clone(), |x, layer| layer.survey(&x, survey))
    }

    fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        self.layers.iter().fold(x, |x, layer| graph.conv_norm(layer, x))
    }
}

/// The U-Net.
#[derive(Module, Debug)]
pub struct CarvanaUnet<B: Backend> {
    /// At stride 1, 2, 4.
    pub down: Vec<Stack<B>>,
    /// At stride 8.
    pub centre: Stack<B>,
    /// At stride 4, 2, 1.
    pub up: Vec<Stack<B>>,
    /// 1x1 with bias to the classes.
    pub head: Conv<B>,
}

impl<B: Kernels> CarvanaUnet<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// None: any spec will do.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let norm = BatchNormOptions::of(spec);
        let mut channels = spec.bands.len();
        let mut stack = |layers, skip, filters| {
            let stack = Stack::new(layers, channels + skip, filters, norm, device);
            channels = filters;
            stack
        };
        Ok(Self {
            down: FILTERS.map(|filters| stack(DOWN, 0, filters)).into(),
            centre: stack(DOWN, 0, CENTRE),
            up: FILTERS.into_iter().rev().map(|filters| stack(UP, filters, filters)).collect(),
            head: Conv::pointwise(FILTERS[0], spec.classes.len(), true, device),
        })
    }

    /// `[n, bands, h, w]` to logits `[n, classes, h, w]`; h and w multiples of 8.
    pub fn forward(&self, mut x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let mut skips = Vec::with_capacity(self.down.len());
        for stack in &self.down {
            let skip = stack.forward(x, mode); // [n, filters, h, w]
            x = max_pool2d(skip.clone(), [2, 2], [2, 2], [0, 0], [1, 1], false); // [n, filters, h / 2, w / 2]
            skips.push(skip);
        }
        x = self.centre.forward(x, mode); // [n, 512, h / 8, w / 8]
        for (stack, skip) in self.up.iter().zip(skips.into_iter().rev()) {
            let above = kernels::nearest(x, 2); // [n, above, 2 h, 2 w]
            x = stack.forward(Tensor::cat(vec![skip, above], 1), mode); // [n, filters, 2 h, 2 w]
        }
        self.head.forward(x)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let mut x = x.clone();
        let mut skips = Vec::with_capacity(self.down.len());
        for stack in &self.down {
            let skip = stack.survey(&x, survey);
            x = skip.slid(2, HALVES);
            skips.push(skip);
        }
        x = self.centre.survey(&x, survey);
        for (stack, skip) in self.up.iter().zip(skips.iter().rev()) {
            x = stack.survey(&skip.joined(&x.nearest(2)), survey);
        }
        survey.conv(&self.head, &x)
    }

    pub(super) fn graph(&self, mut x: Image, graph: &mut Graph) -> Image {
        let mut skips = Vec::with_capacity(self.down.len());
        for stack in &self.down {
            let skip = stack.graph(x, graph);
            x = graph.apply(Operator::MaxPool, &[skip]);
            skips.push(skip);
        }
        x = self.centre.graph(x, graph);
        for (stack, skip) in self.up.iter().zip(skips.into_iter().rev()) {
            let above = graph.nearest(x, 2);
            let joined = graph.concat(&[skip, above]);
            x = stack.graph(joined, graph);
        }
        graph.conv(&self.head, x)
    }
}

/// Three convolutions: what texture and a few pixels around tell.
#[derive(Module, Debug)]
pub struct CarvanaCnn<B: Backend> {
    /// 3x3 to 16 filters, `ReLU`.
    pub first: Conv<B>,
    /// 3x3 to 32 filters, `ReLU`.
    pub second: Conv<B>,
    /// 5x5 to the classes.
    pub head: Conv<B>,
}

impl<B: Kernels> CarvanaCnn<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// None: any spec will do.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let conv = |channels_in, channels_out, kernel| {
            let sliding = Sliding::new(1, Padding::uniform(kernel / 2));
            Conv::dense(channels_in, channels_out, kernel, sliding, true, device)
        };
        Ok(Self {
            first: conv(spec.bands.len(), 16, 3),
            second: conv(16, 32, 3),
            head: conv(32, spec.classes.len(), 5),
        })
    }

    /// `[n, bands, h, w]` to logits `[n, classes, h, w]`.
    pub fn forward(&self, x: Tensor<B, 4>, _: Mode) -> Tensor<B, 4> {
        let x = relu(self.first.forward(x)); // [n, 16, h, w]
        let x = relu(self.second.forward(x)); // [n, 32, h, w]
        self.head.forward(x)
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let x = survey.conv(&self.first, x);
        let x = survey.conv(&self.second, &x);
        survey.conv(&self.head, &x)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let x = graph.conv(&self.first, x);
        let x = graph.activate(Activation::Relu, x);
        let x = graph.conv(&self.second, x);
        let x = graph.activate(Activation::Relu, x);
        graph.conv(&self.head, x)
    }
}
