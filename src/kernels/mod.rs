//! The operators that burn does too slowly on the CPU, or not at all when training on a GPU.
//!
//! [`Kernels`] extends burn's `Backend`. Its default methods are the plain forms of [`plain`]: tensor operations that run,
//! forward and backward, on every `CubeCL` backend. [`flex`] overrides them with CPU code; `autodiff` gives each
//! its gradient once, for every backend below. Networks call the functions of this file, which take and return tensors.

mod autodiff;
#[cfg(any(feature = "cuda", feature = "vulkan"))]
mod cube;
pub mod flex;
pub(crate) mod nhwc;
pub mod plain;
#[cfg(test)]
mod tests;
pub mod trace;

use burn::tensor::{DType, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

pub(crate) use autodiff::squeeze_excite_grad;
use trace::{Operator, note};

/// Rows and columns of zeros around an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows above the first.
    pub top: usize,
    /// Rows below the last.
    pub bottom: usize,
    /// Columns left of the first.
    pub left: usize,
    /// Columns right of the last.
    pub right: usize,
}

impl Padding {
    /// The same on every side.
    pub const fn uniform(px: usize) -> Self {
        Self { top: px, bottom: px, left: px, right: px }
    }

    /// `before` above and to the left, `after` below and to the right.
    pub const fn split(before: usize, after: usize) -> Self {
        Self { top: before, bottom: after, left: before, right: after }
    }
}

/// How a square convolution kernel moves over the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding {
    /// Step in pixels, along rows and columns.
    pub stride: usize,
    /// Distance between neighbouring taps in pixels.
    pub dilation: usize,
    /// Zeros around the image.
    pub padding: Padding,
}

impl Sliding {
    /// A dense kernel (dilation 1).
    pub const fn new(stride: usize, padding: Padding) -> Self {
        Self { stride, dilation: 1, padding }
    }

    /// Height and width of the output for an input of `height` by `width` and a kernel of `kernel` taps a side.
    pub fn output_size(&self, height: usize, width: usize, kernel: usize) -> (usize, usize) {
        let reach = self.dilation * (kernel - 1) + 1;
        let p = self.padding;
        (
            (height + p.top + p.bottom - reach) / self.stride + 1,
            (width + p.left + p.right - reach) / self.stride + 1,
        )
    }
}

/// What follows a normalisation, fused with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * tanh(softplus(x))` (Misra 2019).
    Mish,
}

/// Over what a normalisation takes its mean and variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormOver {
    /// One mean a channel, over the batch and all pixels (batch normalisation in training).
    Batch,
    /// One mean a sample and group of neighbouring channels, over all pixels (group normalisation).
    Groups(usize),
}

impl NormOver {
    /// Number of means for `n` samples of `channels` channels.
    pub fn sets(self, n: usize, channels: usize) -> usize {
        match self {
            Self::Batch => channels,
            Self::Groups(groups) => n * groups,
        }
    }
}

/// A normalisation: its sets, epsilon and the activation behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// What shares a mean.
    pub over: NormOver,
    /// Added to the variance.
    pub eps: f64,
    /// Applied to the result.
    pub activation: Activation,
}

/// A backend with the operators that the networks need. Images are `[n, channels, height, width]`.
///
/// The default of every method is its plain form. Gradient methods take the gradient that arrives from above.
/// Where a backend computes in half precision, images, their gradients and the weights of dense convolutions are in it;
/// all else (depthwise weights, what a normalisation keeps, values one a plane or a channel) stays in single precision.
pub trait Kernels: Backend {
    /// Whether networks can compute in `format` on `device`.
    fn computes_in(_device: &Self::Device, format: DType) -> bool {
        format == DType::F32
    }

