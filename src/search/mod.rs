//! Search for good settings of a training: many trainings, of which the bad ones are given up early.
//!
//! [`run`] writes into its output folder:
//!
//! ```text
//! trials.jsonl    what was begun and what it came to: the source of everything else (journal.rs)
//! trial_000/ ..   a training each, as `geoseg train` writes it
//! best.toml       the configuration of the best trial, for `geoseg train`
//! search.png      scores over trials and over the values of every key
//! search.toml     how the search was told to look
//! train.toml      the training that it varies
//! ```

pub mod journal;
pub mod report;
pub mod space;

mod board;
mod pruning;
mod sampler;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::board::Board;
use self::journal::{End, Outcome};
use self::pruning::{Course, Moment};
pub use self::report::Report;
use self::space::{Values, applied, extremes};
use crate::config::search::{PruningRule, SearchConfig};
use crate::config::train::TrainConfig;
use crate::config::{self, write_effective};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::output::{Begin, check_writable};
use crate::progress::{Bar, Progress};
use crate::tiles::{Split, TileSet};
use crate::train::log::{Entry, ValidationEntry, read};
use crate::train::sources::Sources;
use crate::train::{self, Ended, Watch, folder};
use crate::with_autodiff_backend;

/// What to search, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keys, sampler, pruning.
    pub config: SearchConfig,
    /// The training that is varied.
    pub training: TrainConfig,
    /// The output folder.
    pub out: PathBuf,
    /// A trial runs on each at a time; one that is named twice runs two.
    pub devices: Vec<Device>,
    /// What to do with a search that `out` holds.
    pub begin: Begin,
}

const JOURNAL: &str = "trials.jsonl";
const BEST: &str = "best.toml";
const PICTURE: &str = "search.png";
const SEARCH: &str = "search.toml";
const TRAINING: &str = "train.toml";

/// Runs the trials that are left to run. With the random sampler the same trials come to the same, whatever the number of
/// devices: a trial is compared with those of lower numbers only, and waits for them where they are behind.
///
/// # Errors
/// A key out of range; an `out` that holds a search already ([`Begin::New`]) or none or another ([`Begin::Resume`]); whatever ends a
/// training but a loss that is no number; [`Error::Interrupted`] after saving; no trial that did not fail.
pub fn run(options: &Options, interrupt: &Interrupt, progress: Progress) -> Result<Report> {
    check(options)?;
    if options.begin == Begin::Anew {
        train::check_init(&options.training, &options.out)?;
        remove_search(&options.out)?;
    }
    open_folder(options)?;
    let board = Board::open(&options.out.join(JOURNAL), &options.config)?;
    let search = Search {
        options,
        board: &board,
        interrupt,
        // Bars of several trainings at once say nothing.
        progress: if options.devices.len() > 1 { Progress::Hidden } else { progress },
        bar: progress.bar("search", options.config.search.trials as u64, "trials"),
    };
    search.bar.inc(board.ended() as u64);
    std::thread::scope(|scope| {
        let work = |device| {
            let search = &search;
            scope.spawn(move || search.work(device))
        };
        let threads: Vec<_> = options.devices.iter().map(work).collect();
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // What went wrong first stopped the others, which then only say that they were stopped.
        let ends: Vec<Result<()>> = ends.collect();
        let (stopped, wrong): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .filter_map(Result::err)
            .partition(|error| matches!(error, Error::Interrupted { .. }));
        wrong.into_iter().chain(stopped).next().map_or(Ok(()), Err)
    })?;
    search.bar.finish();
    search.publish()?;
    let report = board.report();
    if report.best().is_none() {
        let last = report.trials.iter().rev().find_map(|trial| trial.end.as_ref()?.problem.clone());
        return Err(Error::input(
            options.out.join(JOURNAL),
            "a trial that did not fail",
            format!("{} that did", report.trials.len()),
            format!("the last said: {}", last.unwrap_or_default()),
        ));
    }
    Ok(report)
}

