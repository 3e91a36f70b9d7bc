//! Dense convolution as matrix products.
//!
//! Stride 1: in an image stored with its padding, every tap sees the same pixels a constant distance further. So the
//! convolution is one product a tap, of the tap's `[out, in]` weights with the padded image from that distance on; no
//! patches are gathered. Columns that wrap around the image's edge are computed and dropped. A 1x1 convolution is the
//! case of one tap and no padding.
//!
//! Other strides (the stem) gather patches.
//!
//! Work is cut by sizes that do not depend on the number of threads, and each product runs on one thread.

use gemm::Parallelism;
use rayon::prelude::*;

use super::buffer::{self, Shared};
use crate::kernels::Sliding;

/// Pixels that one task computes: the products of all taps stay in the L2 cache (128 channels: 1 MB).
const TILE_PX: usize = 2048;
/// Output channels that one task computes.
const TILE_CHANNELS: usize = 256;

/// A matrix: its start, and steps between columns and rows.
#[derive(Clone, Copy)]
struct Matrix {
    start: *const f32,
    cols: usize,
    rows: usize,
}

impl Matrix {
    fn new(values: &[f32], from: usize, rows: usize, cols: usize) -> Self {
        Self { start: values[from..].as_ptr(), cols, rows }
    }
}

/// `out = a b`, plus `out` where `add`; `out` is `[m, n]` with rows `step` apart.
///
/// # Safety
/// All of `a` `[m, k]` and `b` `[k, n]` must lie in their slices.
#[expect(clippy::too_many_arguments, reason = "sizes and matrices of a GEMM")]
unsafe fn product(
    m: usize,
    n: usize,
    k: usize,
    out: &mut [f32],
    step: usize,
    add: bool,
    a: Matrix,
    b: Matrix,
) {
    assert!(m > 0 && (m - 1) * step + n <= out.len(), "product beyond its memory");
    // SAFETY: `out` was checked; `a` and `b` are the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            step as isize,
            add,
            a.start,
            a.cols as isize,
            a.rows as isize,
            b.start,
            b.cols as isize,
            b.rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Images stored with their padding, so that taps are distances.
struct Padded {
    values: Vec<f32>,
    /// Channels of an image.
    channels: usize,
    /// From one channel to the next.
    step: usize,
    /// Of a padded row.
    width: usize,
}

impl Padded {
    /// Planes of `h` by `w` put at `(top, left)` of planes of `height` by `width`, plus `slack` zeros.
    fn new(
        x: &[f32],
        shape: [usize; 4],
        at: (usize, usize),
        size: (usize, usize),
        slack: usize,
    ) -> Self {
        let [n, channels, h, w] = shape;
        let ((top, left), (height, width)) = (at, size);
        let step = height * width + slack;
        let mut values = buffer::take(n * channels * step);
        values.par_chunks_mut(step).zip(x.par_chunks(h * w)).with_min_len(4).for_each(
            |(out, x)| {
                out[..top * width].fill(0.0);
                for (row, x) in x.chunks_exact(w).enumerate() {
                    let out = &mut out[(top + row) * width..][..width];
                    out[..left].fill(0.0);
                    out[left..left + w].copy_from_slice(x);
                    out[left + w..].fill(0.0);
                }
                out[(top + h) * width..].fill(0.0);
            },
        );
        Self { values, channels, step, width }
    }
}

/// `[taps, out, in]` of a weight `[out, in, k, k]`; or turned round and `[taps, in, out]`, which is the convolution that
/// the gradient by the input is.
fn by_tap(weight: &[f32], channels: (usize, usize), taps: usize, turned: bool) -> Vec<f32> {
    let (out, channels_in) = channels;
    let mut packed = vec![0.0; weight.len()];
    for o in 0..out {
        for i in 0..channels_in {
            for tap in 0..taps {
                let value = weight[(o * channels_in + i) * taps + tap];
                if turned {
                    packed[((taps - 1 - tap) * channels_in + i) * out + o] = value;
                } else {
                    packed[(tap * out + o) * channels_in + i] = value;
                }
            }
        }
    }
    packed
}

/// Convolution of stride 1 of padded images by weights `[taps, m, in]`, to `[n, m, out_h, out_w]`.
#[expect(clippy::too_many_arguments, reason = "the shape of a convolution")]
fn shifted(
    x: &Padded,
    n: usize,
    weight: &[f32],
    m: usize,
    bias: Option<&[f32]>,
    kernel: usize,
    dilation: usize,
    out_size: (usize, usize),
) -> Vec<f32> {
    let (out_h, out_w) = out_size;
    let (k, width) = (x.channels, x.width);
    let mut out = buffer::take(n * m * out_h * out_w);
    let shared = Shared::new(&mut out);
    let tile_rows = (TILE_PX / width).clamp(1, out_h);
    let (tiles, parts) = (out_h.div_ceil(tile_rows), m.div_ceil(TILE_CHANNELS));
    (0..n * tiles * parts).into_par_iter().for_each_init(Vec::new, |scratch, task| {
        let (image, tile, part) = (task / parts / tiles, task / parts % tiles, task % parts);
        let first_row = tile * tile_rows;
        let rows = tile_rows.min(out_h - first_row);
        let first = part * TILE_CHANNELS;
        let channels = TILE_CHANNELS.min(m - first);
        // The last row needs no columns beyond its own.
        let px = (rows - 1) * width + out_w;
        scratch.resize(channels * px, 0.0);
        for tap in 0..kernel * kernel {
            let shift = tap / kernel * dilation * width + tap % kernel * dilation;
            let a = Matrix::new(weight, (tap * m + first) * k, k, 1);
            let from = image * k * x.step + first_row * width + shift;
            let b = Matrix::new(&x.values, from, x.step, 1);
            assert!(from + (k - 1) * x.step + px <= x.values.len(), "tap beyond the padded image");
            // SAFETY: the last value of b was just checked; a is [channels, k] inside its tap.
            unsafe { product(channels, px, k, scratch, px, tap > 0, a, b) };
        }
        for c in 0..channels {
            let place = ((image * m + first + c) * out_h + first_row) * out_w;
            // SAFETY: rows of one channel of one image belong to one task.
            let out = unsafe { shared.slice(place, rows * out_w) };
            let bias = bias.map_or(0.0, |bias| bias[first + c]);
            for (row, out) in out.chunks_exact_mut(out_w).enumerate() {
                let sums = &scratch[c * px + row * width..][..out_w];
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum + bias;
                }
            }
        }
    });
    out
}

