//! Batch and group normalisation with what follows: planes are summed up by workgroups, the few numbers a set are joined by
//! tensor operations, and one launch writes the result.

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
use super::pointwise::{activate, like, slope};
use crate::kernels::Activation;

/// One plane a workgroup: its mean, and the sum of squared distances from it (stable: the mean comes first).
#[cube(launch)]
fn moments_kernel<F: Float>(
    x: &Array<F>,
    mean: &mut Array<f32>,
    squares: &mut Array<f32>,
    plane_px: usize,
    #[define(F)] _dtype: StorageType,
) {
    let plane = CUBE_POS;
    if plane >= mean.len() {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(GROUP);
    let centre = plane_sum(x, plane, plane_px, &mut shared) / f32::cast_from(plane_px);
    let mut square = f32::new(0.0);
    let mut pixel = UNIT_POS as usize;
    while pixel < plane_px {
        let d = f32::cast_from(x[plane * plane_px + pixel]) - centre;
        square += d * d;
        pixel += GROUP;
    }
    let total = group_sum(square, &mut shared);
    if UNIT_POS == 0 {
        mean[plane] = centre;
        squares[plane] = total;
    }
}

/// `activation((x - mean) * rstd * gamma + beta)`; arrays have one value a plane, or one a channel.
#[cube(launch)]
fn apply_kernel<F: Float>(
    x: &Array<F>,
    mean: &Array<f32>,
    rstd: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    out: &mut Array<F>,
    plane_px: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let plane = ABSOLUTE_POS / plane_px;
        let mean = of_plane(mean, plane);
        let rstd = of_plane(rstd, plane);
        let gamma = of_plane(gamma, plane);
        let beta = of_plane(beta, plane);
        let unit = (f32::cast_from(x[ABSOLUTE_POS]) - mean) * rstd;
        out[ABSOLUTE_POS] = F::cast_from(activate(unit * gamma + beta, activation));
    }
}

/// One plane a workgroup: the sum of the gradient before the activation, and of its product with the unit values.
#[cube(launch)]
fn grad_sums_kernel<F: Float>(
    x: &Array<F>,
    grad: &Array<F>,
    mean: &Array<f32>,
    rstd: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    sums: &mut Array<f32>,
    along: &mut Array<f32>,
    plane_px: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    let plane = CUBE_POS;
    if plane >= sums.len() {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(GROUP);
    let mean = of_plane(mean, plane);
    let rstd = of_plane(rstd, plane);
    let gamma = of_plane(gamma, plane);
    let beta = of_plane(beta, plane);
    let mut sum = f32::new(0.0);
    let mut product = f32::new(0.0);
    let mut pixel = UNIT_POS as usize;
    while pixel < plane_px {
        let place = plane * plane_px + pixel;
        let unit = (f32::cast_from(x[place]) - mean) * rstd;
        let d = f32::cast_from(grad[place]) * slope(unit * gamma + beta, activation);
        sum += d;
        product += d * unit;
        pixel += GROUP;
    }
    let sum = group_sum(sum, &mut shared);
    let product = group_sum(product, &mut shared);
    if UNIT_POS == 0 {
        sums[plane] = sum;
        along[plane] = product;
    }
}

/// `rstd * (gamma * d - sum - unit * along)`, `d` being the gradient before the activation; sum and along are means over the set.
#[cube(launch)]
fn grad_x_kernel<F: Float>(
    x: &Array<F>,
    grad: &Array<F>,
    mean: &Array<f32>,
    rstd: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    sums: &Array<f32>,
    along: &Array<f32>,
    out: &mut Array<F>,
    plane_px: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let plane = ABSOLUTE_POS / plane_px;
        let mean = of_plane(mean, plane);
        let rstd = of_plane(rstd, plane);
        let gamma = of_plane(gamma, plane);
        let beta = of_plane(beta, plane);
        let sum = of_plane(sums, plane);
        let along = of_plane(along, plane);
        let unit = (f32::cast_from(x[ABSOLUTE_POS]) - mean) * rstd;
        let d = f32::cast_from(grad[ABSOLUTE_POS]) * slope(unit * gamma + beta, activation);
        out[ABSOLUTE_POS] = F::cast_from(rstd * (gamma * d - sum - unit * along));
    }
}

