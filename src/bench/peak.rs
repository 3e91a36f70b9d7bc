//! What the machine can do at most, measured beside what the network does.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rayon::prelude::*;
use serde::Serialize;

use super::network::wait;
use crate::error::Result;
use crate::kernels::nhwc::{bf16_pairs, multiply_adds};

/// The best of so many is the peak: all that disturbs makes it less.
const TRIES: usize = 6;

/// Length of one measurement of the arithmetic units.
const SLICE: Duration = Duration::from_millis(40);

/// Rows and columns of the matrices on the CPU; on other devices, which take longer to fill.
const GEMM: usize = 1024;
const DEVICE_GEMM: usize = 2048;

/// Values that are copied: source and target have 512 MB each, far more than the last cache holds.
const COPIED: usize = 128 << 20;

/// The limits of a machine, with as many threads as compute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peaks {
    /// Single precision multiply-additions in registers, GFLOP/s; not known beyond the CPU.
    pub registers_gflop_s: Option<f64>,
    /// Sums of products of bf16 pairs in registers, GFLOP/s, on a processor that has them.
    pub bf16_gflop_s: Option<f64>,
    /// A product of large square matrices, GFLOP/s.
    pub gemm_gflop_s: f64,
    /// A copy that no cache holds, bytes read plus bytes written, GB/s.
    pub copy_gb_s: f64,
}

/// What limits an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The arithmetic units.
    Compute,
    /// The way to memory.
    Memory,
}

impl Peaks {
    /// The most multiplications and additions, GFLOP/s.
    pub fn compute_gflop_s(&self) -> f64 {
        self.registers_gflop_s.unwrap_or(0.0).max(self.gemm_gflop_s)
    }

    /// The bound that allows less, and which share of it `flops` on `bytes` reach in `ms` milliseconds.
    pub fn share(&self, flops: usize, bytes: usize, ms: f64) -> (Bound, f64) {
        let compute_ms = flops as f64 / 1e6 / self.compute_gflop_s();
        let memory_ms = bytes as f64 / 1e6 / self.copy_gb_s;
        if compute_ms >= memory_ms {
            (Bound::Compute, compute_ms / ms)
        } else {
            (Bound::Memory, memory_ms / ms)
        }
    }
}

/// The largest of some rates, in billions a second; `work` says how many it did.
fn best(mut work: impl FnMut() -> Result<usize>) -> Result<f64> {
    let mut best = 0f64;
    for _ in 0..TRIES {
        let started = Instant::now();
        let done = work()?;
        best = best.max(done as f64 / started.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// All threads at once, each with its own chains of operations: `work` says how many so many rounds of them are.
fn registers(work: impl Fn(usize) -> usize + Sync) -> f64 {
    let busy = |_: rayon::BroadcastContext| {
        let (started, mut flops) = (Instant::now(), 0);
        while started.elapsed() < SLICE {
            flops += work(10_000);
        }
        flops as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    let rates = (0..TRIES).map(|_| rayon::broadcast(busy).into_iter().sum());
    rates.fold(0.0, f64::max)
}

/// A product of square matrices of `side`, each thread with its rows of the first.
fn gemm(side: usize) -> Result<f64> {
    let (a, b) = (vec![1.0f32; side * side], vec![0.5f32; side * side]);
    let mut out = vec![0f32; side * side];
    let rows = side.div_ceil(rayon::current_num_threads());
    best(|| {
        let parts = out.par_chunks_mut(rows * side).zip(a.par_chunks(rows * side));
        parts.for_each(|(out, a)| {
            let step = side as isize;
            // SAFETY: `out` and `a` have the same whole rows of `side` values, and `b` has `side` rows of them.
            unsafe {
                gemm::gemm(
                    out.len() / side,
                    side,
                    side,
                    out.as_mut_ptr(),
                    1,
                    step,
                    false,
                    a.as_ptr(),
                    1,
                    step,
                    b.as_ptr(),
                    1,
                    step,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        });
        std::hint::black_box(&mut out);
        Ok(2 * side * side * side)
    })
}

/// Copies `values` values, a part a thread.
fn copy(values: usize) -> Result<f64> {
    let source = vec![1.0f32; values];
    // Written once: memory that nobody has touched is not there yet.
    let mut target = vec![2.0f32; values];
    let part = values.div_ceil(rayon::current_num_threads());
    best(|| {
        let parts = target.par_chunks_mut(part).zip(source.par_chunks(part));
        parts.for_each(|(target, source)| target.copy_from_slice(source));
        std::hint::black_box(&mut target);
        Ok(2 * values * size_of::<f32>())
    })
}

/// Of this processor with the threads that compute: about two seconds.
pub fn cpu() -> Result<Peaks> {
    Ok(Peaks {
        registers_gflop_s: Some(registers(multiply_adds)),
        bf16_gflop_s: bf16_pairs(1).map(|_| registers(|rounds| bf16_pairs(rounds).unwrap_or(0))),
        gemm_gflop_s: gemm(GEMM)?,
        copy_gb_s: copy(COPIED)?,
    })
}

/// Of any device, by what burn runs there.
pub fn device<B: Backend>(device: &B::Device) -> Result<Peaks> {
    of_backend::<B>(device, DEVICE_GEMM, COPIED)
}

fn of_backend<B: Backend>(device: &B::Device, side: usize, values: usize) -> Result<Peaks> {
    let matrix = Tensor::<B, 2>::ones([side, side], device);
    let gemm_gflop_s = best(|| {
        drop(matrix.clone().matmul(matrix.clone()));
        wait::<B>(device)?;
        Ok(2 * side * side * side)
    })?;
    let source = Tensor::<B, 1>::ones([values], device);
    let copy_gb_s = best(|| {
        // An addition reads and writes as a copy does; a clone would share the memory.
        drop(source.clone().add_scalar(1.0));
        wait::<B>(device)?;
        Ok(2 * values * size_of::<f32>())
    })?;
    Ok(Peaks { registers_gflop_s: None, bf16_gflop_s: None, gemm_gflop_s, copy_gb_s })
}

#[cfg(test)]
mod tests {
    use burn::backend::{Flex, flex::FlexDevice};

    use super::*;

    #[test]
    fn the_nearer_bound_decides() {
        let peaks = Peaks {
            registers_gflop_s: Some(100.0),
            bf16_gflop_s: None,
            gemm_gflop_s: 80.0,
            copy_gb_s: 10.0,
        };
        // 1 GFLOP takes 10 ms at least, 10 MB take 1 ms.
        let (bound, share) = peaks.share(1_000_000_000, 10_000_000, 20.0);
        assert_eq!(bound, Bound::Compute);
        assert!((share - 0.5).abs() < 1e-12);
        let (bound, share) = peaks.share(1_000_000, 10_000_000, 4.0);
        assert_eq!(bound, Bound::Memory);
        assert!((share - 0.25).abs() < 1e-12);
    }

    #[test]
    fn every_peak_is_a_rate() {
        let generic = of_backend::<Flex>(&FlexDevice, 64, 1 << 12).unwrap();
        assert_eq!(generic.registers_gflop_s, None);
        for rate in [
            registers(multiply_adds),
            gemm(96).unwrap(),
            copy(1 << 16).unwrap(),
            generic.compute_gflop_s(),
            generic.copy_gb_s,
        ] {
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }
}
