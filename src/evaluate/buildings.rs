//! Building metrics: how many buildings were found, not how many pixels.
//!
//! SpaceNet's definition (Hagerty 2016, "The SpaceNet Metric"; Van Etten, Lindenbaum and Bacastow 2018,
//! arXiv:1807.01232): a proposed footprint is a true positive if it is, by intersection over union (IoU),
//! the closest proposal to a true footprint and that IoU is above 0.5; every footprint is matched at
//! most once; all other proposals are false positives, all other true footprints false negatives;
//! counts are added up before precision, recall and F1 are taken.
//!
//! The matching here is greedy by IoU: of all pairs above the limit the one with the greatest IoU is
//! matched first, then the next among those left, so the order of the features in a file changes
//! nothing. Where neither the proposals nor the true footprints overlap among themselves, a footprint
//! can have only one partner above 0.5, and every greedy order (scorers that go through proposals in
//! file order among them) gives the same counts.

use std::cmp::Ordering;

use rayon::prelude::*;
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};
use serde::Serialize;

use super::pixels::ratio;
use crate::geo::overlap::Shape;

/// A predicted and a true building that overlap enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Index of the predicted building.
    pub predicted: usize,
    /// Index of the true building.
    pub truth: usize,
    /// Their intersection over union.
    pub iou: f64,
}

/// Counts of buildings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildingCounts {
    /// Found.
    pub true_positive: u64,
    /// Predicted where none is.
    pub false_positive: u64,
    /// Missed.
    pub false_negative: u64,
}

impl BuildingCounts {
    /// Both counts together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            true_positive: self.true_positive + other.true_positive,
            false_positive: self.false_positive + other.false_positive,
            false_negative: self.false_negative + other.false_negative,
        }
    }

    /// Share of the predicted buildings that are true; without any, 1 where none is true and else 0.
    pub fn precision(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(tp, tp + fp, if fn_ == 0.0 { 1.0 } else { 0.0 })
    }

    /// Share of the true buildings that were found; without any, 1 where none is predicted and else 0.
    pub fn recall(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(tp, tp + fn_, if fp == 0.0 { 1.0 } else { 0.0 })
    }

    /// `2 tp / (2 tp + fp + fn)`, the harmonic mean of both; 1 for empty against empty.
    pub fn f1(&self) -> f64 {
        let (tp, fp, fn_) = self.as_f64();
        ratio(2.0 * tp, 2.0 * tp + fp + fn_, 1.0)
    }

    fn as_f64(&self) -> (f64, f64, f64) {
        (self.true_positive as f64, self.false_positive as f64, self.false_negative as f64)
    }
}

/// Counts and metrics as a report shows them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BuildingScores {
    /// Found.
    pub true_positive: u64,
    /// Predicted where none is.
    pub false_positive: u64,
    /// Missed.
    pub false_negative: u64,
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1.
    pub f1: f64,
}

impl From<BuildingCounts> for BuildingScores {
    fn from(c: BuildingCounts) -> Self {
        Self {
            true_positive: c.true_positive,
            false_positive: c.false_positive,
            false_negative: c.false_negative,
            precision: c.precision(),
            recall: c.recall(),
            f1: c.f1(),
        }
    }
}

/// All pairs whose IoU is above `iou_limit` (SpaceNet: 0.5), which must not be negative; by predicted
/// building. Parallel, with the same result for any number of threads.
///
/// IoU does not change when both axes are scaled, so any coordinates serve that are the same for both
/// sides: metres, or degrees over the width of a building.
pub fn pairs_above(predicted: &[Shape], truth: &[Shape], iou_limit: f64) -> Vec<Pair> {
    let boxed = |(index, shape): (usize, &Shape)| {
        let [x0, y0, x1, y1] = shape.bounds();
        (shape.area() > 0.0)
            .then(|| GeomWithData::new(Rectangle::from_corners([x0, y0], [x1, y1]), index))
    };
    let index = RTree::bulk_load(truth.iter().enumerate().filter_map(boxed).collect());
    predicted
        .par_iter()
        .enumerate()
        .filter(|(_, shape)| shape.area() > 0.0)
        .flat_map_iter(|(number, shape)| {
            let [x0, y0, x1, y1] = shape.bounds();
            let envelope = AABB::from_corners([x0, y0], [x1, y1]);
            let mut found: Vec<Pair> = index
                .locate_in_envelope_intersecting(&envelope)
                .map(|boxed| boxed.data)
                .filter(|&other| shape.iou_bound(&truth[other]) > iou_limit)
                .map(|other| Pair {
                    predicted: number,
                    truth: other,
                    iou: shape.iou(&truth[other]),
                })
                .filter(|pair| pair.iou > iou_limit)
                .collect();
            found.sort_by_key(|pair| pair.truth);
            found
        })
        .collect()
}

/// The greedy matching: the pair with the greatest IoU first, each building in one pair at most.
/// Equal pairs are taken in the order of where they lie, not of their indices.
pub fn matched(mut pairs: Vec<Pair>, predicted: &[Shape], truth: &[Shape]) -> Vec<Pair> {
    let place = |a: &Shape, b: &Shape| {
        let by_bounds = a.bounds().into_iter().zip(b.bounds()).map(|(a, b)| a.total_cmp(&b));
        by_bounds
            .chain(std::iter::once(a.area().total_cmp(&b.area())))
            .find(|o| *o != Ordering::Equal)
            .unwrap_or(Ordering::Equal)
    };
    pairs.sort_by(|a, b| {
        b.iou
            .total_cmp(&a.iou)
            .then_with(|| place(&truth[a.truth], &truth[b.truth]))
            .then_with(|| place(&predicted[a.predicted], &predicted[b.predicted]))
            .then_with(|| (a.truth, a.predicted).cmp(&(b.truth, b.predicted)))
    });
    let mut predicted_free = vec![true; predicted.len()];
    let mut truth_free = vec![true; truth.len()];
    pairs.retain(|pair| {
        let free = predicted_free[pair.predicted] && truth_free[pair.truth];
        if free {
            predicted_free[pair.predicted] = false;
            truth_free[pair.truth] = false;
        }
        free
    });
    pairs
}

/// Counts a matching. A building whose flag is false (it lies outside the area of interest) counts
/// nowhere, and a prediction matched to it is neither right nor wrong; a prediction outside that
/// matches a building inside has found it.
pub fn count(matches: &[Pair], predicted_counts: &[bool], truth_counts: &[bool]) -> BuildingCounts {
    let mut unmatched = predicted_counts.to_vec();
    let mut true_positive = 0;
    for pair in matches {
        unmatched[pair.predicted] = false;
        true_positive += u64::from(truth_counts[pair.truth]);
    }
    let of = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as u64;
    BuildingCounts {
        true_positive,
        false_positive: of(&unmatched),
        false_negative: of(truth_counts) - true_positive,
    }
}

#[cfg(test)]
mod tests;
