//! Resampling along rows and columns by tables of source pixels and weights. One kernel serves bilinear and nearest
//! upsampling and, with the tables transposed, their gradients: every output pixel gathers, so nothing is added atomically
//! and results repeat bit by bit.

// Of the macro: it uses the parameter that names the element type, and every launch takes all buffers and sizes.
#![allow(clippy::used_underscore_binding, clippy::too_many_arguments)]

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::launch::{array, empty, units};
use crate::kernels::plain::bilinear_taps;

/// For every pixel along one output axis, which pixels of the input it reads and with what weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    /// Pixels along the input axis.
    input: usize,
    /// One list of (input pixel, weight) an output pixel.
    lists: Vec<Vec<(usize, f32)>>,
}

impl Taps {
    /// From `size` to `factor * size` pixels, linearly.
    pub fn bilinear(size: usize, factor: usize, align_corners: bool) -> Self {
        let lists = bilinear_taps(size, factor, align_corners)
            .into_iter()
            .map(|(first, second, weight)| vec![(first, 1.0 - weight), (second, weight)])
            .collect();
        Self { input: size, lists }
    }

    /// From `size` to `factor * size` pixels, each the copy of one.
    pub fn nearest(size: usize, factor: usize) -> Self {
        Self { input: size, lists: (0..factor * size).map(|i| vec![(i / factor, 1.0)]).collect() }
    }

    /// The gradient's tables: outputs and inputs change places.
    pub fn transposed(&self) -> Self {
        let mut lists = vec![Vec::new(); self.input];
        for (output, taps) in self.lists.iter().enumerate() {
            for (input, weight) in taps {
                lists[*input].push((output, *weight));
            }
        }
        Self { input: self.lists.len(), lists }
    }

    /// Length of the longest list.
    fn longest(&self) -> usize {
        self.lists.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Two tensors `[output pixels, longest list]`: input pixels, and weights, which are 0 beyond a list's end.
    fn upload<R: CubeRuntime>(&self, like: &CubeTensor<R>) -> (ArrayArg<R>, ArrayArg<R>) {
        let longest = self.longest();
        let mut pixels = vec![0u32; self.lists.len() * longest];
        let mut weights = vec![0f32; self.lists.len() * longest];
        for (row, taps) in self.lists.iter().enumerate() {
            for (slot, (pixel, weight)) in taps.iter().enumerate() {
                pixels[row * longest + slot] = *pixel as u32;
                weights[row * longest + slot] = *weight;
            }
        }
        let count = pixels.len();
        let pixels = like.client.create_from_slice(u32::as_bytes(&pixels));
        let weights = like.client.create_from_slice(f32::as_bytes(&weights));
        unsafe {
            (ArrayArg::from_raw_parts(pixels, count), ArrayArg::from_raw_parts(weights, count))
        }
    }
}

/// One output pixel a unit: `out[plane, y, x]` is the sum over the taps of `y` and of `x`. Sums are taken in f32.
#[cube(launch)]
fn resample_kernel<F: Float>(
    x: &Array<F>,
    row_pixels: &Array<u32>,
    row_weights: &Array<f32>,
    column_pixels: &Array<u32>,
    column_weights: &Array<f32>,
    out: &mut Array<F>,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
    #[comptime] row_taps: usize,
    #[comptime] column_taps: usize,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let column = ABSOLUTE_POS % out_width;
    let row = (ABSOLUTE_POS / out_width) % out_height;
    let plane = ABSOLUTE_POS / (out_width * out_height);
    let mut sum = f32::new(0.0);
    for i in 0..row_taps {
        let tap = row * row_taps + i;
        let line = (plane * height + row_pixels[tap] as usize) * width;
        let mut along = f32::new(0.0);
        for j in 0..column_taps {
            let tap = column * column_taps + j;
            along += column_weights[tap] * f32::cast_from(x[line + column_pixels[tap] as usize]);
        }
        sum += row_weights[tap] * along;
    }
    out[ABSOLUTE_POS] = F::cast_from(sum);
}

/// Resamples planes `[n, c, h, w]`; `taps` gives the tables for an axis of so many pixels.
pub fn resample<R: CubeRuntime>(x: CubeTensor<R>, taps: impl Fn(usize) -> Taps) -> CubeTensor<R> {
    let [n, c, height, width] = x.meta.shape().dims();
    let (rows, columns) = (taps(height), taps(width));
    let (out_height, out_width) = (rows.lists.len(), columns.lists.len());
    let out = empty(&x, [n, c, out_height, out_width]);
    let client = x.client.clone();
    let (cube_count, cube_dim) = units(&x, n * c * out_height * out_width);
    let (row_pixels, row_weights) = rows.upload(&x);
    let (column_pixels, column_weights) = columns.upload(&x);
    resample_kernel::launch(
        &client,
        cube_count,
        cube_dim,
        array(x),
        row_pixels,
        row_weights,
        column_pixels,
        column_weights,
        out.clone().into_array_arg(),
        height,
        width,
        out_height,
        out_width,
        rows.longest(),
        columns.longest(),
        out.dtype.into(),
    );
    out
}
