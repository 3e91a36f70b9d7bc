//! The operators on a CubeCL backend: Vulkan, in software where there is no GPU (lavapipe:
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

use burn::backend::{Autodiff, Flex, Vulkan};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use geoseg::kernels::{
    Activation, Kernels, Norm, NormOver, Padding, Sliding, bilinear, conv, depthwise, nearest,
    normalize, silu,
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
