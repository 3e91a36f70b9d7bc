//! GPU code for `CubeCL` backends (CUDA, Vulkan): every operator a launch or a few, sums in a fixed order. Images and their
//! gradients are of any float format; arithmetic, sums and everything with one value a plane are in single precision.
//!
//! Nothing here is chosen by timing it first (burn's autotune): what runs would differ from machine to machine and from
//! day to day, and some of the candidates are wrong for some shapes.

mod conv;
mod depthwise;
mod launch;
mod norm;
mod pointwise;
mod resample;
mod window;

use burn::tensor::{DType, Tensor, backend::Backend as _, ops::FloatTensor};
use burn_cubecl::kernel::cast;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::{Activation, Kernels, Norm, NormOver, NormState, Sliding, primitive, tensor};
use resample::{Taps, resample};

/// Values a set `[sets]` as values a plane: `[c]` for batch normalisation, `[n * c]` for groups.
fn of_planes<B: Kernels>(values: Tensor<B, 1>, over: NormOver, channels: usize) -> Tensor<B, 1> {
    match over {
        NormOver::Batch => values,
        NormOver::Groups(groups) => {
            let [sets] = values.dims();
            let of_group = channels / groups;
            values.reshape([sets, 1]).expand([sets, of_group]).reshape([sets * of_group])
        }
    }
}

/// Values a plane `[n, c]` added up over the sets, `[sets]`.
fn over_sets<B: Kernels>(values: Tensor<B, 2>, over: NormOver) -> Tensor<B, 1> {
    let [n, c] = values.dims();
    match over {
        NormOver::Batch => values.sum_dim(0).reshape([c]),
        NormOver::Groups(groups) => {
            values.reshape([n * groups, c / groups]).sum_dim(1).reshape([n * groups])
        }
    }
}

impl<R, F, I, BT> Kernels for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn computes_in(device: &Self::Device, format: DType) -> bool {
        format == DType::F32 || Self::supports_dtype(device, format)
    }

    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        conv::forward(x, weight, bias, sliding)
    }

    fn conv_grad_x(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        conv::grad_x(grad, weight, shape, sliding)
    }

    fn conv_grad_weight(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        kernel: usize,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        let (channels, format) = (x.meta.shape().dims::<4>()[1], x.dtype);
        let parts = tensor::<Self, 5>(conv::grad_weights(grad, x, kernel, sliding));
        let out = parts.dims()[1];
        let whole = parts.sum_dim(0).reshape([out, channels, kernel, kernel]);
        cast(primitive(whole), format)
    }

    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        depthwise::forward(x, weight, sliding)
    }

    fn depthwise_grad_x(
        grad: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        depthwise::grad_x(grad, weight, shape, sliding)
    }

    fn depthwise_grad_weight(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        kernel: usize,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        let of_samples = tensor::<Self, 4>(depthwise::grad_weights(grad, x, kernel, sliding));
        let [_, c, _, _] = of_samples.dims();
        primitive(of_samples.sum_dim(0).reshape([c, 1, kernel, kernel]))
    }

    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::activated(x, Activation::Silu)
    }

    fn silu_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::activated_grad(x, grad, Activation::Silu)
    }

    fn mish(x: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::activated(x, Activation::Mish)
    }

    fn mish_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::activated_grad(x, grad, Activation::Mish)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [n, c, h, w] = x.meta.shape().dims();
        let sets = norm.over.sets(n, c);
        let in_set = (n * c / sets) as f64;
        let (mean, squares) = norm::moments(x.clone());
        let (of_plane, squares) = (tensor::<Self, 2>(mean), tensor::<Self, 2>(squares));
        // Planes are equally large: the set's mean is the mean of theirs (Chan et al. 1979).
        let mean = over_sets(of_plane.clone(), norm.over) / in_set;
        let centre = of_planes(mean.clone(), norm.over, c);
        let centre = match norm.over {
            NormOver::Batch => centre.reshape([1, c]),
            NormOver::Groups(_) => centre.reshape([n, c]),
        };
        let between = (of_plane - centre).square() * (h * w) as f64;
        let var = over_sets(squares + between, norm.over) / (in_set * (h * w) as f64);
        let rstd = (var.clone() + norm.eps).sqrt().recip();
        let planes = norm::Planes {
            mean: primitive(of_planes(mean.clone(), norm.over, c)),
            rstd: primitive(of_planes(rstd, norm.over, c)),
            gamma,
            beta,
        };
        (norm::apply(x, planes, norm.activation), primitive(mean), primitive(var))
    }

    fn normalize_grad(
        input: NormState<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let NormState { x, gamma, beta, mean, var } = input;
        let [n, c, h, w] = x.meta.shape().dims();
        let count = (n * c / norm.over.sets(n, c) * h * w) as f64;
        let rstd = (tensor::<Self, 1>(var) + norm.eps).sqrt().recip();
        let planes = norm::Planes {
            mean: primitive(of_planes(tensor::<Self, 1>(mean), norm.over, c)),
            rstd: primitive(of_planes(rstd, norm.over, c)),
            gamma: gamma.clone(),
            beta,
        };
        let (sums, along) =
            norm::grad_sums(x.clone(), grad.clone(), planes.clone(), norm.activation);
        let (sums, along) = (tensor::<Self, 2>(sums), tensor::<Self, 2>(along));
        let gamma = tensor::<Self, 1>(gamma).reshape([1, c]);
        let mean_of = |values: &Tensor<Self, 2>| {
            let of_sets = over_sets(values.clone() * gamma.clone(), norm.over) / count;
            primitive(of_planes(of_sets, norm.over, c))
        };
        let by_x = norm::grad_x(x, grad, planes, mean_of(&sums), mean_of(&along), norm.activation);
        let over_batch = |values: Tensor<Self, 2>| primitive(values.sum_dim(0).reshape([c]));
        (by_x, over_batch(along), over_batch(sums))
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        pointwise::affine(x, scale, shift, activation)
    }

    fn bilinear(x: FloatTensor<Self>, factor: usize, align_corners: bool) -> FloatTensor<Self> {
        resample(x, |size| Taps::bilinear(size, factor, align_corners))
    }

    fn bilinear_grad(
        grad: FloatTensor<Self>,
        factor: usize,
        align_corners: bool,
    ) -> FloatTensor<Self> {
        resample(grad, |size| Taps::bilinear(size / factor, factor, align_corners).transposed())
    }

    fn nearest(x: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        resample(x, |size| Taps::nearest(size, factor))
    }

    fn nearest_grad(grad: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        resample(grad, |size| Taps::nearest(size / factor, factor).transposed())
    }

    fn plane_mean(x: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::means(x)
    }

    fn plane_dot(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::dots(a, b)
    }

    fn plane_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let shift =
            shift.unwrap_or_else(|| primitive(tensor::<Self, 2>(scale.clone()).zeros_like()));
        pointwise::affine(x, scale, shift, Activation::Identity)
    }

    fn dense(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        pointwise::dense(x, weight)
    }
}
