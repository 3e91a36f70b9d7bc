//! Memory of operators' results, and its parallel filling.

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{Bytes, DType, Shape},
};

/// A tensor over `values`.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(Shape::from(shape.to_vec())),
        DType::F32,
    )
}

/// Memory for `len` values, to be overwritten whole: what is there before must not be read.
#[expect(
    clippy::uninit_vec,
    reason = "zeros would be written for nothing, a twentieth of a training step"
)]
pub fn take(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity was just reserved; any bits are a float, and callers write before they read.
    unsafe { values.set_len(len) };
    values
}

/// A slice that several threads write at places that do not overlap.
#[derive(Clone, Copy)]
pub struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: every access goes through `Shared::slice`, whose caller promises disjoint places.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Over all of `values`, which must outlive every use.
    pub fn new(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// The values `from..from + len`.
    ///
    /// # Safety
    /// No two threads may hold overlapping slices at once, and the memory behind must be alive.
    pub unsafe fn slice<'a>(&self, from: usize, len: usize) -> &'a mut [f32] {
        assert!(from + len <= self.len, "slice beyond its memory");
        // SAFETY: in bounds as checked; alive and not aliased as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }

    /// The place of value `from`, where `len` values follow.
    pub fn pointer(&self, from: usize, len: usize) -> *mut f32 {
        assert!(from + len <= self.len, "pointer beyond its memory");
        self.start.wrapping_add(from)
    }
}
