//! 3x3 of stride 1 by Winograd's algorithm: the inference code with channels last, between two transpositions.

use crate::kernels::flex::buffer;
use crate::kernels::nhwc::{Conv3x3, Pool};
use crate::kernels::{Padding, Sliding};

/// Fewer channels than this do not pay for the transformations.
const LEAST_CHANNELS: usize = 48;
/// Images of fewer pixels neither.
const LEAST_PX: usize = 64;

/// Whether this convolution runs here: `m` outputs of an input of shape `shape`.
pub fn suits(m: usize, shape: [usize; 4], kernel: usize, sliding: Sliding) -> bool {
    let [_, channels, h, w] = shape;
    kernel == 3
        && sliding == Sliding::new(1, Padding::uniform(1))
        && m.min(channels) >= LEAST_CHANNELS
        && h * w >= LEAST_PX
}

/// Convolution of `[n, in, h, w]` by transformed weights.
pub fn convolve(x: &[f32], [n, channels, h, w]: [usize; 4], weights: &Conv3x3) -> Vec<f32> {
    let m = weights.outputs();
    let mut out = buffer::take(n * m * h * w);
    let mut pool = Pool::default();
    let mut image = pool.image(h, w, channels);
    for (x, out) in x.chunks_exact(channels * h * w).zip(out.chunks_exact_mut(m * h * w)) {
        image.read_planes(x);
        let sums = weights.convolve(&image, &mut pool);
        sums.write_planes(out);
        pool.give(sums);
    }
    out
}
