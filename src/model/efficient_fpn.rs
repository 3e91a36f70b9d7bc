//! `EfficientFPN`, the network of the third place of the Open Cities AI Challenge (2020): a pyramid on `EfficientNet` with
//! its head, pooled at several distances, with outputs for several losses.

use burn::module::Module;
use burn::tensor::{DType, Tensor, activation, backend::Backend};

use super::{
    aspp::Aspp,
    context::ContextBlock,
    conv::Conv,
    efficientnet::EfficientNet,
    fpn::{Ladder, level},
    graph::{Graph, Image, Operator, SumOver},
    heads::{Heads, ImageHeads},
    linear::Linear,
    mbconv::{BatchNormOptions, ConvNorm},
    noise::{self, Mode},
    spec::ModelSpec,
    survey::{Row, Survey},
};
use crate::Result;
use crate::kernels::{self, Activation, Kernels, Padding, Sliding};

/// Channels of a level of the pyramid, and of all three joined.
const LEVEL: usize = 64;
const JOINED: usize = 3 * LEVEL;

/// Batch normalisation behind the encoder: `PyTorch`'s defaults.
const NORM: BatchNormOptions = BatchNormOptions { eps: 1e-5, momentum: 0.1 };

/// The published training drops residual branches of the first blocks at this rate, whatever the rate of the others.
const EARLY_BLOCKS: usize = 4;
const EARLY_DROP_CONNECT: f64 = 0.2;

/// Probabilities below this count as this much when they become logits.
const LEAST_PROBABILITY: f64 = 1e-7;

/// All outputs for `n` images of `h` by `w` pixels.
#[derive(Debug, Clone)]
pub struct Outputs<B: Backend> {
    /// Logits of background and building for the focal loss, `[n, 2, h / 4, w / 4]`.
    pub focal: Tensor<B, 4>,
    /// Logit of a building for the Dice loss, `[n, 1, h / 4, w / 4]`.
    pub dice: Tensor<B, 4>,
    /// Logits of an image without and with buildings, `[n, 2]`.
    pub class: Tensor<B, 2>,
    /// The image's scale, `[n, 1]`.
    pub scale: Tensor<B, 2>,
}

/// Encoder with head, pyramid, pooling, and four outputs.
#[derive(Module, Debug)]
pub struct EfficientFpn<B: Backend> {
    /// Features at five strides, the last behind the head. Stem and head are activated by Mish.
    pub encoder: EfficientNet<B>,
    /// 1x1 with bias on the features of stride 32, 16, 8, 4.
    pub laterals: [Conv<B>; 4],
    /// From stride 16 to 4.
    pub top1: Ladder<B>,
    /// From stride 8 to 4.
    pub top2: Ladder<B>,
    /// 3x3 with bias at stride 4.
    pub top3: Conv<B>,
    /// What the image as a whole shows.
    pub context: Option<ContextBlock<B>>,
    /// What lies around.
    pub aspp: Aspp<B>,
    /// 3x3 to fewer channels.
    pub top4: ConvNorm<B>,
    /// 1x1 without bias; its hyperbolic tangent is a factor a channel and position.
    pub attention: Option<Conv<B>>,
    /// 1x1 with bias: [`Outputs::focal`].
    pub focal: Conv<B>,
    /// 1x1 without bias: [`Outputs::dice`].
    pub dice: Conv<B>,
    /// [`Outputs::class`].
    pub class: Linear<B>,
    /// [`Outputs::scale`].
    pub scale: Linear<B>,
    #[module(skip)]
    dropout: f64,
}

