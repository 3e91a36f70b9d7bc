//! `EfficientNet` b0 to b7 (Tan and Le 2019) as an encoder with features at five strides.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use super::{
    conv::Conv,
    graph::{Graph, Image},
    mbconv::{BatchNormOptions, BlockShape, ConvNorm, MbConv},
    noise::Mode,
    spec::ModelSpec,
    survey::{Row, Survey},
};
use crate::kernels::{self, Activation, Kernels, Sliding};
use crate::{Error, Result};

/// Where a convolution of stride 2 puts its padding. Stride 1 is padded by `(k - 1) / 2` everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// `k / 2` on every side: torchvision, timm's own.
    Symmetric,
    /// TensorFlow's SAME for inputs of even size, all that a network padded to multiples of 32 sees: timm's `tf_`, keras.
    Same,
    /// SAME for the resolution that the variant was published with, whatever the input: lukemelas, smp.
    #[default]
    Nominal,
}

impl Padding {
    /// Padding of a kernel with stride 2 where the nominal size is `nominal_px`.
    fn at_stride_2(self, kernel: usize, nominal_px: usize) -> kernels::Padding {
        let same = |size: usize| {
            let total = ((size.div_ceil(2) - 1) * 2 + kernel).saturating_sub(size);
            kernels::Padding::split(total / 2, total - total / 2)
        };
        match self {
            Self::Symmetric => kernels::Padding::uniform(kernel / 2),
            Self::Same => same(64),
            Self::Nominal => same(nominal_px),
        }
    }
}

/// One of the eight published sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Factor on the channels of b0.
    pub width: f64,
    /// Factor on the repeats of b0.
    pub depth: f64,
    /// Side of the images that it was published with, in pixels.
    pub nominal_px: usize,
    /// Index of the block after which smp takes its features of stride 4, 8, 16, 32. For b0 the feature of stride 16
    /// comes after the first of the three blocks with 112 channels, for all others after the last.
    pub taps: [usize; 4],
}

/// Kernel, stride, expansion, channels and repeats of the stages of b0.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
];

const VARIANTS: [Variant; 8] = [
    Variant { width: 1.0, depth: 1.0, nominal_px: 224, taps: [2, 4, 8, 15] },
    Variant { width: 1.0, depth: 1.1, nominal_px: 240, taps: [4, 7, 15, 22] },
    Variant { width: 1.1, depth: 1.2, nominal_px: 260, taps: [4, 7, 15, 22] },
    Variant { width: 1.2, depth: 1.4, nominal_px: 300, taps: [4, 7, 17, 25] },
    Variant { width: 1.4, depth: 1.8, nominal_px: 380, taps: [5, 9, 21, 31] },
    Variant { width: 1.6, depth: 2.2, nominal_px: 456, taps: [7, 12, 26, 38] },
    Variant { width: 1.8, depth: 2.6, nominal_px: 528, taps: [8, 14, 30, 44] },
    Variant { width: 2.0, depth: 3.1, nominal_px: 600, taps: [10, 17, 37, 54] },
];

