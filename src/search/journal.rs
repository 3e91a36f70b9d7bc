//! `trials.jsonl`: what was begun and what it came to, a line each. Everything else that a search writes can be made from it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pruning::Course;
use super::space::Values;
use crate::error::{Error, Result};
use crate::output::write_whole;

/// One training.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its values.
    pub values: Values,
    /// Its validations so far.
    pub course: Course,
    /// What it came to; `None` while it runs.
    pub end: Option<End>,
}

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// The best validation IoU; `None` where it failed.
    pub iou: Option<f64>,
    /// Optimizer steps after which that was.
    pub best_step: usize,
    /// Optimizer steps in all.
    pub steps: usize,
    /// Seconds of training and validating.
    pub seconds: f64,
    /// What went wrong, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All its steps, or as many as `run.patience` wanted.
    Finished,
    /// Given up.
    Pruned,
    /// Its loss was no number any more, or its values do not go together.
    Failed,
}

impl Outcome {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    Start {
        trial: usize,
        values: Values,
    },
    End {
        trial: usize,
        #[serde(flatten)]
        end: End,
        /// IoU by step; TOML and JSON want text as keys.
        validations: Vec<(usize, f64)>,
    },
}

/// The file, open for more lines.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Takes up the journal at `path`, or begins it; the trials that are in it, by number. A line that a crash cut
    /// short is forgotten.
    ///
    /// # Errors
    /// It cannot be read or written, or holds something else.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Trial>)> {
        let text = if path.exists() {
            std::fs::read_to_string(path).map_err(Error::io(path))?
        } else {
            String::new()
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut trials: Vec<Trial> = Vec::new();
        for (at, line) in whole.lines().enumerate() {
            let wrong = |found: String| {
                let found = format!("line {}: {found}", at + 1);
                let hint = "restore the file, or begin the search again with --overwrite";
                Error::input(path, "trials of a search, a JSON object a line", found, hint)
            };
            match serde_json::from_str(line).map_err(|error| wrong(error.to_string()))? {
                Line::Start { trial, values } if trial == trials.len() => {
                    trials.push(Trial { values, course: Course::new(), end: None });
                }
                Line::End { trial, end, validations } if trial < trials.len() => {
                    trials[trial].course = validations.into_iter().collect();
                    trials[trial].end = Some(end);
                }
                Line::Start { trial, .. } | Line::End { trial, .. } => {
                    return Err(wrong(format!("trial {trial} out of turn")));
                }
            }
        }
        write_whole(path, whole.as_bytes(), true)?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io(path))?;
        Ok((Self { path: path.to_owned(), file }, trials))
    }

    /// Notes that a trial begins.
    ///
    /// # Errors
    /// The disk is full.
    pub(super) fn start(&mut self, trial: usize, values: &Values) -> Result<()> {
        self.push(&Line::Start { trial, values: values.clone() })
    }

    /// Notes what a trial came to.
    ///
    /// # Errors
    /// The disk is full.
    pub(super) fn end(&mut self, trial: usize, end: &End, course: &Course) -> Result<()> {
        let validations = course.iter().map(|(step, iou)| (*step, *iou)).collect();
        self.push(&Line::End { trial, end: end.clone(), validations })
    }

    fn push(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line).map_err(|e| Error::io(&self.path)(e.into()))?;
        self.file.write_all((text + "\n").as_bytes()).map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::*;

    #[test]
    fn a_journal_is_read_back_without_the_line_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trials.jsonl");
        let values = |rate: f64| {
            Values::from([
                ("optimizer.learning_rate".to_owned(), Value::Float(rate)),
                ("data.batch".to_owned(), Value::Integer(2)),
                ("optimizer.name".to_owned(), Value::String("sgd".into())),
            ])
        };
        let end = End {
            outcome: Outcome::Pruned,
            iou: Some(0.1 + 0.2),
            best_step: 3,
            steps: 6,
            seconds: 1.5,
            problem: None,
        };
        let course = Course::from([(3, 0.1 + 0.2), (6, 1e-17)]);
        let (mut journal, trials) = Journal::open(&path).unwrap();
        assert!(trials.is_empty());
        journal.start(0, &values(1e-7 / 3.0)).unwrap();
        journal.start(1, &values(1.0)).unwrap();
        journal.end(0, &end, &course).unwrap();
        journal.file.write_all(b"{\"kind\":\"end\",\"tri").unwrap();
        let (mut journal, trials) = Journal::open(&path).unwrap();
        let first = Trial { values: values(1e-7 / 3.0), course, end: Some(end) };
        let second = Trial { values: values(1.0), course: Course::new(), end: None };
        assert_eq!(trials, [first, second]);
        journal.start(2, &values(2.0)).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1.len(), 3);
    }

    #[test]
    fn what_is_no_journal_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trials.jsonl");
        for text in ["{}\n", "{\"kind\":\"start\",\"trial\":1,\"values\":{}}\n"] {
            std::fs::write(&path, text).unwrap();
            let error = Journal::open(&path).unwrap_err().to_string();
            assert!(error.contains("trials.jsonl") && error.contains("line 1"), "{error}");
        }
    }
}
