//! Convolution as a module.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Tensor, backend::Backend};

use super::tap::tap;
use crate::kernels::{self, Kernels, Padding, Sliding};

/// A convolution: dense, or of every channel by its own kernel.
#[derive(Module, Debug)]
pub struct Conv<B: Backend> {
    /// `[out, in, k, k]`, or `[c, 1, k, k]` where depthwise.
    pub weight: Param<Tensor<B, 4>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    #[module(skip)]
    pub(super) sliding: Sliding,
    #[module(skip)]
    depthwise: bool,
}

impl<B: Kernels> Conv<B> {
    /// A dense convolution with zero weights.
    pub fn dense(
        channels_in: usize,
        channels_out: usize,
        kernel: usize,
        sliding: Sliding,
        bias: bool,
        device: &B::Device,
    ) -> Self {
        Self {
            weight: zeros([channels_out, channels_in, kernel, kernel], device),
            bias: bias.then(|| zeros([channels_out], device)),
            sliding,
            depthwise: false,
        }
    }

    /// A 1x1 convolution with zero weights.
    pub fn pointwise(
        channels_in: usize,
        channels_out: usize,
        bias: bool,
        device: &B::Device,
    ) -> Self {
        Self::dense(channels_in, channels_out, 1, Sliding::new(1, Padding::default()), bias, device)
    }

    /// A depthwise convolution with zero weights.
    pub fn depthwise(channels: usize, kernel: usize, sliding: Sliding, device: &B::Device) -> Self {
        Self {
            weight: zeros([channels, 1, kernel, kernel], device),
            bias: None,
            sliding,
            depthwise: true,
        }
    }

    /// Number of groups of channels that do not mix.
    pub(super) fn groups(&self) -> usize {
        if self.depthwise { self.weight.dims()[0] } else { 1 }
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        if self.depthwise {
            return tap(self, kernels::depthwise(x, self.weight.val(), self.sliding));
        }
        let format = x.dtype();
        let weight = kernels::in_format(self.weight.val(), format);
        let bias = self.bias.as_ref().map(|bias| kernels::in_format(bias.val(), format));
        tap(self, kernels::conv(x, weight, bias, self.sliding))
    }

    /// A 1x1 convolution of vectors in single precision: `[n, in]` to `[n, out]`.
    pub fn forward_vectors(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (weight, bias) = self.as_matrix();
        kernels::dense(kernels::in_format(x, DType::F32), weight) + bias.unsqueeze()
    }

    /// The weight of a 1x1 convolution as a matrix `[out, in]`, and its bias (zeros if it has none).
    pub fn as_matrix(&self) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let weight = self.weight.val();
        let [out, channels, _, _] = weight.dims();
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([out], &weight.device()),
        };
        (weight.reshape([out, channels]), bias)
    }
}

/// A parameter of zeros.
pub fn zeros<B: Backend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
) -> Param<Tensor<B, D>> {
    Param::initialized(ParamId::new(), Tensor::zeros(shape, device).require_grad())
}
