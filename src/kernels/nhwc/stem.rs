//! The first convolution: few bands, planes one after the other, any kernel and stride.

use rayon::prelude::*;

use super::image::{Image, Pool};
use super::product::{Finish, Inputs, Packed, product};
use super::record::Work;
use super::vector::LANES;
use crate::kernels::{Activation, Sliding};

/// Weights of a convolution of planes `[bands, h, w]` to an [`Image`].
#[derive(Debug, Clone)]
pub struct Stem {
    packed: Packed,
    bias: Vec<f32>,
    activation: Activation,
    bands: usize,
    kernel: usize,
    sliding: Sliding,
}

impl Stem {
    /// From `weight` `[outputs, bands, kernel, kernel]` and a bias an output.
    pub fn new(
        weight: &[f32],
        bias: &[f32],
        bands: usize,
        kernel: usize,
        sliding: Sliding,
        activation: Activation,
    ) -> Self {
        let inputs = bands * kernel * kernel;
        let packed = Packed::new(bias.len(), inputs, |o, i| weight[o * inputs + i]);
        let mut bias = bias.to_vec();
        bias.resize(packed.groups * LANES, 0.0);
        Self { packed, bias, activation, bands, kernel, sliding }
    }

    /// The work of planes of `h` by `w` to `out`.
    pub fn work(&self, h: usize, w: usize, out: &Image) -> Work {
        let weights = self.bands * self.kernel * self.kernel * out.c;
        let operator = format!("stem {0}x{0}/{1}", self.kernel, self.sliding.stride);
        Work::new(operator, [h, w, self.bands], out.shape(), weights * out.h * out.w, weights)
    }

    /// Planes `[bands, h, w]` to an image.
    pub fn apply(&self, planes: &[f32], h: usize, w: usize, c: usize, pool: &mut Pool) -> Image {
        let p = self.sliding.padding;
        let (height, width) = (h + p.top + p.bottom, w + p.left + p.right);
        // The border is written once: then every tap of every pixel lies inside.
        let mut padded = pool.take(self.bands * height * width);
        padded.par_chunks_mut(width).enumerate().with_min_len(64).for_each(|(line, out)| {
            let (band, y) = (line / height, line % height);
            out.fill(0.0);
            if (p.top..p.top + h).contains(&y) {
                let row = &planes[(band * h + y - p.top) * w..][..w];
                out[p.left..p.left + w].copy_from_slice(row);
            }
        });
        let (k, d) = (self.kernel, self.sliding.dilation);
        let offsets: Vec<usize> = (0..self.bands * k * k)
            .map(|i| {
                let (band, tap) = (i / (k * k), i % (k * k));
                (band * height + tap / k * d) * width + tap % k * d
            })
            .collect();
        let (out_h, out_w) = self.sliding.output_size(h, w, k);
        let mut out = pool.image(out_h, out_w, c);
        let (step, row) = (out.step, out.step * out_w);
        out.values.par_chunks_mut(row).enumerate().with_min_len(4).for_each(|(y, out)| {
            let values = &padded[y * self.sliding.stride * width..];
            let inputs =
                Inputs { values, step: self.sliding.stride, rows: out_w, offsets: &offsets };
            let finish = Finish { bias: &self.bias, activation: self.activation, residual: &[] };
            product(inputs, &self.packed, 0..self.packed.groups, out, step, Some(finish));
        });
        pool.give_values(padded);
        out
    }
}
