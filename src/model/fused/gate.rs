//! Squeeze and excitation on the channels' means alone: its product with the image goes into the next layer's weights.

use super::values;
use crate::kernels::{Kernels, nhwc::Work};
use crate::model::mbconv::SqueezeExcite;

/// The two layers of squeeze and excitation, each `[inputs, outputs]`.
#[derive(Debug)]
pub struct Gate {
    reduce: Vec<f32>,
    reduce_bias: Vec<f32>,
    expand: Vec<f32>,
    expand_bias: Vec<f32>,
}

/// `bias + x · weights`, weights `[inputs, outputs]`.
fn layer(x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = bias.to_vec();
    for (x, row) in x.iter().zip(weights.chunks_exact(bias.len())) {
        for (out, weight) in out.iter_mut().zip(row) {
            *out += x * weight;
        }
    }
    out
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Gate {
    /// From the module.
    pub fn new<B: Kernels>(excite: &SqueezeExcite<B>) -> Self {
        let (reduce, reduce_bias) = excite.reduce.as_matrix();
        let (expand, expand_bias) = excite.expand.as_matrix();
        Self {
            reduce: values(reduce.transpose()),
            reduce_bias: values(reduce_bias),
            expand: values(expand.transpose()),
            expand_bias: values(expand_bias),
        }
    }

    /// One factor a channel from the channels' means.
    pub fn of(&self, mean: &[f32]) -> Vec<f32> {
        let hidden = layer(mean, &self.reduce, &self.reduce_bias);
        let hidden: Vec<f32> = hidden.into_iter().map(|x| x * sigmoid(x)).collect();
        let gate = layer(&hidden, &self.expand, &self.expand_bias);
        gate.into_iter().map(sigmoid).collect()
    }

    /// The work for one image of `channels`.
    pub fn work(&self, channels: usize) -> Work {
        let (weights, shape) = (self.reduce.len() + self.expand.len(), [1, 1, channels]);
        Work::new("gate", shape, shape, weights, weights)
    }
}
