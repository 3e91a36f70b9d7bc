//! The learning rate of each step.

use std::f64::consts::PI;

use crate::config::train::{ScheduleKind, ScheduleSection};

/// A learning rate per step, for a training of known length.
#[derive(Clone, Debug)]
pub struct Schedule {
    section: ScheduleSection,
    peak: f64,
    total_steps: usize,
}

impl Schedule {
    /// A schedule over `total_steps` with the highest rate `peak`.
    pub fn new(section: &ScheduleSection, peak: f64, total_steps: usize) -> Self {
        Self { section: section.clone(), peak, total_steps }
    }

    /// The rate that step `step` (from 0) uses; steps past the end use the last one's.
    pub fn rate(&self, step: usize) -> f64 {
        let section = &self.section;
        let last_step = self.total_steps.saturating_sub(1);
        let step = step.min(last_step) as f64;
        match section.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Cosine => {
                let done = step / last_step.max(1) as f64;
                cosine(self.peak, self.peak * section.final_fraction, done)
            }
            ScheduleKind::OneCycle => self.one_cycle(step, last_step as f64),
        }
    }

    /// "Super-convergence" (Smith and Topin 2018) as PyTorch's `OneCycleLR` does it: the peak is at step
    /// `warmup * total - 1`, and the last step has exactly the final rate.
    fn one_cycle(&self, step: f64, last_step: f64) -> f64 {
        let first = self.peak / self.section.div_factor;
        let last = first / self.section.final_div_factor;
        let peak_step = self.section.warmup * self.total_steps as f64 - 1.0;
        if step <= peak_step {
            cosine(first, self.peak, if peak_step > 0.0 { step / peak_step } else { 1.0 })
        } else {
            cosine(self.peak, last, (step - peak_step) / (last_step - peak_step).max(1.0))
        }
    }
}

/// Half a cosine from `from` (`done` = 0) to `to` (`done` = 1).
fn cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_rises_to_the_peak_and_ends_at_the_final_rate() {
        let section = ScheduleSection::default();
        let schedule = Schedule::new(&section, 1e-3, 100);
        assert!((schedule.rate(0) - 4e-5).abs() < 1e-18);
        assert!((schedule.rate(29) - 1e-3).abs() < 1e-18);
        assert!((schedule.rate(99) - 4e-9).abs() < 1e-18);
        assert_eq!(schedule.rate(99), schedule.rate(500));
    }

    #[test]
    fn every_kind_gives_a_positive_rate_for_the_shortest_trainings() {
        for kind in [ScheduleKind::OneCycle, ScheduleKind::Cosine, ScheduleKind::Constant] {
            for total in 1..5 {
                let section = ScheduleSection { kind, ..ScheduleSection::default() };
                let schedule = Schedule::new(&section, 1e-3, total);
                for step in 0..total {
                    let rate = schedule.rate(step);
                    assert!(rate > 0.0 && rate <= 1e-3, "{kind:?} {total} {step} {rate}");
                }
            }
        }
    }
}
