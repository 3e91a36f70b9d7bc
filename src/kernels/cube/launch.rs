//! What every launch needs: sizes of the work, memory for results, sums over a workgroup.

use burn::tensor::{DType, Shape};
use burn_cubecl::{
    CubeRuntime,
    kernel::{cast, into_contiguous},
    ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

/// Units of a workgroup that adds up.
pub const GROUP: usize = 256;

/// How often it halves on the way to one.
const HALVINGS: usize = GROUP.ilog2() as usize;

/// One unit a value.
pub fn units<R: CubeRuntime>(like: &CubeTensor<R>, count: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&like.client, count);
    (calculate_cube_count_elemwise(&like.client, count, dim), dim)
}

/// One workgroup of [`GROUP`] units a result. There may be more: kernels compare with the number of results.
pub fn groups<R: CubeRuntime>(like: &CubeTensor<R>, count: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(GROUP as u32);
    (calculate_cube_count_elemwise(&like.client, count * GROUP, dim), dim)
}

/// Memory for a result of another shape.
pub fn empty<R: CubeRuntime, const D: usize>(
    like: &CubeTensor<R>,
    shape: [usize; D],
) -> CubeTensor<R> {
    empty_of(like, shape, like.dtype)
}

/// Memory for single-precision values of another shape: sums and what else there is few of, whatever the images hold.
pub fn empty_f32<R: CubeRuntime, const D: usize>(
    like: &CubeTensor<R>,
    shape: [usize; D],
) -> CubeTensor<R> {
    empty_of(like, shape, DType::F32)
}

fn empty_of<R: CubeRuntime, const D: usize>(
    like: &CubeTensor<R>,
    shape: [usize; D],
    dtype: DType,
) -> CubeTensor<R> {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape.to_vec()), dtype)
}

/// Row-major, as kernels that take arrays need it.
pub fn array<R: CubeRuntime>(x: CubeTensor<R>) -> ArrayArg<R> {
    into_contiguous(x).into_array_arg()
}

/// The same in single precision.
pub fn array_f32<R: CubeRuntime>(x: CubeTensor<R>) -> ArrayArg<R> {
    array(cast(x, DType::F32))
}

/// A plane's value of an array with one value a plane `[n, c]`, or one a channel `[c]`.
#[cube]
pub fn of_plane(values: &Array<f32>, plane: usize) -> f32 {
    values[plane % values.len()]
}

/// The sum of one plane, for all units of its workgroup.
#[cube]
pub fn plane_sum<F: Float>(
    x: &Array<F>,
    plane: usize,
    plane_px: usize,
    shared: &mut SharedMemory<f32>,
) -> f32 {
    let mut sum = f32::new(0.0);
    let mut pixel = UNIT_POS as usize;
    while pixel < plane_px {
        sum += f32::cast_from(x[plane * plane_px + pixel]);
        pixel += GROUP;
    }
    group_sum(sum, shared)
}

/// The sum of every unit's value, for all units of a workgroup of [`GROUP`]. Always added in the same order.
#[cube]
pub fn group_sum(value: f32, shared: &mut SharedMemory<f32>) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    #[unroll]
    for step in 0..HALVINGS {
        let half = comptime![GROUP >> (step + 1)];
        if unit < half {
            let other = shared[unit + half];
            shared[unit] += other;
        }
        sync_cube();
    }
    let total = shared[0];
    sync_cube();
    total
}
