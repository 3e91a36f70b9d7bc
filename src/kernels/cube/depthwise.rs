//! Depthwise convolution and its gradients, each one launch. Images in any format, weights in single precision.

#![allow(
    clippy::used_underscore_binding,
    clippy::too_many_arguments,
    reason = "of the macro: see resample"
)]

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::launch::{GROUP, array, array_f32, empty, empty_f32, group_sum, groups, units};
use super::window::{Steps, seen, seer};
use crate::kernels::Sliding;

/// One output pixel a unit.
#[cube(launch)]
fn forward_kernel<F: Float>(
    x: &Array<F>,
    weight: &Array<f32>,
    out: &mut Array<F>,
    channels: usize,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
    #[comptime] steps: Steps,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let column = ABSOLUTE_POS % out_width;
    let row = ABSOLUTE_POS / out_width % out_height;
    let plane = ABSOLUTE_POS / (out_width * out_height);
    let taps = comptime![steps.kernel * steps.kernel];
    let first = plane % channels * taps;
    let mut sum = f32::new(0.0);
    #[unroll]
    for tap in 0..taps {
        sum += seen(x, plane, row, column, tap, height, width, steps) * weight[first + tap];
    }
    out[ABSOLUTE_POS] = F::cast_from(sum);
}

/// One input pixel a unit: the gradients of the outputs that read it.
#[cube(launch)]
fn grad_x_kernel<F: Float>(
    grad: &Array<F>,
    weight: &Array<f32>,
    out: &mut Array<F>,
    channels: usize,
    height: usize,
    width: usize,
    grad_height: usize,
    grad_width: usize,
    #[comptime] steps: Steps,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let column = ABSOLUTE_POS % width;
    let row = ABSOLUTE_POS / width % height;
    let plane = ABSOLUTE_POS / (width * height);
    let taps = comptime![steps.kernel * steps.kernel];
    let first = plane % channels * taps;
    let mut sum = f32::new(0.0);
    #[unroll]
    for tap in 0..taps {
        let value = seer(grad, plane, row, column, tap, grad_height, grad_width, steps);
        sum += value * weight[first + tap];
    }
    out[ABSOLUTE_POS] = F::cast_from(sum);
}

/// One plane a workgroup: `[n * channels, kernel * kernel]`. Each unit keeps the sums of all taps.
#[cube(launch)]
fn grad_weight_kernel<F: Float>(
    grad: &Array<F>,
    x: &Array<F>,
    out: &mut Array<f32>,
    planes: usize,
    height: usize,
    width: usize,
    grad_height: usize,
    grad_width: usize,
    #[comptime] steps: Steps,
    #[define(F)] _dtype: StorageType,
) {
    let plane = CUBE_POS;
    if plane >= planes {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(GROUP);
    let taps = comptime![steps.kernel * steps.kernel];
    let mut sums = Array::<f32>::new(taps);
    #[unroll]
    for tap in 0..taps {
        sums[tap] = f32::new(0.0);
    }
    let mut pixel = UNIT_POS as usize;
    while pixel < grad_height * grad_width {
        let (row, column) = (pixel / grad_width, pixel % grad_width);
        let value = f32::cast_from(grad[plane * grad_height * grad_width + pixel]);
        #[unroll]
        for tap in 0..taps {
            sums[tap] += value * seen(x, plane, row, column, tap, height, width, steps);
        }
        pixel += GROUP;
    }
    #[unroll]
    for tap in 0..taps {
        let total = group_sum(sums[tap], &mut shared);
        if UNIT_POS == 0 {
            out[plane * taps + tap] = total;
        }
    }
}

/// `[n, c, h, w]` by `[c, 1, k, k]`.
pub fn forward<R: CubeRuntime>(
    x: CubeTensor<R>,
    weight: CubeTensor<R>,
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, h, w] = x.meta.shape().dims();
    let [_, _, kernel, _] = weight.meta.shape().dims();
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let out = empty(&x, [n, c, out_h, out_w]);
    let (count, dim) = units(&x, n * c * out_h * out_w);
    let (client, dtype) = (x.client.clone(), x.dtype);
    let steps = Steps::new(kernel, sliding);
    let to = out.clone().into_array_arg();
    forward_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array_f32(weight),
        to,
        c,
        h,
        w,
        out_h,
        out_w,
        steps,
        dtype.into(),
    );
    out
}

/// The gradient by the input of shape `shape`.
pub fn grad_x<R: CubeRuntime>(
    grad: CubeTensor<R>,
    weight: CubeTensor<R>,
    shape: [usize; 4],
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, h, w] = shape;
    let [_, _, grad_h, grad_w] = grad.meta.shape().dims();
    let [_, _, kernel, _] = weight.meta.shape().dims();
    let out = empty(&grad, shape);
    let (count, dim) = units(&grad, n * c * h * w);
    let (client, dtype) = (grad.client.clone(), grad.dtype);
    let steps = Steps::new(kernel, sliding);
    let to = out.clone().into_array_arg();
    grad_x_kernel::launch(
        &client,
        count,
        dim,
        array(grad),
        array_f32(weight),
        to,
        c,
        h,
        w,
        grad_h,
        grad_w,
        steps,
        dtype.into(),
    );
    out
}

/// The gradient by the weight of every sample, `[n, c, kernel, kernel]`, in single precision.
pub fn grad_weights<R: CubeRuntime>(
    grad: CubeTensor<R>,
    x: CubeTensor<R>,
    kernel: usize,
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, h, w] = x.meta.shape().dims();
    let [_, _, grad_h, grad_w] = grad.meta.shape().dims();
    let out = empty_f32(&x, [n, c, kernel, kernel]);
    let (count, dim) = groups(&x, n * c);
    let (client, dtype) = (x.client.clone(), x.dtype);
    let steps = Steps::new(kernel, sliding);
    let to = out.clone().into_array_arg();
    grad_weight_kernel::launch(
        &client,
        count,
        dim,
        array(grad),
        array(x),
        to,
        n * c,
        h,
        w,
        grad_h,
        grad_w,
        steps,
        dtype.into(),
    );
    out
}
