//! 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): 36 products for 16 pixels instead of 144.

use rayon::prelude::*;

use super::decode::Moments;
use super::image::{Image, Pool};
use super::product::{Inputs, Packed, product};
use super::vector::{LANES, Vector, vectorised};

/// Pixels a side of a tile's output, and of its input.
const OUT: usize = 4;
const IN: usize = 6;
/// Products a tile.
const POINTS: usize = IN * IN;

/// Tiles that one task computes: with 256 channels, their transforms and those of the weights share the L2 cache.
const TASK_TILES: usize = 36;

/// The kernel's transform.
const KERNEL: [[f64; 3]; IN] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Weights of a 3x3 convolution without bias, one zero around the image.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    inputs: usize,
    outputs: usize,
    points: Vec<Packed>,
}

#[inline(always)]
unsafe fn input_line<V: Vector>([d0, d1, d2, d3, d4, d5]: [V; IN]) -> [V; IN] {
    // SAFETY: the caller runs on the processor that `V` needs.
    unsafe {
        let s = V::splat;
        let (a, b) = (d2.fma(s(-4.0), d4), d1.fma(s(-4.0), d3));
        let (c, e) = (d4.sub(d2), d3.sub(d1));
        [
            d0.fma(s(4.0), d2.fma(s(-5.0), d4)),
            a.add(b),
            a.sub(b),
            e.fma(s(2.0), c),
            e.fma(s(-2.0), c),
            d1.fma(s(4.0), d3.fma(s(-5.0), d5)),
        ]
    }
}

#[inline(always)]
unsafe fn output_line<V: Vector>([m0, m1, m2, m3, m4, m5]: [V; IN]) -> [V; OUT] {
    // SAFETY: the caller runs on the processor that `V` needs.
    unsafe {
        let s = V::splat;
        let (p, q, r, t) = (m1.add(m2), m1.sub(m2), m3.add(m4), m3.sub(m4));
        [m0.add(p).add(r), t.fma(s(2.0), q), r.fma(s(4.0), p), t.fma(s(8.0), q).add(m5)]
    }
}

vectorised! {
    /// A tile of the image into `[36][..]`, planes apart; `sides` are the rows and columns that lie inside the image.
    fn transform_input<V>(
        x: *const f32,
        row: usize,
        step: usize,
        sides: [(usize, usize); 2],
        out: *mut f32,
        plane: usize,
    ) {
        for c in (0..step).step_by(LANES) {
            let mut lines = [[V::splat(0.0); IN]; IN];
            for (i, line) in lines.iter_mut().enumerate() {
                if i < sides[0].0 || i >= sides[0].1 {
                    continue;
                }
                let mut d = [V::splat(0.0); IN];
                for (j, d) in d.iter_mut().enumerate() {
                    if j >= sides[1].0 && j < sides[1].1 {
                        *d = V::load(x.wrapping_add(i * row + j * step + c));
                    }
                }
                *line = input_line(d);
            }
            let column_of = |j: usize| -> [V; IN] { std::array::from_fn(|i| lines[i][j]) };
            for j in 0..IN {
                let column = input_line(column_of(j));
                for (i, value) in column.into_iter().enumerate() {
                    value.store(out.add((i * IN + j) * plane + c));
                }
            }
        }
    }
}

vectorised! {
    /// Sums `[36][..]`, planes apart, to `rows` by `columns` pixels of `groups` vectors.
    fn transform_output<V>(
        sums: *const f32,
        plane: usize,
        groups: usize,
        out: *mut f32,
        row: usize,
        step: usize,
        rows: usize,
        columns: usize,
    ) {
        for g in 0..groups {
            let mut lines = [[V::splat(0.0); OUT]; IN];
            for (i, line) in lines.iter_mut().enumerate() {
                let mut m = [V::splat(0.0); IN];
                for (j, m) in m.iter_mut().enumerate() {
                    *m = V::load(sums.add((i * IN + j) * plane + g * LANES));
                }
                *line = output_line(m);
            }
            let column_of = |j: usize| -> [V; IN] { std::array::from_fn(|i| lines[i][j]) };
            for j in 0..columns {
                let column = output_line(column_of(j));
                for (i, value) in column.into_iter().enumerate().take(rows) {
                    value.store(out.add(i * row + j * step + g * LANES));
                }
            }
        }
    }
}

