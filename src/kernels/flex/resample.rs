//! Upsampling by whole factors, plane by plane.

use rayon::prelude::*;

use super::{
    buffer, plane,
    simd::{fma, multiversion},
};
use crate::kernels::plain::bilinear_taps;

/// Two source pixels of an output pixel and the weight of the second.
type Taps = Vec<(usize, usize, f32)>;

multiversion! {
    fn mix(a: &[f32], b: &[f32], weight: f32, out: &mut [f32]) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            *out = fma::<FMA>(*b - *a, weight, *a);
        }
    }
}

multiversion! {
    fn add_scaled(x: &[f32], scale: f32, out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = fma::<FMA>(*x, scale, *out);
        }
    }
}

fn bilinear_plane(
    x: &[f32],
    w: usize,
    rows: &[(usize, usize, f32)],
    cols: &Taps,
    line: &mut [f32],
    out: &mut [f32],
) {
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(cols.len())) {
        mix(&x[row.0 * w..(row.0 + 1) * w], &x[row.1 * w..(row.1 + 1) * w], row.2, line);
        for (col, out) in cols.iter().zip(out) {
            let (a, b) = (line[col.0], line[col.1]);
            *out = a + (b - a) * col.2;
        }
    }
}

fn bilinear_plane_grad(
    grad: &[f32],
    w: usize,
    rows: &Taps,
    cols: &Taps,
    line: &mut [f32],
    out: &mut [f32],
) {
    out.fill(0.0);
    for (row, grad) in rows.iter().zip(grad.chunks_exact(cols.len())) {
        line.fill(0.0);
        for (col, grad) in cols.iter().zip(grad) {
            line[col.0] += grad * (1.0 - col.2);
            line[col.1] += grad * col.2;
        }
        add_scaled(line, 1.0 - row.2, &mut out[row.0 * w..(row.0 + 1) * w]);
        add_scaled(line, row.2, &mut out[row.1 * w..(row.1 + 1) * w]);
    }
}

/// Bilinear upsampling of planes of `h` by `w`.
pub fn bilinear(x: &[f32], h: usize, w: usize, factor: usize, align_corners: bool) -> Vec<f32> {
    let (rows, cols) =
        (bilinear_taps(h, factor, align_corners), bilinear_taps(w, factor, align_corners));
    let mut out = buffer::take(x.len() * factor * factor);
    let out_px = h * w * factor * factor;
    // A plane may be all that there is.
    let task_rows = plane::planes_per_task(cols.len());
    out.par_chunks_mut(out_px)
        .zip(x.par_chunks(h * w))
        .with_min_len(plane::planes_per_task(out_px))
        .for_each(|(out, x)| {
            out.par_chunks_mut(task_rows * cols.len())
                .zip(rows.par_chunks(task_rows))
                .for_each_init(
                    || vec![0.0; w],
                    |line, (out, rows)| bilinear_plane(x, w, rows, &cols, line, out),
                );
        });
    out
}

/// Gradient of [`bilinear`]; `h` and `w` are those of the gradient.
pub fn bilinear_grad(
    grad: &[f32],
    h: usize,
    w: usize,
    factor: usize,
    align_corners: bool,
) -> Vec<f32> {
    let (h, w) = (h / factor, w / factor);
    let (rows, cols) =
        (bilinear_taps(h, factor, align_corners), bilinear_taps(w, factor, align_corners));
    let mut out = buffer::take(grad.len() / (factor * factor));
    let grad_px = h * w * factor * factor;
    out.par_chunks_mut(h * w)
        .zip(grad.par_chunks(grad_px))
        .with_min_len(plane::planes_per_task(grad_px))
        .for_each_init(
            || vec![0.0; w],
            |line, (out, grad)| bilinear_plane_grad(grad, w, &rows, &cols, line, out),
        );
    out
}

/// Every pixel of planes with rows of `w` becomes a block.
pub fn nearest(x: &[f32], w: usize, factor: usize) -> Vec<f32> {
    let mut out = buffer::take(x.len() * factor * factor);
    let wide = w * factor;
    // One source row gives `factor` equal rows.
    out.par_chunks_mut(wide * factor)
        .zip(x.par_chunks(w))
        .with_min_len(plane::planes_per_task(wide * factor))
        .for_each(|(out, x)| {
            for (block, x) in out[..wide].chunks_exact_mut(factor).zip(x) {
                block.fill(*x);
            }
            for row in 1..factor {
                out.copy_within(..wide, row * wide);
            }
        });
    out
}

/// Sums of the blocks; `w` is the row of the gradient.
pub fn nearest_grad(grad: &[f32], w: usize, factor: usize) -> Vec<f32> {
    let mut out = buffer::take(grad.len() / (factor * factor));
    out.par_chunks_mut(w / factor)
        .zip(grad.par_chunks(w * factor))
        .with_min_len(plane::planes_per_task(w * factor))
        .for_each(|(out, grad)| {
            for (col, out) in out.iter_mut().enumerate() {
                *out = (0..factor)
                    .map(|row| grad[row * w + col * factor..][..factor].iter().sum::<f32>())
                    .sum();
            }
        });
    out
}
