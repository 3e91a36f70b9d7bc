//! The network alone: `cargo bench --bench network -- infer|train [encoder px batch repetitions device]`.
//!
//! One JSON line a case: seconds (least and median), million pixels a second, peak resident memory. Weights are random, the
//! data is noise already in memory. `RAYON_NUM_THREADS` sets the threads. Run one case a process: the peak is the process's.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that prints results")]

use std::time::Instant;

use burn::backend::{Flex, flex::FlexDevice};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, backend::AutodiffBackend};
use geoseg::config::train::{LossSection, OptimizerSection};
use geoseg::device::{Device, resolve};
use geoseg::kernels::Kernels;
use geoseg::model::{FusedNetwork, Mode, ModelSpec, Network};
use geoseg::train::losses::{Truth, losses};
use geoseg::train::optimizer::AdamW;

fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) % 10_007) as f32 / 5_003.5 - 1.0).collect()
}

/// Peak resident memory of this process in MB, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Seconds of each of `count` calls, two calls before not counted.
fn time(count: usize, mut call: impl FnMut()) -> Vec<f64> {
    call();
    call();
    let mut seconds: Vec<f64> = (0..count)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// The network as `geoseg infer` runs it on the CPU.
fn infer_fused(spec: &ModelSpec, shape: [usize; 4], count: usize) -> Vec<f64> {
    let network = Network::<Flex>::seeded(spec, 1, &FlexDevice).expect("a valid spec");
    let sample = TensorData::new(noise(2 * 3 * 128 * 128), [2, 3, 128, 128]);
    network.forward_in(Tensor::from_data(sample, &FlexDevice), Mode::Recalibrate { seen: 0 });
    let mut fused = FusedNetwork::new(&network);
    let images = noise(shape.iter().product());
    time(count, || assert!(fused.forward(&images, shape)[0].is_finite()))
}

/// The network as `geoseg infer` runs it elsewhere: windows from memory, logits back.
fn infer<B: Kernels>(
    device: &B::Device,
    spec: &ModelSpec,
    shape: [usize; 4],
    count: usize,
) -> Vec<f64> {
    let network = Network::<B>::seeded(spec, 1, device).expect("a valid spec");
    let images = noise(shape.iter().product());
    time(count, || {
        let images = Tensor::<B, 4>::from_data(TensorData::new(images.clone(), shape), device);
        assert!(!network.forward(images).into_data().shape.is_empty());
    })
}

fn train<B: AutodiffBackend + Kernels>(
    device: &B::Device,
    spec: &ModelSpec,
    shape: [usize; 4],
    count: usize,
) -> Vec<f64> {
    let [n, _, h, w] = shape;
    let mut network = Some(Network::<B>::seeded(spec, 1, device).expect("a valid spec"));
    let mut optimizer = AdamW::new(&OptimizerSection::default());
    let images = TensorData::new(noise(shape.iter().product()), shape);
    let images = Tensor::<B, 4>::from_data(images, device);
    let labels: Vec<f32> =
        noise(n * h * w).into_iter().map(|v| f32::from(u8::from(v > 0.2))).collect();
    let labels = Tensor::<B, 4>::from_data(TensorData::new(labels, [n, 1, h, w]), device);
    let truth = Truth { valid: labels.ones_like(), labels };
    let mut seed = 0;
    time(count, || {
        seed += 1;
        let live = network.take().expect("put back below");
        let logits = live.forward_train(images.clone(), seed);
        let loss = losses(&LossSection::default(), logits, &truth).total;
        assert!(loss.clone().into_data().iter::<f32>().all(f32::is_finite));
        let gradients = GradientsParams::from_grads(loss.backward(), &live);
        network = Some(optimizer.step(live, gradients, 1e-4, 1.0));
        B::sync(device).expect("a device that works");
    })
}

fn main() {
    geoseg::memory::keep_freed();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let what = arguments.first().map_or("infer", String::as_str);
    let encoder = arguments.get(1).map_or("efficientnet-b0", String::as_str);
    let training = what == "train";
    let (px, batch) =
        (number(2, if training { 256 } else { 512 }), number(3, if training { 8 } else { 1 }));
    let count = number(4, if training { 5 } else { 15 });
    let spec = ModelSpec { encoder: encoder.into(), ..ModelSpec::default() };
    let shape = [batch, 3, px, px];
    let device = arguments.get(5).map_or("cpu", String::as_str);
    let device = resolve(device.parse().expect("cpu, cuda, vulkan")).expect("a device that works");
    let seconds = match (training, &device) {
        (true, device) => {
            geoseg::with_autodiff_backend!(device, |B, at| train::<B>(&at, &spec, shape, count))
        }
        (false, Device::Cpu) => infer_fused(&spec, shape, count),
        (false, device) => {
            geoseg::with_backend!(device, |B, at| infer::<B>(&at, &spec, shape, count))
        }
    };
    let (least, median) = (seconds[0], seconds[seconds.len() / 2]);
    println!(
        "{}",
        serde_json::json!({
            "case": format!("{what} fpn {encoder} {batch} x {px} px"),
            "device": device.to_string(),
            "threads": rayon::current_num_threads(),
            "min_s": least,
            "median_s": median,
            "mpx_per_s": (batch * px * px) as f64 / 1e6 / median,
            "peak_mb": peak_mb(),
        })
    );
}