impl Variant {
    /// `efficientnet-b0` to `efficientnet-b7`.
    pub fn named(name: &str) -> Option<&'static Self> {
        VARIANTS.get(name.strip_prefix("efficientnet-b")?.parse::<usize>().ok()?)
    }

    /// The names, from the smallest to the largest.
    pub fn names() -> impl Iterator<Item = String> {
        (0..VARIANTS.len()).map(|index| format!("efficientnet-b{index}"))
    }

    /// Channels of b0 scaled: to a multiple of 8, never more than a tenth below.
    fn channels(&self, of_b0: usize) -> usize {
        let scaled = of_b0 as f64 * self.width;
        let rounded = ((scaled + 4.0) as usize / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }

    fn repeats(&self, of_b0: usize) -> usize {
        (of_b0 as f64 * self.depth).ceil() as usize
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        STAGES.iter().map(|stage| self.repeats(stage.4)).sum()
    }

    /// Channels in and out of the convolution behind the blocks.
    pub fn head_channels(&self) -> (usize, usize) {
        (self.channels(320), self.channels(1280))
    }

    /// Whether two ways to pad are one for this size.
    pub fn pads_alike(&self, a: Padding, b: Padding) -> bool {
        let moves = |padding| {
            let (stem, blocks) = self.layout(padding, 0.0);
            std::iter::once(stem).chain(blocks.into_iter().map(|block| block.sliding))
        };
        moves(a).eq(moves(b))
    }

    /// The stem and all blocks: its padding, then the blocks' shapes in order.
    fn layout(&self, padding: Padding, drop_connect: f64) -> (Sliding, Vec<BlockShape>) {
        let count = self.blocks();
        let mut nominal_px = self.nominal_px;
        let mut sliding = |kernel: usize, stride: usize| {
            let padding = match stride {
                1 => kernels::Padding::uniform(kernel / 2),
                _ => padding.at_stride_2(kernel, nominal_px),
            };
            nominal_px = nominal_px.div_ceil(stride);
            Sliding::new(stride, padding)
        };
        let stem = sliding(3, 2);
        let mut channels_in = self.channels(32);
        let mut blocks = Vec::with_capacity(count);
        for (kernel, stride, expand, channels, repeats) in STAGES {
            let channels_out = self.channels(channels);
            for repeat in 0..self.repeats(repeats) {
                let drop = drop_connect * blocks.len() as f64 / count as f64;
                let sliding = sliding(kernel, if repeat == 0 { stride } else { 1 });
                blocks.push(BlockShape {
                    channels_in,
                    channels_out,
                    expand,
                    kernel,
                    sliding,
                    drop,
                });
                channels_in = channels_out;
            }
        }
        (stem, blocks)
    }
}

/// The level of a block, from 1 (the stem has 0): which tap comes next.
fn level(taps: [usize; 4], block: usize) -> usize {
    1 + taps.iter().filter(|tap| **tap < block).count().min(3)
}

/// The encoder: stem and blocks, with the last convolution where a network asks for it, without the classifier.
#[derive(Module, Debug)]
pub struct EfficientNet<B: Backend> {
    /// 3x3 convolution of stride 2.
    pub stem: ConvNorm<B>,
    /// All blocks, counted through the stages.
    pub blocks: Vec<MbConv<B>>,
    /// 1x1 convolution behind the blocks.
    pub head: Option<ConvNorm<B>>,
    #[module(skip)]
    pub(super) taps: [usize; 4],
    #[module(skip)]
    channels: [usize; 5],
    /// Levels that do not learn.
    #[module(skip)]
    frozen: usize,
}

impl<B: Kernels> EfficientNet<B> {
    /// With zero weights.
    pub fn new(
        variant: &Variant,
        bands: usize,
        padding: Padding,
        norm: BatchNormOptions,
        drop_connect: f64,
        device: &B::Device,
    ) -> Self {
        let (stem, shapes) = variant.layout(padding, drop_connect);
        let first = variant.channels(32);
        let mut channels = [first; 5];
        for (slot, tap) in channels[1..].iter_mut().zip(variant.taps) {
            *slot = shapes[tap].channels_out;
        }
        let blocks = shapes
            .into_iter()
            .enumerate()
            .map(|(index, shape)| MbConv::new(index, shape, norm, device))
            .collect();
        let conv = Conv::dense(bands, first, 3, stem, false, device);
        Self {
            stem: ConvNorm::new(conv, first, norm, Activation::Silu, device),
            blocks,
            head: None,
            taps: variant.taps,
            channels,
            frozen: 0,
        }
    }

    /// The encoder that `spec` asks for, with zero weights.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not known.
    pub fn of(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let variant = Self::variant(spec)?;
        let bands = spec.bands.len();
        let norm = BatchNormOptions::of(spec);
        Ok(Self::new(variant, bands, spec.encoder_padding, norm, spec.drop_connect, device))
    }

