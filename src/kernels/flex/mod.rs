//! The CPU's own code: single precision, image planes in parallel, loops for the processor at hand.
//!
//! Results do not depend on the number of threads: each sum belongs to one task, and partial sums are added in a fixed
//! order. Tensors of other types take the plain form.

mod buffer;
mod conv;
mod depthwise;
mod norm;
mod plane;
mod resample;
pub(super) mod simd;

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{DType, TensorMetadata},
};

pub(crate) use resample::bilinear as bilinear_planes;

use super::{Activation, Kernels, Norm, NormState, Sliding, plain};

fn dims(x: &FlexTensor) -> [usize; 4] {
    TensorMetadata::shape(x).dims()
}

/// The values of a tensor, in order.
fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().unwrap_or_default()
}

/// Each tensor in row-major order, or nothing if one is not single precision.
fn ready<const N: usize>(tensors: [&FlexTensor; N]) -> Option<[FlexTensor; N]> {
    let all = tensors.iter().all(|t| t.dtype() == DType::F32 && t.layout().num_elements() > 0);
    all.then(|| tensors.map(FlexTensor::to_contiguous))
}

impl Kernels for Flex {
    fn conv(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        sliding: Sliding,
    ) -> FlexTensor {
        let Some([x, weight]) = ready([&x, &weight]) else {
            return plain::conv::<Self>(x, weight, bias, sliding, 1);
        };
        let bias = bias.map(|bias| bias.to_contiguous());
        let (shape, [m, _, kernel, _]) = (dims(&x), dims(&weight));
        let (h, w) = sliding.output_size(shape[2], shape[3], kernel);
        let out = conv::forward(
            values(&x),
            shape,
            values(&weight),
            m,
            bias.as_ref().map(values),
            kernel,
            sliding,
        );
        buffer::tensor(out, [shape[0], m, h, w])
    }

