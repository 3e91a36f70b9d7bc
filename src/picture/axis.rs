//! Axes of charts: even, logarithmic, or one place for each of some names.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// How values lie along an axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; values that are not above 0 are left out.
    Log,
    /// The values are places in this list of names.
    Names(Vec<String>),
}

impl Scale {
    /// Where a value lies along an axis of even steps; not finite for what cannot be shown.
    fn place(&self, value: f64) -> f64 {
        match self {
            Self::Log if value > 0.0 => value.log10(),
            Self::Log => f64::NAN,
            Self::Linear | Self::Names(_) => value,
        }
    }

    /// Whether a value can be shown.
    pub(super) fn shows(&self, value: f64) -> bool {
        self.place(value).is_finite()
    }
}

/// An axis over the values that are shown.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    places: Range<f64>,
}

impl Axis {
    /// From the least to the greatest of `values`, all of which the scale shows, widened by `margin` of the extent at
    /// both ends; never empty.
    pub(super) fn new(scale: &Scale, values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let places = match scale {
            Scale::Names(names) => -0.5..names.len() as f64 - 0.5,
            _ => range(values.map(|value| scale.place(value)), margin),
        };
        Self { scale: scale.clone(), places }
    }

    /// The text at a tick.
    pub(super) fn label(&self, value: f64) -> String {
        match &self.scale {
            Scale::Linear => number(value, self.places.end - self.places.start),
            Scale::Log if (1e-3..1e4).contains(&value) => number(value, value),
            Scale::Log => format!("{value:.0e}"),
            Scale::Names(names) => names.get(value.round() as usize).cloned().unwrap_or_default(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.places.clone()).map(&self.scale.place(*value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match &self.scale {
            Scale::Linear => RangedCoordf64::from(self.places.clone()).key_points(hint),
            Scale::Log => log_ticks(&self.places, hint.max_num_points()),
            Scale::Names(names) => (0..names.len()).map(|name| name as f64).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        match self.scale {
            Scale::Log => 10f64.powf(self.places.start)..10f64.powf(self.places.end),
            _ => self.places.clone(),
        }
    }
}

/// 1, 2 and 5 of every power of ten, where that is at most `most` ticks; else powers of ten. `places` are logarithms.
fn log_ticks(places: &Range<f64>, most: usize) -> Vec<f64> {
    let (first, last) = (places.start.floor() as i32, places.end.ceil() as i32);
    // Rounding must not cost the ends their ticks.
    let within = |value: &f64| {
        let place = value.log10();
        places.start - 1e-9 <= place && place <= places.end + 1e-9
    };
    let fine = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(power)));
    let fine: Vec<f64> = fine.filter(within).collect();
    if fine.len() <= most {
        return fine;
    }
    let powers = (first..=last).filter(|power| within(&10f64.powi(*power)));
    let every = powers.clone().count().div_ceil(most.max(1)) as i32;
    powers.filter(|power| power % every == 0).map(|power| 10f64.powi(power)).collect()
}

/// From the least to the greatest value, widened by `margin` of the extent at both ends; never empty.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let extent = high - low;
    // A flat curve gets room of a size that its value suggests.
    let flat = extent <= 1e-12 * low.abs().max(high.abs()).max(1e-9);
    let pad = if flat { (low.abs() * 0.1).max(0.5) } else { extent * margin };
    low - pad..high + pad
}

/// As many decimals as ticks `extent / 6` apart need; powers of ten beyond six digits.
fn number(value: f64, extent: f64) -> String {
    let value = if value.abs() < extent * 1e-9 { 0.0 } else { value };
    if value.abs() >= 1e6 || extent < 1e-5 {
        return format!("{value:.1e}");
    }
    let decimals = (1.0 - (extent / 6.0).log10()).ceil().clamp(0.0, 7.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_labels_are_short() {
        assert_eq!(number(0.35, 0.9), "0.35");
        assert_eq!(number(600.0, 600.0), "600");
        assert_eq!(number(0.3 - 0.1 - 0.2, 1.0), "0");
        assert_eq!(number(2.5e9, 1e9), "2.5e9");
        let log = Axis::new(&Scale::Log, [1e-7, 1.0].into_iter(), 0.0);
        let labels = log.key_points(8).into_iter().map(|tick| log.label(tick));
        assert_eq!(
            labels.collect::<Vec<_>>(),
            ["1e-7", "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]
        );
        let log = Axis::new(&Scale::Log, [5e-5, 0.002].into_iter(), 0.0);
        let labels = log.key_points(8).into_iter().map(|tick| log.label(tick));
        assert_eq!(labels.collect::<Vec<_>>(), ["5e-5", "1e-4", "2e-4", "5e-4", "0.001", "0.002"]);
    }

    #[test]
    fn powers_of_ten_are_as_far_apart_as_they_need_room() {
        let axis = Axis::new(&Scale::Log, [1e-30, 1.0].into_iter(), 0.0);
        assert!(axis.key_points(8).len() <= 8);
    }

    #[test]
    fn equal_factors_are_equal_lengths_on_a_logarithmic_axis() {
        let axis = Axis::new(&Scale::Log, [1e-4, 1.0].into_iter(), 0.0);
        for (value, at) in [(1e-4, 0), (1e-3, 100), (1e-2, 200), (1.0, 400)] {
            assert_eq!(axis.map(&value, (0, 400)), at, "{value}");
        }
        assert!(!Scale::Log.shows(0.0) && Scale::Log.shows(1e-300));
    }

    #[test]
    fn names_stand_apart_with_room_on_both_sides() {
        let names = Scale::Names(["adamw", "sgd"].map(String::from).to_vec());
        let axis = Axis::new(&names, std::iter::empty(), 0.0);
        assert_eq!((axis.map(&0.0, (0, 400)), axis.map(&1.0, (0, 400))), (100, 300));
        assert_eq!(axis.label(1.0), "sgd");
    }
}
