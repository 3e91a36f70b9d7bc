//! Operators and whole networks on a CubeCL backend: Vulkan, in software where there is no GPU (lavapipe:
//! `VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json`). Without a Vulkan device the test is skipped, unless
//! `GEOSEG_VULKAN=1` demands it.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "says why it skips; a failure to prepare is a failed test"
)]
#![cfg(feature = "vulkan")]

use std::cell::RefCell;
use std::collections::HashMap;

use burn::backend::{Autodiff, Flex, Vulkan};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use geoseg::{
    kernels::{
        self, Activation, Kernels, Norm, NormOver, Padding, Sliding, affine, bilinear, conv,
        depthwise, nearest, normalize, plane_scale, silu, squeeze_excite,
    },
    model::{ModelSpec, Network, named_ids, named_tensors},
};

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().unwrap()
}

/// Root mean square of the difference over that of the expected values.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let rms = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let apart = rms(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    apart / rms(&mut expected.iter().map(|v| f64::from(*v))).max(1e-12)
}

/// Makes the weights of an operator and remembers them, for their gradients.
struct Weights<B: Kernels> {
    made: RefCell<Vec<Tensor<Autodiff<B>, 4>>>,
}

impl<B: Kernels> Weights<B> {
    fn of<const D: usize>(&self, shape: [usize; D]) -> Tensor<Autodiff<B>, D> {
        let count: usize = shape.iter().product();
        let weight = tensor::<B>([count, 1, 1, 1]).require_grad();
        self.made.borrow_mut().push(weight.clone());
        weight.reshape(shape)
    }
}

fn wave(i: usize) -> f32 {
    ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0
}

fn tensor<B: Kernels>(shape: [usize; 4]) -> Tensor<Autodiff<B>, 4> {
    let values: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// An operator on `[n, 32, h, w]` with the weights that it asks for.
type Operator<B> = fn(Tensor<Autodiff<B>, 4>, &Weights<B>) -> Tensor<Autodiff<B>, 4>;

fn norm(over: NormOver, activation: Activation) -> Norm {
    Norm { over, eps: 1e-3, activation }
}

fn every_operator<B: Kernels>() -> Vec<(&'static str, Operator<B>)> {
    const SAME: Padding = Padding { top: 0, bottom: 1, left: 0, right: 1 };
    vec![
        ("conv 1x1", |x, w| {
            conv(x, w.of([16, 32, 1, 1]), Some(w.of([16])), Sliding::new(1, Padding::default()))
        }),
        ("conv 1x1 to one channel", |x, w| {
            conv(x, w.of([1, 32, 1, 1]), Some(w.of([1])), Sliding::new(1, Padding::default()))
        }),
        ("conv 3x3", |x, w| {
            conv(x, w.of([16, 32, 3, 3]), None, Sliding::new(1, Padding::uniform(1)))
        }),
        ("conv 3x3 of stride 2", |x, w| conv(x, w.of([16, 32, 3, 3]), None, Sliding::new(2, SAME))),
        ("depthwise 3x3 of stride 2", |x, w| {
            depthwise(x, w.of([32, 1, 3, 3]), Sliding::new(2, SAME))
        }),
        ("depthwise 5x5", |x, w| {
            depthwise(x, w.of([32, 1, 5, 5]), Sliding::new(1, Padding::uniform(2)))
        }),
        ("silu", |x, _| silu(x)),
        ("mish", |x, w| {
            kernels::affine(kernels::mish(x), w.of([32]), w.of([32]), Activation::Mish)
        }),
        ("group norm", |x, w| {
            let norm = norm(NormOver::Groups(8), Activation::Relu);
            normalize(x, w.of([32]), w.of([32]), norm).0
        }),
        ("group norm of single channels", |x, w| {
            let norm = norm(NormOver::Groups(32), Activation::Identity);
            normalize(x, w.of([32]), w.of([32]), norm).0
        }),
        ("batch norm", |x, w| {
            let norm = norm(NormOver::Batch, Activation::Silu);
            normalize(x, w.of([32]), w.of([32]), norm).0
        }),
        ("affine", |x, w| affine(x, w.of([32]), w.of([32]), Activation::Silu)),
        ("plane scale", |x, w| {
            let [n, c, _, _] = x.dims();
            plane_scale(x, w.of([n, c]))
        }),
        ("squeeze and excite", |x, w| {
            squeeze_excite(x, (w.of([8, 32]), w.of([8])), (w.of([32, 8]), w.of([32])))
        }),
        ("bilinear", |x, _| bilinear(x, 2, true)),
        ("bilinear x4", |x, _| bilinear(x, 4, false)),
        ("nearest", |x, _| nearest(x, 2)),
    ]
}

/// Every operator's output, the gradient of its input, and those of its weights.
fn operators<B: Kernels>() -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    for (name, operator) in every_operator::<B>() {
        // The second is small enough for sums of eight terms, the third large enough for several workgroups.
        for shape in [[2, 32, 6, 10], [2, 32, 2, 2], [2, 32, 24, 20]] {
            let x = tensor::<B>(shape).require_grad();
            let weights = Weights { made: RefCell::default() };
            let out = operator(x.clone(), &weights);
            // Not the input's own wave: along it a normalisation's gradient is 0 but for rounding.
            let above = tensor::<B>(out.dims()).sin() + tensor::<B>(out.dims()).powi_scalar(2);
            let grads = (out.clone() * above).sum().backward();
            let mut add = |what: String, tensor| all.push((what, values::<B, 4>(tensor)));
            add(format!("{name} {shape:?}"), out.inner());
            for (i, source) in std::iter::once(x).chain(weights.made.into_inner()).enumerate() {
                add(format!("{name} {shape:?}, gradient {i}"), source.grad(&grads).unwrap());
            }
        }
    }
    all
}

