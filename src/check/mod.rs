//! Whether a device computes what the CPU computes: every operator with its gradients, a step of
//! every network, and a short training.
//!
//! `geoseg check` runs it on a user's GPU, and the tests run it on Vulkan in software.

pub mod operators;
pub mod training;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::Serialize;

use crate::config::Precision;
use crate::device::{Device, format_of};
use crate::error::Result;
use crate::kernels::Kernels;

/// One result of a device beside the CPU's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What was computed.
    pub what: String,
    /// In which format.
    pub format: Precision,
    /// Root mean square of the difference over that of the CPU's values.
    pub distance: f64,
    /// The largest distance that rounding explains.
    pub limit: f64,
}

impl Comparison {
    /// Whether the distance keeps within the limit; one that is not a number does not.
    pub fn holds(&self) -> bool {
        self.distance <= self.limit
    }
}

/// Everything that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The device.
    pub device: String,
    /// Operators, then whole networks.
    pub comparisons: Vec<Comparison>,
    /// Losses of a short training, the CPU's first.
    pub trainings: Vec<training::Losses>,
}

impl Report {
    /// All comparisons, those of the trainings last.
    pub fn all(&self) -> impl Iterator<Item = &Comparison> {
        let of_trainings = self.trainings.iter().map(|losses| &losses.comparison);
        self.comparisons.iter().chain(of_trainings)
    }

    /// Whether everything keeps within its limit.
    pub fn holds(&self) -> bool {
        self.all().all(Comparison::holds)
    }
}

/// Compares `device` with the CPU in every format that it computes in.
///
/// # Errors
/// A network cannot be made.
pub fn run(device: &Device) -> Result<Report> {
    crate::with_backend!(device, |B, handle| compare::<B>(device.to_string(), &handle))
}

/// As [`run`], for a backend.
///
/// # Errors
/// A network cannot be made.
pub fn compare<B: Kernels>(device: String, handle: &B::Device) -> Result<Report> {
    let mut comparisons = Vec::new();
    let mut trainings = Vec::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let format = format_of(precision);
        if !B::computes_in(handle, format) {
            continue;
        }
        comparisons.extend(operators::compare::<B>(handle, precision));
        comparisons.extend(training::compare_steps::<B>(handle, precision)?);
        trainings.push(training::compare_losses::<B>(handle, precision)?);
    }
    Ok(Report { device, comparisons, trainings })
}

/// Values of a tensor in single precision.
fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter::<f32>().collect()
}

/// Root mean square of the difference over that of the expected values; infinite where the lengths differ.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let rms = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let apart = rms(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    apart / rms(&mut expected.iter().map(|v| f64::from(*v))).max(1e-12)
}
