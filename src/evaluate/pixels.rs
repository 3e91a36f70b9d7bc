//! Pixel metrics from exact counts.

use serde::Serialize;

use crate::truth::{IGNORE, is_building};

/// How predicted and true labels of pixels agree. Building is the positive class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Building in both.
    pub true_positive: u64,
    /// Predicted only.
    pub false_positive: u64,
    /// True only.
    pub false_negative: u64,
    /// Building in neither.
    pub true_negative: u64,
}

impl Confusion {
    /// Counts one raster against another of the same size: `predicted` says where a building was
    /// found, `truth` holds labels. Pixels whose true label is [`IGNORE`] count nowhere.
    pub fn of(predicted: &[bool], truth: &[u8]) -> Self {
        let mut counts = Self::default();
        for (&found, &label) in predicted.iter().zip(truth) {
            if label != IGNORE {
                match (found, is_building(label)) {
                    (true, true) => counts.true_positive += 1,
                    (true, false) => counts.false_positive += 1,
                    (false, true) => counts.false_negative += 1,
                    (false, false) => counts.true_negative += 1,
                }
            }
        }
        counts
    }

    /// Both counts together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            true_positive: self.true_positive + other.true_positive,
            false_positive: self.false_positive + other.false_positive,
            false_negative: self.false_negative + other.false_negative,
            true_negative: self.true_negative + other.true_negative,
        }
    }

    /// Intersection over union (Jaccard 1901): `tp / (tp + fp + fn)`; 1 for empty against empty.
    pub fn iou(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(tp, tp + fp + fn_, 1.0)
    }

    /// `2 tp / (2 tp + fp + fn)` (Dice 1945), which over pixels equals F1; 1 for empty against empty.
    pub fn dice(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(2.0 * tp, 2.0 * tp + fp + fn_, 1.0)
    }

    /// `tp / (tp + fp)`; without a predicted pixel, 1 where there is no true one either and else 0.
    pub fn precision(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(tp, tp + fp, if fn_ == 0.0 { 1.0 } else { 0.0 })
    }

    /// `tp / (tp + fn)`; without a true pixel, 1 where none is predicted either and else 0.
    pub fn recall(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(tp, tp + fn_, if fp == 0.0 { 1.0 } else { 0.0 })
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        self.dice()
    }

    fn as_f64(&self) -> (f64, f64, f64) {
        (self.true_positive as f64, self.false_positive as f64, self.false_negative as f64)
    }
}

/// `part / whole`, or `empty` for a whole of nothing.
pub(super) fn ratio(part: f64, whole: f64, empty: f64) -> f64 {
    if whole > 0.0 { part / whole } else { empty }
}

/// Counts and metrics as a report shows them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelScores {
    /// Building in both, pixels.
    pub true_positive: u64,
    /// Predicted only, pixels.
    pub false_positive: u64,
    /// True only, pixels.
    pub false_negative: u64,
    /// Building in neither, pixels.
    pub true_negative: u64,
    /// Intersection over union.
    pub iou: f64,
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1.
    pub f1: f64,
    /// Dice.
    pub dice: f64,
}

impl From<Confusion> for PixelScores {
    fn from(c: Confusion) -> Self {
        Self {
            true_positive: c.true_positive,
            false_positive: c.false_positive,
            false_negative: c.false_negative,
            true_negative: c.true_negative,
            iou: c.iou(),
            precision: c.precision(),
            recall: c.recall(),
            f1: c.f1(),
            dice: c.dice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_case_counted_by_hand() {
        let predicted = [true, true, true, false, false, true, false, true];
        let truth = [1, 2, 0, 1, 0, 255, 255, 3];
        let c = Confusion::of(&predicted, &truth);
        let by_hand =
            Confusion { true_positive: 2, false_positive: 2, false_negative: 1, true_negative: 1 };
        assert_eq!(c, by_hand);
        assert_eq!((c.iou(), c.precision(), c.recall()), (0.4, 0.5, 2.0 / 3.0));
        assert_eq!(c.dice(), 4.0 / 7.0);
    }

    #[test]
    fn empty_against_empty_is_perfect_and_empty_against_something_is_nothing() {
        let of = |predicted, truth| Confusion::of(&[predicted], &[truth]);
        let perfect = of(false, 0);
        assert_eq!((perfect.dice(), perfect.iou(), perfect.precision()), (1.0, 1.0, 1.0));
        for c in [of(true, 0), of(false, 1)] {
            assert_eq!((c.dice(), c.iou(), c.precision(), c.recall()), (0.0, 0.0, 0.0, 0.0));
        }
        assert_eq!(of(true, IGNORE), Confusion::default());
    }

    proptest! {
        #[test]
        fn metrics_agree_with_each_other(tp in 0u64..1000, fp in 0u64..1000, fn_ in 0u64..1000) {
            let c = Confusion {
                true_positive: tp, false_positive: fp, false_negative: fn_, true_negative: 7,
            };
            let swapped = Confusion { false_positive: fn_, false_negative: fp, ..c };
            prop_assert_eq!(c.iou(), swapped.iou());
            prop_assert_eq!(c.precision(), swapped.recall());
            // Dice and IoU are two scales of the same thing.
            prop_assert!((c.dice() - 2.0 * c.iou() / (1.0 + c.iou())).abs() < 1e-12);
            if tp > 0 {
                let (p, r) = (c.precision(), c.recall());
                prop_assert!((c.f1() - 2.0 * p * r / (p + r)).abs() < 1e-12);
            }
        }

        #[test]
        fn parts_add_up_to_the_whole(
            pixels in proptest::collection::vec((any::<bool>(), 0u8..4), 0..200), cut in 0usize..200,
        ) {
            let (predicted, truth): (Vec<bool>, Vec<u8>) = pixels.iter().copied().unzip();
            let cut = cut.min(predicted.len());
            let parts = Confusion::of(&predicted[..cut], &truth[..cut])
                .plus(Confusion::of(&predicted[cut..], &truth[cut..]));
            prop_assert_eq!(parts, Confusion::of(&predicted, &truth));
        }
    }
}
