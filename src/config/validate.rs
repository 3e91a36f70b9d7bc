//! Section `[validate]`: what a file of buildings is checked for.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What counts as a defect. Lengths are metres on the ground, areas square metres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidateOptions {
    /// A building that is narrower on average (twice its area over its perimeter) is a sliver.
    pub min_width_m: f64,
    /// Two buildings overlap where they share more than this.
    pub max_overlap_m2: f64,
    /// Check what `infer`, `polygonize` and `merge` have written.
    pub outputs: bool,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self { min_width_m: 0.5, max_overlap_m2: 0.5, outputs: true }
    }
}

impl ValidateOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key that is out of range.
    pub fn validate(&self) -> Result<()> {
        let limits = [("min_width_m", self.min_width_m), ("max_overlap_m2", self.max_overlap_m2)];
        for (key, value) in limits {
            if !(value.is_finite() && value >= 0.0) {
                let problem = format!("{value} is out of range; choose a number from 0");
                return Err(Error::config(format!("validate.{key}"), problem));
            }
        }
        Ok(())
    }
}
