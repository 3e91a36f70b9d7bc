//! Depthwise convolution, alone or together with the 1x1 convolution before it, and the channels' means behind it.

use std::ops::Range;

use rayon::prelude::*;

use super::image::{Image, Pool};
use super::pointwise::Pointwise;
use super::record::Work;
use super::vector::{LANES, Vector, mish, silu, vectorised};
use crate::kernels::{Activation, Sliding};

/// Rows of the widest kernel.
const MOST_ROWS: usize = 7;

/// Values that a band of expanded rows may have: they stay in the L2 cache (1.5 MB).
const BAND: usize = 384 << 10;

/// An expanded image of fewer values is written whole: both threads' halves stay in their caches.
const WHOLE: usize = 1 << 20;

/// Weights and bias of a depthwise convolution, and the activation behind it.
#[derive(Debug, Clone)]
pub struct Depthwise {
    /// `[kernel * kernel][step]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
    kernel: usize,
    sliding: Sliding,
}

/// One output row with all that it reads.
#[derive(Clone, Copy)]
struct Row {
    /// The input rows under the kernel's rows; null beyond the image.
    inputs: [*const f32; MOST_ROWS],
    weights: *const f32,
    bias: *const f32,
    out: *mut f32,
    /// Receives the row's sums, one a channel.
    sums: *mut f32,
    w: usize,
    out_w: usize,
    step: usize,
    stride: usize,
    left: usize,
    activation: Activation,
}

/// The sums of `P` neighbouring output pixels of sixteen channels, their taps `columns` only.
///
/// Values are indexed by constants: they must end up in registers.
#[expect(clippy::needless_range_loop, reason = "iterators leave the values in memory")]
#[inline(always)]
unsafe fn pixels<V: Vector, const K: usize, const P: usize>(
    row: &Row,
    c: usize,
    x: usize,
    columns: Range<usize>,
) {
    // SAFETY: the caller gives columns that lie inside the row for all of its pixels.
    unsafe {
        let mut values = [V::load(row.bias.add(c)); P];
        for ky in 0..K {
            let input = row.inputs[ky];
            if input.is_null() {
                continue;
            }
            for kx in columns.clone() {
                let weight = V::load(row.weights.add((ky * K + kx) * row.step + c));
                let first = input.add((x * row.stride + kx - row.left) * row.step + c);
                for p in 0..P {
                    values[p] =
                        V::load(first.add(p * row.stride * row.step)).fma(weight, values[p]);
                }
            }
        }
        for p in 0..P {
            values[p].store(row.out.add((x + p) * row.step + c));
        }
    }
}

/// The sums of one output pixel near an edge, `G` times sixteen channels at once to hide the additions' latency.
#[expect(clippy::needless_range_loop, reason = "as above")]
#[inline(always)]
unsafe fn edge<V: Vector, const K: usize, const G: usize>(
    row: &Row,
    c: usize,
    x: usize,
    columns: Range<usize>,
) {
    // SAFETY: as above; the caller gives channels of which `G` vectors are there.
    unsafe {
        let mut values = [V::splat(0.0); G];
        for g in 0..G {
            values[g] = V::load(row.bias.add(c + g * LANES));
        }
        for ky in 0..K {
            let input = row.inputs[ky];
            if input.is_null() {
                continue;
            }
            for kx in columns.clone() {
                let weight = row.weights.add((ky * K + kx) * row.step + c);
                let seen = input.add((x * row.stride + kx - row.left) * row.step + c);
                for g in 0..G {
                    let weight = V::load(weight.add(g * LANES));
                    values[g] = V::load(seen.add(g * LANES)).fma(weight, values[g]);
                }
            }
        }
        for g in 0..G {
            values[g].store(row.out.add(x * row.step + c + g * LANES));
        }
    }
}

/// The activation of a row's sums of sixteen channels, and the sum over the row.
#[inline(always)]
unsafe fn activate<V: Vector>(row: &Row, c: usize) -> V {
    // SAFETY: the row's pixels have channels from `c` on.
    unsafe {
        let mut sum = V::splat(0.0);
        for x in 0..row.out_w {
            let place = row.out.add(x * row.step + c);
            let value = V::load(place);
            let value = match row.activation {
                Activation::Identity => value,
                Activation::Relu => value.max(V::splat(0.0)),
                Activation::Silu => silu(value),
                Activation::Mish => mish(value),
            };
            value.store(place);
            sum = sum.add(value);
        }
        sum
    }
}

