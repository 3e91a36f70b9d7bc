//! 1x1 convolution: the pixels of an image are the rows of one matrix product.

use rayon::prelude::*;

use super::image::{Image, Pool, Values};
use super::product::{Finish, Inputs, Packed, product};
use super::record::Work;
use super::vector::LANES;
use crate::kernels::Activation;

/// Pixels that one task computes: their inputs stay in the L2 cache.
const TASK_PX: usize = 192;

/// Weights and bias of a 1x1 convolution, and what follows it.
#[derive(Debug, Clone)]
pub struct Pointwise {
    packed: Packed,
    bias: Vec<f32>,
    activation: Activation,
}

impl Pointwise {
    /// From `weight(output, input)` and a bias an output.
    pub fn new(
        bias: &[f32],
        inputs: usize,
        activation: Activation,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let packed = Packed::new(bias.len(), inputs, weight);
        let mut bias = bias.to_vec();
        bias.resize(packed.groups * LANES, 0.0);
        Self { packed, bias, activation }
    }

    /// The same with input `i` weighted by `gate[i]`: what squeeze and excitation does to the image before.
    pub fn gated(&self, gate: &[f32], pool: &mut Pool) -> Self {
        let inputs = self.packed.inputs;
        let mut values = pool.take(self.packed.values.len());
        let of_group = inputs * LANES;
        values
            .par_chunks_mut(of_group)
            .zip(self.packed.values.par_chunks(of_group))
            .with_min_len(4)
            .for_each(|(out, weights)| {
                let rows = out.chunks_exact_mut(LANES).zip(weights.chunks_exact(LANES));
                for ((out, weights), gate) in rows.zip(gate) {
                    for (out, weight) in out.iter_mut().zip(weights) {
                        *out = weight * gate;
                    }
                }
            });
        let packed = Packed { inputs, groups: self.packed.groups, values };
        Self { packed, bias: self.bias.clone(), activation: self.activation }
    }

    /// The weights' memory, for the pool that it came from.
    pub fn into_values(self) -> Values {
        self.packed.values
    }

    /// `x` to `out`, plus `residual` where there is one.
    pub fn apply(&self, x: &Image, residual: Option<&Image>, out: &mut Image) {
        let px = x.h * x.w;
        // At least four tasks, of whole tiles: two threads end together.
        let task_px = TASK_PX.min(px.div_ceil(4).next_multiple_of(12));
        let (step, out_step) = (x.step, out.step);
        out.values.par_chunks_mut(task_px * out_step).enumerate().for_each(|(task, out)| {
            let first = task * task_px;
            let count = out.len() / out_step;
            let residual = residual.map_or(&[][..], |r| &r.values[first * out_step..][..out.len()]);
            self.rows(&x.values[first * step..], step, count, residual, out, out_step);
        });
    }

    /// `x` to `out`, plus `above` with its pixels doubled both ways.
    pub fn apply_below(&self, x: &Image, above: &Image, out: &mut Image) {
        assert!(
            out.h == 2 * above.h && out.w == 2 * above.w && out.step == above.step,
            "half the size"
        );
        let rows = (TASK_PX / x.w).clamp(1, x.h.div_ceil(4));
        let (w, step, out_step) = (x.w, x.step, out.step);
        out.values.par_chunks_mut(rows * w * out_step).enumerate().for_each(|(task, out)| {
            let first = task * rows;
            let count = out.len() / out_step;
            self.rows(&x.values[first * w * step..], step, count, &[], out, out_step);
            for (y, out) in out.chunks_exact_mut(w * out_step).enumerate() {
                let row = &above.values[((first + y) >> 1) * above.w * out_step..];
                let pairs = out.chunks_exact_mut(2 * out_step).zip(row.chunks_exact(out_step));
                for (out, above) in pairs {
                    let (left, right) = out.split_at_mut(out_step);
                    for ((left, right), above) in left.iter_mut().zip(right).zip(above) {
                        *left += above;
                        *right += above;
                    }
                }
            }
        });
    }

    /// The work of `x` to `out`; `added` are the values of a residual or of the level above.
    pub fn work(&self, x: &Image, out: &Image, added: usize) -> Work {
        let weights = self.packed.inputs * out.c;
        let operator = if added > 0 { "1x1, added" } else { "1x1" };
        Work::new(operator, x.shape(), out.shape(), weights * out.h * out.w, weights + added)
    }

    /// `count` pixels, `step` apart.
    pub fn rows(
        &self,
        x: &[f32],
        step: usize,
        count: usize,
        residual: &[f32],
        out: &mut [f32],
        out_step: usize,
    ) {
        let inputs = Inputs { values: x, step, rows: count, offsets: &[] };
        let finish = Finish { bias: &self.bias, activation: self.activation, residual };
        product(inputs, &self.packed, 0..self.packed.groups, out, out_step, Some(finish));
    }
}
