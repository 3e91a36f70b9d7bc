//! What the threads of a search know of each other's trials.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::journal::{End, Journal, Trial};
use super::pruning::{Course, Moment, gives_up, reached};
use super::report::Report;
use super::sampler::suggest;
use super::space::Values;
use crate::config::search::SearchConfig;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// How often a trial that waits for others looks whether Ctrl-C was pressed.
const PATIENCE: Duration = Duration::from_millis(100);

/// All trials, shared by the threads that run them.
#[derive(Debug)]
pub(super) struct Board {
    config: SearchConfig,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    trials: Vec<Trial>,
    /// Trials that an earlier run began and did not end, the last first.
    left: Vec<usize>,
}

impl Board {
    /// Takes up the trials of the journal at `path`.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub(super) fn open(path: &Path, config: &SearchConfig) -> Result<Self> {
        let (journal, trials) = Journal::open(path)?;
        let left = (0..trials.len()).rev().filter(|&number| trials[number].end.is_none()).collect();
        let state = Mutex::new(State { journal, trials, left });
        Ok(Self { config: config.clone(), state, changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next trial to run: those begun earlier first, then new ones, in the order of their numbers.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn next(&self) -> Result<Option<(usize, Values)>> {
        let mut state = self.lock();
        if let Some(number) = state.left.pop() {
            return Ok(Some((number, state.trials[number].values.clone())));
        }
        let number = state.trials.len();
        if number >= self.config.search.trials {
            return Ok(None);
        }
        let known: Vec<(&Values, Option<f64>)> = state
            .trials
            .iter()
            .filter_map(|trial| Some((&trial.values, trial.end.as_ref()?.iou)))
            .collect();
        let values = suggest(&self.config, number, &known);
        state.journal.start(number, &values)?;
        state.trials.push(Trial { values: values.clone(), course: Course::new(), end: None });
        Ok(Some((number, values)))
    }

    /// Notes validations of a trial that goes on.
    pub(super) fn note(&self, number: usize, course: &Course) {
        self.lock().trials[number].course.extend(course);
        self.changed.notify_all();
    }

    /// Notes a validation of trial `number`, waits until every earlier trial has come as far or has ended, and says whether
    /// this one is given up. False as soon as `interrupt` is raised.
    pub(super) fn gives_up(
        &self,
        number: usize,
        moment: Moment,
        iou: f64,
        interrupt: &Interrupt,
    ) -> bool {
        let step = moment.step;
        let mut state = self.lock();
        state.trials[number].course.insert(step, iou);
        self.changed.notify_all();
        // The earliest trial that runs never waits, so that there is always one that does not.
        let behind = |trial: &Trial| trial.end.is_none() && !reached(&trial.course, step);
        while state.trials[..number].iter().any(behind) {
            if interrupt.requested() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let earlier = state.trials[..number].iter().map(|trial| &trial.course);
        gives_up(&self.config.pruning, &state.trials[number].course, moment, earlier)
    }

    /// Notes what a trial came to.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn end(&self, number: usize, end: End, course: Course) -> Result<()> {
        let mut state = self.lock();
        state.journal.end(number, &end, &course)?;
        state.trials[number].course = course;
        state.trials[number].end = Some(end);
        self.changed.notify_all();
        Ok(())
    }

    /// How many trials have ended.
    pub(super) fn ended(&self) -> usize {
        self.lock().trials.iter().filter(|trial| trial.end.is_some()).count()
    }

    /// What is known by now.
    pub(super) fn report(&self) -> Report {
        Report { keys: self.config.key.clone(), trials: self.lock().trials.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::journal::Outcome;

    #[test]
    fn a_trial_waits_for_those_before_it_and_for_none_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = SearchConfig::default();
        config.pruning.trials = 1;
        config.pruning.first_fraction = 0.0;
        let board = Board::open(&folder.path().join("trials.jsonl"), &config).unwrap();
        let numbers = [(); 3].map(|()| board.next().unwrap().unwrap().0);
        assert_eq!(numbers, [0, 1, 2]);
        let interrupt = Interrupt::default();
        let judge = |number, step, iou| {
            board.gives_up(number, Moment { step, total_steps: 30 }, iou, &interrupt)
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| judge(1, 10, 0.6));
            assert!(!judge(0, 5, 0.5), "the first waits for nobody");
            std::thread::sleep(3 * PATIENCE);
            assert!(!second.is_finished(), "the first has not come to step 10");
            assert!(!judge(0, 10, 0.7));
            assert!(second.join().unwrap(), "0.6 is below 0.7");
            // Who has ended holds nobody up, and counts as far as it came.
            let end = End {
                outcome: Outcome::Pruned,
                iou: Some(0.6),
                best_step: 10,
                steps: 10,
                seconds: 1.0,
                problem: None,
            };
            board.end(1, end, Course::from([(10, 0.6)])).unwrap();
            assert!(!judge(0, 20, 0.7));
            assert!(!judge(2, 20, 0.8), "0.8 is above 0.7, the only one at step 20");
            let third = scope.spawn(|| judge(2, 30, 0.0));
            std::thread::sleep(PATIENCE);
            interrupt.raise();
            assert!(!third.join().unwrap(), "who is interrupted is not given up");
        });
    }
}
