//! When a trial is given up: it is compared with earlier trials at the same step.

use std::collections::BTreeMap;

use crate::config::search::{PruningRule, PruningSection};

/// Validation IoU by optimizer step.
pub(super) type Course = BTreeMap<usize, f64>;

/// Where in its training a trial is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Optimizer steps done.
    pub(super) step: usize,
    /// Steps of the whole training.
    pub(super) total_steps: usize,
}

/// The best IoU up to and including `step`.
fn best_until(course: &Course, step: usize) -> Option<f64> {
    course.range(..=step).map(|(_, iou)| *iou).reduce(f64::max)
}

/// Whether a trial has come as far as `step`.
pub(super) fn reached(course: &Course, step: usize) -> bool {
    course.last_key_value().is_some_and(|(last, _)| *last >= step)
}

/// Whether the trial of course `own` is given up at its validation at `moment`, beside the courses of earlier trials,
/// of which those count that have come as far.
pub(super) fn gives_up<'a>(
    section: &PruningSection,
    own: &Course,
    Moment { step, total_steps }: Moment,
    earlier: impl Iterator<Item = &'a Course>,
) -> bool {
    let first = first_step(section, total_steps);
    let Some(score) = best_until(own, step).filter(|_| step >= first) else {
        return false;
    };
    let mut others: Vec<f64> = earlier
        .filter(|course| reached(course, step))
        .filter_map(|course| best_until(course, step))
        .collect();
    if others.len() < section.trials {
        return false;
    }
    match section.rule {
        PruningRule::None => false,
        PruningRule::Median => {
            others.sort_by(f64::total_cmp);
            let middle = others.len() / 2;
            let median = if others.len() % 2 == 1 {
                others[middle]
            } else {
                f64::midpoint(others[middle - 1], others[middle])
            };
            score < median
        }
        PruningRule::Halving => {
            let before = own.range(..step).next_back().map_or(0, |(step, _)| *step);
            let crossed = rung(section, first, step) > rung(section, first, before);
            let survivors = ((others.len() + 1) / section.factor).max(1);
            let better = others.iter().filter(|&&other| other > score).count();
            crossed && better >= survivors
        }
    }
}

/// The step before which a training of `total_steps` is not given up.
fn first_step(section: &PruningSection, total_steps: usize) -> usize {
    ((section.first_fraction * total_steps as f64).ceil() as usize).max(1)
}

/// Rungs at or before `step`: `first`, then each `factor` times further on.
fn rung(section: &PruningSection, first: usize, step: usize) -> usize {
    let rungs = std::iter::successors(Some(first), |rung| rung.checked_mul(section.factor));
    rungs.take_while(|rung| *rung <= step).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(points: &[(usize, f64)]) -> Course {
        points.iter().copied().collect()
    }

    /// Of a training of 30 steps.
    fn after(step: usize) -> Moment {
        Moment { step, total_steps: 30 }
    }

    fn flat(iou: f64) -> Course {
        course(&[(10, iou), (20, iou), (30, iou)])
    }

    #[test]
    fn the_median_rule_gives_up_what_is_below_the_median_at_the_same_step() {
        let section =
            PruningSection { trials: 3, first_fraction: 0.3, ..PruningSection::default() };
        let earlier = [flat(0.2), flat(0.4), flat(0.6), course(&[(10, 0.9)])];
        let judge = |own: &Course, step| gives_up(&section, own, after(step), earlier.iter());
        assert!(judge(&flat(0.39), 20) && !judge(&flat(0.4), 20), "0.9 never came to step 20");
        assert!(judge(&flat(0.45), 10) && !judge(&flat(0.55), 10), "the median of four is 0.5");
        let fallen = course(&[(10, 0.5), (20, 0.1)]);
        assert!(!judge(&fallen, 20), "the best so far counts");
        assert!(
            !gives_up(&section, &flat(0.0), after(20), earlier[..2].iter()),
            "too few to compare"
        );
    }

    #[test]
    fn no_trial_is_given_up_before_its_share_of_steps_however_many_these_are() {
        let section = PruningSection { trials: 1, ..PruningSection::default() };
        let earlier = [flat(0.5)];
        let judge = |step, total_steps| {
            gives_up(&section, &flat(0.0), Moment { step, total_steps }, earlier.iter())
        };
        assert!(!judge(10, 30) && judge(20, 30) && judge(10, 20), "half of them by default");
        let always = PruningSection { first_fraction: 0.0, ..section };
        assert_eq!(first_step(&always, 30), 1);
        assert_eq!([1, 2, 3, 1000].map(|total| first_step(&section, total)), [1, 1, 2, 500]);
    }

    #[test]
    fn trials_that_validate_at_other_steps_are_compared_by_what_they_had_then() {
        let section =
            PruningSection { trials: 1, first_fraction: 0.0, ..PruningSection::default() };
        let other = course(&[(7, 0.3), (14, 0.8)]);
        let own = course(&[(10, 0.4)]);
        assert!(!gives_up(&section, &own, after(10), [other].iter()));
    }

    #[test]
    fn halving_lets_the_best_third_pass_each_rung_once() {
        let section = PruningSection {
            rule: PruningRule::Halving,
            trials: 2,
            first_fraction: 1.0 / 3.0,
            factor: 3,
        };
        assert_eq!([9, 10, 29, 30, 90].map(|step| rung(&section, 10, step)), [0, 1, 1, 2, 3]);
        let earlier: Vec<Course> = [0.1, 0.2, 0.3, 0.4, 0.5].map(flat).to_vec();
        let judge = |own: &Course, step| gives_up(&section, own, after(step), earlier.iter());
        assert!(!judge(&flat(0.45), 10), "second of six");
        assert!(judge(&flat(0.35), 10), "third of six");
        assert!(!judge(&flat(0.0), 20), "no rung between 10 and 20");
        assert!(judge(&flat(0.0), 30));
        assert!(
            !gives_up(&section, &flat(0.0), after(10), earlier[..1].iter()),
            "too few to compare"
        );
    }

    #[test]
    fn nobody_is_given_up_without_a_rule() {
        let section = PruningSection { rule: PruningRule::None, trials: 1, ..Default::default() };
        assert!(!gives_up(&section, &flat(0.0), after(30), [flat(1.0)].iter()));
    }
}