/// Removes what an earlier search wrote into `out`; other files stay.
fn remove_search(out: &Path) -> Result<()> {
    for number in 0.. {
        let folder = trial_folder(out, number);
        if !folder.exists() {
            break;
        }
        train::remove_run(&folder)?;
        // Whatever else lies there stays.
        let _ = std::fs::remove_dir(&folder);
    }
    for path in [JOURNAL, BEST, PICTURE, SEARCH, TRAINING].map(|name| out.join(name)) {
        if path.exists() {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Where a trial's training lies.
pub fn trial_folder(out: &Path, number: usize) -> PathBuf {
    out.join(format!("trial_{number:03}"))
}

/// Refuses, before the first trial, what no trial could use.
fn check(options: &Options) -> Result<()> {
    options.config.validate()?;
    options.training.validate()?;
    for key in &options.config.key {
        for value in extremes(key) {
            let values = Values::from([(key.name.clone(), value)]);
            applied(&options.training, &values)?.validate()?;
        }
    }
    let set = TileSet::open(&options.training.data.tiles)?;
    let fold = options.training.data.fold >= 0;
    if !fold && !set.tiles.iter().any(|tile| tile.split == Split::Val) {
        return Err(Error::input(
            &set.root,
            "a tile set with validation tiles, by which trials are judged",
            "none",
            "cut some (split = \"val\"), or set data.fold",
        ));
    }
    Ok(())
}

/// Makes the folder, or finds that it holds the same search.
fn open_folder(options: &Options) -> Result<()> {
    let out = &options.out;
    check_writable(out, true)?;
    let begun = out.join(JOURNAL).exists();
    if begun != (options.begin == Begin::Resume) {
        let (expected, found, hint) = if begun {
            let hint =
                "pass --resume to go on with it, --overwrite to replace it, or choose another";
            ("a folder without a search", "one", hint)
        } else {
            ("a search to resume", "none", "start it without --resume")
        };
        return Err(Error::input(out, expected, found, hint));
    }
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let (search, training) = (out.join(SEARCH), out.join(TRAINING));
    if begun {
        // More trials of the same search are welcome.
        let mut before: SearchConfig = config::load(std::slice::from_ref(&search), &[])?;
        before.search.trials = options.config.search.trials;
        same(&search, &before, &options.config)?;
        same(&training, &config::load(std::slice::from_ref(&training), &[])?, &options.training)?;
    }
    write_effective(&options.config, &search)?;
    write_effective(&options.training, &training)
}

fn same<T: PartialEq + Serialize + DeserializeOwned>(
    path: &Path,
    before: &T,
    now: &T,
) -> Result<()> {
    if before == now {
        return Ok(());
    }
    Err(Error::input(
        path,
        "the configuration that the search began with",
        "another",
        "restore it, or begin in another folder: trials of both cannot be compared",
    ))
}

/// What all threads of a search share.
struct Search<'a> {
    options: &'a Options,
    board: &'a Board,
    interrupt: &'a Interrupt,
    progress: Progress,
    bar: Bar,
}

impl Search<'_> {
    /// Runs trials on one device until none is left. What goes wrong stops the other devices, too.
    fn work(&self, device: &Device) -> Result<()> {
        let done = self.trials(device);
        if done.is_err() {
            self.interrupt.raise();
        }
        done
    }

    fn trials(&self, device: &Device) -> Result<()> {
        while let Some((number, values)) = self.board.next()? {
            if self.interrupt.requested() {
                return Err(self.interrupted());
            }
            let out = trial_folder(&self.options.out, number);
            // A trial that goes on has validations behind it.
            self.board.note(number, &course(&out)?);
            let end = self.trial(number, &values, device, &out)?;
            let course = course(&out)?;
            self.board.end(number, end.clone(), course)?;
            self.publish()?;
            self.bar.inc(1);
            let score = end.iou.map_or_else(|| "no IoU".to_owned(), |iou| format!("IoU {iou:.3}"));
            let outcome = end.outcome.name();
            self.bar.println(&format!(
                "trial {number:03} on {device}: {score}, {outcome} at {}",
                end.steps
            ));
        }
        Ok(())
    }

    fn trial(&self, number: usize, values: &Values, device: &Device, out: &Path) -> Result<End> {
        let trained = self.train(number, values, device, out);
        let failed = |problem: String| {
            tracing::warn!("trial {number:03} failed: {problem}");
            let problem = Some(problem);
            let outcome = Outcome::Failed;
            Ok(End { outcome, iou: None, best_step: 0, steps: 0, seconds: 0.0, problem })
        };
        match trained {
            Ok(report) => Ok(End {
                outcome: match report.ended {
                    Ended::GivenUp => Outcome::Pruned,
                    Ended::AllSteps | Ended::NoBetter => Outcome::Finished,
                },
                iou: report.best.map(|best| best.iou),
                best_step: report.best.map_or(0, |best| best.step),
                steps: report.steps,
                seconds: report.seconds,
                problem: None,
            }),
            // Such values are a part of what is searched; everything else would go wrong again.
            Err(error @ (Error::NonFiniteLoss { .. } | Error::Config { .. })) => {
                failed(error.to_string())
            }
            Err(Error::Interrupted { .. }) => Err(self.interrupted()),
            Err(error) => Err(error),
        }
    }

    fn train(
        &self,
        number: usize,
        values: &Values,
        device: &Device,
        out: &Path,
    ) -> Result<train::Report> {
        let mut config = applied(&self.options.training, values)?;
        config.validate()?;
        if !config.tracking.run_name.is_empty() {
            config.tracking.run_name += &format!("-{number:03}");
        }
        let sources = Sources::open(&config)?;
        let give_up = |entry: &ValidationEntry, total_steps: usize| {
            let moment = Moment { step: entry.step, total_steps };
            self.options.config.pruning.rule != PruningRule::None
                && self.board.gives_up(number, moment, entry.iou, self.interrupt)
        };
        let watch =
            Watch { interrupt: self.interrupt, progress: self.progress, give_up: Some(&give_up) };
        let begin = Begin::of(folder::is_begun(out), false);
        with_autodiff_backend!(device, |B, handle| {
            train::run::<B>(&config, &handle, &sources, out, begin, &watch)
        })
    }

    /// Writes what has been found so far.
    fn publish(&self) -> Result<()> {
        let report = self.board.report();
        if let Some((number, _)) = report.best() {
            let config = applied(&self.options.training, &report.trials[number].values)?;
            write_effective(&config, &self.options.out.join(BEST))?;
        }
        report.draw(&self.options.out.join(PICTURE))
    }

    fn interrupted(&self) -> Error {
        Error::Interrupted {
            kept: format!(
                "{} holds {} of {} trials; go on with --resume",
                self.options.out.display(),
                self.board.ended(),
                self.options.config.search.trials
            ),
        }
    }
}

/// The validations in a trial's folder.
fn course(folder: &Path) -> Result<Course> {
    let path = folder.join("metrics.jsonl");
    if !path.exists() {
        return Ok(Course::new());
    }
    let validations = read(&path)?.into_iter().filter_map(|entry| match entry {
        Entry::Validation(entry) => Some((entry.step, entry.iou)),
        _ => None,
    });
    Ok(validations.collect())
}