impl<B: Kernels> EfficientFpn<B> {
    /// With zero weights.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the encoder is not known.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        let encoder = encoder(spec, device)?;
        let [_, c2, c3, c4, head] = encoder.channels();
        let lateral = |channels| Conv::pointwise(channels, LEVEL, true, device);
        let ladder = |doublings| Ladder::new((LEVEL, LEVEL), doublings, false, device);
        let around = Sliding::new(1, Padding::uniform(1));
        let activation = if spec.use_mish { Activation::Mish } else { Activation::Relu };
        let top4 = Conv::dense(JOINED, LEVEL, 3, around, false, device);
        Ok(Self {
            encoder,
            laterals: [head, c4, c3, c2].map(lateral),
            top1: ladder(2),
            top2: ladder(1),
            top3: Conv::dense(LEVEL, LEVEL, 3, around, true, device),
            context: spec.use_context_block.then(|| ContextBlock::new(JOINED, device)),
            // 0.1 and 0.2 as published.
            aspp: Aspp::new(JOINED, NORM, spec.dropout / 2.0, device),
            dropout: spec.dropout,
            top4: ConvNorm::new(top4, LEVEL, NORM, activation, device),
            attention: spec.use_attention.then(|| Conv::pointwise(LEVEL, LEVEL, false, device)),
            focal: Conv::pointwise(LEVEL, 2, true, device),
            dice: Conv::pointwise(LEVEL, 1, false, device),
            class: Linear::new(head, 2, device),
            scale: Linear::new(head, 1, device),
        })
    }

    /// The encoder's features to three images `[n, 64, h / 4, w / 4]`, from stride 16, 8 and 4.
    pub fn pyramid(&self, features: [Tensor<B, 4>; 5]) -> [Tensor<B, 4>; 3] {
        let [_, c2, c3, c4, head] = features;
        let [l5, l4, l3, l2] = &self.laterals;
        let down = |above, lateral: &Conv<B>, x| lateral.forward(x) + kernels::nearest(above, 2);
        let p4 = down(l5.forward(head), l4, c4); // [n, 64, h / 16, w / 16]
        let p3 = down(p4.clone(), l3, c3); // [n, 64, h / 8, w / 8]
        let p2 = down(p3.clone(), l2, c2); // [n, 64, h / 4, w / 4]
        [self.top1.forward(p4), self.top2.forward(p3), self.top3.forward(p2)]
    }

    /// `[n, bands, h, w]` to all outputs; h and w multiples of 32.
    pub fn forward_all(&self, x: Tensor<B, 4>, mode: Mode) -> Outputs<B> {
        let features = self.encoder.forward(x, mode);
        let whole = kernels::plane_mean(features[4].clone()); // [n, head]
        let x = Tensor::cat(self.pyramid(features).into(), 1); // [n, 192, h / 4, w / 4]
        let x = noise::drop_channels(x, "pyramid.dropout", self.dropout, mode);
        let x = match &self.context {
            Some(context) => context.forward(x),
            None => x,
        };
        let x = self.top4.forward(self.aspp.forward(x, mode), mode); // [n, 64, h / 4, w / 4]
        let x = match &self.attention {
            Some(attention) => x.clone() * attention.forward(x).tanh(),
            None => x,
        };
        Outputs {
            focal: self.focal.forward(x.clone()),
            dice: self.dice.forward(x),
            class: self.class.forward(whole.clone()),
            scale: self.scale.forward(whole),
        }
    }

    /// `[n, bands, h, w]` to logits `[n, 1, h, w]` of a building; h and w multiples of 32.
    ///
    /// In evaluation the probabilities of [`Outputs::focal`] are upsampled, as published, and in training its logits, whose
    /// gradient does not vanish where the network is sure.
    pub fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        building_logits(self.forward_all(x, mode).focal, mode)
    }

    /// The same with its other outputs: the Dice head's logit, upsampled, the difference of the class head's logits, and
    /// the scale.
    pub fn heads(&self, x: Tensor<B, 4>, mode: Mode) -> Heads<B> {
        let Outputs { focal, dice, class, scale } = self.forward_all(x, mode);
        let single = |x| kernels::in_format(x, DType::F32);
        let class = class.clone().narrow(1, 1, 1) - class.narrow(1, 0, 1);
        Heads {
            logits: building_logits(focal, mode),
            second: Some(kernels::bilinear(single(dice), 4, false)),
            image: Some(ImageHeads {
                class: kernels::in_format(class, DType::F32),
                scale: kernels::in_format(scale, DType::F32),
            }),
        }
    }

    /// Of the logits: the Dice head and those of the whole image, which [`Self::forward`] drops, are left out.
    pub(super) fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
        let [_, c2, c3, c4, head] = self.encoder.survey(x, survey);
        let [l5, l4, l3, l2] = &self.laterals;
        let p5 = survey.conv(l5, &head);
        let p4 = survey.conv(l4, &c4).joined(&p5.nearest(2));
        let p3 = survey.conv(l3, &c3).joined(&p4.nearest(2));
        let p2 = survey.conv(l2, &c2).joined(&p3.nearest(2));
        let top1 = self.top1.survey(&p4, survey);
        let top2 = self.top2.survey(&p3, survey);
        let joined = survey.conv(&self.top3, &p2).joined(&top1).joined(&top2);
        let joined = match &self.context {
            Some(context) => context.survey(&joined, survey),
            None => joined,
        };
        let x = self.top4.survey(&self.aspp.survey(&joined, survey), survey);
        if let Some(attention) = &self.attention {
            survey.conv(attention, &x);
        }
        survey.conv(&self.dice, &x);
        survey.conv(&self.focal, &x).bilinear(4, false)
    }

    /// Of the logits, as in evaluation.
    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        let [_, c2, c3, c4, head] = self.encoder.graph(x, graph);
        let [l5, l4, l3, l2] = &self.laterals;
        let p5 = graph.conv(l5, head);
        let p4 = level(l4, c4, p5, graph);
        let p3 = level(l3, c3, p4, graph);
        let p2 = level(l2, c2, p3, graph);
        let levels =
            [self.top1.graph(p4, graph), self.top2.graph(p3, graph), graph.conv(&self.top3, p2)];
        let x = graph.concat(&levels);
        let x = match &self.context {
            Some(context) => context.graph(x, graph),
            None => x,
        };
        let x = self.aspp.graph(x, graph);
        let mut x = graph.conv_norm(&self.top4, x);
        if let Some(attention) = &self.attention {
            let factor = graph.conv(attention, x);
            let factor = graph.apply(Operator::Tanh, &[factor]);
            x = graph.multiply(x, factor);
        }
        let focal = graph.conv(&self.focal, x);
        let probability = graph.apply(Operator::Softmax(SumOver::Channels), &[focal]);
        let probability = graph.bilinear(probability, 4, false);
        let least = LEAST_PROBABILITY as f32;
        let of_classes = graph.apply(Operator::Log { least }, &[probability]);
        graph.second_less_first(of_classes)
    }
}

