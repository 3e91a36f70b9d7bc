//! Operators without neighbours: activations, products a plane, sums of planes, small matrix products.

#![allow(
    clippy::used_underscore_binding,
    clippy::too_many_arguments,
    reason = "of the macro: see resample"
)]

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::launch::{
    GROUP, array, array_f32, empty_f32, group_sum, groups, of_plane, plane_sum, units,
};
use crate::kernels::Activation;

/// `1 / (1 + exp(-x))`.
#[cube]
fn sigmoid(x: f32) -> f32 {
    let one = f32::new(1.0);
    one / (one + (-x).exp())
}

/// An activation.
#[cube]
pub fn activate(z: f32, #[comptime] activation: Activation) -> f32 {
    let mut out = z;
    if comptime![activation == Activation::Relu] {
        out = max(z, f32::new(0.0));
    }
    if comptime![activation == Activation::Silu] {
        out = z * sigmoid(z);
    }
    if comptime![activation == Activation::Mish] {
        // tanh(ln(1 + e)); beyond 20 that is 1.
        let e = min(z, f32::new(20.0)).exp();
        let n = e * (e + f32::new(2.0));
        out = z * (n / (n + f32::new(2.0)));
    }
    out
}

/// An activation's slope.
#[cube]
pub fn slope(z: f32, #[comptime] activation: Activation) -> f32 {
    let mut out = f32::new(1.0);
    if comptime![activation == Activation::Relu] && z <= f32::new(0.0) {
        out = f32::new(0.0);
    }
    if comptime![activation == Activation::Silu] {
        let gate = sigmoid(z);
        out = gate * (f32::new(1.0) + z * (f32::new(1.0) - gate));
    }
    if comptime![activation == Activation::Mish] {
        let z = min(z, f32::new(20.0));
        let e = z.exp();
        let d = e * (e + f32::new(2.0)) + f32::new(2.0);
        out = e / d * (e + f32::new(2.0) + f32::new(4.0) * z * (f32::new(1.0) + e) / d);
    }
    out
}

#[cube(launch)]
fn activate_kernel<F: Float>(
    x: &Array<F>,
    out: &mut Array<F>,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let z = f32::cast_from(x[ABSOLUTE_POS]);
        out[ABSOLUTE_POS] = F::cast_from(activate(z, activation));
    }
}

#[cube(launch)]
fn activate_grad_kernel<F: Float>(
    x: &Array<F>,
    grad: &Array<F>,
    out: &mut Array<F>,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let z = f32::cast_from(x[ABSOLUTE_POS]);
        let grad = f32::cast_from(grad[ABSOLUTE_POS]);
        out[ABSOLUTE_POS] = F::cast_from(grad * slope(z, activation));
    }
}

/// `activation(x * scale + shift)`; scale and shift have one value a plane, or one a channel.
#[cube(launch)]
fn affine_kernel<F: Float>(
    x: &Array<F>,
    scale: &Array<f32>,
    shift: &Array<f32>,
    out: &mut Array<F>,
    plane_px: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let plane = ABSOLUTE_POS / plane_px;
        let z = f32::cast_from(x[ABSOLUTE_POS]) * of_plane(scale, plane) + of_plane(shift, plane);
        out[ABSOLUTE_POS] = F::cast_from(activate(z, activation));
    }
}

