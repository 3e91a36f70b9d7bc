//! `[schedule]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
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
    /// All but one cycle: steps over which the rate first rises linearly to the peak.
    pub warmup_steps: usize,
    /// Cosine and poly: last rate over peak; plateau: the lowest.
    pub final_fraction: f64,
    /// Poly: exponent of the share of steps left.
    pub power: f64,
    /// Plateau: factor on the rate, each time.
    pub plateau_factor: f64,
    /// Plateau: validations without a lower loss that it bears; the next one reduces the rate.
    pub plateau_patience: usize,
    /// Plateau: by what share of the best loss a lower one has to be lower.
    pub plateau_threshold: f64,
}

/// The learning rate's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Up to the peak, then down to almost nothing.
    OneCycle,
    /// From the peak down along half a cosine.
    Cosine,
    /// From the peak down as a power of the share of steps left.
    Poly,
    /// The peak rate, reduced whenever the validation loss no longer falls.
    Plateau,
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
            warmup_steps: 0,
            final_fraction: 0.01,
            power: 0.9,
            plateau_factor: 0.5,
            plateau_patience: 2,
            plateau_threshold: 1e-4,
        }
    }
}

impl ScheduleSection {
    pub(super) fn validate(&self) -> Result<()> {
        within("schedule.warmup", self.warmup, 0.0, 1.0)?;
        within("schedule.div_factor", self.div_factor, 1.0, 1e12)?;
        within("schedule.final_div_factor", self.final_div_factor, 1.0, 1e12)?;
        require(
            self.kind != ScheduleKind::OneCycle || self.warmup_steps == 0,
            "schedule.warmup_steps",
            self.warmup_steps,
            "0 for \"one-cycle\", whose rise is schedule.warmup",
        )?;
        within("schedule.final_fraction", self.final_fraction, 0.0, 1.0)?;
        within("schedule.power", self.power, 0.01, 100.0)?;
        within("schedule.plateau_factor", self.plateau_factor, 1e-6, 1.0)?;
        within("schedule.plateau_threshold", self.plateau_threshold, 0.0, 1.0)
    }
}
