//! Pixel metrics that add up over batches.

use serde::{Deserialize, Serialize};

/// Counts of pixels by truth and prediction; ignored pixels are in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Building, predicted as building.
    pub true_positive: u64,
    /// Background, predicted as building.
    pub false_positive: u64,
    /// Building, predicted as background.
    pub false_negative: u64,
}

impl Confusion {
    /// Counts one image or batch: `predicted[i]` against `truth[i]` where `valid[i]`.
    pub fn count(predicted: &[bool], truth: &[bool], valid: &[bool]) -> Self {
        let mut counts = Self::default();
        for ((&predicted, &truth), &valid) in predicted.iter().zip(truth).zip(valid) {
            if valid {
                counts.true_positive += u64::from(predicted && truth);
                counts.false_positive += u64::from(predicted && !truth);
                counts.false_negative += u64::from(!predicted && truth);
            }
        }
        counts
    }

    /// Adds the counts of another batch.
    pub fn add(&mut self, other: Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
    }

    /// Intersection over union (the Jaccard index); 1 when neither has a building.
    pub fn iou(&self) -> f64 {
        ratio(self.true_positive, self.false_positive + self.false_negative)
    }

    /// Share of predicted pixels that are building; 1 when none is predicted.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positive, self.false_positive)
    }

    /// Share of building pixels that are predicted; 1 when there are none.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positive, self.false_negative)
    }

    /// Harmonic mean of precision and recall; 1 when neither has a building.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_positive, self.false_positive + self.false_negative)
    }
}

/// `right / (right + wrong)`, 1 for nothing at all.
fn ratio(right: u64, wrong: u64) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_give_the_textbook_ratios() {
        let counts = Confusion { true_positive: 6, false_positive: 2, false_negative: 4 };
        assert_eq!(counts.iou(), 0.5);
        assert_eq!(counts.precision(), 0.75);
        assert_eq!(counts.recall(), 0.6);
        assert!((counts.f1() - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(Confusion::default().iou(), 1.0);
    }

    proptest! {
        #[test]
        fn ignored_pixels_never_change_the_counts(
            pixels in prop::collection::vec(any::<(bool, bool, bool, bool)>(), 0..64)
        ) {
            let predicted: Vec<_> = pixels.iter().map(|p| p.0).collect();
            let truth: Vec<_> = pixels.iter().map(|p| p.1).collect();
            let valid: Vec<_> = pixels.iter().map(|p| p.2).collect();
            // The same with other values under the ignored pixels.
            let other: Vec<_> = pixels.iter().map(|p| if p.2 { p.0 } else { p.3 }).collect();
            prop_assert_eq!(
                Confusion::count(&predicted, &truth, &valid),
                Confusion::count(&other, &truth, &valid)
            );
        }
    }
}
