//! Weighted means of probabilities, pixel by pixel.

use crate::config::ensemble::Mean;

/// How near to 0 and 1 float32 probabilities are taken: half a step of the format at 1. What is certain has no logarithm.
pub const FLOAT_STEP: f64 = f32::EPSILON as f64 / 2.0;

/// The same for bytes, which round to 1/254: what became 0 lay between 0 and half a step, in the middle a quarter.
pub const BYTE_STEP: f64 = 0.25 / 254.0;

/// A running mean a pixel. Sums are f64, so that the mean of equal float32 values is that value, whatever their number and weights.
#[derive(Debug)]
pub struct Means {
    mean: Mean,
    sums: Vec<f64>,
    weights: Vec<f64>,
}

impl Means {
    /// Of `count` pixels without a value so far.
    pub fn new(mean: Mean, count: usize) -> Self {
        Self { mean, sums: vec![0.0; count], weights: vec![0.0; count] }
    }

    /// Adds a value a pixel; NaN has no say. `step` is how near to 0 and 1 values are taken ([`FLOAT_STEP`], [`BYTE_STEP`]).
    pub fn add(&mut self, scores: &[f32], weight: f64, step: f64) {
        let pixels = self.sums.iter_mut().zip(&mut self.weights).zip(scores);
        for ((sum, total), &score) in pixels.filter(|(_, score)| !score.is_nan()) {
            *sum += weight * lift(self.mean, f64::from(score), step);
            *total += weight;
        }
    }

    /// The means; NaN where no value was added.
    pub fn finish(&self) -> Vec<f32> {
        let pixels = self.sums.iter().zip(&self.weights);
        pixels
            .map(
                |(sum, total)| {
                    if *total > 0.0 { lower(self.mean, sum / total) as f32 } else { f32::NAN }
                },
            )
            .collect()
    }
}

/// A probability where its kind of mean is a sum.
fn lift(mean: Mean, p: f64, step: f64) -> f64 {
    match mean {
        Mean::Arithmetic => p,
        Mean::Geometric => p.max(step).ln(),
        Mean::Logit => {
            let p = p.clamp(step, 1.0 - step);
            (p / (1.0 - p)).ln()
        }
    }
}

/// The way back.
fn lower(mean: Mean, value: f64) -> f64 {
    match mean {
        Mean::Arithmetic => value,
        Mean::Geometric => value.exp(),
        Mean::Logit => 1.0 / (1.0 + (-value).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [Mean; 3] = [Mean::Arithmetic, Mean::Geometric, Mean::Logit];

    fn mean(kind: Mean, terms: &[(f32, f64)]) -> f32 {
        let mut means = Means::new(kind, 1);
        for &(score, weight) in terms {
            means.add(&[score], weight, FLOAT_STEP);
        }
        means.finish()[0]
    }

    #[test]
    fn the_three_means_are_what_their_formulas_say() {
        let terms = [(0.9, 2.0), (0.3, 1.0)];
        assert_eq!(mean(Mean::Arithmetic, &terms), 0.7);
        assert!((mean(Mean::Geometric, &terms) - (0.9f32 * 0.9 * 0.3).cbrt()).abs() < 1e-6);
        let odds = (9.0f32 * 9.0 * 3.0 / 7.0).cbrt();
        assert!((mean(Mean::Logit, &terms) - odds / (1.0 + odds)).abs() < 1e-6);
    }

    #[test]
    fn certain_values_that_contradict_each_other_meet_in_the_middle() {
        assert_eq!(mean(Mean::Logit, &[(0.0, 1.0), (1.0, 1.0)]), 0.5);
        assert_eq!(mean(Mean::Arithmetic, &[(0.0, 1.0), (1.0, 1.0)]), 0.5);
        assert!(mean(Mean::Geometric, &[(0.0, 1.0), (1.0, 1.0)]) < 1e-3);
    }

    proptest! {
        #[test]
        fn equal_values_are_their_own_mean(p in 0.0f32..=1.0, weights in prop::collection::vec(0.01..9.0f64, 1..9)) {
            let terms: Vec<_> = weights.iter().map(|weight| (p, *weight)).collect();
            prop_assert_eq!(mean(Mean::Arithmetic, &terms), p);
            for kind in KINDS {
                prop_assert!((mean(kind, &terms) - p).abs() <= FLOAT_STEP as f32);
            }
        }

        #[test]
        fn bytes_come_back_as_they_were(byte in 0u8..=254, count in 1usize..5) {
            for kind in KINDS {
                let mut means = Means::new(kind, 1);
                for _ in 0..count {
                    means.add(&[f32::from(byte) / 254.0], 1.0, BYTE_STEP);
                }
                prop_assert_eq!((means.finish()[0] * 254.0).round() as u8, byte);
            }
        }

        #[test]
        fn no_value_has_no_say(p in 0.0f32..=1.0, q in 0.0f32..=1.0) {
            for kind in KINDS {
                let with = mean(kind, &[(p, 1.0), (f32::NAN, 5.0), (q, 2.0)]);
                prop_assert_eq!(with, mean(kind, &[(p, 1.0), (q, 2.0)]));
                prop_assert!(mean(kind, &[(f32::NAN, 1.0)]).is_nan());
            }
        }
    }
}
