//! Dense convolution and its gradients: each a product of two matrices that are never written out (implicit GEMM). A
//! workgroup computes a square tile of the product, term by term from shared memory; a unit keeps 4 by 4 results in
//! registers. Which kernel runs depends on shapes alone, and sums have one order: the same input gives the same bytes.

#![allow(
    clippy::used_underscore_binding,
    clippy::too_many_arguments,
    reason = "of the macro: see resample"
)]

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::launch::{GROUP, array, array_f32, empty, empty_f32, groups};
use super::window::{Steps, seen, seer};
use crate::kernels::Sliding;

/// Sides of a workgroup's tile of results.
const TILE: usize = 64;
/// Terms in shared memory at a time.
const DEPTH: usize = 16;
/// A row of shared memory. The odd value spreads values that are written together over the banks.
const PITCH: usize = TILE + 1;
/// Rows (and columns) of a tile that lie between two results of a unit, and results of a unit a side.
const STEP: usize = 16;
const SIDE: usize = TILE / STEP;
/// Workgroups that keep a device busy, and terms that are worth one.
const BUSY: usize = 512;
const WORTH: usize = 256;

/// Which product it is. Terms are added up; a tap is one place of the window of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pass {
    /// Rows: outputs' channels. Columns: outputs' pixels. Terms: taps.
    Forward,
    /// Rows: inputs' channels. Columns: inputs' pixels. Terms: taps of the outputs' channels.
    ByInput,
    /// Rows: outputs' channels. Columns: taps. Terms: outputs' pixels.
    ByWeight,
}

/// One tile of one stretch of the terms a workgroup. `left` is the weight, or for the gradient by the weight the gradient
/// of the outputs; `right` is what the window moves over: the input, or for the gradient by the input that gradient.
#[cube(launch)]
fn product_kernel<F: Float, O: Float>(
    left: &Array<F>,
    right: &Array<F>,
    bias: &Array<f32>,
    out: &mut Array<O>,
    rows: usize,
    columns: usize,
    terms: usize,
    stretch: usize,
    stretches: usize,
    // Channels and size of `right`, and size of the image of which a pixel is a column (a term, by the weight).
    channels: usize,
    height: usize,
    width: usize,
    pixel_height: usize,
    pixel_width: usize,
    #[comptime] steps: Steps,
    #[comptime] pass: Pass,
    #[comptime] biased: bool,
    #[define(F)] _dtype: StorageType,
    #[define(O)] _out_dtype: StorageType,
) {
    let row_tiles = rows.div_ceil(TILE);
    let column_tiles = columns.div_ceil(TILE);
    if CUBE_POS >= row_tiles * column_tiles * stretches {
        terminate!();
    }
    // Neighbours share their columns: the larger matrix is read once.
    let first_row = CUBE_POS % row_tiles * TILE;
    let first_column = CUBE_POS / row_tiles % column_tiles * TILE;
    let part = CUBE_POS / (row_tiles * column_tiles);
    let unit = UNIT_POS as usize;
    let (unit_row, unit_column) = (unit / STEP, unit % STEP);
    let taps = comptime![steps.kernel * steps.kernel];
    let pixels = pixel_height * pixel_width;

    let mut lefts = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut rights = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut sums = Array::<f32>::new(comptime![SIDE * SIDE]);
    #[unroll]
    for i in 0..comptime![SIDE * SIDE] {
        sums[i] = f32::new(0.0);
    }

    // The pixel that a unit loads all its terms for.
    let column = first_column + unit % TILE;
    let column_sample = column / pixels;
    let column_y = column % pixels / pixel_width;
    let column_x = column % pixel_width;

    let end = min((part + 1) * stretch, terms);
    let mut start = part * stretch;
    while start < end {
        // Loads: units that follow one another along the terms of the left matrix ...
        let term = start + unit_column;
        let term_sample = term / pixels;
        let term_pixel = term % pixels;
        #[unroll]
        for i in 0..SIDE {
            let row = first_row + unit_row + i * STEP;
            let mut value = f32::new(0.0);
            if term < end && row < rows {
                if comptime![pass == Pass::Forward] {
                    value = f32::cast_from(left[row * terms + term]);
                }
                if comptime![pass == Pass::ByInput] {
                    value = f32::cast_from(left[(term / taps * rows + row) * taps + term % taps]);
                }
                if comptime![pass == Pass::ByWeight] {
                    value = f32::cast_from(left[(term_sample * rows + row) * pixels + term_pixel]);
                }
            }
            lefts[unit_column * PITCH + unit_row + i * STEP] = value;
        }
        // ... and along the pixels of the right one.
        #[unroll]
        for i in 0..SIDE {
            let mut value = f32::new(0.0);
            if comptime![pass == Pass::ByWeight] {
                let of_tile = unit_row + i * STEP;
                let column = first_column + of_tile;
                if term < end && column < columns {
                    value = seen(
                        right,
                        term_sample * channels + column / taps,
                        term_pixel / pixel_width,
                        term_pixel % pixel_width,
                        column % taps,
                        height,
                        width,
                        steps,
                    );
                }
                rights[unit_column * PITCH + of_tile] = value;
            } else {
                let of_depth = unit / TILE + i * SIDE;
                let term = start + of_depth;
                if term < end && column < columns {
                    let plane = column_sample * channels + term / taps;
                    let tap = term % taps;
                    if comptime![pass == Pass::Forward] {
                        value = seen(right, plane, column_y, column_x, tap, height, width, steps);
                    } else {
                        value = seer(right, plane, column_y, column_x, tap, height, width, steps);
                    }
                }
                rights[of_depth * PITCH + unit % TILE] = value;
            }
        }
        sync_cube();
        #[unroll]
        for depth in 0..DEPTH {
            let mut of_columns = Array::<f32>::new(SIDE);
            #[unroll]
            for j in 0..SIDE {
                of_columns[j] = rights[depth * PITCH + unit_column + j * STEP];
            }
            #[unroll]
            for i in 0..SIDE {
                let of_row = lefts[depth * PITCH + unit_row + i * STEP];
                #[unroll]
                for j in 0..SIDE {
                    sums[i * SIDE + j] += of_row * of_columns[j];
                }
            }
        }
        sync_cube();
        start += DEPTH;
    }

    #[unroll]
    for i in 0..SIDE {
        let row = first_row + unit_row + i * STEP;
        #[unroll]
        for j in 0..SIDE {
            let column = first_column + unit_column + j * STEP;
            if row < rows && column < columns {
                let mut value = sums[i * SIDE + j];
                if biased {
                    value += bias[row];
                }
                let mut place = (part * rows + row) * columns + column;
                if comptime![pass != Pass::ByWeight] {
                    place = (column / pixels * rows + row) * pixels + column % pixels;
                }
                out[place] = O::cast_from(value);
            }
        }
    }
}

