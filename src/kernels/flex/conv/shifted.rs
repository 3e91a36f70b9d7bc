//! Stride 1: in an image stored with its padding, every tap sees the same pixels a constant distance further. So the
//! convolution is one product a tap, of the tap's `[out, in]` weights with the padded image from that distance on; no
//! patches are gathered. Columns that wrap around the image's edge are computed and dropped.

use rayon::prelude::*;

use super::matrix::{Matrix, TILE_CHANNELS, TILE_PX, product};
use crate::kernels::flex::buffer::{self, Shared};

/// Images stored with their padding, so that taps are distances.
pub struct Padded {
    /// `[n, channels, step]`.
    pub values: Vec<f32>,
    /// Channels of an image.
    channels: usize,
    /// From one channel to the next.
    pub step: usize,
    /// Of a padded row.
    width: usize,
}

impl Padded {
    /// Planes of `h` by `w` put at `(top, left)` of planes of `height` by `width`, plus `slack` zeros.
    pub fn new(
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
pub fn by_tap(weight: &[f32], channels: (usize, usize), taps: usize, turned: bool) -> Vec<f32> {
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
#[expect(clippy::too_many_arguments, reason = "sizes of a convolution, all plain numbers")]
pub fn shifted(
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
            unsafe { product(channels, px, k, scratch.as_mut_ptr(), px, tap > 0, a, b) };
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
