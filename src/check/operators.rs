//! Every operator, its output, the gradient of its input and those of its weights.

use std::cell::RefCell;

use burn::backend::flex::FlexDevice;
use burn::tensor::{DType, module::max_pool2d};

use super::{Autodiff, Comparison, Flex, Kernels, Precision, Tensor, TensorData, distance, values};
use crate::device::format_of;
use crate::kernels::{
    Activation, Norm, NormOver, Padding, Sliding, affine, bilinear, conv, depthwise, in_format,
    mish, nearest, normalize, plane_scale, silu, squeeze_excite,
};

/// Images: the second is small enough for sums of eight terms, the third large enough for several workgroups.
const SHAPES: [[usize; 4]; 3] = [[2, 32, 6, 10], [2, 32, 2, 2], [2, 32, 24, 20]];

/// Makes numbers, and remembers weights for their gradients.
#[derive(Debug)]
struct Numbers<B: Kernels> {
    device: B::Device,
    /// What numbers are rounded to, on both sides of a comparison.
    precision: Precision,
    /// What images are held in.
    format: DType,
    weights: RefCell<Vec<Tensor<Autodiff<B>, 4>>>,
}

impl<B: Kernels> Numbers<B> {
    fn tensor(&self, shape: [usize; 4], value: fn(usize) -> f32) -> Tensor<Autodiff<B>, 4> {
        let values = (0..shape.iter().product()).map(|i| rounded(value(i), self.precision));
        let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
        Tensor::from_data(data, &self.device)
    }

    /// A weight in single precision.
    fn weight<const D: usize>(&self, shape: [usize; D]) -> Tensor<Autodiff<B>, D> {
        let weight = self.tensor([shape.iter().product(), 1, 1, 1], wave).require_grad();
        self.weights.borrow_mut().push(weight.clone());
        weight.reshape(shape)
    }

    /// A weight in the images' format, as dense convolutions want it.
    fn dense<const D: usize>(&self, shape: [usize; D]) -> Tensor<Autodiff<B>, D> {
        in_format(self.weight(shape), self.format)
    }
}

/// Numbers in -1..1 without a pattern.
pub(super) fn wave(i: usize) -> f32 {
    ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0
}

fn rounded(value: f32, precision: Precision) -> f32 {
    match precision {
        Precision::Auto | Precision::F32 => value,
        Precision::Bf16 => half::bf16::from_f32(value).to_f32(),
        Precision::F16 => half::f16::from_f32(value).to_f32(),
    }
}

/// An operator on `[n, 32, h, w]` with the weights that it asks for.
type Operator<B> = fn(Tensor<Autodiff<B>, 4>, &Numbers<B>) -> Tensor<Autodiff<B>, 4>;

fn normalized<B: Kernels>(
    x: Tensor<Autodiff<B>, 4>,
    numbers: &Numbers<B>,
    over: NormOver,
    activation: Activation,
) -> Tensor<Autodiff<B>, 4> {
    let norm = Norm { over, eps: 1e-3, activation };
    normalize(x, numbers.weight([32]), numbers.weight([32]), norm).0
}

