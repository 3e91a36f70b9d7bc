//! Section `[conflate]`: predicted buildings against known ones.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// When a predicted building is a known one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConflateOptions {
    /// From this intersection over union on, a pair matches.
    pub iou: f64,
    /// A pair that does not match is still about the same building where they share this much of the smaller
    /// one's area.
    pub shared: f64,
}

impl Default for ConflateOptions {
    fn default() -> Self {
        Self { iou: 0.5, shared: 0.3 }
    }
}

impl ConflateOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key that is out of range.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("iou", self.iou), ("shared", self.shared)] {
            if !(value > 0.0 && value <= 1.0) {
                let problem = format!("{value} is out of range; choose above 0 to 1");
                return Err(Error::config(format!("conflate.{key}"), problem));
            }
        }
        Ok(())
    }
}