/// One plane a workgroup: its mean.
#[cube(launch)]
fn mean_kernel<F: Float>(
    x: &Array<F>,
    out: &mut Array<f32>,
    plane_px: usize,
    #[define(F)] _dtype: StorageType,
) {
    let plane = CUBE_POS;
    if plane >= out.len() {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(GROUP);
    let total = plane_sum(x, plane, plane_px, &mut shared);
    if UNIT_POS == 0 {
        out[plane] = total / f32::cast_from(plane_px);
    }
}

/// One plane a workgroup: the sum of `a * b`.
#[cube(launch)]
fn dot_kernel<F: Float>(
    a: &Array<F>,
    b: &Array<F>,
    out: &mut Array<f32>,
    plane_px: usize,
    #[define(F)] _dtype: StorageType,
) {
    let plane = CUBE_POS;
    if plane >= out.len() {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(GROUP);
    let mut sum = f32::new(0.0);
    let mut pixel = UNIT_POS as usize;
    while pixel < plane_px {
        let place = plane * plane_px + pixel;
        sum += f32::cast_from(a[place]) * f32::cast_from(b[place]);
        pixel += GROUP;
    }
    let total = group_sum(sum, &mut shared);
    if UNIT_POS == 0 {
        out[plane] = total;
    }
}

/// One value of `[n, m]` a unit: `x` `[n, k]` times `weight` `[m, k]`, transposed.
#[cube(launch)]
fn dense_kernel(x: &Array<f32>, weight: &Array<f32>, out: &mut Array<f32>, k: usize, m: usize) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let (row, column) = (ABSOLUTE_POS / m, ABSOLUTE_POS % m);
    let mut sum = f32::new(0.0);
    for i in 0..k {
        sum += x[row * k + i] * weight[column * k + i];
    }
    out[ABSOLUTE_POS] = sum;
}

/// Memory of the shape of `x`.
pub fn like<R: CubeRuntime>(x: &CubeTensor<R>) -> CubeTensor<R> {
    let (client, device) = (x.client.clone(), x.device.clone());
    let shape = x.meta.shape().clone();
    burn_cubecl::ops::numeric::empty_device_contiguous_dtype(client, device, shape, x.dtype)
}

/// `activation(x)`, any shape.
pub fn activated<R: CubeRuntime>(x: CubeTensor<R>, activation: Activation) -> CubeTensor<R> {
    let out = like(&x);
    let (count, dim) = units(&x, x.meta.num_elements());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    activate_kernel::launch(&client, count, dim, array(x), to, activation, dtype.into());
    out
}

/// Gradient of [`activated`].
pub fn activated_grad<R: CubeRuntime>(
    x: CubeTensor<R>,
    grad: CubeTensor<R>,
    activation: Activation,
) -> CubeTensor<R> {
    let out = like(&x);
    let (count, dim) = units(&x, x.meta.num_elements());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    activate_grad_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array(grad),
        to,
        activation,
        dtype.into(),
    );
    out
}

/// `activation(x * scale + shift)` of `[n, c, h, w]`; scale and shift `[c]` or `[n, c]`.
pub fn affine<R: CubeRuntime>(
    x: CubeTensor<R>,
    scale: CubeTensor<R>,
    shift: CubeTensor<R>,
    activation: Activation,
) -> CubeTensor<R> {
    let [_, _, h, w] = x.meta.shape().dims();
    let out = like(&x);
    let (count, dim) = units(&x, x.meta.num_elements());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    affine_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array_f32(scale),
        array_f32(shift),
        to,
        h * w,
        activation,
        dtype.into(),
    );
    out
}

/// Means of planes, `[n, c]`, in single precision.
pub fn means<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    let [n, c, h, w] = x.meta.shape().dims();
    let out = empty_f32(&x, [n, c]);
    let (count, dim) = groups(&x, n * c);
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    mean_kernel::launch(&client, count, dim, array(x), to, h * w, dtype.into());
    out
}

/// Sums of the products of planes, `[n, c]`, in single precision.
pub fn dots<R: CubeRuntime>(a: CubeTensor<R>, b: CubeTensor<R>) -> CubeTensor<R> {
    let [n, c, h, w] = a.meta.shape().dims();
    let out = empty_f32(&a, [n, c]);
    let (count, dim) = groups(&a, n * c);
    let (client, dtype) = (a.client.clone(), a.dtype);
    let to = out.clone().into_array_arg();
    dot_kernel::launch(&client, count, dim, array(a), array(b), to, h * w, dtype.into());
    out
}

/// `x` `[n, k]` times the transpose of `weight` `[m, k]`.
pub fn dense<R: CubeRuntime>(x: CubeTensor<R>, weight: CubeTensor<R>) -> CubeTensor<R> {
    let ([n, k], [m, _]) = (x.meta.shape().dims(), weight.meta.shape().dims());
    let out = empty_f32(&x, [n, m]);
    let (count, dim) = units(&x, n * m);
    let client = x.client.clone();
    let to = out.clone().into_array_arg();
    dense_kernel::launch(&client, count, dim, array_f32(x), array_f32(weight), to, k, m);
    out
}