/// Logits of background and building, `[n, 2, h / 4, w / 4]`, to the one of a building, `[n, 1, h, w]`.
fn building_logits<B: Kernels>(focal: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
    let focal = kernels::in_format(focal, DType::F32);
    let of_classes = if mode == Mode::Eval {
        let probability = kernels::bilinear(activation::softmax(focal, 1), 4, false);
        probability.clamp_min(LEAST_PROBABILITY).log() // [n, 2, h, w]
    } else {
        kernels::bilinear(focal, 4, false) // [n, 2, h, w]
    };
    of_classes.clone().narrow(1, 1, 1) - of_classes.narrow(1, 0, 1)
}

/// The encoder with its head and the activations and rates of this network.
fn encoder<B: Kernels>(spec: &ModelSpec, device: &B::Device) -> Result<EfficientNet<B>> {
    let mut encoder = EfficientNet::with_head(spec, device)?;
    encoder.stem.activation = Activation::Mish;
    if let Some(head) = &mut encoder.head {
        head.activation = Activation::Mish;
    }
    let count = encoder.blocks.len() as f64;
    for (index, block) in encoder.blocks.iter_mut().take(EARLY_BLOCKS).enumerate() {
        block.drop = block.drop.min(EARLY_DROP_CONNECT * index as f64 / count);
    }
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    type Device = <Flex as burn::tensor::backend::BackendTypes>::Device;

    fn built(spec: &ModelSpec) -> EfficientFpn<Flex> {
        EfficientFpn::new(spec, &Device::default()).unwrap()
    }

    #[test]
    fn early_blocks_keep_the_usual_drop_rate() {
        let drops = |drop_connect| {
            let spec = ModelSpec { drop_connect, ..ModelSpec::default() };
            built(&spec).encoder.blocks.iter().map(|block| block.drop * 16.0).collect::<Vec<_>>()
        };
        let close = |found: &[f64], expected: &[f64]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(close(&drops(0.5), &[0.0, 0.2, 0.4, 0.6, 2.0, 2.5]), "{:?}", drops(0.5));
        assert!(close(&drops(0.2), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), "{:?}", drops(0.2));
        assert!(drops(0.0).iter().all(|drop| *drop == 0.0));
    }

    /// A network whose two logits are the given ones everywhere.
    fn constant(background: f32, building: f32) -> EfficientFpn<Flex> {
        let mut network = built(&ModelSpec::default());
        let bias = TensorData::from([background, building]);
        let bias = Tensor::from_data(bias, &Device::default());
        network.focal.bias = Some(burn::module::Param::from_tensor(bias));
        network
    }

    #[test]
    fn logits_survive_the_way_through_probabilities_and_have_bounds() {
        let x = Tensor::<Flex, 4>::zeros([1, 3, 32, 64], &Device::default());
        for (background, building) in [(0.3, 1.5), (2.0, -6.0), (-300.0, 300.0), (300.0, -300.0)] {
            let network = constant(background, building);
            for mode in [Mode::Eval, Mode::Train { seed: 1 }] {
                let logits = network.forward(x.clone(), mode);
                assert_eq!(logits.dims(), [1, 1, 32, 64]);
                let bound = if mode == Mode::Eval { -(LEAST_PROBABILITY.ln() as f32) } else { 1e9 };
                let expected = (building - background).clamp(-bound, bound);
                for found in logits.into_data().to_vec::<f32>().unwrap() {
                    assert!(
                        (found - expected).abs() < 1e-4 * expected.abs(),
                        "{found}, {expected}"
                    );
                }
            }
        }
    }
}
