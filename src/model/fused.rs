//! A trained network as the CPU runs it fastest: batch normalisation folded into weights, every layer one pass, channels
//! last. The same logits as [`super::Network::forward`] but for rounding; no gradients.

mod gate;
mod network;

use burn::module::Param;
use burn::tensor::{Tensor, backend::Backend};
use gate::Gate;

pub use network::FusedNetwork;

use super::{
    conv::Conv,
    efficientnet::EfficientNet,
    fpn::{Fpn, Unit},
    graph::floats as values,
    mbconv::{ConvNorm, MbConv},
};
pub use crate::kernels::nhwc::{Layer, Work};
use crate::kernels::{
    Activation, Kernels,
    flex::bilinear_planes,
    nhwc::{Conv3x3, Depthwise, Image, Pointwise, Pool, Stem, logits, upsample},
};

fn parameter<B: Backend, const D: usize>(parameter: &Param<Tensor<B, D>>) -> Vec<f32> {
    values(parameter.val())
}

fn pointwise_norm<B: Kernels>(layer: &ConvNorm<B>) -> Pointwise {
    let (weight, bias) = layer.folded();
    let inputs = weight.len() / bias.len();
    Pointwise::new(&bias, inputs, layer.activation, |o, i| weight[o * inputs + i])
}

fn pointwise<B: Kernels>(conv: &Conv<B>) -> Pointwise {
    let (weight, bias) = conv.as_matrix();
    let (weight, bias) = (values(weight), values(bias));
    let inputs = weight.len() / bias.len();
    Pointwise::new(&bias, inputs, Activation::Identity, |o, i| weight[o * inputs + i])
}

/// [`MbConv`].
#[derive(Debug)]
struct Block {
    name: String,
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    /// Channels between.
    inner: usize,
    gate: Gate,
    project: Pointwise,
    /// Channels behind.
    outputs: usize,
    residual: bool,
}

impl Block {
    fn new<B: Kernels>(index: usize, block: &MbConv<B>) -> Self {
        let (weight, bias) = block.depthwise.folded();
        let [_, _, kernel, _] = block.depthwise.conv.weight.dims();
        let [outputs, _, _, _] = block.project.conv.weight.dims();
        let layer = &block.depthwise;
        Self {
            name: format!("encoder.blocks.{index}"),
            expand: block.expand.as_ref().map(pointwise_norm),
            inner: bias.len(),
            depthwise: Depthwise::new(&weight, &bias, kernel, layer.conv.sliding, layer.activation),
            gate: Gate::new(&block.excite),
            project: pointwise_norm(&block.project),
            outputs,
            residual: block.residual,
        }
    }

    fn forward(&self, x: &Image, pool: &mut Pool) -> Image {
        let (inner, mean) = match &self.expand {
            Some(expand) => self.depthwise.apply_expanded(x, expand, self.inner, pool),
            None => self.depthwise.apply(x, pool),
        };
        let expanded = self.expand.is_some();
        pool.done(|| (self.part("depthwise"), self.depthwise.work(x, &inner, expanded)));
        // The gate goes into the projection's weights instead of over the image.
        let project = self.project.gated(&self.gate.of(&mean), pool);
        pool.done(|| (self.part("gate"), self.gate.work(self.inner)));
        let mut out = pool.image(inner.h, inner.w, self.outputs);
        project.apply(&inner, self.residual.then_some(x), &mut out);
        let added = if self.residual { out.h * out.w * out.c } else { 0 };
        pool.done(|| (self.part("project"), project.work(&inner, &out, added)));
        pool.give_values(project.into_values());
        pool.give(inner);
        out
    }

    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}

/// [`EfficientNet`].
#[derive(Debug)]
struct Encoder {
    stem: Stem,
    stem_outputs: usize,
    blocks: Vec<Block>,
    taps: [usize; 4],
}

impl Encoder {
    fn new<B: Kernels>(encoder: &EfficientNet<B>) -> Self {
        let (weight, bias) = encoder.stem.folded();
        let [outputs, bands, kernel, _] = encoder.stem.conv.weight.dims();
        let (sliding, activation) = (encoder.stem.conv.sliding, encoder.stem.activation);
        Self {
            stem: Stem::new(&weight, &bias, bands, kernel, sliding, activation),
            stem_outputs: outputs,
            blocks: (0..)
                .zip(&encoder.blocks)
                .map(|(index, block)| Block::new(index, block))
                .collect(),
            taps: encoder.taps,
        }
    }

    /// Planes `[bands, h, w]` to the features of stride 4, 8, 16, 32.
    fn forward(&self, planes: &[f32], h: usize, w: usize, pool: &mut Pool) -> Vec<Image> {
        let mut x = self.stem.apply(planes, h, w, self.stem_outputs, pool);
        pool.done(|| ("encoder.stem".to_owned(), self.stem.work(h, w, &x)));
        let mut features = Vec::with_capacity(self.taps.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let out = block.forward(&x, pool);
            let before = std::mem::replace(&mut x, out);
            if index > 0 && self.taps.contains(&(index - 1)) {
                features.push(before);
            } else {
                pool.give(before);
            }
        }
        // The last tap lies behind the last block.
        features.push(x);
        features
    }
}

/// A 3x3 convolution and the group normalisation behind it.
#[derive(Debug)]
struct NormedConv {
    conv: Conv3x3,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    groups: usize,
    eps: f64,
}

impl NormedConv {
    fn new<B: Kernels>(unit: &Unit<B>) -> Self {
        let [outputs, inputs, _, _] = unit.conv.weight.dims();
        let (groups, eps) = unit.norm.options();
        Self {
            conv: Conv3x3::new(&parameter(&unit.conv.weight), outputs, inputs),
            gamma: parameter(&unit.norm.weight),
            beta: parameter(&unit.norm.bias),
            groups,
            eps,
        }
    }