    /// The same with its last convolution, whose output takes the place of the feature of stride 32.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not known.
    pub fn with_head(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let encoder = Self::of(spec, device)?;
        let variant = Self::variant(spec)?;
        let (channels_in, channels_out) = variant.head_channels();
        let conv = Conv::pointwise(channels_in, channels_out, false, device);
        let norm = BatchNormOptions::of(spec);
        let head = ConvNorm::new(conv, channels_out, norm, Activation::Silu, device);
        let [c1, c2, c3, c4, _] = encoder.channels;
        Ok(Self { head: Some(head), channels: [c1, c2, c3, c4, channels_out], ..encoder })
    }

    fn variant(spec: &ModelSpec) -> Result<&'static Variant> {
        Variant::named(&spec.encoder).ok_or_else(|| {
            Error::config("model.encoder", format!("`{}` is not known", spec.encoder))
        })
    }

    /// Keeps the first `levels` levels as they are, counted by the strides 2, 4, 8, 16, 32 of their features: no gradient
    /// reaches them, and their batch normalisation runs by its statistics in every mode.
    pub fn freeze(&mut self, levels: usize) {
        self.frozen = levels;
        if levels > 0 {
            self.stem = self.stem.clone().no_grad();
        }
        for (index, block) in self.blocks.iter_mut().enumerate() {
            if level(self.taps, index) < levels {
                *block = block.clone().no_grad();
            }
        }
    }

    /// The mode of a level, from 0.
    fn mode_of(&self, level: usize, mode: Mode) -> Mode {
        if level < self.frozen { Mode::Eval } else { mode }
    }

    /// Channels of the features of stride 2, 4, 8, 16, 32.
    pub fn channels(&self) -> [usize; 5] {
        self.channels
    }

    /// `[n, bands, h, w]` to the features of stride 2, 4, 8, 16, 32; h and w multiples of 32.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> [Tensor<B, 4>; 5] {
        let mut x = self.stem.forward(x, self.mode_of(0, mode)); // [n, stem, h / 2, w / 2]
        let mut features = [(); 5].map(|()| x.clone());
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, self.mode_of(level(self.taps, index), mode));
            if let Some(level) = self.taps.iter().position(|tap| *tap == index) {
                features[level + 1] = x.clone(); // [n, channels, h / 2^(level + 2), w / 2^(level + 2)]
            }
        }
        if let Some(head) = &self.head {
            features[4] = head.forward(x, mode); // [n, head, h / 32, w / 32]
        }
        features
    }

    /// `[n, bands, h, w]` to the expanded images of the blocks that halve, of stride 2, 4, 8, 16, and what comes out of
    /// the last layer, of stride 32.
    pub fn forward_expanded(
        &self,
        x: Tensor<B, 4>,
        mode: Mode,
    ) -> (Vec<Tensor<B, 4>>, Tensor<B, 4>) {
        let mut x = self.stem.forward(x, self.mode_of(0, mode)); // [n, stem, h / 2, w / 2]
        let mut skips = Vec::with_capacity(4);
        for (index, block) in self.blocks.iter().enumerate() {
            let mode = self.mode_of(level(self.taps, index), mode);
            let expanded = block.expanded(x.clone(), mode);
            if block.halves() {
                skips.push(expanded.clone());
            }
            x = block.contracted(expanded, x, mode);
        }
        let top = match &self.head {
            Some(head) => head.forward(x, mode), // [n, head, h / 32, w / 32]
            None => x,
        };
        (skips, top)
    }

    /// Channels of what [`Self::forward_expanded`] gives.
    pub fn expanded_channels(&self) -> (Vec<usize>, usize) {
        let of = |layer: &ConvNorm<B>| layer.conv.weight.dims()[0];
        let halving = self.blocks.iter().filter(|block| block.halves());
        let skips = halving.filter_map(|block| block.expand.as_ref()).map(of).collect();
        let top = self.head.as_ref().or(self.blocks.last().map(|block| &block.project));
        (skips, top.map_or(0, of))
    }

    /// [`Self::forward`]'s rows.
    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> [Row; 5] {
        let mut x = self.stem.survey(x, survey);
        let mut features = [(); 5].map(|()| x.clone());
        for (index, block) in self.blocks.iter().enumerate() {
            (_, x) = block.survey(&x, survey);
            if let Some(level) = self.taps.iter().position(|tap| *tap == index) {
                features[level + 1] = x.clone();
            }
        }
        if let Some(head) = &self.head {
            features[4] = head.survey(&x, survey);
        }
        features
    }

    /// [`Self::forward_expanded`]'s rows.
    pub(super) fn survey_expanded(&self, x: &Row, survey: &mut Survey) -> (Vec<Row>, Row) {
        let mut x = self.stem.survey(x, survey);
        let mut skips = Vec::with_capacity(4);
        for block in &self.blocks {
            let (expanded, out) = block.survey(&x, survey);
            if block.halves() {
                skips.push(expanded);
            }
            x = out;
        }
        let top = match &self.head {
            Some(head) => head.survey(&x, survey),
            None => x,
        };
        (skips, top)
    }

    /// [`Self::forward`] as operators.
    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> [Image; 5] {
        let mut x = graph.conv_norm(&self.stem, x);
        let mut features = [x; 5];
        for (index, block) in self.blocks.iter().enumerate() {
            (_, x) = block.graph(x, graph);
            if let Some(level) = self.taps.iter().position(|tap| *tap == index) {
                features[level + 1] = x;
            }
        }
        if let Some(head) = &self.head {
            features[4] = graph.conv_norm(head, x);
        }
        features
    }

    /// [`Self::forward_expanded`] as operators.
    pub(super) fn graph_expanded(&self, x: Image, graph: &mut Graph) -> (Vec<Image>, Image) {
        let mut x = graph.conv_norm(&self.stem, x);
        let mut skips = Vec::with_capacity(4);
        for block in &self.blocks {
            let (expanded, out) = block.graph(x, graph);
            if block.halves() {
                skips.push(expanded);
            }
            x = out;
        }
        let top = match &self.head {
            Some(head) => graph.conv_norm(head, x),
            None => x,
        };
        (skips, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_repeats_follow_the_published_table() {
        let b2 = Variant::named("efficientnet-b2").unwrap();
        let (_, blocks) = b2.layout(Padding::Nominal, 0.2);
        assert_eq!(blocks.len(), 23);
        assert_eq!(b2.channels(32), 32);
        let out: Vec<_> = b2.taps.iter().map(|tap| blocks[*tap].channels_out).collect();
        assert_eq!(out, [24, 48, 120, 352]);
        let b7 = Variant::named("efficientnet-b7").unwrap();
        assert_eq!(b7.layout(Padding::Nominal, 0.2).1.len(), 55);
        assert_eq!((b7.channels(32), b7.channels(1280)), (64, 2560));
        assert!(Variant::named("efficientnet-b8").is_none());
    }

    #[test]
    fn nominal_padding_follows_the_halved_resolution() {
        // Before and after at each stride 2, from the README of the numerical reference.
        let expected = [
            ("efficientnet-b0", [(0, 1), (0, 1), (1, 2), (0, 1), (1, 2)]),
            ("efficientnet-b1", [(0, 1), (0, 1), (1, 2), (0, 1), (2, 2)]),
            ("efficientnet-b2", [(0, 1), (0, 1), (2, 2), (1, 1), (2, 2)]),
            ("efficientnet-b7", [(0, 1), (0, 1), (1, 2), (1, 1), (1, 2)]),
        ];
        for (name, paddings) in expected {
            let (stem, blocks) = Variant::named(name).unwrap().layout(Padding::Nominal, 0.0);
            let strided = blocks.iter().map(|b| b.sliding).filter(|s| s.stride == 2);
            let found: Vec<_> = std::iter::once(stem)
                .chain(strided)
                .map(|s| (s.padding.top, s.padding.bottom))
                .collect();
            assert_eq!(found, paddings, "{name}");
        }
    }

    #[test]
    fn drop_connect_grows_from_zero() {
        let (_, blocks) = Variant::named("efficientnet-b0").unwrap().layout(Padding::Nominal, 0.2);
        assert_eq!(blocks[0].drop, 0.0);
        assert!((blocks[15].drop - 0.2 * 15.0 / 16.0).abs() < 1e-12);
    }
}
