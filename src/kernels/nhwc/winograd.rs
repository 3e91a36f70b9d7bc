//! 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): 36 products for 16 pixels instead of 144.

use rayon::prelude::*;

use super::decode::Moments;
use super::image::{Image, Pool};
use super::product::{Inputs, Packed, product};
use super::record::Work;
use super::vector::{LANES, Vector, vectorised};

/// Pixels a side of a tile's output, and of its input.
const OUT: usize = 4;
const IN: usize = 6;
/// Products a tile.
const POINTS: usize = IN * IN;

/// Tiles that one task computes: with 256 channels, their transforms and those of the weights share the L2 cache.
const TASK_TILES: usize = 36;

/// The kernel's transform.
const KERNEL: [[f32; 3]; IN] = [
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

/// The transform of sixteen kernels of 3x3 taps, `[36][16]`.
fn transform_kernels(taps: &[[f32; LANES]; 9]) -> [[f32; LANES]; POINTS] {
    let mut lines = [[[0f32; LANES]; 3]; IN];
    for (line, factors) in lines.iter_mut().zip(&KERNEL) {
        for (x, out) in line.iter_mut().enumerate() {
            for (lane, out) in out.iter_mut().enumerate() {
                *out = (0..3).map(|y| factors[y] * taps[y * 3 + x][lane]).sum();
            }
        }
    }
    let mut points = [[0f32; LANES]; POINTS];
    for (point, out) in points.iter_mut().enumerate() {
        let (line, factors) = (&lines[point / IN], &KERNEL[point % IN]);
        for (lane, out) in out.iter_mut().enumerate() {
            *out = (0..3).map(|x| factors[x] * line[x][lane]).sum();
        }
    }
    points
}

impl Conv3x3 {
    /// From `weight` `[outputs, inputs, 3, 3]`.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize) -> Self {
        Self::from_taps(outputs, inputs, |o, i, tap| weight[(o * inputs + i) * 9 + tap])
    }

    /// The convolution that is the gradient by the input of the one with `weight` `[outputs, inputs, 3, 3]`: it takes
    /// `outputs` channels and gives `inputs`.
    pub fn turned(weight: &[f32], outputs: usize, inputs: usize) -> Self {
        Self::from_taps(inputs, outputs, |i, o, tap| weight[(o * inputs + i) * 9 + 8 - tap])
    }

    fn from_taps(
        outputs: usize,
        inputs: usize,
        tap: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let groups = outputs.div_ceil(LANES);
        // [groups][inputs][36][16]
        let mut transformed = vec![[[0f32; LANES]; POINTS]; groups * inputs];
        transformed.par_iter_mut().enumerate().with_min_len(64).for_each(|(at, out)| {
            let (group, input) = (at / inputs, at % inputs);
            let of = |t: usize, lane: usize| match group * LANES + lane {
                output if output < outputs => tap(output, input, t),
                _ => 0.0,
            };
            let taps = std::array::from_fn(|t| std::array::from_fn(|lane| of(t, lane)));
            *out = transform_kernels(&taps);
        });
        let points = (0..POINTS)
            .into_par_iter()
            .map(|point| {
                let values: Vec<f32> =
                    transformed.iter().flat_map(|points| points[point]).collect();
                Packed { inputs, groups, values: values.into() }
            })
            .collect();
        Self { inputs, outputs, points }
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The convolution of `x`.
    pub fn convolve(&self, x: &Image, pool: &mut Pool) -> Image {
        self.each_task(x, pool, |_, _| ()).0
    }

    /// The convolution of `x`, and the moments of every channel of the result.
    pub fn apply(&self, x: &Image, pool: &mut Pool) -> (Image, Moments) {
        let (out, of_tasks) = self.each_task(x, pool, Moments::of);
        (out, Moments::joined(&of_tasks))
    }

    /// The work of `x` to `out` as a convolution has it: 144 products a tile.
    pub fn work(&self, x: &Image, out: &Image) -> Work {
        let weights = 9 * self.inputs * self.outputs;
        Work::new("3x3", x.shape(), out.shape(), weights * out.h * out.w, weights)
    }

    /// The convolution of `x`, and what `after` makes of each task's pixels, which lie in the cache.
    fn each_task<T: Send>(
        &self,
        x: &Image,
        pool: &mut Pool,
        after: impl Fn(&[f32], usize) -> T + Sync,
    ) -> (Image, Vec<T>) {
        assert_eq!(x.c, self.inputs, "as many channels as weights");
        let mut out = pool.image(x.h, x.w, self.outputs);
        let across = x.w.div_ceil(OUT);
        let task_rows = (TASK_TILES / across).clamp(1, x.h.div_ceil(2 * OUT));
        let (step, row) = (out.step, out.step * x.w);
        let results = out
            .values
            .par_chunks_mut(task_rows * OUT * row)
            .enumerate()
            .map_init(<(Vec<f32>, Vec<f32>)>::default, |(transformed, sums), (task, out)| {
                self.task(x, task * task_rows, transformed, sums, out, step);
                after(out, step)
            })
            .collect();
        (out, results)
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