/// Means and summed squared distances of the planes of `[n, c, h, w]`, `[n, c]` each.
pub fn moments<R: CubeRuntime>(x: CubeTensor<R>) -> (CubeTensor<R>, CubeTensor<R>) {
    let [n, c, h, w] = x.meta.shape().dims();
    let (mean, squares) = (empty_f32(&x, [n, c]), empty_f32(&x, [n, c]));
    let (count, dim) = groups(&x, n * c);
    let (client, dtype) = (x.client.clone(), x.dtype);
    let (to_mean, to_squares) = (mean.clone().into_array_arg(), squares.clone().into_array_arg());
    moments_kernel::launch(&client, count, dim, array(x), to_mean, to_squares, h * w, dtype.into());
    (mean, squares)
}

/// What places a plane's values: each `[c]` or `[n, c]`.
#[derive(Debug, Clone)]
pub struct Planes<R: CubeRuntime> {
    pub mean: CubeTensor<R>,
    pub rstd: CubeTensor<R>,
    pub gamma: CubeTensor<R>,
    pub beta: CubeTensor<R>,
}

/// The normalised image.
pub fn apply<R: CubeRuntime>(
    x: CubeTensor<R>,
    p: Planes<R>,
    activation: Activation,
) -> CubeTensor<R> {
    let [_, _, h, w] = x.meta.shape().dims();
    let out = like(&x);
    let (count, dim) = units(&x, x.meta.num_elements());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    apply_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array_f32(p.mean),
        array_f32(p.rstd),
        array_f32(p.gamma),
        array_f32(p.beta),
        to,
        h * w,
        activation,
        dtype.into(),
    );
    out
}

/// Sums of the gradient before the activation, and of its product with the unit values, `[n, c]` each.
pub fn grad_sums<R: CubeRuntime>(
    x: CubeTensor<R>,
    grad: CubeTensor<R>,
    p: Planes<R>,
    activation: Activation,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let [n, c, h, w] = x.meta.shape().dims();
    let (sums, along) = (empty_f32(&x, [n, c]), empty_f32(&x, [n, c]));
    let (count, dim) = groups(&x, n * c);
    let (client, dtype) = (x.client.clone(), x.dtype);
    let (to_sums, to_along) = (sums.clone().into_array_arg(), along.clone().into_array_arg());
    grad_sums_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array(grad),
        array_f32(p.mean),
        array_f32(p.rstd),
        array_f32(p.gamma),
        array_f32(p.beta),
        to_sums,
        to_along,
        h * w,
        activation,
        dtype.into(),
    );
    (sums, along)
}

/// The gradient by the image; `sums` and `along` are means over the set, `[c]` or `[n, c]`.
pub fn grad_x<R: CubeRuntime>(
    x: CubeTensor<R>,
    grad: CubeTensor<R>,
    p: Planes<R>,
    sums: CubeTensor<R>,
    along: CubeTensor<R>,
    activation: Activation,
) -> CubeTensor<R> {
    let [_, _, h, w] = x.meta.shape().dims();
    let out = like(&x);
    let (count, dim) = units(&x, x.meta.num_elements());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let to = out.clone().into_array_arg();
    grad_x_kernel::launch(
        &client,
        count,
        dim,
        array(x),
        array(grad),
        array_f32(p.mean),
        array_f32(p.rstd),
        array_f32(p.gamma),
        array_f32(p.beta),
        array_f32(sums),
        array_f32(along),
        to,
        h * w,
        activation,
        dtype.into(),
    );
    out
}
