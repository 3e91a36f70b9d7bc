//! Batch and group normalisation with their activation: three passes forward (mean, variance, output), two backward,
//! each set by one task while its planes are in the cache.

use rayon::prelude::*;

use super::{
    buffer::{self, Shared},
    plane,
    simd::{LANES, fma, mish, mish_slope, multiversion, sigmoid, total},
};
use crate::kernels::{Activation, NormOver};

/// Planes `[n, channels, plane_px]` and the sets that share statistics.
#[derive(Debug, Clone, Copy)]
pub struct Sets {
    over: NormOver,
    n: usize,
    channels: usize,
    plane_px: usize,
}

impl Sets {
    pub fn new(over: NormOver, shape: [usize; 4]) -> Self {
        let [n, channels, h, w] = shape;
        Self { over, n, channels, plane_px: h * w }
    }

    fn count(&self) -> usize {
        self.over.sets(self.n, self.channels)
    }

    /// Indices of a set's planes.
    fn planes(&self, set: usize) -> impl Iterator<Item = usize> + Clone {
        let (start, step, count) = match self.over {
            NormOver::Batch => (set, self.channels, self.n),
            NormOver::Groups(groups) => {
                let of_group = self.channels / groups;
                (set * of_group, 1, of_group)
            }
        };
        (0..count).map(move |i| start + i * step)
    }

    fn values_per_set(&self) -> usize {
        self.n * self.channels * self.plane_px / self.count()
    }

    fn sets_per_task(&self) -> usize {
        plane::planes_per_task(self.values_per_set())
    }
}

multiversion! {
    fn squares(x: &[f32], mean: f32) -> f64 {
        let mut sum = 0.0;
        for block in x.chunks(LANES * 64) {
            let mut lanes = [0f32; LANES];
            let mut rows = block.chunks_exact(LANES);
            for row in &mut rows {
                for (lane, x) in lanes.iter_mut().zip(row) {
                    let d = *x - mean;
                    *lane = fma::<FMA>(d, d, *lane);
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rows.remainder()) {
                let d = *x - mean;
                *lane = fma::<FMA>(d, d, *lane);
            }
            sum += total(&lanes);
        }
        sum
    }
}

multiversion! {
    /// `activation((x - mean) * scale + shift)`.
    fn apply(x: &[f32], mean: f32, scale: f32, shift: f32, activation: Activation, out: &mut [f32]) {
        match activation {
            Activation::Identity => {
                for (x, out) in x.iter().zip(out) {
                    *out = fma::<FMA>(*x - mean, scale, shift);
                }
            }
            Activation::Relu => {
                for (x, out) in x.iter().zip(out) {
                    let z = fma::<FMA>(*x - mean, scale, shift);
                    *out = if z > 0.0 { z } else { 0.0 };
                }
            }
            Activation::Silu => {
                for (x, out) in x.iter().zip(out) {
                    let z = fma::<FMA>(*x - mean, scale, shift);
                    *out = z * sigmoid::<FMA>(z);
                }
            }
            Activation::Mish => {
                for (x, out) in x.iter().zip(out) {
                    *out = mish::<FMA>(fma::<FMA>(*x - mean, scale, shift));
                }
            }
        }
    }
}

/// Output, means, biased variances.
pub fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    sets: Sets,
    eps: f64,
    activation: Activation,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut out = buffer::take(x.len());
    let shared = Shared::new(&mut out);
    let px = sets.plane_px;
    let count = sets.values_per_set() as f64;
    let statistics: Vec<(f32, f32)> = (0..sets.count())
        .into_par_iter()
        .with_min_len(sets.sets_per_task())
        .map(|set| {
            let planes = sets.planes(set);
            let of = |plane: usize| &x[plane * px..(plane + 1) * px];
            let mean = (planes.clone().map(|p| plane::sum(of(p))).sum::<f64>() / count) as f32;
            let var = planes.clone().map(|p| squares(of(p), mean)).sum::<f64>() / count;
            let rstd = 1.0 / (var + eps).sqrt();
            for p in planes {
                let channel = p % sets.channels;
                let scale = (f64::from(gamma[channel]) * rstd) as f32;
                // SAFETY: a plane belongs to one set, a set to one task.
                let out = unsafe { shared.slice(p * px, px) };
                apply(of(p), mean, scale, beta[channel], activation, out);
            }
            (mean, var as f32)
        })
        .collect();
    let (mean, var) = statistics.into_iter().unzip();
    (out, mean, var)
}

/// `activation(x * scale + shift)`, one a channel.
pub fn affine(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    plane_px: usize,
    activation: Activation,
) -> Vec<f32> {
    let mut out = buffer::take(x.len());
    let channels = scale.len();
    out.par_chunks_mut(plane_px)
        .zip(x.par_chunks(plane_px))
        .enumerate()
        .with_min_len(plane::planes_per_task(plane_px))
        .for_each(|(p, (out, x))| {
            apply(x, 0.0, scale[p % channels], shift[p % channels], activation, out);
        });
    out
}