#[test]
fn every_operator_agrees_with_the_cpu() {
    let Some(vulkan) = on_vulkan(operators::<Vulkan>) else { return };
    for ((name, expected), (_, found)) in operators::<Flex>().iter().zip(&vulkan) {
        let apart = distance(found, expected);
        assert!(apart < 1e-5, "{name}: {apart:.1e} from the CPU");
    }
}

/// Runs where there is a Vulkan device; says so and returns `None` where there is none.
fn on_vulkan<T>(run: fn() -> T) -> Option<T> {
    match std::panic::catch_unwind(run) {
        Ok(outcome) => Some(outcome),
        Err(panic) if std::env::var_os("GEOSEG_VULKAN").is_some() => {
            std::panic::resume_unwind(panic)
        }
        Err(_) => {
            eprintln!("skipped: no Vulkan device (GEOSEG_VULKAN=1 makes this a failure)");
            None
        }
    }
}

/// Training logits, gradients, and evaluated logits after the running statistics moved.
struct Outcome {
    logits: Vec<f32>,
    grads: HashMap<String, Vec<f32>>,
    evaluated: Vec<f32>,
    running: HashMap<String, Vec<f32>>,
}

fn run<B: Kernels>() -> Outcome {
    let device = Default::default();
    let spec = ModelSpec {
        pyramid_channels: 32,
        segmentation_channels: 32,
        // A fast momentum brings the running statistics near the batch's.
        batch_norm_momentum: 0.9,
        ..ModelSpec::default()
    };
    let network = Network::<Autodiff<B>>::seeded(&spec, 3, &device).unwrap();
    let (n, px) = (2, 64);
    let image: Vec<f32> = (0..n * 3 * px * px).map(wave).collect();
    let weight: Vec<f32> = (0..n * px * px).map(|i| wave(i + 17)).collect();
    let x = Tensor::<Autodiff<B>, 4>::from_data(TensorData::new(image, [n, 3, px, px]), &device);
    let weight =
        Tensor::<Autodiff<B>, 4>::from_data(TensorData::new(weight, [n, 1, px, px]), &device);
    let logits = network.forward_train(x.clone(), 11);
    let grads = (logits.clone() * weight).mean().backward();
    let grads = GradientsParams::from_grads(grads, &network);
    let by_name = named_ids(&network)
        .into_iter()
        .filter_map(|(name, id)| Some((name, values(grads.get::<B, 4>(id)?))))
        .collect();
    let inner = network.valid();
    let running = named_tensors(&inner)
        .into_iter()
        .filter(|(name, _)| name.contains(".running_"))
        .map(|(name, data)| (name, data.to_vec().unwrap()))
        .collect();
    Outcome {
        logits: values(logits.inner()),
        grads: by_name,
        evaluated: values(inner.forward(x.inner())),
        running,
    }
}

#[test]
fn a_training_step_and_an_evaluation_agree_with_the_cpu() {
    let Some(vulkan) = on_vulkan(run::<Vulkan>) else { return };
    let cpu = run::<Flex>();
    let mut far = Vec::new();
    let mut check = |what: &str, found: &[f32], expected: &[f32]| {
        let apart = distance(found, expected);
        if apart.is_nan() || apart > 1e-3 {
            far.push(format!("{what}: {apart:.1e}"));
        }
    };
    check("training logits", &vulkan.logits, &cpu.logits);
    check("evaluated logits", &vulkan.evaluated, &cpu.evaluated);
    for (name, expected) in &cpu.running {
        // What follows a normalised layer through a linear one has a mean of 0 but for rounding.
        if name.ends_with("_bn0.running_mean") && !name.starts_with("encoder._bn0") {
            continue;
        }
        check(name, &vulkan.running[name], expected);
    }
    let norm = |v: &Vec<f32>| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let largest = cpu.grads.values().map(norm).fold(0.0, f64::max);
    for (name, expected) in &cpu.grads {
        // Shifts that a later normalisation removes have no gradient but rounding.
        if norm(expected) > 1e-6 * largest {
            check(name, &vulkan.grads[name], expected);
        }
    }
    assert!(far.is_empty(), "further than 1e-3 from the CPU: {far:#?}");
}
