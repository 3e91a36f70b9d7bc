//! First weights. Every tensor has a random stream of its own, from the seed and its name: the same seed gives the same
//! weights on every backend, and a changed layer leaves the others as they were.

use burn::tensor::TensorData;

use super::{
    Network,
    noise::{fnv1a, splitmix64, uniform},
    tensors::map_tensors,
};
use crate::kernels::Kernels;

const HEAD: &str = "segmentation_head.";

/// The range of a convolution's first weights and biases: uniform in `-bound..bound`.
///
/// As smp does it: the decoder by Kaiming for `ReLU` (He et al. 2015), the head by Glorot and Bengio (2010), biases of both
/// 0; all others, the encoder's among them, by `PyTorch`'s default (Kaiming with slope sqrt 5, also for biases).
fn bound(name: &str, shape: &[usize]) -> f64 {
    let taps: usize = shape[2..].iter().product();
    let (fan_in, fan_out) = ((shape[1] * taps) as f64, (shape[0] * taps) as f64);
    if name.starts_with("decoder.") {
        (6.0 / fan_in).sqrt()
    } else if name.starts_with(HEAD) {
        (6.0 / (fan_in + fan_out)).sqrt()
    } else {
        (1.0 / fan_in).sqrt()
    }
}

/// Sets every tensor of a network to its first value.
pub fn initialise<B: Kernels>(network: Network<B>, seed: u64) -> Network<B> {
    // Of the layer at hand; a normalisation has none.
    let mut fan_in = None;
    map_tensors(network, |name, shape| {
        let count = shape.iter().product();
        let values = if matches!(shape.len(), 2 | 4) {
            fan_in = Some(shape[1..].iter().product::<usize>() as f64);
            draw(name, seed, count, bound(name, shape))
        } else if name.ends_with(".weight") || name.ends_with(".running_var") {
            fan_in = None;
            vec![1.0; count]
        } else {
            let zero = name.starts_with("decoder.") || name.starts_with(HEAD);
            // The bias follows its weight.
            match fan_in {
                Some(fan_in) if !zero => draw(name, seed, count, (1.0f64 / fan_in).sqrt()),
                _ => vec![0.0; count],
            }
        };
        Some(TensorData::new(values, shape.to_vec()))
    })
}

fn draw(name: &str, seed: u64, count: usize, bound: f64) -> Vec<f32> {
    let state = splitmix64(seed, fnv1a(name.as_bytes()));
    (0..count).map(|i| (bound * (2.0 * uniform(state, i as u64) - 1.0)) as f32).collect()
}
