//! How a forward pass runs, and the random masks of training.
//!
//! Masks are made on the CPU from a seed that the caller gives to each pass, the layer and the element: no hidden
//! state. A training step repeats exactly on every backend, with any number of threads, and after a resume.

use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};
use rayon::prelude::*;

use crate::kernels::{self, Kernels};

/// What a pass through the network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Running statistics, nothing dropped.
    Eval,
    /// Batch statistics, which move the running ones; dropout and drop connect from `seed`.
    Train {
        /// A different number for every pass.
        seed: u64,
    },
    /// Batch statistics, nothing dropped; the running statistics become plain averages over the batches.
    Recalibrate {
        /// Batches already seen in this recalibration: 0 forgets what was there.
        seen: usize,
    },
}

/// FNV-1a, 64 bits.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Value `index` of the splitmix64 stream that starts at `state`.
pub fn splitmix64(state: u64, index: u64) -> u64 {
    let z = state.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in 0..1.
pub fn uniform(state: u64, index: u64) -> f64 {
    (splitmix64(state, index) >> 11) as f64 * (-53f64).exp2()
}

/// `count` factors: 0 with probability `drop`, else `1 / (1 - drop)`.
fn factors(seed: u64, layer: &str, count: usize, drop: f64) -> Vec<f32> {
    let state = splitmix64(seed, fnv1a(layer.as_bytes()));
    let kept = (1.0 / (1.0 - drop)) as f32;
    (0..count).map(|i| if uniform(state, i as u64) < drop { 0.0 } else { kept }).collect()
}

fn scale<B: Kernels>(x: Tensor<B, 4>, factors: Vec<f32>) -> Tensor<B, 4> {
    let [n, c, _, _] = x.dims();
    let factors = device_matrix::<B>(factors, [n, c], &x.device());
    kernels::plane_scale(x, factors)
}

fn device_matrix<B: Backend>(
    values: Vec<f32>,
    shape: [usize; 2],
    device: &B::Device,
) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Drops whole channels of a sample. `[n, c, h, w]`; `layer` names the stream.
pub fn drop_channels<B: Kernels>(
    x: Tensor<B, 4>,
    layer: &str,
    drop: f64,
    mode: Mode,
) -> Tensor<B, 4> {
    let Mode::Train { seed } = mode else { return x };
    if drop == 0.0 {
        return x;
    }
    let [n, c, _, _] = x.dims();
    scale(x, factors(seed, layer, n * c, drop))
}

/// Drops single values. `[n, c, h, w]`; `layer` names the stream.
pub fn drop_values<B: Kernels>(
    x: Tensor<B, 4>,
    layer: &str,
    drop: f64,
    mode: Mode,
) -> Tensor<B, 4> {
    let Mode::Train { seed } = mode else { return x };
    if drop == 0.0 {
        return x;
    }
    let shape = x.dims();
    let state = splitmix64(seed, fnv1a(layer.as_bytes()));
    let count = shape.iter().product::<usize>() as u64;
    // A byte a value: the mask is kept for the gradient.
    let dropped: Vec<bool> = (0..count).into_par_iter().map(|i| uniform(state, i) < drop).collect();
    let dropped = Tensor::<B, 4, Bool>::from_data(TensorData::new(dropped, shape), &x.device());
    x.mask_fill(dropped, 0.0) / (1.0 - drop)
}

/// Drops whole samples (of a residual branch). `[n, c, h, w]`; `layer` names the stream.
pub fn drop_samples<B: Kernels>(
    x: Tensor<B, 4>,
    layer: &str,
    drop: f64,
    mode: Mode,
) -> Tensor<B, 4> {
    let Mode::Train { seed } = mode else { return x };
    if drop == 0.0 {
        return x;
    }
    let [n, c, _, _] = x.dims();
    let of_samples = factors(seed, layer, n, drop);
    scale(x, of_samples.into_iter().flat_map(|factor| std::iter::repeat_n(factor, c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_values_are_as_many_as_asked_for_and_the_others_make_up_for_them() {
        let ones = Tensor::<burn::backend::Flex, 4>::ones([2, 3, 40, 50], &Default::default());
        let run = |seed, mode: fn(u64) -> Mode| -> Vec<f32> {
            drop_values(ones.clone(), "x", 0.25, mode(seed)).into_data().to_vec().unwrap()
        };
        let train = |seed| Mode::Train { seed };
        let values = run(1, train);
        assert_eq!(values, run(1, train));
        assert_ne!(values, run(2, train));
        assert!(values.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(run(1, |_| Mode::Eval).iter().all(|v| *v == 1.0));
    }

    #[test]
    fn masks_depend_on_seed_and_layer_only_and_keep_the_mean() {
        let a = factors(1, "x", 10_000, 0.2);
        assert_eq!(a, factors(1, "x", 10_000, 0.2));
        assert_ne!(a, factors(2, "x", 10_000, 0.2));
        assert_ne!(a, factors(1, "y", 10_000, 0.2));
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
    }
}