impl Conv3x3 {
    /// From `weight` `[outputs, inputs, 3, 3]`.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize) -> Self {
        let points = (0..POINTS)
            .map(|point| {
                let (y, x) = (KERNEL[point / IN], KERNEL[point % IN]);
                Packed::new(outputs, inputs, |o, i| {
                    let taps = &weight[(o * inputs + i) * 9..][..9];
                    let sum: f64 = taps
                        .iter()
                        .enumerate()
                        .map(|(t, w)| y[t / 3] * x[t % 3] * f64::from(*w))
                        .sum();
                    sum as f32
                })
            })
            .collect();
        Self { inputs, outputs, points }
    }

    /// The convolution of `x`, and the moments of every channel of the result.
    pub fn apply(&self, x: &Image, pool: &mut Pool) -> (Image, Moments) {
        assert_eq!(x.c, self.inputs, "as many channels as weights");
        let mut out = pool.image(x.h, x.w, self.outputs);
        let across = x.w.div_ceil(OUT);
        let task_rows = (TASK_TILES / across).clamp(1, x.h.div_ceil(2 * OUT));
        let (step, row) = (out.step, out.step * x.w);
        let of_tasks: Vec<Moments> = out
            .values
            .par_chunks_mut(task_rows * OUT * row)
            .enumerate()
            .map_init(<(Vec<f32>, Vec<f32>)>::default, |(transformed, sums), (task, out)| {
                self.task(x, task * task_rows, transformed, sums, out, step);
                Moments::of(out, step)
            })
            .collect();
        (out, Moments::joined(&of_tasks))
    }

    /// Rows of tiles from `first` on into `out`.
    fn task(
        &self,
        x: &Image,
        first: usize,
        transformed: &mut Vec<f32>,
        sums: &mut Vec<f32>,
        out: &mut [f32],
        step: usize,
    ) {
        let across = x.w.div_ceil(OUT);
        let height = out.len() / (x.w * step);
        let tiles = height.div_ceil(OUT) * across;
        let (row_in, row_out) = (x.w * x.step, x.w * step);
        let plane = tiles * x.step;
        transformed.resize(POINTS * plane, 0.0);
        for tile in 0..tiles {
            let (y, left) = ((first + tile / across) * OUT, tile % across * OUT);
            // The tile begins one pixel above and left of its output.
            let inside = |at: usize, size: usize| (usize::from(at == 0), (size + 1 - at).min(IN));
            let sides = [inside(y, x.h), inside(left, x.w)];
            let start = (y * row_in + left * x.step) as isize - (row_in + x.step) as isize;
            let place = transformed[tile * x.step..].as_mut_ptr();
            // SAFETY: only pixels inside the image are read, and each point's plane has room for every tile.
            unsafe {
                let from = x.values.as_ptr().wrapping_offset(start);
                transform_input(from, row_in, x.step, sides, place, plane);
            }
        }
        let groups = self.points[0].groups;
        for from in (0..groups).step_by(2) {
            let of = from..(from + 2).min(groups);
            let wide = of.len() * LANES;
            let plane_out = tiles * wide;
            sums.resize(POINTS * plane_out, 0.0);
            for (point, weights) in self.points.iter().enumerate() {
                let values = &transformed[point * plane..][..plane];
                let inputs = Inputs { values, step: x.step, rows: tiles, offsets: &[] };
                let sums = &mut sums[point * plane_out..][..plane_out];
                product(inputs, weights, of.clone(), sums, wide, None);
            }
            for tile in 0..tiles {
                let (y, left) = (tile / across * OUT, tile % across * OUT);
                let (rows, columns) = (OUT.min(height - y), OUT.min(x.w - left));
                let place = (y * x.w + left) * step + from * LANES;
                let last = place + (rows - 1) * row_out + (columns - 1) * step + wide;
                assert!(last <= out.len(), "a tile beyond the image");
                // SAFETY: the last pixel was just checked, the sums hold every point of every tile.
                unsafe {
                    let (sums, out) = (sums.as_ptr().add(tile * wide), out.as_mut_ptr().add(place));
                    transform_output(sums, plane_out, of.len(), out, row_out, step, rows, columns);
                }
            }
        }
    }
}
