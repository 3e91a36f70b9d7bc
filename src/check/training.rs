//! Whole networks: one step forward and back, an evaluation, and a short training.

use std::collections::BTreeMap;

use burn::backend::flex::FlexDevice;
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::DType;
use serde::Serialize;

use super::operators::wave;
use super::{Autodiff, Comparison, Flex, Kernels, Precision, Tensor, TensorData, distance, values};
use crate::config::train::{LossSection, OptimizerSection};
use crate::device::format_of;
use crate::error::Result;
use crate::kernels::in_format;
use crate::model::{ARCHITECTURES, Heads, ModelSpec, Network, named_ids, named_tensors};
use crate::train::loss_scale::LossScale;
use crate::train::losses::{Truth, losses};
use crate::train::optimizer::{Optimizer, gradient_norm};

/// Sides of the images, px, and how many.
const PX: usize = 64;
const IMAGES: usize = 2;
/// Steps of the short training, and its learning rate: few and small, because Adam moves weights without a gradient by the sign of
/// its noise.
const STEPS: usize = 4;
const RATE: f64 = 1e-4;

/// The network of the short trainings, and of steps in half precision.
const NETWORK: &str = "fpn";

/// A network on `EfficientNet`-b0 with a small decoder.
fn spec(arch: &str) -> ModelSpec {
    ModelSpec {
        arch: arch.to_owned(),
        pyramid_channels: 32,
        segmentation_channels: 32,
        decoder_channels: [32, 24, 16, 8, 8],
        // A fast momentum brings the running statistics near the batch's.
        batch_norm_momentum: 0.9,
        ..ModelSpec::default()
    }
}

