//! Products of matrices that lie anywhere, on one thread each.

use gemm::Parallelism;

/// Pixels that one task computes: the products of all taps stay in the L2 cache (128 channels: 1 MB).
pub const TILE_PX: usize = 2048;
/// Output channels that one task computes.
pub const TILE_CHANNELS: usize = 256;

/// A matrix: its start, and steps between columns and rows.
#[derive(Clone, Copy)]
pub struct Matrix {
    start: *const f32,
    cols: usize,
    rows: usize,
}

impl Matrix {
    /// The matrix of `values` from `from` on, with its steps between rows and columns.
    pub fn new(values: &[f32], from: usize, rows: usize, cols: usize) -> Self {
        Self { start: values[from..].as_ptr(), cols, rows }
    }
}

/// `out = a b`, plus `out` where `add`; `out` is `[m, n]` with rows `step` apart.
///
/// # Safety
/// All of `a` `[m, k]` and `b` `[k, n]` must lie in their slices, and no other thread may touch the `[m, n]` values from
/// `out` on. It may touch those between the rows.
#[expect(
    clippy::too_many_arguments,
    reason = "a matrix product has three sizes and three matrices"
)]
pub unsafe fn product(
    m: usize,
    n: usize,
    k: usize,
    out: *mut f32,
    step: usize,
    add: bool,
    a: Matrix,
    b: Matrix,
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            step as isize,
            add,
            a.start,
            a.cols as isize,
            a.rows as isize,
            b.start,
            b.cols as isize,
            b.rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
