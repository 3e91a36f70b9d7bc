//! Other strides (the stem): patches are gathered, and multiplied.

use rayon::prelude::*;

use super::matrix::{Matrix, TILE_PX, product};
use super::over_images;
use crate::kernels::Sliding;
use crate::kernels::flex::buffer::{self, Shared};

/// Patches of some output rows of one image: `[in * k * k, rows * out_w]`.
fn patches(
    x: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
    rows: std::ops::Range<usize>,
    out: &mut [f32],
) {
    let [_, channels, h, w] = shape;
    let (_, out_w) = sliding.output_size(h, w, kernel);
    let px = rows.len() * out_w;
    for c in 0..channels {
        for ky in 0..kernel {
            for kx in 0..kernel {
                let line = &mut out[((c * kernel + ky) * kernel + kx) * px..][..px];
                for (line, oy) in line.chunks_exact_mut(out_w).zip(rows.clone()) {
                    let y = (oy * sliding.stride + ky * sliding.dilation)
                        .wrapping_sub(sliding.padding.top);
                    if y >= h {
                        line.fill(0.0);
                        continue;
                    }
                    let row = &x[(c * h + y) * w..][..w];
                    for (ox, value) in line.iter_mut().enumerate() {
                        let at = (ox * sliding.stride + kx * sliding.dilation)
                            .wrapping_sub(sliding.padding.left);
                        *value = if at < w { row[at] } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// Convolution of any stride.
pub fn strided(
    x: &[f32],
    shape: [usize; 4],
    weight: &[f32],
    m: usize,
    bias: Option<&[f32]>,
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let k = channels * kernel * kernel;
    let mut out = buffer::take(n * m * out_h * out_w);
    let shared = Shared::new(&mut out);
    let tile_rows = (TILE_PX / out_w).clamp(1, out_h);
    let tiles = out_h.div_ceil(tile_rows);
    (0..n * tiles).into_par_iter().for_each_init(Vec::new, |scratch: &mut Vec<f32>, task| {
        let (image, first_row) = (task / tiles, task % tiles * tile_rows);
        let rows = first_row..(first_row + tile_rows).min(out_h);
        let px = rows.len() * out_w;
        scratch.resize((k + m) * px, 0.0);
        let (seen, sums) = scratch.split_at_mut(k * px);
        patches(&x[image * channels * h * w..], shape, kernel, sliding, rows, seen);
        // SAFETY: a is [m, k] = all of the weight, b is [k, px] = all of the patches.
        unsafe {
            let (a, b) = (Matrix::new(weight, 0, k, 1), Matrix::new(seen, 0, px, 1));
            product(m, px, k, sums.as_mut_ptr(), px, false, a, b);
        };
        for c in 0..m {
            // SAFETY: these rows of this channel belong to this task.
            let out = unsafe { shared.slice(((image * m + c) * out_h + first_row) * out_w, px) };
            let bias = bias.map_or(0.0, |bias| bias[c]);
            for (out, sum) in out.iter_mut().zip(&sums[c * px..]) {
                *out = sum + bias;
            }
        }
    });
    out
}

/// Gradient by the weight, of any stride.
pub fn strided_grad_weight(
    grad: &[f32],
    m: usize,
    x: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let (k, px) = (channels * kernel * kernel, out_h * out_w);
    let mut of_images = buffer::take(n * m * k);
    of_images.par_chunks_mut(m * k).enumerate().for_each_init(
        Vec::new,
        |seen: &mut Vec<f32>, (image, out)| {
            seen.resize(k * px, 0.0);
            patches(&x[image * channels * h * w..], shape, kernel, sliding, 0..out_h, seen);
            let (a, b) = (Matrix::new(grad, image * m * px, px, 1), Matrix::new(seen, 0, 1, px));
            // SAFETY: a is the image's [m, px] gradient, b all of the patches, transposed.
            unsafe { product(m, k, px, out.as_mut_ptr(), k, false, a, b) };
        },
    );
    over_images(&of_images, n, 1, m, k)
}