    /// The sums of `x`, and the scale and shift a channel that normalise them.
    fn forward(&self, x: &Image, pool: &mut Pool) -> (Image, Vec<f32>, Vec<f32>) {
        let (out, moments) = self.conv.apply(x, pool);
        let (scale, shift) = moments.group_norm(self.groups, &self.gamma, &self.beta, self.eps);
        (out, scale, shift)
    }
}

/// One level's way to stride 4.
#[derive(Debug)]
struct Ladder {
    name: String,
    units: Vec<NormedConv>,
    /// Whether the last unit doubles, too.
    doubles: bool,
}

/// [`Fpn`].
#[derive(Debug)]
struct FusedFpn {
    encoder: Encoder,
    /// For stride 32, 16, 8, 4.
    laterals: Vec<Pointwise>,
    pyramid: usize,
    ladders: Vec<Ladder>,
    /// `[classes][step]`.
    head: Vec<f32>,
    head_bias: Vec<f32>,
}

impl FusedFpn {
    fn new<B: Kernels>(fpn: &Fpn<B>) -> Self {
        let decoder = &fpn.decoder;
        let skips = [&decoder.p5, &decoder.p4.skip, &decoder.p3.skip, &decoder.p2.skip];
        let [pyramid, _, _, _] = decoder.p5.weight.dims();
        let ladder = |(index, ladder): (usize, &super::fpn::Ladder<B>)| Ladder {
            name: format!("decoder.seg_blocks.{index}"),
            units: ladder.units.iter().map(NormedConv::new).collect(),
            doubles: ladder.units.iter().all(|unit| unit.doubles),
        };
        let (weight, head_bias) = fpn.head.as_matrix();
        let [_, channels] = weight.dims();
        let step = channels.next_multiple_of(16);
        let mut head = vec![0.0; head_bias.dims()[0] * step];
        for (out, row) in head.chunks_exact_mut(step).zip(values(weight).chunks_exact(channels)) {
            out[..channels].copy_from_slice(row);
        }
        Self {
            encoder: Encoder::new(&fpn.encoder),
            laterals: skips.map(pointwise).into(),
            pyramid,
            ladders: (0..).zip(&decoder.seg_blocks).map(ladder).collect(),
            head,
            head_bias: values(head_bias),
        }
    }

    /// Planes `[bands, h, w]` to logits `[classes, h, w]`.
    fn forward(&self, planes: &[f32], h: usize, w: usize, pool: &mut Pool) -> Vec<f32> {
        let mut features = self.encoder.forward(planes, h, w, pool);
        let mut levels: Vec<Image> = Vec::with_capacity(self.laterals.len());
        for lateral in &self.laterals {
            let Some(feature) = features.pop() else { break };
            let mut level = pool.image(feature.h, feature.w, self.pyramid);
            match levels.last() {
                Some(above) => lateral.apply_below(&feature, above, &mut level),
                None => lateral.apply(&feature, None, &mut level),
            }
            let added = levels.last().map_or(0, |above| above.h * above.w * above.c);
            pool.done(|| {
                let name = format!("decoder.p{}", 5 - levels.len());
                (name, lateral.work(&feature, &level, added))
            });
            pool.give(feature);
            levels.push(level);
        }
        let mut sum: Vec<f32> = self
            .head_bias
            .iter()
            .flat_map(|bias| std::iter::repeat_n(*bias, h / 4 * (w / 4)))
            .collect();
        for (ladder, level) in self.ladders.iter().zip(levels) {
            for (sum, x) in sum.iter_mut().zip(self.climb(ladder, level, pool)) {
                *sum += x;
            }
        }
        let logits = bilinear_planes(&sum, h / 4, w / 4, 4, true);
        pool.done(|| ("upsample".to_owned(), resampling([h / 4, w / 4, self.head_bias.len()], 4)));
        logits
    }

    /// What a level adds to the logits at stride 4. The head comes before the last doubling: both are linear, and it leaves
    /// one plane a class to double.
    fn climb(&self, ladder: &Ladder, level: Image, pool: &mut Pool) -> Vec<f32> {
        let mut x = level;
        let mut units = ladder.units.iter().enumerate().peekable();
        while let Some((index, unit)) = units.next() {
            let part = |what: &str| format!("{}.units.{index}.{what}", ladder.name);
            let (out, scale, shift) = unit.forward(&x, pool);
            pool.done(|| (part("conv"), unit.conv.work(&x, &out)));
            pool.give(std::mem::replace(&mut x, out));
            if units.peek().is_some() {
                let doubled = upsample(&x, &scale, &shift, pool);
                pool.done(|| (part("upsample"), resampling(x.shape(), 2)));
                pool.give(std::mem::replace(&mut x, doubled));
                continue;
            }
            let planes = logits(&x, &scale, &shift, &self.head);
            let [h, w, c] = x.shape();
            let classes = self.head_bias.len();
            let weights = c * classes;
            pool.done(|| {
                let out = [h, w, classes];
                (
                    part("head"),
                    Work::new("1x1 to classes", [h, w, c], out, weights * h * w, weights),
                )
            });
            pool.give(x);
            if !ladder.doubles {
                return planes;
            }
            let planes = bilinear_planes(&planes, h, w, 2, true);
            pool.done(|| (part("upsample"), resampling([h, w, classes], 2)));
            return planes;
        }
        Vec::new()
    }
}

/// The work of a bilinear upsampling.
fn resampling([h, w, c]: [usize; 3], factor: usize) -> Work {
    Work::new(format!("bilinear x{factor}"), [h, w, c], [h * factor, w * factor, c], 0, 0)
}
