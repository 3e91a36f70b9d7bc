//! A window seen otherwise: flipped, turned, larger or smaller, and back. Pure arithmetic on square planes.

use crate::config::tta::Symmetry;

impl Symmetry {
    /// The symmetry that undoes this one.
    pub fn inverse(self) -> Self {
        match self {
            Self::Turn90 => Self::Turn270,
            Self::Turn270 => Self::Turn90,
            itself => itself,
        }
    }

    /// Planes of `side` x `side` pixels, one after another, moved pixel by pixel: no value changes.
    pub fn apply(self, planes: &[f32], side: usize) -> Vec<f32> {
        let (n, last) = (side as isize, side as isize - 1);
        // Where the first pixel comes from, and how far on the next row and the next column lie.
        let (first, row_step, col_step) = match self {
            Self::Identity => return planes.to_vec(),
            Self::FlipHorizontal => (last, n, -1),
            Self::Turn90 => (last, -1, n),
            Self::AntiTranspose => (last * n + last, -1, -n),
            Self::Turn180 => (last * n + last, -n, -1),
            Self::FlipVertical => (last * n, -n, 1),
            Self::Turn270 => (last * n, 1, -n),
            Self::Transpose => (0, 1, n),
        };
        let mut moved = Vec::with_capacity(planes.len());
        for plane in planes.chunks_exact(side * side) {
            for row in 0..n {
                let start = first + row * row_step;
                moved.extend((0..n).map(|col| plane[(start + col * col_step) as usize]));
            }
        }
        moved
    }
}

/// Linear interpolation from squares of one side to squares of another, pixel centres on pixel centres; towards fewer pixels each
/// reaches as far as they are apart, so that nothing falls between them. What is constant stays so.
#[derive(Clone, Debug)]
pub struct Resampler {
    from: usize,
    to: usize,
    /// For each pixel, the first that it looks at and their weights, which sum to 1.
    taps: Vec<(usize, Vec<f32>)>,
}

impl Resampler {
    /// From `from` x `from` pixels to `to` x `to`.
    pub fn new(from: usize, to: usize) -> Self {
        let step = from as f64 / to as f64;
        let reach = step.max(1.0);
        let taps = (0..to).map(|pixel| {
            let middle = (pixel as f64 + 0.5) * step - 0.5;
            let first = (middle - reach).ceil().max(0.0) as usize;
            let last = ((middle + reach).floor() as usize).min(from - 1);
            let weights = (first..=last).map(|at| 1.0 - (at as f64 - middle).abs() / reach);
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| (weight / sum) as f32).collect())
        });
        Self { from, to, taps: taps.collect() }
    }

    /// Planes of `from` x `from` pixels, one after another, as planes of `to` x `to`.
    pub fn apply(&self, planes: &[f32]) -> Vec<f32> {
        if self.from == self.to {
            return planes.to_vec();
        }
        let mut resampled = Vec::with_capacity(planes.len() / self.from.pow(2) * self.to.pow(2));
        for plane in planes.chunks_exact(self.from * self.from) {
            // Rows first, while they are still long.
            let mut narrow = Vec::with_capacity(self.from * self.to);
            for row in plane.chunks_exact(self.from) {
                narrow.extend(self.taps.iter().map(|(first, weights)| {
                    let pixels = &row[*first..first + weights.len()];
                    pixels.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f32>()
                }));
            }
            for (first, weights) in &self.taps {
                let start = resampled.len();
                resampled.resize(start + self.to, 0.0);
                for (row, weight) in narrow.chunks_exact(self.to).skip(*first).zip(weights) {
                    for (sum, value) in resampled[start..].iter_mut().zip(row) {
                        *sum += value * weight;
                    }
                }
            }
        }
        resampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_symmetry_moves_the_corners_as_its_name_says() {
        // a b
        // c d
        let plane = [1.0, 2.0, 3.0, 4.0];
        let expected = [
            [1.0, 2.0, 3.0, 4.0],
            [2.0, 1.0, 4.0, 3.0],
            [2.0, 4.0, 1.0, 3.0],
            [4.0, 2.0, 3.0, 1.0],
            [4.0, 3.0, 2.0, 1.0],
            [3.0, 4.0, 1.0, 2.0],
            [3.0, 1.0, 4.0, 2.0],
            [1.0, 3.0, 2.0, 4.0],
        ];
        for (symmetry, expected) in Symmetry::ALL.into_iter().zip(expected) {
            assert_eq!(symmetry.apply(&plane, 2), expected, "{}", symmetry.name());
        }
    }

    proptest! {
        #[test]
        fn what_a_symmetry_moves_its_inverse_moves_back(side in 1usize..20, planes in 1usize..4, seed in 0u32..1000) {
            // Bits as they come, numbers or not.
            let value = |i: usize| f32::from_bits((i as u32 + 1).wrapping_mul(2_654_435_761) ^ seed);
            let x: Vec<f32> = (0..planes * side * side).map(value).collect();
            let bits = |x: &[f32]| x.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            for symmetry in Symmetry::ALL {
                let view = symmetry.apply(&x, side);
                prop_assert_eq!(bits(&symmetry.inverse().apply(&view, side)), bits(&x));
            }
        }

        #[test]
        fn a_linear_image_stays_linear_away_from_the_edges(from in 32usize..100, to in 32usize..100, slope in -1.0f32..1.0) {
            let x: Vec<f32> = (0..from * from).map(|i| slope * (i % from) as f32 + (i / from) as f32).collect();
            let y = Resampler::new(from, to).apply(&x);
            let step = from as f32 / to as f32;
            let margin = 2 + (to / from);
            for row in margin..to - margin {
                for col in margin..to - margin {
                    let at = |pixel: usize| (pixel as f32 + 0.5) * step - 0.5;
                    let expected = slope * at(col) + at(row);
                    // Towards fewer pixels, where the triangle's taps lie unevenly, up to 0.072 px off along each axis.
                    let far = (y[row * to + col] - expected).abs();
                    prop_assert!(far < if step > 1.0 { 0.15 * step } else { 1e-3 }, "{}", far);
                }
            }
        }

        #[test]
        fn what_is_constant_stays_so(from in 1usize..60, to in 1usize..60, value in -3.0f32..3.0) {
            let y = Resampler::new(from, to).apply(&vec![value; 2 * from * from]);
            prop_assert_eq!(y.len(), 2 * to * to);
            prop_assert!(y.iter().all(|v| (v - value).abs() < 1e-5));
        }
    }
}
