//! Operators and whole networks on a CubeCL backend: Vulkan, in software where there is no GPU (lavapipe:
//! `VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json`). Without a Vulkan device the test is skipped, unless
//! `GEOSEG_VULKAN=1` demands it.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::items_after_statements,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unnecessary_wraps,
    clippy::manual_is_multiple_of,
    clippy::many_single_char_names,
    clippy::needless_pass_by_value,
    clippy::naive_bytecount
)]
#![cfg(feature = "vulkan")]

use std::collections::HashMap;

use burn::backend::{Autodiff, Flex, Vulkan};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use geoseg::{
    kernels::{
        Activation, Kernels, Norm, NormOver, Padding, Sliding, bilinear, conv, depthwise, nearest,
        normalize, silu,
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

/// Every operator's output and the gradient of its input, by name.
fn operators<B: Kernels>() -> Vec<(&'static str, Vec<f32>)> {
    let device = Default::default();
    let wave = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let tensor = |shape: [usize; 4]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
        Tensor::<Autodiff<B>, 4>::from_data(TensorData::new(values, shape), &device)
    };
    let ones = || Tensor::<Autodiff<B>, 1>::ones([32], &device);
    let sliding = |stride| Sliding {
        stride,
        dilation: 1,
        padding: Padding { top: 0, bottom: 1, left: 0, right: 1 },
    };
    let groups = Norm { over: NormOver::Groups(8), eps: 1e-5, activation: Activation::Relu };
    let single = Norm { over: NormOver::Groups(32), eps: 1e-5, activation: Activation::Relu };
    let batch = Norm { over: NormOver::Batch, eps: 1e-3, activation: Activation::Silu };
    type Operator<'a, B> = Box<dyn Fn(Tensor<Autodiff<B>, 4>) -> Tensor<Autodiff<B>, 4> + 'a>;
    let all: Vec<(&'static str, Operator<'_, B>)> = vec![
        (
            "conv 1x1",
            Box::new(|x| {
                conv(x, tensor([16, 32, 1, 1]), None, Sliding::new(1, Padding::uniform(0)))
            }),
        ),
        (
            "conv 3x3",
            Box::new(|x| {
                conv(x, tensor([16, 32, 3, 3]), None, Sliding::new(1, Padding::uniform(1)))
            }),
        ),
        ("depthwise", Box::new(|x| depthwise(x, tensor([32, 1, 3, 3]), sliding(2)))),
        ("silu", Box::new(silu)),
        ("group norm", Box::new(|x| normalize(x, ones(), ones(), groups).0)),
        ("batch norm", Box::new(|x| normalize(x, ones(), ones(), batch).0)),
        ("bilinear", Box::new(|x| bilinear(x, 2, true))),
        ("bilinear x4", Box::new(|x| bilinear(x, 4, false))),
        ("nearest", Box::new(|x| nearest(x, 2))),
        (
            "conv 1x1 with bias",
            Box::new(|x| {
                let bias = Tensor::from_floats([0.5; 16], &device);
                conv(x, tensor([16, 32, 1, 1]), Some(bias), Sliding::new(1, Padding::uniform(0)))
            }),
        ),
        ("one channel a group", Box::new(|x| normalize(x, ones(), ones(), single).0)),
    ];
    all.into_iter()
        .flat_map(|(name, operator)| {
            [[2, 32, 6, 10], [2, 32, 2, 2]].into_iter().flat_map(move |shape| {
                let x = tensor(shape).require_grad();
                let out = operator(x.clone());
                let shape = out.dims();
                let grads = (out.clone() * tensor(shape)).sum().backward();
                let grad = x.grad(&grads).map(values::<B, 4>).unwrap();
                [(name, values(out.inner())), (name, grad)]
            })
        })
        .collect()
}

#[test]
fn every_operator_agrees_with_the_cpu() {
    let Some(vulkan) = on_vulkan(operators::<Vulkan>) else { return };
    for ((name, expected), (_, found)) in operators::<Flex>().iter().zip(&vulkan) {
        let apart = distance(found, expected);
        println!("{name}: {apart:.1e}");
        assert!(apart < 1e-4, "{name}: {apart:.1e} from the CPU");
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
    let wave = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
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
