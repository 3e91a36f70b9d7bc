//! `[schedule]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::within;
use crate::error::Result;

/// `[schedule]`: the learning rate over the steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSection {
    /// The curve.
    pub kind: ScheduleKind,
    /// One cycle: share of the steps spent rising.
    pub warmup: f64,
    /// One cycle: peak over first rate.
    pub div_factor: f64,
    /// One cycle: first over last rate.
    pub final_div_factor: f64,
    /// Cosine: last rate over peak.
    pub final_fraction: f64,
}

/// The learning rate's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Up to the peak, then down to almost nothing.
    OneCycle,
    /// From the peak down along half a cosine.
    Cosine,
    /// The peak rate throughout.
    Constant,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::OneCycle,
            warmup: 0.3,
            div_factor: 25.0,
            final_div_factor: 10_000.0,
            final_fraction: 0.01,
        }
    }
}

impl ScheduleSection {
    pub(super) fn validate(&self) -> Result<()> {
        within("schedule.warmup", self.warmup, 0.0, 1.0)?;
        within("schedule.div_factor", self.div_factor, 1.0, 1e12)?;
        within("schedule.final_div_factor", self.final_div_factor, 1.0, 1e12)?;
        within("schedule.final_fraction", self.final_fraction, 0.0, 1.0)
    }
}