/// A 1x1 convolution: `weight` is `[m, k]` with the given steps, images are `[k, px]`.
fn pointwise(
    x: &[f32],
    n: usize,
    px: usize,
    weight: &[f32],
    (m, k): (usize, usize),
    turned: bool,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut out = buffer::take(n * m * px);
    let shared = Shared::new(&mut out);
    let tiles = px.div_ceil(TILE_PX);
    let parts = m.div_ceil(TILE_CHANNELS);
    (0..n * tiles * parts).into_par_iter().for_each(|task| {
        let (image, tile, part) = (task / parts / tiles, task / parts % tiles, task % parts);
        let (from, first) = (tile * TILE_PX, part * TILE_CHANNELS);
        let (count, channels) = (TILE_PX.min(px - from), TILE_CHANNELS.min(m - first));
        // [m, k], or the transpose of [k, m].
        let a = if turned {
            Matrix::new(weight, first, 1, m)
        } else {
            Matrix::new(weight, first * k, k, 1)
        };
        let b = Matrix::new(x, image * k * px + from, px, 1);
        let start = (image * m + first) * px + from;
        for c in 0..channels {
            // SAFETY: these pixels of these channels belong to this task.
            let out = unsafe { shared.slice(start + c * px, count) };
            out.fill(bias.map_or(0.0, |bias| bias[first + c]));
        }
        // SAFETY: the rows' gaps are written by other tasks, and gemm touches only its own columns; b ends with image.
        unsafe {
            let out = shared.slice(start, (channels - 1) * px + count);
            product(channels, count, k, out, px, bias.is_some(), a, b);
        }
    });
    out
}

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

fn strided(
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
            product(
                m,
                px,
                k,
                sums,
                px,
                false,
                Matrix::new(weight, 0, k, 1),
                Matrix::new(seen, 0, px, 1),
            );
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
            product(rows, channels, px, out, channels, false, a, b);
        }
    });
    over_images(&of_images, n, taps, m, channels)
}

fn strided_grad_weight(
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
            unsafe { product(m, k, px, out, k, false, a, b) };
        },
    );
    over_images(&of_images, n, 1, m, k)
}