multiversion! {
    /// Gradient before the activation into `out`; its sum, and that of its product with the unit values.
    fn activation_grad(
        x: &[f32],
        grad: &[f32],
        unit: (f32, f32),
        gamma: f32,
        beta: f32,
        activation: Activation,
        out: &mut [f32],
    ) -> (f64, f64) {
        let (mean, rstd) = unit;
        let (mut sum, mut along) = (0.0, 0.0);
        let block = LANES * 64;
        for ((x, grad), out) in x.chunks(block).zip(grad.chunks(block)).zip(out.chunks_mut(block)) {
            match activation {
                Activation::Identity => out.copy_from_slice(grad),
                Activation::Relu => {
                    for ((x, grad), out) in x.iter().zip(grad).zip(out.iter_mut()) {
                        let z = fma::<FMA>((*x - mean) * rstd, gamma, beta);
                        *out = if z > 0.0 { *grad } else { 0.0 };
                    }
                }
                Activation::Silu => {
                    for ((x, grad), out) in x.iter().zip(grad).zip(out.iter_mut()) {
                        let z = fma::<FMA>((*x - mean) * rstd, gamma, beta);
                        let gate = sigmoid::<FMA>(z);
                        *out = *grad * gate * fma::<FMA>(z, 1.0 - gate, 1.0);
                    }
                }
                Activation::Mish => {
                    for ((x, grad), out) in x.iter().zip(grad).zip(out.iter_mut()) {
                        let z = fma::<FMA>((*x - mean) * rstd, gamma, beta);
                        *out = *grad * mish_slope::<FMA>(z);
                    }
                }
            }
            let (mut sums, mut alongs) = ([0f32; LANES], [0f32; LANES]);
            let (mut rows_x, mut rows_d) = (x.chunks_exact(LANES), out.chunks_exact(LANES));
            for (x, d) in (&mut rows_x).zip(&mut rows_d) {
                for i in 0..LANES {
                    sums[i] += d[i];
                    alongs[i] = fma::<FMA>(d[i], (x[i] - mean) * rstd, alongs[i]);
                }
            }
            for (i, (x, d)) in rows_x.remainder().iter().zip(rows_d.remainder()).enumerate() {
                sums[i] += *d;
                alongs[i] = fma::<FMA>(*d, (*x - mean) * rstd, alongs[i]);
            }
            sum += total(&sums);
            along += total(&alongs);
        }
        (sum, along)
    }
}

multiversion! {
    /// `out = out * scale - shift - (x - mean) * slope`.
    fn combine(x: &[f32], mean: f32, scale: f32, shift: f32, slope: f32, out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = fma::<FMA>(*out, scale, -fma::<FMA>(*x - mean, slope, shift));
        }
    }
}

/// What [`backward`] reads.
pub struct Input<'a> {
    pub x: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub mean: &'a [f32],
    pub var: &'a [f32],
}

/// Gradients by x, gamma, beta.
pub fn backward(
    input: &Input,
    grad: &[f32],
    sets: Sets,
    eps: f64,
    activation: Activation,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut out = buffer::take(input.x.len());
    // Sums a plane: of the gradient, and along the unit values.
    let mut of_planes = vec![0f32; 2 * sets.n * sets.channels];
    let (shared, sums) = (Shared::new(&mut out), Shared::new(&mut of_planes));
    let px = sets.plane_px;
    let count = sets.values_per_set() as f64;
    (0..sets.count()).into_par_iter().with_min_len(sets.sets_per_task()).for_each(|set| {
        let planes = sets.planes(set);
        let mean = input.mean[set];
        let rstd = 1.0 / (f64::from(input.var[set]) + eps).sqrt();
        let (mut sum, mut along) = (0.0, 0.0);
        for p in planes.clone() {
            let place = p * px..(p + 1) * px;
            let channel = p % sets.channels;
            let gamma = input.gamma[channel];
            // SAFETY: a plane belongs to one set, a set to one task; so do the two sums of a plane.
            let (out, sums) = unsafe { (shared.slice(p * px, px), sums.slice(2 * p, 2)) };
            let (s, a) = activation_grad(
                &input.x[place.clone()],
                &grad[place],
                (mean, rstd as f32),
                gamma,
                input.beta[channel],
                activation,
                out,
            );
            (sums[0], sums[1]) = (s as f32, a as f32);
            sum += s * f64::from(gamma);
            along += a * f64::from(gamma);
        }
        let shift = (sum / count * rstd) as f32;
        let slope = (along / count * rstd * rstd) as f32;
        for p in planes {
            let scale = (f64::from(input.gamma[p % sets.channels]) * rstd) as f32;
            // SAFETY: as above; the slices of the first loop are gone.
            let out = unsafe { shared.slice(p * px, px) };
            combine(&input.x[p * px..(p + 1) * px], mean, scale, shift, slope, out);
        }
    });
    let over_batch = |which: usize| -> Vec<f32> {
        (0..sets.channels)
            .map(|c| {
                (0..sets.n)
                    .map(|n| f64::from(of_planes[2 * (n * sets.channels + c) + which]))
                    .sum::<f64>() as f32
            })
            .collect()
    };
    (out, over_batch(1), over_batch(0))
}
