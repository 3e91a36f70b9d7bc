//! The learning-rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks"): some steps at an
//! exponentially rising rate, and what the loss says of it.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use serde::Serialize;

use super::prefetch::Prefetch;
use super::setup::Setup;
use super::sources::Sources;
use super::workers;
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::output::write_whole;
use crate::picture::chart::{Panel, Scale, Series, curves};
use crate::progress::Progress;

/// How to test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Options {
    /// The first step's rate.
    pub from: f64,
    /// The last step's.
    pub to: f64,
    /// Steps in all.
    pub steps: usize,
    /// Share of the loss's running mean that stays at each step.
    pub smoothing: f64,
    /// The test ends when the smoothed loss is more than this many times its minimum.
    pub divergence: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { from: 1e-7, to: 1.0, steps: 100, smoothing: 0.9, divergence: 4.0 }
    }
}

impl Options {
    fn validate(&self) -> Result<()> {
        let check = |holds: bool, option: &str, found: f64, expected: &str| {
            let problem = || Error::config(option, format!("is {found}, must be {expected}"));
            if holds { Ok(()) } else { Err(problem()) }
        };
        check(self.from > 0.0 && self.from.is_finite(), "--from", self.from, "above 0")?;
        check(self.to > self.from && self.to.is_finite(), "--to", self.to, "above --from")?;
        let smooth = (0.0..=0.99).contains(&self.smoothing);
        check(smooth, "--smoothing", self.smoothing, "from 0 to 0.99")?;
        let least = self.unsettled() + 3;
        let expected = format!("at least {least}, for a curve behind the first smoothed values");
        check(self.steps >= least, "--steps", self.steps as f64, &expected)?;
        check(self.divergence > 1.0, "--divergence", self.divergence, "above 1")
    }

    /// The rate of a step, from 0.
    fn rate(&self, step: usize) -> f64 {
        let done = step as f64 / (self.steps - 1) as f64;
        (self.from.ln() * (1.0 - done) + self.to.ln() * done).exp()
    }

    /// First values of the running mean that are means of fewer values than it remembers: they still jump.
    fn unsettled(&self) -> usize {
        (1.0 / (1.0 - self.smoothing)).round() as usize - 1
    }
}

/// One step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its rate.
    pub learning_rate: f64,
    /// The loss before the step.
    pub loss: f64,
    /// Exponential mean of the losses so far, corrected for its beginning at 0.
    pub smoothed: f64,
}

/// Why the test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All steps are done.
    AllSteps,
    /// The smoothed loss rose too far above its minimum.
    Diverged,
    /// The loss or a gradient was no number any more.
    NonFinite,
}

/// Rates to train with, as peaks of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// Where the smoothed loss falls fastest over the rate's logarithm, before its minimum.
    pub steepest: f64,
    /// Where the smoothed loss is lowest: too high to train with.
    pub minimum: f64,
    /// A tenth of that.
    pub minimum_tenth: f64,
}

/// What the test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// Why it ended.
    pub end: End,
    /// `None` where the loss never fell.
    pub suggestion: Option<Suggestion>,
    /// The steps.
    pub points: Vec<Point>,
}

/// Trains for some steps at rising rates; nothing of the training is kept.
///
/// # Errors
/// An option out of range; a configuration that does not fit the tiles; an unreadable tile; a loss that is no number
/// before the curve begins.
pub fn run<B>(
    config: &TrainConfig,
    device: &B::Device,
    sources: &Sources,
    options: &Options,
    progress: Progress,
) -> Result<Report>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    options.validate()?;
    let setup = Setup::new(config, sources)?;
    let steps = setup.steps::<B>(device)?;
    let mut learner = setup.learner::<B>(device)?;
    let mut points = Vec::new();
    let bar = progress.bar("lr-find", options.steps as u64, "steps");
    let end = std::thread::scope(|scope| -> Result<End> {
        let count = (options.steps * config.optimizer.accumulate) as u64;
        let all = &setup.batches;
        let mut batches =
            Prefetch::start(scope, workers(config.data.workers), 0..count, |k| all.training(k));
        let mut mean = 0.0;
        let mut lowest = f64::INFINITY;
        for step in 0..options.steps {
            let rate = options.rate(step);
            let loss = match steps.step(learner, rate, &mut batches) {
                Ok((next, entry)) => {
                    learner = next;
                    entry.loss
                }
                Err(Error::NonFiniteLoss { .. }) if step > options.unsettled() => {
                    return Ok(End::NonFinite);
                }
                Err(error) => return Err(error),
            };
            mean = options.smoothing * mean + (1.0 - options.smoothing) * loss;
            let smoothed = mean / (1.0 - options.smoothing.powi(step as i32 + 1));
            points.push(Point { learning_rate: rate, loss, smoothed });
            bar.message(format!("rate {rate:.1e} loss {smoothed:.3}"));
            bar.inc(1);
            if step >= options.unsettled() {
                lowest = lowest.min(smoothed);
                if smoothed > options.divergence * lowest {
                    return Ok(End::Diverged);
                }
            }
        }
        Ok(End::AllSteps)
    })?;
    bar.finish();
    let suggestion = suggestion(points.get(options.unsettled()..).unwrap_or_default());
    Ok(Report { options: *options, end, suggestion, points })
}