    fn conv_grad_x(
        grad: FlexTensor,
        weight: FlexTensor,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FlexTensor {
        let kernel = dims(&weight)[2];
        match ready([&grad, &weight]) {
            Some([grad, weight]) if conv::supports_grad_x(kernel, sliding) => {
                let m = dims(&weight)[0];
                let out = conv::grad_x(values(&grad), m, values(&weight), shape, kernel, sliding);
                buffer::tensor(out, shape)
            }
            _ => plain::conv_grad_x::<Self>(grad, weight, shape, sliding, 1),
        }
    }

    fn conv_grad_weight(
        grad: FlexTensor,
        x: FlexTensor,
        kernel: usize,
        sliding: Sliding,
    ) -> FlexTensor {
        let Some([grad, x]) = ready([&grad, &x]) else {
            return plain::conv_grad_weight::<Self>(grad, x, kernel, sliding);
        };
        let (shape, m) = (dims(&x), dims(&grad)[1]);
        let out = conv::grad_weight(values(&grad), m, values(&x), shape, kernel, sliding);
        buffer::tensor(out, [m, shape[1], kernel, kernel])
    }

    fn depthwise(x: FlexTensor, weight: FlexTensor, sliding: Sliding) -> FlexTensor {
        let kernel = dims(&weight)[2];
        match ready([&x, &weight]) {
            Some([x, weight]) if depthwise::supports(kernel, sliding) => {
                let shape = dims(&x);
                let (h, w) = sliding.output_size(shape[2], shape[3], kernel);
                let out = depthwise::forward(values(&x), shape, values(&weight), kernel, sliding);
                buffer::tensor(out, [shape[0], shape[1], h, w])
            }
            _ => plain::depthwise::<Self>(x, weight, sliding),
        }
    }

    fn depthwise_grad_x(
        grad: FlexTensor,
        weight: FlexTensor,
        shape: [usize; 4],
        sliding: Sliding,
    ) -> FlexTensor {
        let kernel = dims(&weight)[2];
        match ready([&grad, &weight]) {
            Some([grad, weight]) if depthwise::supports(kernel, sliding) => {
                let out = depthwise::grad_x(values(&grad), values(&weight), shape, kernel, sliding);
                buffer::tensor(out, shape)
            }
            _ => plain::depthwise_grad_x::<Self>(grad, weight, shape, sliding),
        }
    }

    fn depthwise_grad_weight(
        grad: FlexTensor,
        x: FlexTensor,
        kernel: usize,
        sliding: Sliding,
    ) -> FlexTensor {
        match ready([&grad, &x]) {
            Some([grad, x]) if depthwise::supports(kernel, sliding) => {
                let shape = dims(&x);
                let out = depthwise::grad_weight(values(&grad), values(&x), shape, kernel, sliding);
                buffer::tensor(out, [shape[1], 1, kernel, kernel])
            }
            _ => plain::depthwise_grad_weight::<Self>(grad, x, kernel, sliding),
        }
    }

    fn silu(x: FlexTensor) -> FlexTensor {
        let Some([x]) = ready([&x]) else { return plain::silu::<Self>(x) };
        like(&x, plane::silu(values(&x)))
    }

    fn silu_grad(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some([x, grad]) = ready([&x, &grad]) else { return plain::silu_grad::<Self>(x, grad) };
        like(&x, plane::silu_grad(values(&x), values(&grad)))
    }

    fn mish(x: FlexTensor) -> FlexTensor {
        let Some([x]) = ready([&x]) else { return plain::mish::<Self>(x) };
        like(&x, plane::mish(values(&x)))
    }

    fn mish_grad(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some([x, grad]) = ready([&x, &grad]) else { return plain::mish_grad::<Self>(x, grad) };
        like(&x, plane::mish_grad(values(&x), values(&grad)))
    }

    fn normalize(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        norm: Norm,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let Some([x, gamma, beta]) = ready([&x, &gamma, &beta]) else {
            return plain::normalize::<Self>(x, gamma, beta, norm);
        };
        let sets = norm::Sets::new(norm.over, dims(&x));
        let (out, mean, var) = norm::forward(
            values(&x),
            values(&gamma),
            values(&beta),
            sets,
            norm.eps,
            norm.activation,
        );
        let count = mean.len();
        (like(&x, out), buffer::tensor(mean, [count]), buffer::tensor(var, [count]))
    }

    fn normalize_grad(
        input: NormState<Self>,
        grad: FlexTensor,
        norm: Norm,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let NormState { x, gamma, beta, mean, var } = &input;
        let Some([x, gamma, beta, mean, var, grad]) = ready([x, gamma, beta, mean, var, &grad])
        else {
            return plain::normalize_grad::<Self>(input, grad, norm);
        };
        let sets = norm::Sets::new(norm.over, dims(&x));
        let read = norm::Input {
            x: values(&x),
            gamma: values(&gamma),
            beta: values(&beta),
            mean: values(&mean),
            var: values(&var),
        };
        let (by_x, by_gamma, by_beta) =
            norm::backward(&read, values(&grad), sets, norm.eps, norm.activation);
        let channels = by_gamma.len();
        (like(&x, by_x), buffer::tensor(by_gamma, [channels]), buffer::tensor(by_beta, [channels]))
    }

    fn affine(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        let Some([x, scale, shift]) = ready([&x, &scale, &shift]) else {
            let z = plain::affine::<Self>(x, scale, shift);
            return plain::activate::<Self>(z, activation);
        };
        let [_, _, h, w] = dims(&x);
        like(&x, norm::affine(values(&x), values(&scale), values(&shift), h * w, activation))
    }

    fn bilinear(x: FlexTensor, factor: usize, align_corners: bool) -> FlexTensor {
        let [n, c, h, w] = dims(&x);
        let Some([x]) = ready([&x]) else {
            return plain::bilinear::<Self>(x, factor, align_corners);
        };
        let out = resample::bilinear(values(&x), h, w, factor, align_corners);
        buffer::tensor(out, [n, c, h * factor, w * factor])
    }

    fn bilinear_grad(grad: FlexTensor, factor: usize, align_corners: bool) -> FlexTensor {
        let [n, c, h, w] = dims(&grad);
        let Some([grad]) = ready([&grad]) else {
            return plain::bilinear_grad::<Self>(grad, factor, align_corners);
        };
        let out = resample::bilinear_grad(values(&grad), h, w, factor, align_corners);
        buffer::tensor(out, [n, c, h / factor, w / factor])
    }

    fn nearest(x: FlexTensor, factor: usize) -> FlexTensor {
        let [n, c, h, w] = dims(&x);
        let Some([x]) = ready([&x]) else { return plain::nearest::<Self>(x, factor) };
        buffer::tensor(resample::nearest(values(&x), w, factor), [n, c, h * factor, w * factor])
    }

    fn nearest_grad(grad: FlexTensor, factor: usize) -> FlexTensor {
        let [n, c, h, w] = dims(&grad);
        let Some([grad]) = ready([&grad]) else { return plain::nearest_grad::<Self>(grad, factor) };
        buffer::tensor(
            resample::nearest_grad(values(&grad), w, factor),
            [n, c, h / factor, w / factor],
        )
    }

    fn plane_mean(x: FlexTensor) -> FlexTensor {
        let [n, c, h, w] = dims(&x);
        let Some([x]) = ready([&x]) else { return plain::plane_mean::<Self>(x) };
        buffer::tensor(plane::mean(values(&x), h * w), [n, c])
    }

    fn plane_dot(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let [n, c, h, w] = dims(&a);
        let Some([a, b]) = ready([&a, &b]) else { return plain::plane_dot::<Self>(a, b) };
        buffer::tensor(plane::dots(values(&a), values(&b), h * w), [n, c])
    }

    fn plane_affine(x: FlexTensor, scale: FlexTensor, shift: Option<FlexTensor>) -> FlexTensor {
        let [_, _, h, w] = dims(&x);
        let Some([x, scale]) = ready([&x, &scale]) else {
            return plain::plane_affine::<Self>(x, scale, shift);
        };
        let shift = shift.map(|shift| shift.to_contiguous());
        like(&x, plane::affine(values(&x), values(&scale), shift.as_ref().map(values), h * w))
    }
}

/// A tensor of the shape of `x`.
fn like(x: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    FlexTensor::new(
        burn::tensor::Bytes::from_elems(values),
        burn::backend::flex::Layout::contiguous(TensorMetadata::shape(x)),
        DType::F32,
    )
}