#[inline(always)]
unsafe fn row_of<V: Vector, const K: usize>(row: &Row) {
    // Pixels whose taps all lie inside the row.
    let first = row.left.div_ceil(row.stride).min(row.out_w);
    let last = match (row.w + row.left).checked_sub(K) {
        Some(reach) => (reach / row.stride + 1).clamp(first, row.out_w),
        None => first,
    };
    let clipped = |x: usize| {
        let from = row.left.saturating_sub(x * row.stride).min(K);
        let to = (row.w + row.left).saturating_sub(x * row.stride).min(K);
        from..to.max(from)
    };
    // SAFETY: channels below `step`; columns are clipped to the row.
    unsafe {
        for x in (0..first).chain(last..row.out_w) {
            let mut c = 0;
            while c + 4 * LANES <= row.step {
                edge::<V, K, 4>(row, c, x, clipped(x));
                c += 4 * LANES;
            }
            while c < row.step {
                edge::<V, K, 1>(row, c, x, clipped(x));
                c += LANES;
            }
        }
        for c in (0..row.step).step_by(LANES) {
            let mut x = first;
            while x + 8 <= last {
                pixels::<V, K, 8>(row, c, x, 0..K);
                x += 8;
            }
            // The rest may overlap what is done: its sums are the same.
            let (rest, inner) = (last - x, last - first);
            if rest > 4 && inner >= 8 {
                pixels::<V, K, 8>(row, c, last - 8, 0..K);
            } else if rest > 0 && inner >= 4 {
                for x in (x..last).step_by(4) {
                    pixels::<V, K, 4>(row, c, x.min(last - 4), 0..K);
                }
            } else {
                for x in x..last {
                    pixels::<V, K, 1>(row, c, x, 0..K);
                }
            }
            activate::<V>(row, c).store(row.sums.add(c));
        }
    }
}

vectorised! {
    fn convolve_row<V>(kernel: usize, row: &Row) {
        match kernel {
            3 => row_of::<V, 3>(row),
            5 => row_of::<V, 5>(row),
            7 => row_of::<V, 7>(row),
            _ => unreachable!("kernels are 3, 5 or 7 wide"),
        }
    }
}

/// Some rows of an image.
#[derive(Clone, Copy)]
struct Band<'a> {
    values: &'a [f32],
    /// The image's row that `values` begins with.
    top: usize,
    /// Of the whole image.
    h: usize,
    w: usize,
}