/// What a curve whose smoothed losses have settled suggests.
fn suggestion(points: &[Point]) -> Option<Suggestion> {
    let lowest = (0..points.len())
        .min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))
        .filter(|&lowest| lowest > 0)?;
    let slope = |at: usize| {
        let (before, after) = (points[at.saturating_sub(1)], points[(at + 1).min(lowest)]);
        (after.smoothed - before.smoothed) / (after.learning_rate / before.learning_rate).ln()
    };
    let steepest = (0..=lowest).min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
    let minimum = points[lowest].learning_rate;
    Some(Suggestion {
        steepest: points[steepest].learning_rate,
        minimum,
        minimum_tenth: minimum / 10.0,
    })
}

impl Report {
    /// Draws the loss over the rate into a PNG at `path`, with the suggestions marked.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let curve = |name: &str, value: fn(&Point) -> f64| Series {
            name: name.into(),
            points: self.points.iter().map(|p| (p.learning_rate, value(p))).collect(),
            ..Series::default()
        };
        let (title, marks) = match &self.suggestion {
            Some(found) => (
                format!("learning rate range test: try {:.1e}", found.steepest),
                vec![
                    (format!("steepest: {:.1e}", found.steepest), found.steepest),
                    (format!("minimum / 10: {:.1e}", found.minimum_tenth), found.minimum_tenth),
                ],
            ),
            None => ("learning rate range test: the loss never fell".to_owned(), Vec::new()),
        };
        let panel = Panel {
            label: "loss over learning rate".into(),
            series: vec![curve("smoothed", |p| p.smoothed), curve("loss", |p| p.loss)],
            x: Scale::Log,
            marks,
        };
        curves(path, &title, &[panel])
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// It cannot be written, or is there already and `overwrite` is false.
    pub fn write_json(&self, path: &Path, overwrite: bool) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::io(path)(std::io::Error::other(error)))?;
        write_whole(path, (text + "\n").as_bytes(), overwrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f64]) -> Vec<Point> {
        let point = |(step, &loss): (usize, &f64)| Point {
            learning_rate: 10f64.powi(step as i32 - 6),
            loss,
            smoothed: loss,
        };
        losses.iter().enumerate().map(point).collect()
    }

    #[test]
    fn the_steepest_descent_lies_before_the_minimum_and_outlasts_a_deeper_fall_after_it() {
        let found = suggestion(&curve(&[1.0, 1.0, 0.9, 0.5, 0.3, 0.2, 9.0, 0.25])).unwrap();
        assert!((found.steepest / 1e-3 - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.minimum / 1e-1 - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.minimum_tenth / 1e-2 - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_loss_that_never_falls_suggests_nothing() {
        assert_eq!(suggestion(&curve(&[1.0, 1.0, 1.1, 1.2])), None);
        assert_eq!(suggestion(&[]), None);
    }

    #[test]
    fn rates_rise_by_equal_factors_from_the_first_to_the_last() {
        let options = Options { steps: 15, ..Options::default() };
        assert!((options.rate(0) / 1e-7 - 1.0).abs() < 1e-12);
        assert!((options.rate(14) - 1.0).abs() < 1e-12);
        for step in 1..15 {
            let factor = options.rate(step) / options.rate(step - 1);
            assert!((factor / 10f64.sqrt() - 1.0).abs() < 1e-9, "{factor}");
        }
    }

    #[test]
    fn options_out_of_range_name_themselves() {
        let wrong = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert!(wrong(|o| o.from = 0.0).contains("--from"));
        assert!(wrong(|o| o.to = 1e-8).contains("--to"));
        assert!(wrong(|o| o.steps = 11).contains("--steps"));
        assert!(wrong(|o| o.smoothing = 1.0).contains("--smoothing"));
        assert!(wrong(|o| o.divergence = 1.0).contains("--divergence"));
        Options::default().validate().unwrap();
    }
}
