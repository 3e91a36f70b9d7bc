//! Depthwise convolution, plane by plane.
//!
//! Each plane is copied into a scratch with its padding, where stride 2 separates even from odd columns: then all taps
//! read runs of neighbouring pixels, and a block of [`BLOCK`] outputs stays in registers over all taps.

use rayon::prelude::*;

use super::{
    buffer, plane,
    simd::{fma, multiversion},
};
use crate::kernels::{Padding, Sliding};

/// Outputs that one inner loop computes.
const BLOCK: usize = 16;

/// A padded plane: rows of `phases` runs (even and odd columns for stride 2), each `run` long.
#[derive(Debug, Clone, Copy)]
struct Layout {
    rows: usize,
    run: usize,
    phases: usize,
}

impl Layout {
    fn row(&self) -> usize {
        self.run * self.phases
    }

    fn len(&self) -> usize {
        self.rows * self.row()
    }

    /// Where the tap `kx` of output column 0 lies in a row.
    fn offset(&self, kx: usize) -> usize {
        kx % self.phases * self.run + kx / self.phases
    }
}

/// Copies a plane with rows of `w` into its place `(top, left)` of a zeroed scratch, its pixels `spread` apart.
fn fill(
    scratch: &mut [f32],
    layout: Layout,
    x: &[f32],
    w: usize,
    top: usize,
    left: usize,
    spread: usize,
) {
    for (y, row) in x.chunks_exact(w).enumerate() {
        let target = &mut scratch[(top + y * spread) * layout.row()..][..layout.row()];
        if layout.phases == 1 && spread == 1 {
            target[left..left + w].copy_from_slice(row);
        } else {
            for (i, value) in row.iter().enumerate() {
                target[layout.offset(left + i * spread)] = *value;
            }
        }
    }
}

#[allow(clippy::inline_always)]
#[inline(always)]
fn convolve_with<const FMA: bool>(
    scratch: &[f32],
    layout: Layout,
    weight: &[f32],
    kernel: usize,
    stride: usize,
    out: &mut [f32],
    out_w: usize,
) {
    for (oy, out) in out.chunks_exact_mut(out_w).enumerate() {
        let rows = &scratch[oy * stride * layout.row()..];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0f32; BLOCK];
            for ky in 0..kernel {
                let row = &rows[ky * layout.row()..][..layout.row()];
                for kx in 0..kernel {
                    let factor = weight[ky * kernel + kx];
                    let seen = &row[layout.offset(kx) + block * BLOCK..][..BLOCK];
                    for i in 0..BLOCK {
                        sums[i] = fma::<FMA>(factor, seen[i], sums[i]);
                    }
                }
            }
            let len = out.len();
            out.copy_from_slice(&sums[..len]);
        }
    }
}

multiversion! {
    fn convolve(
        scratch: &[f32],
        layout: Layout,
        weight: &[f32],
        kernel: usize,
        stride: usize,
        out: &mut [f32],
        out_w: usize,
    ) {
        // Known sizes are unrolled.
        match kernel {
            3 => convolve_with::<FMA>(scratch, layout, weight, 3, stride, out, out_w),
            5 => convolve_with::<FMA>(scratch, layout, weight, 5, stride, out, out_w),
            _ => convolve_with::<FMA>(scratch, layout, weight, kernel, stride, out, out_w),
        }
    }
}

/// `weight` `[channels, 1, k, k]` as `[channels, k, k]`; `x` of shape `[n, channels, h, w]`.
pub fn forward(
    x: &[f32],
    shape: [usize; 4],
    weight: &[f32],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let layout = input_layout(h, w, out_w, kernel, sliding);
    let mut out = buffer::take(n * channels * out_h * out_w);
    let Padding { top, left, .. } = sliding.padding;
    out.par_chunks_mut(out_h * out_w)
        .zip(x.par_chunks(h * w))
        .enumerate()
        .with_min_len(plane::planes_per_task(h * w))
        .for_each_init(
            || vec![0.0; layout.len()],
            |scratch, (p, (out, x))| {
                fill(scratch, layout, x, w, top, left, 1);
                let of_channel = p % channels * kernel * kernel;
                let weight = &weight[of_channel..of_channel + kernel * kernel];
                convolve(scratch, layout, weight, kernel, sliding.stride, out, out_w);
            },
        );
    out
}

/// Room for a padded input, and for blocks that reach beyond the last output column.
fn input_layout(h: usize, w: usize, out_w: usize, kernel: usize, sliding: Sliding) -> Layout {
    let Padding { top, bottom, left, right } = sliding.padding;
    let phases = sliding.stride;
    let padded = (w + left + right).div_ceil(phases);
    let run = padded.max(out_w.next_multiple_of(BLOCK) + kernel.div_ceil(phases));
    Layout { rows: h + top + bottom, run, phases }
}