    /// Convolution by `weight` `[out, in, k, k]`, plus `bias` `[out]`.
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::conv::<Self>(x, weight, bias, sliding, 1)
    }

    /// Gradient of [`Kernels::conv`] by its input, which is `[n, in, height, width]` = `shape`.
    fn conv_grad_x(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::conv_grad_x::<Self>(grad, weight, shape, sliding, 1)
    }

    /// Gradient of [`Kernels::conv`] by its weight, which has `kernel` taps a side.
    fn conv_grad_weight(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        kernel: usize,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::conv_grad_weight::<Self>(grad, x, kernel, sliding)
    }

    /// Convolution of every channel by its own kernel, `weight` `[channels, 1, k, k]` (dilation 1).
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::depthwise::<Self>(x, weight, sliding)
    }

    /// Gradient of [`Kernels::depthwise`] by its input of shape `shape`.
    fn depthwise_grad_x(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::depthwise_grad_x::<Self>(grad, weight, shape, sliding)
    }

    /// Gradient of [`Kernels::depthwise`] by its weight of `kernel` taps a side.
    fn depthwise_grad_weight(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        kernel: usize,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        plain::depthwise_grad_weight::<Self>(grad, x, kernel, sliding)
    }

    /// `x * sigmoid(x)`, any shape.
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::silu::<Self>(x)
    }

    /// Gradient of [`Kernels::silu`] by its input `x`.
    fn silu_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::silu_grad::<Self>(x, grad)
    }

    /// `x * tanh(softplus(x))`, any shape.
    fn mish(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::mish::<Self>(x)
    }

    /// Gradient of [`Kernels::mish`] by its input `x`.
    fn mish_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::mish_grad::<Self>(x, grad)
    }

    /// `activation(gamma * (x - mean) / sqrt(var + eps) + beta)` with the mean and the biased variance of `x` itself.
    /// Returns the output, the means and the variances, one a set (`[NormOver::sets]`); these two carry no gradient.
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::normalize::<Self>(x, gamma, beta, norm)
    }

    /// Gradients of [`Kernels::normalize`] by `x`, `gamma` and `beta`.
    fn normalize_grad(
        input: NormState<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::normalize_grad::<Self>(input, grad, norm)
    }

    /// `activation(x * scale + shift)`, scale and shift one a channel: a normalisation with settled statistics.
    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        activate::<Self>(plain::affine::<Self>(x, scale, shift), activation)
    }

    /// Bilinear upsampling by a whole `factor`.
    fn bilinear(x: FloatTensor<Self>, factor: usize, align_corners: bool) -> FloatTensor<Self> {
        plain::bilinear::<Self>(x, factor, align_corners)
    }

    /// Gradient of [`Kernels::bilinear`].
    fn bilinear_grad(
        grad: FloatTensor<Self>,
        factor: usize,
        align_corners: bool,
    ) -> FloatTensor<Self> {
        plain::bilinear_grad::<Self>(grad, factor, align_corners)
    }

    /// Every pixel becomes `factor` by `factor` pixels.
    fn nearest(x: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        plain::nearest::<Self>(x, factor)
    }

    /// Gradient of [`Kernels::nearest`]: the sums of the blocks.
    fn nearest_grad(grad: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        plain::nearest_grad::<Self>(grad, factor)
    }

    /// Mean of every image plane, `[n, channels]`.
    fn plane_mean(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::plane_mean::<Self>(x)
    }

    /// Sum of the products of two images plane by plane, `[n, channels]`.
    fn plane_dot(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::plane_dot::<Self>(a, b)
    }

    /// `x * scale + shift`, scale and shift `[n, channels]`.
    fn plane_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        plain::plane_affine::<Self>(x, scale, shift)
    }

    /// `x` `[n, k]` times the transpose of `weight` `[m, k]`, for small sizes.
    fn dense(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        primitive(tensor::<Self, 2>(x).matmul(tensor::<Self, 2>(weight).transpose()))
    }

    /// Squeeze and excitation: `x` times a gate a plane, `sigmoid(w2 silu(w1 mean(x) + b1) + b2)`.
    fn squeeze_excite(x: FloatTensor<Self>, weights: ExciteWeights<Self>) -> FloatTensor<Self> {
        let gate = plain::gate::<Self>(Self::plane_mean(x.clone()), &weights).gate;
        Self::plane_affine(x, gate, None)
    }
}

/// What [`Kernels::normalize_grad`] needs from the forward pass.
#[derive(Debug, Clone)]
pub struct NormState<B: Backend> {
    /// The input.
    pub x: FloatTensor<B>,
    /// Scale, one a channel.
    pub gamma: FloatTensor<B>,
    /// Shift, one a channel.
    pub beta: FloatTensor<B>,
    /// Means, one a set.
    pub mean: FloatTensor<B>,
    /// Biased variances, one a set.
    pub var: FloatTensor<B>,
}

/// Weights of [`Kernels::squeeze_excite`] as matrices: `reduce` `[r, c]`, `expand` `[c, r]`.
#[derive(Debug, Clone)]
pub struct ExciteWeights<B: Backend> {
    /// First layer, `[r, c]`.
    pub reduce: FloatTensor<B>,
    /// Its bias, `[r]`.
    pub reduce_bias: FloatTensor<B>,
    /// Second layer, `[c, r]`.
    pub expand: FloatTensor<B>,
    /// Its bias, `[c]`.
    pub expand_bias: FloatTensor<B>,
}

/// An activation by the backend's own operators.
fn activate<B: Kernels>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => B::relu(x),
        Activation::Silu => B::silu(x),
        Activation::Mish => B::mish(x),
    }
}

