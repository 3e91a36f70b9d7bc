//! Dense convolution, by what suits it: 1x1 as one product (`pointwise`), 3x3 of many channels by Winograd's algorithm
//! (`winograd`), other kernels of stride 1 as one product a tap (`shifted`), other strides by patches (`strided`).
//!
//! Work is cut by sizes that do not depend on the number of threads, and each product runs on one thread.

mod matrix;
mod pointwise;
mod shifted;
mod strided;
mod winograd;

use rayon::prelude::*;

use self::matrix::{Matrix, TILE_CHANNELS, product};
use self::pointwise::pointwise;
use self::shifted::{Padded, by_tap, shifted};
use self::strided::{strided, strided_grad_weight};
use super::buffer::{self, Shared};
use crate::kernels::{Sliding, nhwc::Conv3x3};

/// Convolution of `[n, in, h, w]` by `[m, in, k, k]`.
pub fn forward(
    x: &[f32],
    shape: [usize; 4],
    weight: &[f32],
    m: usize,
    bias: Option<&[f32]>,
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let p = sliding.padding;
    if sliding.stride != 1 {
        return strided(x, shape, weight, m, bias, kernel, sliding);
    }
    if kernel == 1 && p == crate::kernels::Padding::default() {
        return pointwise(x, n, h * w, weight, (m, channels), false, bias);
    }
    if bias.is_none() && winograd::suits(m, shape, kernel, sliding) {
        return winograd::convolve(x, shape, &Conv3x3::new(weight, m, channels));
    }
    let size = (h + p.top + p.bottom, w + p.left + p.right);
    let reach = sliding.dilation * (kernel - 1);
    let padded = Padded::new(x, shape, (p.top, p.left), size, reach);
    let packed = by_tap(weight, (m, channels), kernel * kernel, false);
    shifted(
        &padded,
        n,
        &packed,
        m,
        bias,
        kernel,
        sliding.dilation,
        sliding.output_size(h, w, kernel),
    )
}

/// Whether [`grad_x`] knows this convolution.
pub fn supports_grad_x(kernel: usize, sliding: Sliding) -> bool {
    let (p, reach) = (sliding.padding, sliding.dilation * (kernel - 1));
    sliding.stride == 1
        && p.top <= reach
        && p.bottom <= reach
        && p.left <= reach
        && p.right <= reach
}

/// Gradient by the input of shape `shape`; stride 1.
pub fn grad_x(
    grad: &[f32],
    m: usize,
    weight: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let p = sliding.padding;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    if kernel == 1 {
        return pointwise(grad, n, h * w, weight, (channels, m), true, None);
    }
    if winograd::suits(m, shape, kernel, sliding) {
        let weights = Conv3x3::turned(weight, m, channels);
        return winograd::convolve(grad, [n, m, h, w], &weights);
    }
    let reach = sliding.dilation * (kernel - 1);
    let size = (out_h + 2 * reach - p.top - p.bottom, out_w + 2 * reach - p.left - p.right);
    let at = (reach - p.top, reach - p.left);
    // Its output has the input's size: h + 2 reach - reach - ... = size - reach.
    debug_assert_eq!((size.0 - reach, size.1 - reach), (h, w));
    let size = (size.0.max(at.0 + out_h), size.1.max(at.1 + out_w));
    let padded = Padded::new(grad, [n, m, out_h, out_w], at, size, reach);
    let packed = by_tap(weight, (m, channels), kernel * kernel, true);
    shifted(&padded, n, &packed, channels, None, kernel, sliding.dilation, (h, w))
}

/// Adds up `[n, taps, m, k]` over n and returns `[m, k, taps]`.
fn over_images(of_images: &[f32], n: usize, taps: usize, m: usize, k: usize) -> Vec<f32> {
    let of_image = taps * m * k;
    let mut out = vec![0.0; of_image];
    out.par_chunks_mut(taps).enumerate().with_min_len(1024).for_each(|(mk, out)| {
        for (tap, out) in out.iter_mut().enumerate() {
            *out = (0..n)
                .map(|image| f64::from(of_images[image * of_image + tap * m * k + mk]))
                .sum::<f64>() as f32;
        }
    });
    out
}

/// Gradient by the weight `[m, in, k, k]`.
pub fn grad_weight(
    grad: &[f32],
    m: usize,
    x: &[f32],
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
) -> Vec<f32> {
    let [n, channels, h, w] = shape;
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    if sliding.stride != 1 {
        return strided_grad_weight(grad, m, x, shape, kernel, sliding);
    }
    let p = sliding.padding;
    let plain = kernel == 1 && p == crate::kernels::Padding::default();
    let reach = sliding.dilation * (kernel - 1);
    let width = if plain { w } else { w + p.left + p.right };
    // Gradient rows as wide as the padded input's, zero where the input wraps around.
    let (padded_x, padded_grad);
    let (x, x_step, grad, grad_step) = if plain {
        (x, h * w, grad, h * w)
    } else {
        padded_x = Padded::new(x, shape, (p.top, p.left), (h + p.top + p.bottom, width), reach);
        padded_grad = Padded::new(grad, [n, m, out_h, out_w], (0, 0), (out_h, width), 0);
        (&padded_x.values[..], padded_x.step, &padded_grad.values[..], padded_grad.step)
    };
    let px = (out_h - 1) * width + out_w;
    let taps = kernel * kernel;
    let parts = m.div_ceil(TILE_CHANNELS);
    let mut of_images = buffer::take(n * taps * m * channels);
    let shared = Shared::new(&mut of_images);
    (0..n * taps * parts).into_par_iter().for_each(|task| {
        let (image, tap, part) = (task / parts / taps, task / parts % taps, task % parts);
        let shift = tap / kernel * sliding.dilation * width + tap % kernel * sliding.dilation;
        let first = part * TILE_CHANNELS;
        let rows = TILE_CHANNELS.min(m - first);
        let a = Matrix::new(grad, (image * m + first) * grad_step, grad_step, 1);
        let from = image * channels * x_step + shift;
        assert!(from + (channels - 1) * x_step + px <= x.len(), "tap beyond the padded image");
        let b = Matrix::new(x, from, 1, x_step);
        // SAFETY: each task has its own rows of its own tap and image; b's last value was checked, a is [rows, px].
        unsafe {
            let out = shared.slice(((image * taps + tap) * m + first) * channels, rows * channels);
            product(rows, channels, px, out.as_mut_ptr(), channels, false, a, b);
        }
    });
    over_images(&of_images, n, taps, m, channels)
}