fn every_operator<B: Kernels>() -> Vec<(&'static str, Operator<B>)> {
    const SAME: Padding = Padding { top: 0, bottom: 1, left: 0, right: 1 };
    const ALONE: Sliding = Sliding::new(1, Padding::uniform(0));
    vec![
        ("conv 1x1", |x, w| conv(x, w.dense([16, 32, 1, 1]), Some(w.dense([16])), ALONE)),
        ("conv 1x1 to one channel", |x, w| {
            conv(x, w.dense([1, 32, 1, 1]), Some(w.dense([1])), ALONE)
        }),
        ("conv 3x3", |x, w| {
            conv(x, w.dense([16, 32, 3, 3]), None, Sliding::new(1, Padding::uniform(1)))
        }),
        ("conv 3x3 of stride 2", |x, w| {
            conv(x, w.dense([16, 32, 3, 3]), None, Sliding::new(2, SAME))
        }),
        ("conv 3x3 of many channels, dilated", |x, w| {
            let sliding = Sliding { dilation: 2, ..Sliding::new(1, Padding::uniform(2)) };
            conv(x, w.dense([80, 32, 3, 3]), Some(w.dense([80])), sliding)
        }),
        ("depthwise 3x3 of stride 2", |x, w| {
            depthwise(x, w.weight([32, 1, 3, 3]), Sliding::new(2, SAME))
        }),
        ("depthwise 5x5", |x, w| {
            depthwise(x, w.weight([32, 1, 5, 5]), Sliding::new(1, Padding::uniform(2)))
        }),
        ("silu", |x, _| silu(x)),
        ("mish", |x, w| affine(mish(x), w.weight([32]), w.weight([32]), Activation::Mish)),
        ("group norm", |x, w| normalized(x, w, NormOver::Groups(8), Activation::Relu)),
        ("group norm of single channels", |x, w| {
            normalized(x, w, NormOver::Groups(32), Activation::Identity)
        }),
        ("batch norm", |x, w| normalized(x, w, NormOver::Batch, Activation::Silu)),
        ("affine", |x, w| affine(x, w.weight([32]), w.weight([32]), Activation::Silu)),
        ("plane scale", |x, w| {
            let [n, c, _, _] = x.dims();
            plane_scale(x, w.weight([n, c]))
        }),
        ("squeeze and excite", |x, w| {
            let reduce = (w.weight([8, 32]), w.weight([8]));
            squeeze_excite(x, reduce, (w.weight([32, 8]), w.weight([32])))
        }),
        ("bilinear", |x, _| bilinear(x, 2, true)),
        ("bilinear x4", |x, _| bilinear(x, 4, false)),
        ("nearest", |x, _| nearest(x, 2)),
        ("max pooling", |x, _| max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false)),
    ]
}

/// Everything that operators give, with names.
fn results<B: Kernels>(
    device: &B::Device,
    precision: Precision,
    format: DType,
) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    for (name, operator) in every_operator::<B>() {
        for shape in SHAPES {
            let numbers =
                Numbers { device: device.clone(), precision, format, weights: RefCell::default() };
            let x = numbers.tensor(shape, wave).require_grad();
            let out = in_format(operator(in_format(x.clone(), format), &numbers), DType::F32);
            // Not the input's own wave: along it a normalisation's gradient is 0 but for rounding.
            let above = numbers.tensor(out.dims(), |i| wave(i).sin() + wave(i).powi(2));
            let grads = (out.clone() * above).sum().backward();
            all.push((format!("{name} {shape:?}"), values(out.inner())));
            let sources = std::iter::once(x).chain(numbers.weights.into_inner());
            for (i, source) in sources.enumerate() {
                let grad = source.grad(&grads).map(values).unwrap_or_default();
                all.push((format!("{name} {shape:?}, gradient {i}"), grad));
            }
        }
    }
    all
}

/// The largest distance that rounding explains: a little more than that of one result.
fn limit(precision: Precision) -> f64 {
    match precision {
        Precision::Auto | Precision::F32 => 1e-5,
        Precision::Bf16 => 8e-3,
        Precision::F16 => 1e-3,
    }
}

/// Compares every operator with the CPU on the same numbers.
pub fn compare<B: Kernels>(device: &B::Device, precision: Precision) -> Vec<Comparison> {
    let found = results::<B>(device, precision, format_of(precision));
    let expected = results::<Flex>(&FlexDevice, precision, DType::F32);
    let pairs = found.into_iter().zip(expected);
    pairs
        .map(|((what, found), (_, expected))| Comparison {
            format: precision,
            distance: distance(&found, &expected),
            limit: limit(precision),
            what,
        })
        .collect()
}
