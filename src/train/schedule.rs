//! The learning rate of each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

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

    /// The rate that step `step` (from 0) uses; steps past the end use the last one's. [`Plateau`] reduces it further.
    pub fn rate(&self, step: usize) -> f64 {
        let section = &self.section;
        let rising = section.warmup_steps;
        if step < rising {
            return self.peak * (step + 1) as f64 / (rising + 1) as f64;
        }
        let last_step = self.total_steps.saturating_sub(rising + 1);
        let step = (step - rising).min(last_step) as f64;
        let last_step = last_step as f64;
        let (done, last_rate) = (step / last_step.max(1.0), self.peak * section.final_fraction);
        match section.kind {
            ScheduleKind::Constant | ScheduleKind::Plateau => self.peak,
            ScheduleKind::Cosine => cosine(self.peak, last_rate, done),
            ScheduleKind::Poly => {
                last_rate + (self.peak - last_rate) * (1.0 - done).powf(section.power)
            }
            ScheduleKind::OneCycle => self.one_cycle(step, last_step),
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

/// What reduces the rate of [`ScheduleKind::Plateau`]; a checkpoint holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plateau {
    /// The lowest validation loss.
    best: Option<f64>,
    /// Validations since then, or since the last reduction.
    stale: usize,
    /// Times that the rate was reduced.
    reductions: i32,
}

impl Plateau {
    /// Takes note of a validation's loss, as PyTorch's `ReduceLROnPlateau` does in its relative mode.
    pub fn note(&mut self, loss: f64, section: &ScheduleSection) {
        if self.best.is_none_or(|best| loss < best * (1.0 - section.plateau_threshold)) {
            (self.best, self.stale) = (Some(loss), 0);
            return;
        }
        self.stale += 1;
        if self.stale > section.plateau_patience {
            self.reductions += 1;
            self.stale = 0;
        }
    }

    /// The factor on the schedule's rate; 1 for other schedules.
    pub fn factor(&self, section: &ScheduleSection) -> f64 {
        if section.kind != ScheduleKind::Plateau {
            return 1.0;
        }
        section.plateau_factor.powi(self.reductions).max(section.final_fraction)
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
    fn warming_up_comes_before_the_curve_and_takes_its_steps() {
        let cold = ScheduleSection { kind: ScheduleKind::Cosine, ..ScheduleSection::default() };
        let warm = ScheduleSection { warmup_steps: 4, ..cold.clone() };
        let (cold, warm) = (Schedule::new(&cold, 1.0, 20), Schedule::new(&warm, 1.0, 24));
        for (step, wanted) in [0.2, 0.4, 0.6, 0.8, 1.0].into_iter().enumerate() {
            assert!((warm.rate(step) - wanted).abs() < 1e-12, "{step}");
        }
        assert!((0..25).all(|step| warm.rate(step + 4) == cold.rate(step)));
    }

    #[test]
    fn a_plateau_reduces_the_rate_down_to_the_lowest() {
        let section = ScheduleSection {
            kind: ScheduleKind::Plateau,
            plateau_factor: 0.1,
            plateau_patience: 1,
            ..ScheduleSection::default()
        };
        let mut plateau = Plateau::default();
        let factors = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.9, 0.9].map(|loss| {
            plateau.note(loss, &section);
            plateau.factor(&section)
        });
        for (got, wanted) in
            factors.into_iter().zip([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
        {
            assert!((got - wanted).abs() < 1e-12, "{factors:?}");
        }
        assert_eq!(plateau.factor(&ScheduleSection::default()), 1.0);
    }

    #[test]
    fn every_kind_gives_a_positive_rate_for_the_shortest_trainings() {
        for (kind, warmup_steps) in [
            (ScheduleKind::OneCycle, 0),
            (ScheduleKind::Cosine, 0),
            (ScheduleKind::Cosine, 3),
            (ScheduleKind::Poly, 0),
            (ScheduleKind::Poly, 3),
            (ScheduleKind::Plateau, 3),
            (ScheduleKind::Constant, 0),
        ] {
            for total in 1..5 {
                let section = ScheduleSection { kind, warmup_steps, ..ScheduleSection::default() };
                let schedule = Schedule::new(&section, 1e-3, total);
                for step in 0..total {
                    let rate = schedule.rate(step);
                    assert!(rate > 0.0 && rate <= 1e-3, "{kind:?} {total} {step} {rate}");
                }
            }
        }
    }
}
