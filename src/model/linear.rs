//! A fully connected layer as a module.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::conv::zeros;
use crate::kernels::{self, Kernels};

/// Every output a weighted sum of all inputs, plus a bias.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`.
    pub weight: Param<Tensor<B, 2>>,
    /// `[out]`.
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Kernels> Linear<B> {
    /// With zero weights.
    pub fn new(inputs: usize, outputs: usize, device: &B::Device) -> Self {
        Self { weight: zeros([outputs, inputs], device), bias: zeros([outputs], device) }
    }

    /// `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        kernels::dense(x, self.weight.val()) + self.bias.val().unsqueeze()
    }
}
