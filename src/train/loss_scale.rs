//! Loss scaling for 16-bit floating point, where small gradients would vanish (Micikevicius et al. 2018, arXiv 1710.03740).

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// Where scaling starts, and how many good steps double the factor.
const FIRST: f64 = 65_536.0;
const GOOD_STEPS: usize = 1000;

/// The factor on the loss: it halves when a gradient overflows (that step changes no weight), and doubles after
/// many good steps. 1 in the formats with float32's range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    factor: f64,
    good_steps: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: FIRST, good_steps: 0 }
    }
}

impl LossScale {
    /// What the loss is multiplied by, and gradients divided by, when computing in `format`.
    pub fn factor(&self, format: DType) -> f64 {
        if format == DType::F16 { self.factor } else { 1.0 }
    }

    /// A step went well.
    pub fn keep(&mut self, format: DType) {
        if format != DType::F16 {
            return;
        }
        self.good_steps += 1;
        if self.good_steps == GOOD_STEPS {
            *self = Self { factor: self.factor * 2.0, good_steps: 0 };
        }
    }

    /// A gradient overflowed. False where a smaller factor would not help.
    pub fn lower(&mut self, format: DType) -> bool {
        if format != DType::F16 || self.factor <= 1.0 {
            return false;
        }
        *self = Self { factor: self.factor / 2.0, good_steps: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflows_halve_the_factor_and_good_steps_double_it() {
        let mut scale = LossScale::default();
        assert!(scale.lower(DType::F16));
        assert_eq!(scale.factor(DType::F16), FIRST / 2.0);
        for _ in 0..GOOD_STEPS {
            scale.keep(DType::F16);
        }
        assert_eq!(scale.factor(DType::F16), FIRST);
        while scale.factor(DType::F16) > 1.0 {
            assert!(scale.lower(DType::F16));
        }
        assert!(!scale.lower(DType::F16), "1 is the least");
    }

    #[test]
    fn formats_with_the_range_of_float32_are_not_scaled() {
        let mut scale = LossScale::default();
        for format in [DType::F32, DType::BF16] {
            assert_eq!(scale.factor(format), 1.0);
            assert!(!scale.lower(format));
            for _ in 0..GOOD_STEPS {
                scale.keep(format);
            }
            assert_eq!(scale, LossScale::default(), "a run in {format:?} moves it");
        }
    }
}
