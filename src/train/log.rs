//! What a training reports as it goes: `metrics.jsonl`, TensorBoard events, the picture of curves, and what a server is told.
//!
//! `metrics.jsonl` is the source; the others can be made from it again, and are on resuming.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::metrics::Confusion;
use super::mlflow::{Status, Tracker};
use super::tensorboard::EventFile;
use crate::error::{Error, Result};
use crate::output::write_whole;
use crate::picture::chart::{Panel, Series, curves};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// After every optimizer step.
    Step(StepEntry),
    /// After every epoch.
    Epoch(EpochEntry),
    /// After every validation.
    Validation(ValidationEntry),
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Steps done, this one included.
    pub step: usize,
    /// The epoch it belongs to, from 1.
    pub epoch: usize,
    /// The loss that was minimised, mean over accumulated batches.
    pub loss: f64,
    /// Every loss that is used, unweighted.
    #[serde(default)]
    pub losses: BTreeMap<String, f64>,
    /// Pixel IoU of the batch, as the network saw it (augmented, with dropout).
    pub iou: f64,
    /// The counts behind `iou`.
    pub pixels: Confusion,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Euclidean norm of all gradients, before clipping.
    pub gradient_norm: f64,
    /// Tiles trained on per second, this step.
    pub tiles_per_s: f64,
    /// Seconds since 1970.
    pub time: f64,
}

/// One pass over the training tiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochEntry {
    /// Steps done.
    pub step: usize,
    /// The epoch that ended, from 1.
    pub epoch: usize,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Pixel IoU of its steps together.
    pub iou: f64,
    /// Seconds since 1970.
    pub time: f64,
}

/// One validation, over whole validation tiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationEntry {
    /// Steps done.
    pub step: usize,
    /// The epoch it falls into, from 1.
    pub epoch: usize,
    /// The loss, mean over valid pixels of all tiles.
    pub loss: f64,
    /// Pixel IoU at `run.threshold`.
    pub iou: f64,
    /// Pixel precision.
    pub precision: f64,
    /// Pixel recall.
    pub recall: f64,
    /// Pixel F1.
    pub f1: f64,
    /// Whether it is the best so far.
    pub best: bool,
    /// How long it took, statistics included.
    pub seconds: f64,
    /// Seconds since 1970.
    pub time: f64,
}

impl Entry {
    /// Steps done when it was written.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(entry) => entry.step,
            Self::Epoch(entry) => entry.step,
            Self::Validation(entry) => entry.step,
        }
    }

    /// When it was written, seconds since 1970.
    pub fn time(&self) -> f64 {
        match self {
            Self::Step(entry) => entry.time,
            Self::Epoch(entry) => entry.time,
            Self::Validation(entry) => entry.time,
        }
    }

    /// Its numbers, under the names that TensorBoard and MLflow show.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let named = |values: &[(&str, f64)]| {
            values.iter().map(|&(name, value)| (name.to_owned(), value)).collect::<Vec<_>>()
        };
        match self {
            Self::Step(entry) => {
                let mut values = named(&[
                    ("loss/train", entry.loss),
                    ("iou/train", entry.iou),
                    ("learning_rate", entry.learning_rate),
                    ("gradient_norm", entry.gradient_norm),
                    ("tiles_per_s", entry.tiles_per_s),
                ]);
                let losses = entry.losses.iter();
                values.extend(losses.map(|(name, value)| (format!("loss/{name}"), *value)));
                values
            }
            Self::Epoch(entry) => named(&[("epoch/loss", entry.loss), ("epoch/iou", entry.iou)]),
            Self::Validation(entry) => named(&[
                ("loss/val", entry.loss),
                ("iou/val", entry.iou),
                ("val/precision", entry.precision),
                ("val/recall", entry.recall),
                ("val/f1", entry.f1),
            ]),
        }
    }
}

/// Seconds since 1970.
pub fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The log of one training.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    curves_path: PathBuf,
    file: File,
    events: EventFile,
    tracker: Option<Tracker>,
    entries: Vec<Entry>,
}

