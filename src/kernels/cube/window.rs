//! The window of a convolution: which inputs an output sees, and which outputs see an input.

#![allow(clippy::too_many_arguments, reason = "kernels take no structs of sizes")]

use cubecl::prelude::*;

use crate::kernels::Sliding;

/// How the window moves, for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Steps {
    /// Taps a side.
    pub kernel: usize,
    stride: usize,
    dilation: usize,
    top: usize,
    left: usize,
}

impl Steps {
    pub fn new(kernel: usize, sliding: Sliding) -> Self {
        let Sliding { stride, padding, dilation } = sliding;
        Self { kernel, stride, dilation, top: padding.top, left: padding.left }
    }
}

/// The input that a tap of the output at (`row`, `column`) sees: 0 in the padding.
#[cube]
pub fn seen<F: Float>(
    x: &Array<F>,
    plane: usize,
    row: usize,
    column: usize,
    tap: usize,
    height: usize,
    width: usize,
    #[comptime] steps: Steps,
) -> f32 {
    let y = row * steps.stride + tap / steps.kernel * steps.dilation;
    let x_ = column * steps.stride + tap % steps.kernel * steps.dilation;
    let mut value = f32::new(0.0);
    let inside = y >= steps.top && x_ >= steps.left;
    if inside && y - steps.top < height && x_ - steps.left < width {
        value = f32::cast_from(x[(plane * height + y - steps.top) * width + x_ - steps.left]);
    }
    value
}

/// The gradient of the output that sees the input at (`row`, `column`) through a tap: 0 where there is none.
#[cube]
pub fn seer<F: Float>(
    grad: &Array<F>,
    plane: usize,
    row: usize,
    column: usize,
    tap: usize,
    height: usize,
    width: usize,
    #[comptime] steps: Steps,
) -> f32 {
    let (y, x_) = (row + steps.top, column + steps.left);
    let (ky, kx) = (tap / steps.kernel * steps.dilation, tap % steps.kernel * steps.dilation);
    let mut value = f32::new(0.0);
    if y >= ky && x_ >= kx {
        let (y, x_) = (y - ky, x_ - kx);
        let (gy, gx) = (y / steps.stride, x_ / steps.stride);
        let hit = y % steps.stride == 0 && x_ % steps.stride == 0;
        if hit && gy < height && gx < width {
            value = f32::cast_from(grad[(plane * height + gy) * width + gx]);
        }
    }
    value
}