fn tensor<B: Kernels>(
    channels: usize,
    device: &B::Device,
    value: impl Fn(usize) -> f32,
) -> Tensor<Autodiff<B>, 4> {
    let shape = [IMAGES, channels, PX, PX];
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// 1 inside a chequered pattern of squares: something to learn.
fn square(i: usize) -> f32 {
    let (row, column) = (i / PX % PX, i % PX);
    f32::from(u8::from((row / 16 + column / 16) % 2 == 0))
}

/// Noise, brighter inside the squares.
fn image(i: usize) -> f32 {
    0.5 * wave(i) + square(i)
}

/// A [`wave`] moved by about its rounding.
fn nudged_wave(i: usize) -> f32 {
    wave(i) * (1.0 + 1e-6 * wave(i + 5))
}

/// What one step gives.
struct Step {
    logits: Vec<f32>,
    gradients: BTreeMap<String, Vec<f32>>,
    /// Logits by the running statistics, after the step has moved them.
    evaluated: Vec<f32>,
    running: BTreeMap<String, Vec<f32>>,
}

fn step<B: Kernels>(
    arch: &str,
    device: &B::Device,
    format: DType,
    image: fn(usize) -> f32,
) -> Result<Step> {
    let network = Network::<Autodiff<B>>::seeded(&spec(arch), 3, device)?;
    let x = in_format(tensor::<B>(3, device, image), format);
    let above = tensor::<B>(1, device, |i| wave(i + 17));
    let logits = network.forward_train(x.clone(), 11);
    // Large enough for half precision to hold all gradients.
    let grads = ((logits.clone() * above).sum() / 64.0).backward();
    let grads = GradientsParams::from_grads(grads, &network);
    let gradients = named_ids(&network)
        .into_iter()
        .filter_map(|(name, id)| Some((name, values(grads.get::<B, 4>(id)?))))
        .collect();
    let inner = network.valid();
    let running = named_tensors(&inner)
        .into_iter()
        .filter(|(name, _)| name.contains(".running_"))
        .map(|(name, data)| (name, data.iter::<f32>().collect()))
        .collect();
    let evaluated = values(inner.forward(x.inner()));
    Ok(Step { logits: values(logits.inner()), gradients, evaluated, running })
}

/// The largest distance that rounding explains: batch norm over the few values of the deepest images multiplies it by
/// some hundred.
fn limit(precision: Precision) -> f64 {
    match precision {
        Precision::Auto | Precision::F32 => 1e-3,
        Precision::Bf16 => 0.5,
        Precision::F16 => 0.15,
    }
}

/// Compares a step and an evaluation of every network with the CPU's in single precision. In half precision, only those
/// of one network and only the logits: on the way back the factor is another hundred, and operators have been compared
/// one by one.
///
/// # Errors
/// A network cannot be made.
pub fn compare_steps<B: Kernels>(
    device: &B::Device,
    precision: Precision,
) -> Result<Vec<Comparison>> {
    if precision != Precision::F32 {
        return compare_step::<B>(NETWORK, device, precision);
    }
    let steps =
        ARCHITECTURES.iter().map(|listed| compare_step::<B>(listed.name, device, precision));
    Ok(steps.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn compare_step<B: Kernels>(
    arch: &str,
    device: &B::Device,
    precision: Precision,
) -> Result<Vec<Comparison>> {
    let found = step::<B>(arch, device, format_of(precision), wave)?;
    let expected = step::<Flex>(arch, &FlexDevice, DType::F32, wave)?;
    let mut comparisons = Vec::new();
    let compare = |what: &str, found: &[f32], expected: &[f32]| Comparison {
        what: format!("{arch}: {what}"),
        format: precision,
        distance: distance(found, expected),
        limit: limit(precision),
    };
    comparisons.push(compare("training logits", &found.logits, &expected.logits));
    comparisons.push(compare("evaluated logits", &found.evaluated, &expected.evaluated));
    if format_of(precision) != DType::F32 {
        return Ok(comparisons);
    }
    for (name, expected) in &expected.running {
        // What follows a normalised layer through a linear one has a mean of 0 but for rounding.
        let after_linear = name == "encoder._bn1.running_mean"
            || (name.ends_with("_bn0.running_mean") && !name.starts_with("encoder._bn0"));
        if after_linear {
            continue;
        }
        let found = found.running.get(name).map_or(&[][..], Vec::as_slice);
        comparisons.push(compare(name, found, expected));
    }
    // Where ReLU and pooling bend, a rounding may take the other side: the CPU says how much comes of it.
    let nudged = step::<Flex>(arch, &FlexDevice, DType::F32, nudged_wave)?;
    let of = |step: &Step, name: &str| step.gradients.get(name).cloned().unwrap_or_default();
    let norm = |v: &Vec<f32>| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let largest = expected.gradients.values().map(norm).fold(0.0, f64::max);
    // Shifts that a later normalisation removes have no gradient but rounding.
    let counting = || expected.gradients.iter().filter(|(_, v)| norm(v) > 1e-6 * largest);
    let bends = counting().map(|(name, v)| distance(&of(&nudged, name), v)).fold(0.0, f64::max);
    for (name, expected) in counting() {
        let one = compare(&format!("gradient of {name}"), &of(&found, name), expected);
        comparisons.push(Comparison { limit: one.limit.max(4.0 * bends), ..one });
    }
    Ok(comparisons)
}

/// Losses of a short training, beside the CPU's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Losses {
    /// On the CPU in single precision.
    pub cpu: Vec<f32>,
    /// On the device.
    pub device: Vec<f32>,
    /// The two as lists.
    pub comparison: Comparison,
}

fn train<B: Kernels>(device: &B::Device, format: DType) -> Result<Vec<f32>> {
    let mut network = Network::<Autodiff<B>>::seeded(&spec(NETWORK), 5, device)?;
    let mut optimizer = Optimizer::new(&OptimizerSection::default());
    let x = in_format(tensor::<B>(3, device, image), format);
    let labels = tensor::<B>(1, device, square);
    let truth = Truth::hard(labels.clone(), labels.ones_like());
    let mut scale = LossScale::default();
    let mut seen = Vec::with_capacity(STEPS);
    while seen.len() < STEPS {
        let logits = network.forward_train(x.clone(), seen.len() as u64);
        let loss = losses(&LossSection::default(), &Heads::of(logits), &truth).total;
        let factor = scale.factor(format);
        let gradients = (loss.clone() * factor).backward();
        let gradients = GradientsParams::from_grads(gradients, &network);
        let norm = values(gradient_norm::<Autodiff<B>, _>(&network, &gradients, device));
        // Beyond what 16 bits hold: the same step again.
        if !norm[0].is_finite() && scale.lower(format) {
            continue;
        }
        seen.extend(values(loss.inner()));
        network = optimizer.step(network, gradients, RATE, 1.0 / factor);
    }
    Ok(seen)
}

/// Trains for a few steps on the device and on the CPU.
///
/// # Errors
/// The network cannot be made.
pub fn compare_losses<B: Kernels>(device: &B::Device, precision: Precision) -> Result<Losses> {
    let found = train::<B>(device, format_of(precision))?;
    let cpu = train::<Flex>(&FlexDevice, DType::F32)?;
    let comparison = Comparison {
        what: format!("losses of {STEPS} steps"),
        format: precision,
        distance: distance(&found, &cpu),
        limit: if precision == Precision::F32 { 2e-3 } else { 0.1 },
    };
    Ok(Losses { cpu, device: found, comparison })
}
