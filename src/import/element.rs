//! Types of the elements of stored tensors.

use half::{bf16, f16};

/// How one number is stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Bytes a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The number at index `at` of `data`, as f32; `None` past the end.
    pub fn value(self, data: &[u8], at: usize) -> Option<f32> {
        let start = at.checked_mul(self.bytes())?;
        let bytes = data.get(start..start.checked_add(self.bytes())?)?;
        Some(match self {
            Self::F64 => f64::from_le_bytes(bytes.try_into().ok()?) as f32,
            Self::F32 => f32::from_le_bytes(bytes.try_into().ok()?),
            Self::F16 => f16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f32,
            Self::I32 => i32::from_le_bytes(bytes.try_into().ok()?) as f32,
            Self::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
            Self::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
            Self::U8 | Self::Bool => bytes.first().copied()?.into(),
        })
    }
}
