//! Operators on whole image planes, and the activations `SiLU` and Mish.

use rayon::prelude::*;

use super::{
    buffer,
    simd::{self, LANES, fma, multiversion, sigmoid, total},
};

/// Values that one task works on where there are no planes.
const CHUNK: usize = 1 << 15;

multiversion! {
    fn silu_slice(x: &[f32], out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = *x * sigmoid::<FMA>(*x);
        }
    }
}

multiversion! {
    fn silu_grad_slice(x: &[f32], grad: &[f32], out: &mut [f32]) {
        for ((x, grad), out) in x.iter().zip(grad).zip(out) {
            let gate = sigmoid::<FMA>(*x);
            *out = *grad * gate * fma::<FMA>(*x, 1.0 - gate, 1.0);
        }
    }
}

multiversion! {
    fn mish_slice(x: &[f32], out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = simd::mish::<FMA>(*x);
        }
    }
}

multiversion! {
    fn mish_grad_slice(x: &[f32], grad: &[f32], out: &mut [f32]) {
        for ((x, grad), out) in x.iter().zip(grad).zip(out) {
            *out = *grad * simd::mish_slope::<FMA>(*x);
        }
    }
}

fn by_chunk(x: &[f32], each: fn(&[f32], &mut [f32])) -> Vec<f32> {
    let mut out = buffer::take(x.len());
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| each(x, out));
    out
}

fn by_chunk_of_two(a: &[f32], b: &[f32], each: fn(&[f32], &[f32], &mut [f32])) -> Vec<f32> {
    let mut out = buffer::take(a.len());
    out.par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)))
        .for_each(|(out, (a, b))| each(a, b, out));
    out
}

/// `x * sigmoid(x)`.
pub fn silu(x: &[f32]) -> Vec<f32> {
    by_chunk(x, silu_slice)
}

/// Gradient of [`silu`].
pub fn silu_grad(x: &[f32], grad: &[f32]) -> Vec<f32> {
    by_chunk_of_two(x, grad, silu_grad_slice)
}

/// `x * tanh(softplus(x))`.
pub fn mish(x: &[f32]) -> Vec<f32> {
    by_chunk(x, mish_slice)
}

/// Gradient of [`mish`].
pub fn mish_grad(x: &[f32], grad: &[f32]) -> Vec<f32> {
    by_chunk_of_two(x, grad, mish_grad_slice)
}

multiversion! {
    /// Sum of a slice.
    pub fn sum(x: &[f32]) -> f64 {
        let _ = FMA;
        let mut sum = 0.0;
        // Lanes in f32 for a while, then in f64: as exact as needed at any length.
        for block in x.chunks(LANES * 64) {
            let mut lanes = [0f32; LANES];
            let mut rows = block.chunks_exact(LANES);
            for row in &mut rows {
                for (lane, x) in lanes.iter_mut().zip(row) {
                    *lane += *x;
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rows.remainder()) {
                *lane += *x;
            }
            sum += total(&lanes);
        }
        sum
    }
}

multiversion! {
    fn dot(a: &[f32], b: &[f32]) -> f64 {
        let mut sum = 0.0;
        for (a, b) in a.chunks(LANES * 64).zip(b.chunks(LANES * 64)) {
            let mut lanes = [0f32; LANES];
            let (mut rows_a, mut rows_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            for (a, b) in (&mut rows_a).zip(&mut rows_b) {
                for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane = fma::<FMA>(*a, *b, *lane);
                }
            }
            for ((lane, a), b) in lanes.iter_mut().zip(rows_a.remainder()).zip(rows_b.remainder()) {
                *lane = fma::<FMA>(*a, *b, *lane);
            }
            sum += total(&lanes);
        }
        sum
    }
}

multiversion! {
    fn affine_slice(x: &[f32], scale: f32, shift: f32, out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = fma::<FMA>(*x, scale, shift);
        }
    }
}

/// Planes that one task takes, so that it has some thousands of values.
pub fn planes_per_task(plane_px: usize) -> usize {
    (CHUNK / 2).div_ceil(plane_px.max(1))
}

/// Mean of every plane of `plane_px` values.
pub fn mean(x: &[f32], plane_px: usize) -> Vec<f32> {
    x.par_chunks(plane_px)
        .with_min_len(planes_per_task(plane_px))
        .map(|plane| (sum(plane) / plane_px as f64) as f32)
        .collect()
}

/// Sum of the products of every plane.
pub fn dots(a: &[f32], b: &[f32], plane_px: usize) -> Vec<f32> {
    a.par_chunks(plane_px)
        .zip(b.par_chunks(plane_px))
        .with_min_len(planes_per_task(plane_px))
        .map(|(a, b)| dot(a, b) as f32)
        .collect()
}

/// `x * scale + shift`, one a plane.
pub fn affine(x: &[f32], scale: &[f32], shift: Option<&[f32]>, plane_px: usize) -> Vec<f32> {
    let mut out = buffer::take(x.len());
    out.par_chunks_mut(plane_px)
        .zip(x.par_chunks(plane_px))
        .enumerate()
        .with_min_len(planes_per_task(plane_px))
        .for_each(|(plane, (out, x))| {
            affine_slice(x, scale[plane], shift.map_or(0.0, |shift| shift[plane]), out);
        });
    out
}
