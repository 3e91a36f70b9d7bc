//! What a decoder does around its convolutions: group normalisation, `ReLU`, upsampling, logits.

use rayon::prelude::*;

use super::image::{Image, Pool};
use super::vector::{LANES, vectorised};
use crate::kernels::plain::bilinear_taps;

/// Count, mean and summed squared distances from it, one a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

vectorised! {
    /// Sums of the channels of `px` pixels, and of the squared distances from `centre`.
    fn channel_sums<V>(x: *const f32, px: usize, step: usize, centre: *const f32, sums: *mut f32, squares: *mut f32) {
        for c in (0..step).step_by(LANES) {
            let centre = V::load(centre.add(c));
            let (mut sum, mut square) = ([V::splat(0.0); 4], [V::splat(0.0); 4]);
            for p in 0..px {
                let d = V::load(x.add(p * step + c)).sub(centre);
                sum[p % 4] = sum[p % 4].add(d);
                square[p % 4] = d.fma(d, square[p % 4]);
            }
            sum[0].add(sum[1]).add(sum[2].add(sum[3])).store(sums.add(c));
            square[0].add(square[1]).add(square[2].add(square[3])).store(squares.add(c));
        }
    }
}

impl Moments {
    /// Of pixels `[px, step]`.
    pub fn of(x: &[f32], step: usize) -> Self {
        let px = x.len() / step;
        // Distances are taken from the first pixel, which is near enough the mean for single precision.
        let centre = &x[..step];
        let (mut sums, mut squares) = (vec![0f32; step], vec![0f32; step]);
        // SAFETY: `px * step` values are there, and `step` centres and sums.
        unsafe {
            let (sums, squares) = (sums.as_mut_ptr(), squares.as_mut_ptr());
            channel_sums(x.as_ptr(), px, step, centre.as_ptr(), sums, squares);
        }
        let count = px as f64;
        let offset: Vec<f64> = sums.iter().map(|sum| f64::from(*sum) / count).collect();
        let squares = squares
            .iter()
            .zip(&offset)
            .map(|(square, offset)| (f64::from(*square) - count * offset * offset).max(0.0))
            .collect();
        let mean = offset.iter().zip(centre).map(|(d, centre)| d + f64::from(*centre)).collect();
        Self { count, mean, squares }
    }

    /// Of all together (Chan et al. 1979).
    pub fn joined(parts: &[Self]) -> Self {
        let channels = parts.first().map_or(0, |part| part.mean.len());
        let count: f64 = parts.iter().map(|part| part.count).sum();
        let over = |c: usize| {
            let mean = parts.iter().map(|p| p.mean[c] * p.count).sum::<f64>() / count;
            let apart = |p: &Self| p.squares[c] + p.count * (p.mean[c] - mean).powi(2);
            (mean, parts.iter().map(apart).sum::<f64>())
        };
        let (mean, squares) = (0..channels).map(over).unzip();
        Self { count, mean, squares }
    }

    /// Scale and shift a channel of the group normalisation with these moments.
    pub fn group_norm(
        &self,
        groups: usize,
        gamma: &[f32],
        beta: &[f32],
        eps: f64,
    ) -> (Vec<f32>, Vec<f32>) {
        let of_group = gamma.len() / groups;
        let (mut scale, mut shift) = (vec![0.0; self.mean.len()], vec![0.0; self.mean.len()]);
        for group in 0..groups {
            let channels = group * of_group..(group + 1) * of_group;
            let channel = |c: usize| Self {
                count: self.count,
                mean: vec![self.mean[c]],
                squares: vec![self.squares[c]],
            };
            let all = Self::joined(&channels.clone().map(channel).collect::<Vec<_>>());
            let (mean, var) = (all.mean[0], all.squares[0] / all.count);
            let rstd = 1.0 / (var + eps).sqrt();
            for c in channels {
                let factor = f64::from(gamma[c]) * rstd;
                scale[c] = factor as f32;
                shift[c] = (f64::from(beta[c]) - mean * factor) as f32;
            }
        }
        (scale, shift)
    }
}

