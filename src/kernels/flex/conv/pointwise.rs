//! A 1x1 convolution: one product an image.

use rayon::prelude::*;

use super::matrix::{Matrix, TILE_CHANNELS, TILE_PX, product};
use crate::kernels::flex::buffer::{self, Shared};

/// A 1x1 convolution: `weight` is `[m, k]` with the given steps, images are `[k, px]`.
pub fn pointwise(
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
        if let Some(bias) = bias {
            for c in 0..channels {
                // SAFETY: these pixels of these channels belong to this task.
                let out = unsafe { shared.slice(start + c * px, count) };
                out.fill(bias[first + c]);
            }
        }
        // SAFETY: these pixels of these channels belong to this task, and end where the pointer's length ends; b ends with
        // its image.
        unsafe {
            let out = shared.pointer(start, (channels - 1) * px + count);
            product(channels, count, k, out, px, bias.is_some(), a, b);
        }
    });
    out
}
