//! Feature pyramid network for segmentation (Kirillov et al. 2017), as `segmentation_models_pytorch` builds it.

use burn::module::Module;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::{
    conv::Conv,
    efficientnet::EfficientNet,
    graph::{Graph, Image},
    noise,
    noise::Mode,
    norm::GroupNorm,
    spec::ModelSpec,
    survey::{Row, Survey},
    tap::tap_block,
};
use crate::Result;
use crate::kernels::{self, Activation, Kernels, Padding, Sliding};

/// Groups and epsilon of the decoder's normalisation.
const GROUPS: usize = 32;
const EPS: f64 = 1e-5;

/// A level below the top: the level above, doubled, plus the encoder's feature.
#[derive(Module, Debug)]
pub struct Lateral<B: Backend> {
    /// 1x1 with bias.
    pub skip: Conv<B>,
}

/// 3x3 convolution, group normalisation, `ReLU`, bilinear doubling where it upsamples.
#[derive(Module, Debug)]
pub struct Unit<B: Backend> {
    /// 3x3 without bias.
    pub conv: Conv<B>,
    /// 32 groups.
    pub norm: GroupNorm<B>,
    #[module(skip)]
    pub(super) doubles: bool,
}

/// The units that bring one level to stride 4.
#[derive(Module, Debug)]
pub struct Ladder<B: Backend> {
    /// As many as doublings, at least one.
    pub units: Vec<Unit<B>>,
    #[module(skip)]
    align_corners: bool,
}

impl<B: Kernels> Ladder<B> {
    /// `channels` in and out; `align_corners` is of the doublings.
    pub(super) fn new(
        (channels_in, channels_out): (usize, usize),
        doublings: usize,
        align_corners: bool,
        device: &B::Device,
    ) -> Self {
        let sliding = Sliding::new(1, Padding::uniform(1));
        let units = (0..doublings.max(1))
            .map(|i| Unit {
                conv: Conv::dense(
                    if i == 0 { channels_in } else { channels_out },
                    channels_out,
                    3,
                    sliding,
                    false,
                    device,
                ),
                norm: GroupNorm::new(GROUPS, channels_out, EPS, device),
                doubles: doublings > 0,
            })
            .collect();
        Self { units, align_corners }
    }

    /// `[n, in, h, w]` to `[n, out, h * 2^doublings, w * 2^doublings]`.
    pub(super) fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        for unit in &self.units {
            x = unit.norm.forward(unit.conv.forward(x), Activation::Relu);
            if unit.doubles {
                x = kernels::bilinear(x, 2, self.align_corners);
            }
        }
        x
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        self.units.iter().fold(x.clone(), |x, unit| {
            let x = survey.conv(&unit.conv, &x);
            if unit.doubles { x.bilinear(2, self.align_corners) } else { x }
        })
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        self.units.iter().fold(x, |x, unit| {
            let x = graph.conv(&unit.conv, x);
            let x = graph.group_norm(&unit.norm, Activation::Relu, x);
            if unit.doubles { graph.bilinear(x, 2, self.align_corners) } else { x }
        })
    }
}

/// A level of a pyramid: the feature through its convolution, plus the level above, doubled.
pub(super) fn level<B: Kernels>(
    lateral: &Conv<B>,
    feature: Image,
    above: Image,
    graph: &mut Graph,
) -> Image {
    let x = graph.conv(lateral, feature);
    let above = graph.nearest(above, 2);
    graph.add(x, above)
}

/// Top-down pyramid and the ladders to stride 4.
#[derive(Module, Debug)]
pub struct FpnDecoder<B: Backend> {
    /// 1x1 with bias on the feature of stride 32.
    pub p5: Conv<B>,
    /// Stride 16.
    pub p4: Lateral<B>,
    /// Stride 8.
    pub p3: Lateral<B>,
    /// Stride 4.
    pub p2: Lateral<B>,
    /// For p5, p4, p3, p2.
    pub seg_blocks: Vec<Ladder<B>>,
    #[module(skip)]
    dropout: f64,
}

impl<B: Kernels> FpnDecoder<B> {
    fn new(channels: [usize; 5], spec: &ModelSpec, device: &B::Device) -> Self {
        let pyramid = spec.pyramid_channels;
        let lateral = |of| Lateral { skip: Conv::pointwise(of, pyramid, true, device) };
        let [_, c2, c3, c4, c5] = channels;
        let channels = (pyramid, spec.segmentation_channels);
        let ladder = |doublings| Ladder::new(channels, doublings, true, device);
        Self {
            p5: Conv::pointwise(c5, pyramid, true, device),
            p4: lateral(c4),
            p3: lateral(c3),
            p2: lateral(c2),
            seg_blocks: [3, 2, 1, 0].map(ladder).into(),
            dropout: spec.dropout,
        }
    }