vectorised! {
    /// `max(x * scale + shift, 0)` of two rows, mixed: `first + (second - first) * weight`.
    fn mix_rows<V>(first: *const f32, second: *const f32, weight: f32, scale: *const f32, shift: *const f32, out: *mut f32, w: usize, step: usize) {
        let weight = V::splat(weight);
        for c in (0..step).step_by(LANES) {
            let (scale, shift) = (V::load(scale.add(c)), V::load(shift.add(c)));
            for p in 0..w {
                let place = p * step + c;
                let a = V::load(first.add(place)).fma(scale, shift).max(V::splat(0.0));
                let b = V::load(second.add(place)).fma(scale, shift).max(V::splat(0.0));
                b.sub(a).fma(weight, a).store(out.add(place));
            }
        }
    }
}

vectorised! {
    /// A row whose pixels are `first + (second - first) * weight` of two pixels of another.
    fn mix_pixels<V>(x: *const f32, columns: &[(usize, usize, f32)], out: *mut f32, step: usize) {
        for (p, (first, second, weight)) in columns.iter().enumerate() {
            let weight = V::splat(*weight);
            for c in (0..step).step_by(LANES) {
                let (a, b) = (V::load(x.add(first * step + c)), V::load(x.add(second * step + c)));
                b.sub(a).fma(weight, a).store(out.add(p * step + c));
            }
        }
    }
}

/// `max(x * scale + shift, 0)`, doubled bilinearly with aligned corners.
pub fn upsample(x: &Image, scale: &[f32], shift: &[f32], pool: &mut Pool) -> Image {
    let (rows, columns) = (bilinear_taps(x.h, 2, true), bilinear_taps(x.w, 2, true));
    let mut out = pool.image(2 * x.h, 2 * x.w, x.c);
    let step = x.step;
    assert!(scale.len() == step && shift.len() == step, "a scale and a shift for every channel");
    let row = x.w * step;
    out.values.par_chunks_mut(2 * row).enumerate().with_min_len(4).for_each_init(
        || vec![0f32; row],
        |mixed, (y, out)| {
            let (first, second, weight) = rows[y];
            let of = |y: usize| x.values[y * row..][..row].as_ptr();
            // SAFETY: both rows and the mixed one have `w` pixels of `step` channels.
            unsafe {
                let (scale, shift) = (scale.as_ptr(), shift.as_ptr());
                mix_rows(
                    of(first),
                    of(second),
                    weight,
                    scale,
                    shift,
                    mixed.as_mut_ptr(),
                    x.w,
                    step,
                );
            }
            // SAFETY: columns are pixels of the mixed row, and the output row has one for each.
            unsafe { mix_pixels(mixed.as_ptr(), &columns, out.as_mut_ptr(), step) };
        },
    );
    out
}

vectorised! {
    /// The sums over channels of `max(x * scale + shift, 0) * weight` of a row of pixels.
    fn weighted<V>(x: *const f32, step: usize, scale: *const f32, shift: *const f32, weight: *const f32, out: &mut [f32]) {
        for (p, out) in out.iter_mut().enumerate() {
            let mut sum = V::splat(0.0);
            for c in (0..step).step_by(LANES) {
                let x = V::load(x.add(p * step + c));
                let z = x.fma(V::load(scale.add(c)), V::load(shift.add(c)));
                sum = z.max(V::splat(0.0)).fma(V::load(weight.add(c)), sum);
            }
            let mut lanes = [0f32; LANES];
            sum.store(lanes.as_mut_ptr());
            *out = lanes.iter().sum();
        }
    }
}

/// `weights · max(x * scale + shift, 0)` as planes `[outputs, h, w]`; weights are `[outputs][step]`.
pub fn logits(x: &Image, scale: &[f32], shift: &[f32], weights: &[f32]) -> Vec<f32> {
    let step = x.step;
    assert!(scale.len() == step && shift.len() == step, "a scale and a shift for every channel");
    let mut out = vec![0f32; weights.len() / step * x.h * x.w];
    for (out, weights) in out.chunks_exact_mut(x.h * x.w).zip(weights.chunks_exact(step)) {
        out.par_chunks_mut(x.w).enumerate().with_min_len(8).for_each(|(y, out)| {
            let row = &x.values[y * x.w * step..][..x.w * step];
            let (scale, shift) = (scale.as_ptr(), shift.as_ptr());
            // SAFETY: a row of pixels, and scales, shifts and weights of `step` channels.
            unsafe { weighted(row.as_ptr(), step, scale, shift, weights.as_ptr(), out) };
        });
    }
    out
}