/// Sizes of a product.
struct Product {
    pass: Pass,
    rows: usize,
    columns: usize,
    terms: usize,
    /// Height and width of the image whose pixels are columns or terms.
    pixels: [usize; 2],
    /// Parts of the sums that are computed apart.
    stretches: usize,
}

impl Product {
    fn launch<R: CubeRuntime>(
        &self,
        left: CubeTensor<R>,
        right: CubeTensor<R>,
        bias: Option<CubeTensor<R>>,
        out: &CubeTensor<R>,
        steps: Steps,
    ) {
        let [_, channels, height, width] = right.meta.shape().dims();
        let tiles = self.rows.div_ceil(TILE) * self.columns.div_ceil(TILE);
        let (count, _) = groups(out, tiles * self.stretches);
        let stretch = self.terms.div_ceil(self.stretches).next_multiple_of(DEPTH);
        let (client, dtype) = (right.client.clone(), right.dtype);
        let biased = bias.is_some();
        let bias = bias.unwrap_or_else(|| empty_f32(out, [1]));
        product_kernel::launch(
            &client,
            count,
            CubeDim::new_1d(GROUP as u32),
            array(left),
            array(right),
            array_f32(bias),
            out.clone().into_array_arg(),
            self.rows,
            self.columns,
            self.terms,
            stretch,
            self.stretches,
            channels,
            height,
            width,
            self.pixels[0],
            self.pixels[1],
            steps,
            self.pass,
            biased,
            dtype.into(),
            out.dtype.into(),
        );
    }
}

/// `[n, c, h, w]` by `[out, c, k, k]`, plus `bias` `[out]`.
pub fn forward<R: CubeRuntime>(
    x: CubeTensor<R>,
    weight: CubeTensor<R>,
    bias: Option<CubeTensor<R>>,
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, h, w] = x.meta.shape().dims();
    let [rows, _, kernel, _] = weight.meta.shape().dims();
    let (out_h, out_w) = sliding.output_size(h, w, kernel);
    let out = empty(&x, [n, rows, out_h, out_w]);
    let product = Product {
        pass: Pass::Forward,
        rows,
        columns: n * out_h * out_w,
        terms: c * kernel * kernel,
        pixels: [out_h, out_w],
        stretches: 1,
    };
    product.launch(weight, x, bias, &out, Steps::new(kernel, sliding));
    out
}

/// The gradient by the input of shape `shape`.
pub fn grad_x<R: CubeRuntime>(
    grad: CubeTensor<R>,
    weight: CubeTensor<R>,
    shape: [usize; 4],
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, h, w] = shape;
    let [out_c, _, kernel, _] = weight.meta.shape().dims();
    let out = empty(&grad, shape);
    let product = Product {
        pass: Pass::ByInput,
        rows: c,
        columns: n * h * w,
        terms: out_c * kernel * kernel,
        pixels: [h, w],
        stretches: 1,
    };
    product.launch(weight, grad, None, &out, Steps::new(kernel, sliding));
    out
}

/// The gradient by the weight in parts to be added up, `[parts, out, c, kernel, kernel]`, in single precision.
pub fn grad_weights<R: CubeRuntime>(
    grad: CubeTensor<R>,
    x: CubeTensor<R>,
    kernel: usize,
    sliding: Sliding,
) -> CubeTensor<R> {
    let [n, c, _, _] = x.meta.shape().dims();
    let [_, rows, grad_h, grad_w] = grad.meta.shape().dims();
    let columns = c * kernel * kernel;
    let terms = n * grad_h * grad_w;
    let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    let stretches = (BUSY / tiles).clamp(1, terms.div_ceil(WORTH));
    let out = empty_f32(&x, [stretches, rows, c, kernel, kernel]);
    let product =
        Product { pass: Pass::ByWeight, rows, columns, terms, pixels: [grad_h, grad_w], stretches };
    product.launch(grad, x, None, &out, Steps::new(kernel, sliding));
    out
}