/// Gradient by the input: the gradient, its pixels a stride apart, convolved by the kernel turned round.
pub fn grad_x(
    grad: &[f32],
    weight: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let stride = sliding.stride;
    let (top, left) = (kernel - 1 - sliding.padding.top, kernel - 1 - sliding.padding.left);
    let rows = (h + kernel - 1).max(top + (out_h - 1) * stride + 1);
    let reach = left + (out_w - 1) * stride + 1;
    let layout = Layout { rows, run: reach.max(w.next_multiple_of(BLOCK) + kernel), phases: 1 };
    let turned: Vec<f32> = weight
        .chunks_exact(kernel * kernel)
        .flat_map(|kernel| kernel.iter().rev().copied())
        .collect();
    let mut out = buffer::take(n * channels * h * w);
    out.par_chunks_mut(h * w)
        .zip(grad.par_chunks(out_h * out_w))
        .enumerate()
        .with_min_len(plane::planes_per_task(h * w))
        .for_each_init(
            || vec![0.0; layout.len()],
            |scratch, (p, (out, grad))| {
                fill(scratch, layout, grad, out_w, top, left, stride);
                let of_channel = p % channels * kernel * kernel;
                let weight = &turned[of_channel..of_channel + kernel * kernel];
                convolve(scratch, layout, weight, kernel, 1, out, w);
            },
        );
    out
}

#[allow(clippy::inline_always)]
#[inline(always)]
fn correlate_with<const FMA: bool, const K: usize>(
    scratch: &[f32],
    layout: Layout,
    stride: usize,
    grad: &[f32],
    grad_w: usize,
    out: &mut [f32],
) {
    for ky in 0..K {
        let mut sums = [[0f32; BLOCK]; K];
        for (oy, grad) in grad.chunks_exact(grad_w).enumerate() {
            let row = &scratch[(oy * stride + ky) * layout.row()..][..layout.row()];
            let mut blocks = grad.chunks_exact(BLOCK);
            let whole = blocks.len();
            for (block, grad) in (&mut blocks).enumerate() {
                for (kx, sums) in sums.iter_mut().enumerate() {
                    let seen = &row[layout.offset(kx) + block * BLOCK..][..BLOCK];
                    for i in 0..BLOCK {
                        sums[i] = fma::<FMA>(grad[i], seen[i], sums[i]);
                    }
                }
            }
            let rest = blocks.remainder();
            for (kx, sums) in sums.iter_mut().enumerate() {
                let seen = &row[layout.offset(kx) + whole * BLOCK..][..rest.len()];
                for ((sum, grad), seen) in sums.iter_mut().zip(rest).zip(seen) {
                    *sum = fma::<FMA>(*grad, *seen, *sum);
                }
            }
        }
        for (kx, sums) in sums.iter().enumerate() {
            out[ky * K + kx] = sums.iter().map(|v| f64::from(*v)).sum::<f64>() as f32;
        }
    }
}

multiversion! {
    fn correlate(
        scratch: &[f32],
        layout: Layout,
        kernel: usize,
        stride: usize,
        grad: &[f32],
        grad_w: usize,
        out: &mut [f32],
    ) {
        match kernel {
            1 => correlate_with::<FMA, 1>(scratch, layout, stride, grad, grad_w, out),
            3 => correlate_with::<FMA, 3>(scratch, layout, stride, grad, grad_w, out),
            5 => correlate_with::<FMA, 5>(scratch, layout, stride, grad, grad_w, out),
            7 => correlate_with::<FMA, 7>(scratch, layout, stride, grad, grad_w, out),
            _ => unreachable!("kernels are 1, 3, 5 or 7 wide"),
        }
    }
}

/// Whether [`grad_weight`] and [`grad_x`] know this kernel.
pub fn supports(kernel: usize, sliding: Sliding) -> bool {
    let p = sliding.padding;
    matches!(kernel, 1 | 3 | 5 | 7)
        && matches!(sliding.stride, 1 | 2)
        && sliding.dilation == 1
        && p.top.max(p.bottom).max(p.left).max(p.right) < kernel
}

/// Gradient by the weight, `[channels, k, k]`.
pub fn grad_weight(
    grad: &[f32],
    x: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let layout = input_layout(h, w, out_w, kernel, sliding);
    let Padding { top, left, .. } = sliding.padding;
    let taps = kernel * kernel;
    let mut of_planes = vec![0f32; n * channels * taps];
    of_planes
        .par_chunks_mut(taps)
        .zip(x.par_chunks(h * w).zip(grad.par_chunks(out_h * out_w)))
        .with_min_len(plane::planes_per_task(h * w))
        .for_each_init(
            || vec![0.0; layout.len()],
            |scratch, (out, (x, grad))| {
                fill(scratch, layout, x, w, top, left, 1);
                correlate(scratch, layout, kernel, sliding.stride, grad, out_w, out);
            },
        );
    // Over the batch in a fixed order, whatever the threads did.
    let row = channels * taps;
    (0..row)
        .map(|i| (0..n).map(|n| f64::from(of_planes[n * row + i])).sum::<f64>() as f32)
        .collect()
}
