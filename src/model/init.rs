//! First weights. Every tensor has a random stream of its own, from the seed and its name: the same seed gives the same
//! weights on every backend, and a changed layer leaves the others as they were.

use burn::tensor::TensorData;

use super::{
    Architecture, Network,
    noise::{fnv1a, splitmix64, uniform},
    tensors::map_tensors,
};
use crate::kernels::Kernels;

/// From what a convolution's first weights are drawn.
#[derive(Debug, Clone, Copy)]
enum Draw {
    /// Uniform in `-bound..bound`.
    Uniform(f64),
    /// A normal distribution of this standard deviation.
    Normal(f64),
}

/// How a network's first weights are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As smp does it: the encoder by `PyTorch`'s default (Kaiming with slope sqrt 5, also for biases), the decoder by Kaiming
    /// for `ReLU` (He et al. 2015), the head by Glorot and Bengio (2010), as all layers of networks without an encoder;
    /// biases of the last two are 0.
    Smp,
    /// The same with the decoder from a normal distribution of the same variance.
    Normal,
    /// `PyTorch`'s default throughout.
    PyTorch,
}

impl Style {
    fn of<B: Kernels>(network: &Network<B>) -> Self {
        match network.arch {
            Architecture::UnetExpand(_) => Self::Normal,
            Architecture::EfficientFpn(_) => Self::PyTorch,
            _ => Self::Smp,
        }
    }

    /// Whether `PyTorch`'s default is followed.
    fn is_default(self, name: &str) -> bool {
        self == Self::PyTorch || name.starts_with("encoder.")
    }

    fn rule(self, name: &str, shape: &[usize]) -> Draw {
        let taps: usize = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * taps) as f64, (shape[0] * taps) as f64);
        if self.is_default(name) {
            Draw::Uniform((1.0 / fan_in).sqrt())
        } else if !name.starts_with("decoder.") {
            Draw::Uniform((6.0 / (fan_in + fan_out)).sqrt())
        } else if self == Self::Normal {
            Draw::Normal((2.0 / fan_in).sqrt())
        } else {
            Draw::Uniform((6.0 / fan_in).sqrt())
        }
    }
}

/// Sets every tensor of a network to its first value.
pub fn initialise<B: Kernels>(network: Network<B>, seed: u64) -> Network<B> {
    let style = Style::of(&network);
    // Of the layer at hand; a normalisation has none.
    let mut fan_in = None;
    map_tensors(network, |name, shape| {
        let count = shape.iter().product();
        let values = if matches!(shape.len(), 2 | 4) {
            fan_in = Some(shape[1..].iter().product::<usize>() as f64);
            draw(name, seed, count, style.rule(name, shape))
        } else if name.ends_with(".weight") || name.ends_with(".running_var") {
            fan_in = None;
            vec![1.0; count]
        } else {
            // The bias follows its weight.
            match fan_in {
                Some(fan_in) if style.is_default(name) => {
                    draw(name, seed, count, Draw::Uniform((1.0f64 / fan_in).sqrt()))
                }
                _ => vec![0.0; count],
            }
        };
        Some(TensorData::new(values, shape.to_vec()))
    })
}

fn draw(name: &str, seed: u64, count: usize, draw: Draw) -> Vec<f32> {
    let state = splitmix64(seed, fnv1a(name.as_bytes()));
    let value = |i: u64| match draw {
        Draw::Uniform(bound) => bound * (2.0 * uniform(state, i) - 1.0),
        // Box and Muller (1958); 1 - u is never 0.
        Draw::Normal(deviation) => {
            let (u, v) = (uniform(state, 2 * i), uniform(state, 2 * i + 1));
            deviation * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        }
    };
    (0..count as u64).map(|i| value(i) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_weights_have_their_mean_deviation_and_tails() {
        let values = draw("decoder.x", 3, 100_000, Draw::Normal(0.5));
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.005 && (variance.sqrt() - 0.5).abs() < 0.005, "{mean}, {variance}");
        let beyond = values.iter().filter(|v| v.abs() > 1.0).count();
        assert!((4_200..4_900).contains(&beyond), "4.55 % lie beyond two deviations, not {beyond}");
    }
}