    /// The five features to `[n, segmentation, h / 4, w / 4]`.
    fn forward(&self, features: [Tensor<B, 4>; 5], mode: Mode) -> Tensor<B, 4> {
        let [_, c2, c3, c4, c5] = features;
        let down = |above: &Tensor<B, 4>, lateral: &Lateral<B>, feature| {
            tap_block(lateral, lateral.skip.forward(feature) + kernels::nearest(above.clone(), 2))
        };
        let p5 = self.p5.forward(c5); // [n, pyramid, h / 32, w / 32]
        let p4 = down(&p5, &self.p4, c4); // [n, pyramid, h / 16, w / 16]
        let p3 = down(&p4, &self.p3, c3); // [n, pyramid, h / 8, w / 8]
        let p2 = down(&p3, &self.p2, c2); // [n, pyramid, h / 4, w / 4]
        let [a, b, c, d] = [p5, p4, p3, p2];
        let mut ladders =
            self.seg_blocks.iter().zip([a, b, c, d]).map(|(ladder, p)| ladder.forward(p));
        // Four ladders, by construction; the sum is in smp's order.
        let first = ladders.next();
        let sum = first.map(|first| ladders.fold(first, |sum, x| sum + x)); // [n, segmentation, h / 4, w / 4]
        match sum {
            Some(sum) => {
                let sum = tap_block(self, sum);
                noise::drop_channels(sum, "decoder.dropout", self.dropout, mode)
            }
            None => unreachable!("a decoder has four ladders"),
        }
    }

    fn survey(&self, [_, c2, c3, c4, c5]: &[Row; 5], survey: &mut Survey) -> Row {
        let p5 = survey.conv(&self.p5, c5);
        let p4 = survey.conv(&self.p4.skip, c4).joined(&p5.nearest(2));
        let p3 = survey.conv(&self.p3.skip, c3).joined(&p4.nearest(2));
        let p2 = survey.conv(&self.p2.skip, c2).joined(&p3.nearest(2));
        let sum = p2.clone();
        self.seg_blocks
            .iter()
            .zip([p5, p4, p3, p2])
            .fold(sum, |sum, (ladder, p)| sum.joined(&ladder.survey(&p, survey)))
    }

    fn graph(&self, [_, c2, c3, c4, c5]: [Image; 5], graph: &mut Graph) -> Image {
        let p5 = graph.conv(&self.p5, c5);
        let p4 = level(&self.p4.skip, c4, p5, graph);
        let p3 = level(&self.p3.skip, c3, p4, graph);
        let p2 = level(&self.p2.skip, c2, p3, graph);
        let levels = self.seg_blocks.iter().zip([p5, p4, p3, p2]);
        let mut levels = levels.map(|(ladder, p)| ladder.graph(p, graph)).collect::<Vec<_>>();
        let first = levels.remove(0);
        levels.into_iter().fold(first, |sum, x| graph.add(sum, x))
    }
}

/// Encoder, decoder and head.
#[derive(Module, Debug)]
pub struct Fpn<B: Backend> {
    /// Features at five strides.
    pub encoder: EfficientNet<B>,
    /// The pyramid.
    pub decoder: FpnDecoder<B>,
    /// 1x1 with bias to the classes.
    pub head: Conv<B>,
}

impl<B: Kernels> Fpn<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the encoder is not known.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let encoder = EfficientNet::of(spec, device)?;
        let decoder = FpnDecoder::new(encoder.channels(), spec, device);
        let head = Conv::pointwise(spec.segmentation_channels, spec.classes.len(), true, device);
        Ok(Self { encoder, decoder, head })
    }

    /// `[n, bands, h, w]` to logits `[n, classes, h, w]`; h and w multiples of 32.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let features = self.encoder.forward(x, mode);
        let x = self.decoder.forward(features, mode); // [n, segmentation, h / 4, w / 4]
        let logits = kernels::in_format(self.head.forward(x), DType::F32);
        kernels::bilinear(logits, 4, true) // [n, classes, h, w]
    }

    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let features = self.encoder.survey(x, survey);
        let x = self.decoder.survey(&features, survey);
        survey.conv(&self.head, &x).bilinear(4, true)
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let features = self.encoder.graph(x, graph);
        let x = self.decoder.graph(features, graph);
        let logits = graph.conv(&self.head, x);
        graph.bilinear(logits, 4, true)
    }
}
