//! Number formats that a user can ask for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The format in which a network computes. Weights are kept in single precision whatever it is, and so are sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// The best that the device is known to do well with: float32 everywhere for now.
    #[default]
    Auto,
    /// 32-bit floating point.
    F32,
    /// bfloat16: the range of float32 with 8 significant bits. GPUs that have it.
    Bf16,
    /// 16-bit floating point: 11 significant bits, up to 65504; training scales the loss to stay within. GPUs.
    F16,
}

impl Precision {
    /// As configuration and command line name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::F32, Self::Bf16, Self::F16]
            .into_iter()
            .find(|precision| precision.name() == text)
            .ok_or_else(|| format!("expected auto, f32, bf16 or f16, found `{text}`"))
    }
}
