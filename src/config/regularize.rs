//! Section `[polygonize.regularize]`: right angles where the outlines speak for them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How outlines become regular. Lengths are metres on the ground.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularize {
    /// Whether they do.
    pub enabled: bool,
    /// How far turning a wall may move its ends, and the longest jog that is straightened. Walls that would have to move
    /// further are taken as meant. Anything is taken as one pixel at least.
    pub tolerance_m: f64,
    /// How many times as large this tolerance and that of simplifying may be where an outline is so rough that fewer corners tell
    /// as much of it. 1: never larger.
    pub rough_scale: f64,
    /// A regular outline shares at least this part with the traced one (intersection over union), or the building
    /// keeps its simplified outline. 0..=1.
    pub min_iou: f64,
    /// Whether round roofs become circles.
    pub circles: bool,
}

impl Default for Regularize {
    fn default() -> Self {
        Self { enabled: true, tolerance_m: 0.5, rough_scale: 2.0, min_iou: 0.85, circles: true }
    }
}

impl Regularize {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key that is out of range.
    pub fn validate(&self) -> Result<()> {
        let ranges = [
            ("tolerance_m", self.tolerance_m, 0.0..=MAX_TOLERANCE_M),
            ("rough_scale", self.rough_scale, 1.0..=MAX_ROUGH_SCALE),
            ("min_iou", self.min_iou, 0.0..=1.0),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                let problem =
                    format!("{value} is out of range; choose a number from {least} to {most}");
                return Err(Error::config(format!("polygonize.regularize.{key}"), problem));
            }
        }
        Ok(())
    }
}

/// Walls moved by more make another building.
const MAX_TOLERANCE_M: f64 = 10.0;

/// Beyond, little is left of a building.
const MAX_ROUGH_SCALE: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        Regularize::default().validate().unwrap();
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let wrong = [
            ("tolerance_m", Regularize { tolerance_m: f64::NAN, ..Default::default() }),
            ("tolerance_m", Regularize { tolerance_m: 11.0, ..Default::default() }),
            ("rough_scale", Regularize { rough_scale: 0.5, ..Default::default() }),
            ("min_iou", Regularize { min_iou: -0.1, ..Default::default() }),
        ];
        for (key, options) in wrong {
            let error = options.validate().unwrap_err().to_string();
            assert!(error.contains(&format!("polygonize.regularize.{key}")), "{error}");
        }
    }
}
