//! Section `[merge]`: results of several scenes into one.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// When two buildings of different scenes are one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeOptions {
    /// From this intersection over union on, they are the same: the more confident one stays.
    pub iou: f64,
    /// From this share of the smaller one's area on, it is a part of the larger one, cut off by the edge of its
    /// scene: the larger one stays. 0: parts stay.
    pub contained: f64,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self { iou: 0.5, contained: 0.8 }
    }
}

impl MergeOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key that is out of range.
    pub fn validate(&self) -> Result<()> {
        if !(self.iou > 0.0 && self.iou <= 1.0) {
            let problem = format!("{} is out of range; choose above 0 to 1", self.iou);
            return Err(Error::config("merge.iou", problem));
        }
        if !(0.0..=1.0).contains(&self.contained) {
            let problem = format!("{} is out of range; choose 0 to 1", self.contained);
            return Err(Error::config("merge.contained", problem));
        }
        Ok(())
    }
}
