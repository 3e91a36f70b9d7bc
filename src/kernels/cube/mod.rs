//! GPU code for `CubeCL` backends (CUDA, Vulkan). What has no kernel here runs in its plain form.

mod resample;

use burn::tensor::ops::FloatTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::{Kernels, plain};
use resample::{Taps, resample};

impl<R, F, I, BT> Kernels for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn bilinear(x: FloatTensor<Self>, factor: usize, align_corners: bool) -> FloatTensor<Self> {
        resample(x, |size| Taps::bilinear(size, factor, align_corners))
    }

    fn bilinear_grad(
        grad: FloatTensor<Self>,
        factor: usize,
        align_corners: bool,
    ) -> FloatTensor<Self> {
        resample(grad, |size| Taps::bilinear(size / factor, factor, align_corners).transposed())
    }

    fn nearest(x: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        resample(x, |size| Taps::nearest(size, factor))
    }

    fn nearest_grad(grad: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        resample(grad, |size| Taps::nearest(size / factor, factor).transposed())
    }
}
