//! What a search found: a table, a picture.

use std::path::Path;

use super::journal::{End, Outcome, Trial};
use super::space::{number, text};
use crate::config::search::KeyRange;
use crate::error::Result;
use crate::picture::chart::{Panel, Scale, Series, curves};
use crate::table::table;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The keys that were searched over.
    pub keys: Vec<KeyRange>,
    /// All trials, by number.
    pub trials: Vec<Trial>,
}

impl Report {
    /// Number and score of the best trial; of equals the first.
    pub fn best(&self) -> Option<(usize, f64)> {
        let scores = self
            .trials
            .iter()
            .enumerate()
            .filter_map(|(number, trial)| Some((number, trial.end.as_ref()?.iou?)));
        scores.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// The trials that have ended, best first, for a terminal.
    pub fn table(&self) -> String {
        let mut ended: Vec<(usize, &Trial, &End)> = self
            .trials
            .iter()
            .enumerate()
            .filter_map(|(number, trial)| Some((number, trial, trial.end.as_ref()?)))
            .collect();
        ended.sort_by(|a, b| {
            let score = |end: &End| end.iou.unwrap_or(f64::NEG_INFINITY);
            score(b.2).total_cmp(&score(a.2)).then(a.0.cmp(&b.0))
        });
        let mut heads = vec!["trial", "outcome", "IoU", "at step", "steps", "seconds"];
        heads.extend(self.keys.iter().map(|key| key.name.as_str()));
        let rows = ended.into_iter().map(|(number, trial, end)| {
            let mut cells = vec![format!("{number:03}"), end.outcome.name().to_owned()];
            cells.push(end.iou.map_or_else(|| "-".to_owned(), |iou| format!("{iou:.4}")));
            cells.extend([end.best_step.to_string(), end.steps.to_string()]);
            cells.push(format!("{:.0}", end.seconds));
            let value = |key: &KeyRange| trial.values.get(&key.name).map(text).unwrap_or_default();
            cells.extend(self.keys.iter().map(value));
            cells
        });
        table(&heads, 2, rows)
    }

    /// Draws the best score so far over the trials, and the scores over the values of every key, into a PNG at `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let title = self.best().map_or_else(
            || "search: no trial has ended yet".to_owned(),
            |(number, iou)| format!("search: the best is trial {number:03}, IoU {iou:.3}"),
        );
        let mut panels = vec![self.progress()];
        panels.extend(self.keys.iter().map(|key| self.over(key)));
        curves(path, &title, &panels)
    }

    /// Scores by outcome; `x` says where a trial lies.
    fn dots(&self, x: impl Fn(usize, &Trial) -> Option<f64>) -> Vec<Series> {
        [Outcome::Finished, Outcome::Pruned]
            .map(|outcome| Series {
                name: outcome.name().to_owned(),
                points: self
                    .trials
                    .iter()
                    .enumerate()
                    .filter_map(|(number, trial)| {
                        let end = trial.end.as_ref().filter(|end| end.outcome == outcome)?;
                        Some((x(number, trial)?, end.iou?))
                    })
                    .collect(),
                dots: true,
            })
            .into_iter()
            .filter(|series| !series.points.is_empty())
            .collect()
    }

    fn progress(&self) -> Panel {
        let mut best: Vec<(f64, f64)> = Vec::new();
        for (number, trial) in self.trials.iter().enumerate() {
            let Some(iou) = trial.end.as_ref().and_then(|end| end.iou) else { continue };
            let so_far = best.last().map_or(iou, |last| last.1.max(iou));
            best.push((number as f64, so_far));
        }
        let mut series = self.dots(|number, _| Some(number as f64));
        series.push(Series { name: "best so far".into(), points: best, dots: false });
        Panel { label: "validation IoU over trial".into(), series, ..Panel::default() }
    }

    fn over(&self, key: &KeyRange) -> Panel {
        let x = if !key.choices.is_empty() {
            Scale::Names(key.choices.iter().map(text).collect())
        } else if key.log {
            Scale::Log
        } else {
            Scale::Linear
        };
        let best = self.best().map(|(number, _)| &self.trials[number]);
        let mark = |trial: &Trial| {
            Some((format!("best: {}", text(trial.values.get(&key.name)?)), on_axis(key, trial)?))
        };
        Panel {
            label: format!("validation IoU over {}", key.name),
            series: self.dots(|_, trial| on_axis(key, trial)),
            x,
            marks: best.and_then(mark).into_iter().collect(),
        }
    }
}

/// Where a trial stands on a key's axis.
fn on_axis(key: &KeyRange, trial: &Trial) -> Option<f64> {
    let value = trial.values.get(&key.name)?;
    if key.choices.is_empty() {
        return number(value);
    }
    key.choices.iter().position(|choice| choice == value).map(|at| at as f64)
}
