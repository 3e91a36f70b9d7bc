//! Dice of masks, at one threshold and at all of them.

/// Thresholds that are tried: every multiple of 0.001 from 0 to 1.
const STEPS: usize = 1000;

/// Dice of two masks of the same size: twice what they share, over what they cover together; 1 where both are empty.
pub fn dice(a: &[bool], b: &[bool]) -> f64 {
    let count = |mask: &[bool]| mask.iter().filter(|object| **object).count() as u64;
    let shared = a.iter().zip(b).filter(|(a, b)| **a && **b).count() as u64;
    of_counts(shared, count(a) + count(b))
}

fn of_counts(shared: u64, together: u64) -> f64 {
    if together == 0 { 1.0 } else { 2.0 * shared as f64 / together as f64 }
}

/// The mean Dice of photos at every threshold. Exact, though only a histogram of each photo's probabilities is looked at: between
/// two thresholds no mask changes.
#[derive(Clone, Debug)]
pub struct Curve {
    photos: usize,
    /// Sum over photos, by threshold in thousandths.
    sums: Vec<f64>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { photos: 0, sums: vec![0.0; STEPS + 1] }
    }
}

impl Curve {
    /// Adds a photo: probabilities and truth, pixel by pixel.
    pub fn add(&mut self, probabilities: &[f32], truth: &[bool]) {
        // Pixels by the highest threshold that they reach: all, and those of the object.
        let mut all = [0u64; STEPS + 1];
        let mut object = [0u64; STEPS + 1];
        for (&probability, &is_object) in probabilities.iter().zip(truth) {
            let at = reached(probability);
            all[at] += 1;
            object[at] += u64::from(is_object);
        }
        let wanted: u64 = object.iter().sum();
        let (mut found, mut shared) = (0, 0);
        for at in (0..=STEPS).rev() {
            found += all[at];
            shared += object[at];
            self.sums[at] += of_counts(shared, found + wanted);
        }
        self.photos += 1;
    }

    /// The threshold with the highest mean Dice, and that; of several the one in their middle. `None` without photos.
    pub fn best(&self) -> Option<(f64, f64)> {
        if self.photos == 0 {
            return None;
        }
        let most = self.sums.iter().copied().fold(0.0, f64::max);
        let best: Vec<usize> = (0..=STEPS).filter(|at| self.sums[*at] == most).collect();
        Some((threshold(best[best.len() / 2]), most / self.photos as f64))
    }
}

fn threshold(at: usize) -> f64 {
    at as f64 / STEPS as f64
}

/// The highest threshold, in thousandths, that a probability is not below.
fn reached(probability: f32) -> usize {
    // Exact: the product of 24 and 10 bits fits into the 53 of a double.
    ((f64::from(probability) * STEPS as f64) as usize).min(STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_empty_masks_agree() {
        assert_eq!(dice(&[false; 3], &[false; 3]), 1.0);
        assert_eq!(dice(&[true, false, false], &[false; 3]), 0.0);
        assert_eq!(dice(&[true, true, false], &[true, false, false]), 2.0 / 3.0);
    }

    #[test]
    fn the_best_threshold_lies_in_the_middle_of_what_is_equally_good() {
        let mut curve = Curve::default();
        assert_eq!(curve.best(), None);
        curve.add(&[0.2, 0.4, 0.8], &[false, false, true]);
        // From above 0.4 to 0.8.
        let (threshold, dice) = curve.best().unwrap();
        assert_eq!(dice, 1.0);
        assert!((threshold - 0.601).abs() < 1e-9, "{threshold}");
    }

    proptest! {
        #[test]
        fn the_curve_is_what_masks_at_every_threshold_give(
            photos in prop::collection::vec(
                prop::collection::vec((0u32..=2000, any::<bool>(), -1i32..=1), 1..40), 1..4),
        ) {
            let mut curve = Curve::default();
            let mut sums = vec![0.0; STEPS + 1];
            for photo in &photos {
                // On the thresholds, between them, and one bit beside them.
                let near = |&(half, _, beside): &(u32, bool, i32)| {
                    let p = half as f32 / 2000.0;
                    f32::from_bits((p.to_bits() as i32 + beside).max(0) as u32).min(1.0)
                };
                let probabilities: Vec<f32> = photo.iter().map(near).collect();
                let truth: Vec<bool> = photo.iter().map(|pixel| pixel.1).collect();
                curve.add(&probabilities, &truth);
                for (at, sum) in sums.iter_mut().enumerate() {
                    let mask: Vec<bool> =
                        probabilities.iter().map(|p| f64::from(*p) >= threshold(at)).collect();
                    *sum += dice(&mask, &truth);
                }
            }
            prop_assert_eq!(curve.sums, sums);
        }
    }
}