/// The tensor of a primitive.
fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The primitive of a tensor.
fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// Convolution of `[n, in, h, w]` by `[out, in, k, k]`, plus a bias `[out]`.
pub fn conv<B: Kernels>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    sliding: Sliding,
) -> Tensor<B, 4> {
    let [outputs, _, kernel, _] = weight.dims();
    note(Operator::Conv { outputs, kernel, bias: bias.is_some(), sliding }, x.dims());
    tensor(B::conv(primitive(x), primitive(weight), bias.map(primitive), sliding))
}

/// Convolution of every channel of `[n, c, h, w]` by its own kernel of `[c, 1, k, k]`.
pub fn depthwise<B: Kernels>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    sliding: Sliding,
) -> Tensor<B, 4> {
    note(Operator::Depthwise { kernel: weight.dims()[2], sliding }, x.dims());
    tensor(B::depthwise(primitive(x), primitive(weight), sliding))
}

/// `x * sigmoid(x)`.
pub fn silu<B: Kernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    note(Operator::Silu, x.dims());
    tensor(B::silu(primitive(x)))
}

/// `x * tanh(softplus(x))`.
pub fn mish<B: Kernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    tensor(B::mish(primitive(x)))
}

/// Batch or group normalisation by the statistics of `x`; also the means and biased variances, without gradient.
pub fn normalize<B: Kernels>(
    x: Tensor<B, 4>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    norm: Norm,
) -> (Tensor<B, 4>, Tensor<B, 1>, Tensor<B, 1>) {
    note(Operator::Normalize(norm), x.dims());
    let (out, mean, var) = B::normalize(primitive(x), primitive(gamma), primitive(beta), norm);
    (tensor(out), tensor(mean), tensor(var))
}

/// `activation(x * scale + shift)`, scale and shift one a channel.
pub fn affine<B: Kernels>(
    x: Tensor<B, 4>,
    scale: Tensor<B, 1>,
    shift: Tensor<B, 1>,
    activation: Activation,
) -> Tensor<B, 4> {
    note(Operator::Affine(activation), x.dims());
    tensor(B::affine(primitive(x), primitive(scale), primitive(shift), activation))
}

/// Bilinear upsampling by a whole factor: `[n, c, h, w]` to `[n, c, factor h, factor w]`.
pub fn bilinear<B: Kernels>(x: Tensor<B, 4>, factor: usize, align_corners: bool) -> Tensor<B, 4> {
    note(Operator::Bilinear { factor, align_corners }, x.dims());
    tensor(B::bilinear(primitive(x), factor, align_corners))
}

/// Nearest upsampling by a whole factor: `[n, c, h, w]` to `[n, c, factor h, factor w]`.
pub fn nearest<B: Kernels>(x: Tensor<B, 4>, factor: usize) -> Tensor<B, 4> {
    note(Operator::Nearest { factor }, x.dims());
    tensor(B::nearest(primitive(x), factor))
}

/// `x` in another format; itself where it already is.
pub fn in_format<B: Backend, const D: usize>(x: Tensor<B, D>, format: DType) -> Tensor<B, D> {
    if x.dtype() == format { x } else { x.cast(format) }
}

/// `x` times a factor a plane; `scale` is `[n, c]`.
pub fn plane_scale<B: Kernels>(x: Tensor<B, 4>, scale: Tensor<B, 2>) -> Tensor<B, 4> {
    note(Operator::PlaneScale, x.dims());
    tensor(B::plane_affine(primitive(x), primitive(scale), None))
}

/// Mean of every image plane, `[n, c, h, w]` to `[n, c]`.
pub fn plane_mean<B: Kernels>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    tensor(B::plane_mean(primitive(x)))
}

/// `x` `[n, k]` times the transpose of `weight` `[m, k]`, for small sizes: `[n, m]`.
pub fn dense<B: Kernels>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    tensor(B::dense(primitive(x), primitive(weight)))
}

/// Squeeze and excitation with layers `[r, c]`, `[r]`, `[c, r]`, `[c]`.
pub fn squeeze_excite<B: Kernels>(
    x: Tensor<B, 4>,
    reduce: (Tensor<B, 2>, Tensor<B, 1>),
    expand: (Tensor<B, 2>, Tensor<B, 1>),
) -> Tensor<B, 4> {
    note(Operator::SqueezeExcite { squeezed: reduce.0.dims()[0] }, x.dims());
    let weights = ExciteWeights {
        reduce: primitive(reduce.0),
        reduce_bias: primitive(reduce.1),
        expand: primitive(expand.0),
        expand_bias: primitive(expand.1),
    };
    tensor(B::squeeze_excite(primitive(x), weights))
}