impl Log {
    /// Starts (`done_steps` = 0) or continues the log in `folder`; entries after `done_steps` are
    /// forgotten. `tracker` is told the others again: it knows what it has told already.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub(super) fn open(folder: &Path, done_steps: usize, tracker: Option<Tracker>) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let mut entries = if done_steps > 0 && path.exists() { read(&path)? } else { Vec::new() };
        entries.retain(|entry| entry.step() <= done_steps);
        let mut text = String::new();
        for entry in &entries {
            text += &line(entry);
        }
        write_whole(&path, text.as_bytes(), true)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        let events_folder = folder.join("tensorboard");
        std::fs::create_dir_all(&events_folder).map_err(Error::io(&events_folder))?;
        let events_path = events_folder.join("events.out.tfevents.0.geoseg");
        let mut events = EventFile::create(&events_path, now_s())?;
        for entry in &entries {
            write_event(&mut events, entry)?;
            if let Some(tracker) = &tracker {
                tracker.push(entry);
            }
        }
        let curves_path = folder.join("curves.png");
        Ok(Self { path, curves_path, file, events, tracker, entries })
    }

    /// Appends one entry.
    ///
    /// # Errors
    /// The disk is full.
    pub fn push(&mut self, entry: Entry) -> Result<()> {
        self.file.write_all(line(&entry).as_bytes()).map_err(Error::io(&self.path))?;
        write_event(&mut self.events, &entry)?;
        if let Some(tracker) = &self.tracker {
            tracker.push(&entry);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Has the server told what waits, without waiting for it.
    pub(super) fn flush(&self) {
        if let Some(tracker) = &self.tracker {
            tracker.flush();
        }
    }

    /// Tells the server how the training ended.
    pub(super) fn close(self, status: Status) {
        if let Some(tracker) = self.tracker {
            tracker.end(status);
        }
    }

    /// Everything logged so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The last validation.
    pub fn last_validation(&self) -> Option<&ValidationEntry> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Validation(validation) => Some(validation),
            _ => None,
        })
    }

    /// Steps of epoch `epoch`.
    pub fn steps_of(&self, epoch: usize) -> impl Iterator<Item = &StepEntry> {
        self.entries.iter().filter_map(move |entry| match entry {
            Entry::Step(step) if step.epoch == epoch => Some(step),
            _ => None,
        })
    }

    /// Draws `curves.png`.
    ///
    /// # Errors
    /// The picture cannot be written.
    pub fn draw(&self, title: &str) -> Result<()> {
        curves(&self.curves_path, title, &panels(&self.entries))
    }
}

/// The entries of a `metrics.jsonl`; a last line cut short by a crash is left out.
///
/// # Errors
/// The file cannot be read, or a line is not an entry.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::input(
                    path,
                    "metrics, a JSON object a line",
                    format!("line {}: {error}", number + 1),
                    "move the file away to train on without its history",
                )
            })
        })
        .collect()
}

fn line(entry: &Entry) -> String {
    // Entries are plain numbers and strings, which JSON can always hold.
    serde_json::to_string(entry).unwrap_or_default() + "\n"
}

fn write_event(events: &mut EventFile, entry: &Entry) -> Result<()> {
    let scalars = entry.scalars();
    let values: Vec<(&str, f64)> =
        scalars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    events.scalars(entry.time(), entry.step() as u64, &values)
}

/// Points of a training curve that are averaged into one, so that about this many remain.
const CURVE_POINTS: usize = 200;

fn panels(entries: &[Entry]) -> Vec<Panel> {
    let steps: Vec<&StepEntry> = entries
        .iter()
        .filter_map(|entry| if let Entry::Step(step) = entry { Some(step) } else { None })
        .collect();
    let validations: Vec<&ValidationEntry> = entries
        .iter()
        .filter_map(|entry| if let Entry::Validation(entry) = entry { Some(entry) } else { None })
        .collect();
    let window = steps.len().div_ceil(CURVE_POINTS).max(1);
    let train = |name: &str, value: fn(&StepEntry) -> f64| Series {
        name: name.into(),
        points: steps
            .chunks(window)
            .map(|chunk| {
                let mean = |f: &dyn Fn(&StepEntry) -> f64| {
                    chunk.iter().map(|step| f(step)).sum::<f64>() / chunk.len() as f64
                };
                (mean(&|step| step.step as f64), mean(&value))
            })
            .collect(),
        ..Series::default()
    };
    let val = |name: &str, value: fn(&ValidationEntry) -> f64| Series {
        name: name.into(),
        points: validations.iter().map(|entry| (entry.step as f64, value(entry))).collect(),
        ..Series::default()
    };
    vec![
        Panel {
            label: "loss over step".into(),
            series: vec![
                train("training", |step| step.loss),
                val("validation", |entry| entry.loss),
            ],
            ..Panel::default()
        },
        Panel {
            label: "pixel IoU over step".into(),
            series: vec![train("training", |step| step.iou), val("validation", |entry| entry.iou)],
            ..Panel::default()
        },
        Panel {
            label: "learning rate over step".into(),
            series: vec![train("learning rate", |step| step.learning_rate)],
            ..Panel::default()
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> Entry {
        Entry::Step(StepEntry {
            step,
            epoch: 1 + step / 10,
            loss: 1.0 / (step + 1) as f64,
            losses: BTreeMap::from([("focal".to_owned(), 0.1)]),
            iou: 0.3,
            pixels: Confusion { true_positive: 3, false_positive: 4, false_negative: 3 },
            learning_rate: 1e-3,
            gradient_norm: 2.0,
            tiles_per_s: 7.0,
            time: 1.5,
        })
    }

    #[test]
    fn resuming_forgets_what_came_after_the_checkpoint_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0, None).unwrap();
        (1..=5).for_each(|i| log.push(step(i)).unwrap());
        drop(log);
        let path = folder.path().join("metrics.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"kind\":\"step\",\"st").unwrap();
        let mut log = Log::open(folder.path(), 3, None).unwrap();
        log.push(step(4)).unwrap();
        assert_eq!(log.entries().len(), 4);
        assert_eq!(read(&path).unwrap(), (1..=4).map(step).collect::<Vec<_>>());
    }

    #[test]
    fn long_curves_are_thinned_by_averaging() {
        let entries: Vec<_> = (1..=1000).map(step).collect();
        let panels = panels(&entries);
        assert_eq!(panels[0].series[0].points.len(), 200);
        assert_eq!(panels[0].series[0].points[0].0, 3.0);
    }
}