impl Depthwise {
    /// From `weight` `[channels, kernel, kernel]` and a bias a channel; kernel 3, 5 or 7, dilation 1.
    pub fn new(
        weight: &[f32],
        bias: &[f32],
        kernel: usize,
        sliding: Sliding,
        activation: Activation,
    ) -> Self {
        assert!(matches!(kernel, 3 | 5 | 7) && sliding.dilation == 1, "kernels are 3, 5 or 7 wide");
        let step = bias.len().next_multiple_of(LANES);
        let taps = kernel * kernel;
        let mut weights = vec![0.0; taps * step];
        for c in 0..bias.len() {
            for tap in 0..taps {
                weights[tap * step + c] = weight[c * taps + tap];
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(step, 0.0);
        Self { weights, bias, activation, kernel, sliding }
    }

    /// The convolution of `x`, and the mean of every channel of the result.
    pub fn apply(&self, x: &Image, pool: &mut Pool) -> (Image, Vec<f32>) {
        let mut out = self.output(x.h, x.w, x.c, pool);
        let band = Band { values: &x.values, top: 0, h: x.h, w: x.w };
        let (out_w, step) = (out.w, out.step);
        let sums: Vec<Vec<f64>> = out
            .values
            .par_chunks_mut(out_w * step)
            .enumerate()
            .with_min_len((4096 / (out_w * step)).max(1))
            .map(|(y, out)| self.rows(band, step, y, out, out_w))
            .collect();
        let mean = mean(&sums, out.h * out.w);
        (out, mean)
    }

    /// [`Depthwise::apply`] of what `expand` makes of `x` (`c` channels), which is never whole in memory where it is large.
    pub fn apply_expanded(
        &self,
        x: &Image,
        expand: &Pointwise,
        c: usize,
        pool: &mut Pool,
    ) -> (Image, Vec<f32>) {
        let step = c.next_multiple_of(LANES);
        if x.h * x.w * step <= WHOLE {
            let mut expanded = pool.image(x.h, x.w, c);
            expand.apply(x, None, &mut expanded);
            let result = self.apply(&expanded, pool);
            pool.give(expanded);
            return result;
        }
        let mut out = self.output(x.h, x.w, c, pool);
        let (out_w, stride) = (out.w, self.sliding.stride);
        let rows_in = (BAND / (x.w * step)).max(self.kernel);
        let rows = ((rows_in - self.kernel) / stride + 1).min(out.h.div_ceil(2));
        let sums: Vec<Vec<f64>> = out
            .values
            .par_chunks_mut(rows * out_w * step)
            .enumerate()
            .map_init(Vec::new, |expanded: &mut Vec<f32>, (band, out)| {
                let first = band * rows;
                let count = out.len() / (out_w * step);
                let seen = self.seen(first..first + count, x.h);
                expanded.resize(seen.len() * x.w * step, 0.0);
                let from = &x.values[seen.start * x.w * x.step..];
                expand.rows(from, x.step, seen.len() * x.w, &[], expanded, step);
                let band = Band { values: expanded, top: seen.start, h: x.h, w: x.w };
                self.rows(band, step, first, out, out_w)
            })
            .collect();
        let mean = mean(&sums, out.h * out.w);
        (out, mean)
    }

    /// The work of `x` to `out`, with the expansion before it if it was `expanded`.
    pub fn work(&self, x: &Image, out: &Image, expanded: bool) -> Work {
        let taps = self.kernel * self.kernel;
        let expansion = if expanded { x.c * out.c } else { 0 };
        let operator = format!(
            "{}depthwise {1}x{1}/{2}",
            if expanded { "1x1, " } else { "" },
            self.kernel,
            self.sliding.stride
        );
        let pairs = expansion * x.h * x.w + taps * out.c * out.h * out.w;
        Work::new(operator, x.shape(), out.shape(), pairs, expansion + taps * out.c)
    }

    fn output(&self, h: usize, w: usize, c: usize, pool: &mut Pool) -> Image {
        let (h, w) = self.sliding.output_size(h, w, self.kernel);
        pool.image(h, w, c)
    }

    /// Input rows under some output rows.
    fn seen(&self, rows: Range<usize>, h: usize) -> Range<usize> {
        let (stride, top) = (self.sliding.stride, self.sliding.padding.top);
        let from = (rows.start * stride).saturating_sub(top);
        from..((rows.end - 1) * stride + self.kernel).saturating_sub(top).min(h)
    }

    /// Output rows from `first` on; the channels' sums.
    fn rows(&self, x: Band, step: usize, first: usize, out: &mut [f32], out_w: usize) -> Vec<f64> {
        let sliding = self.sliding;
        let mut total = vec![0f64; step];
        let mut sums = vec![0f32; step];
        for (y, out) in out.chunks_exact_mut(out_w * step).enumerate() {
            let top = ((first + y) * sliding.stride) as isize - sliding.padding.top as isize;
            let inputs = std::array::from_fn(|ky| {
                let y = top + ky as isize;
                if ky < self.kernel && y >= 0 && (y as usize) < x.h {
                    x.values[(y as usize - x.top) * x.w * step..][..x.w * step].as_ptr()
                } else {
                    std::ptr::null()
                }
            });
            let row = Row {
                inputs,
                weights: self.weights.as_ptr(),
                bias: self.bias.as_ptr(),
                out: out.as_mut_ptr(),
                sums: sums.as_mut_ptr(),
                w: x.w,
                out_w,
                step,
                stride: sliding.stride,
                left: sliding.padding.left,
                activation: self.activation,
            };
            assert!(self.bias.len() == step, "as many channels as weights");
            // SAFETY: every input row was sliced at its full length, weights and bias have `step` channels, and
            // the output row is `out_w` pixels long.
            unsafe { convolve_row(self.kernel, &row) };
            for (total, sum) in total.iter_mut().zip(&sums) {
                *total += f64::from(*sum);
            }
        }
        total
    }
}

/// Sums of bands to means.
fn mean(bands: &[Vec<f64>], px: usize) -> Vec<f32> {
    let channels = bands.first().map_or(0, Vec::len);
    (0..channels)
        .map(|c| (bands.iter().map(|band| band[c]).sum::<f64>() / px as f64) as f32)
        .collect()
}
