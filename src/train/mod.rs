//! A tile set into a model.
//!
//! [`run`] is the loop. It writes into its output folder:
//!
//! ```text
//! model.safetensors     the best model by validation IoU (the last without validation tiles)
//! train.toml            the effective configuration
//! metrics.jsonl         every step, epoch and validation (log.rs)
//! curves.png            the same as a picture
//! tensorboard/          the same as TensorBoard events
//! checkpoints/          last, best and older ones (checkpoint.rs)
//! mlflow.json           the run on a server, where [tracking] names one (mlflow/)
//! ```

pub mod augment;
pub mod batches;
pub mod bend;
pub mod checkpoint;
pub mod colour;
pub mod folder;
pub mod log;
pub mod loss_scale;
pub mod losses;
pub mod lr_find;
pub mod metrics;
pub mod mixup;
pub mod optimizer;
pub mod plan;
pub mod pool;
pub mod prefetch;
pub mod preview;
pub mod recalibrate;
pub mod sampler;
pub mod schedule;
pub mod sources;
pub mod start;
pub mod tensorboard;
pub mod validate;
pub mod warp;
pub mod watch;

mod kept;
mod mlflow;
mod setup;
mod shown;
mod step;

use std::path::{Path, PathBuf};
use std::thread::{Scope, available_parallelism};
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;

use self::batches::Batches;
use self::checkpoint::{Best, Learner};
use self::folder::Folder;
use self::log::{Entry, EpochEntry, Log, StepEntry, now_s};
use self::metrics::Confusion;
use self::mlflow::{Status, Tracker};
use self::plan::Plan;
use self::prefetch::Prefetch;
use self::schedule::Schedule;
use self::setup::Setup;
use self::shown::Shown;
use self::sources::Sources;
use self::step::Steps;
use crate::config::train::{ScheduleKind, TrainConfig};
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::model::ModelSpec;
use crate::output::Begin;
use crate::progress::Bar;
use crate::tiles::TileSet;

pub use self::folder::{check_init, remove_run};
pub use self::watch::Watch;

/// What a finished training reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The model.
    pub model: PathBuf,
    /// Optimizer steps done.
    pub steps: usize,
    /// Trainable values of the network.
    pub parameters: usize,
    /// Training tiles.
    pub train_tiles: usize,
    /// Validation tiles.
    pub val_tiles: usize,
    /// The best validation; `None` without validation tiles.
    pub best: Option<Best>,
    /// Why it ended.
    pub ended: Ended,
    /// Seconds spent training and validating, over all resumptions.
    pub seconds: f64,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All its steps are done.
    AllSteps,
    /// `run.patience` ran out.
    NoBetter,
    /// [`Watch::give_up`] gave it up.
    GivenUp,
}

/// Trains on the tiles of `sources` and writes model, metrics and checkpoints into the folder `out`, which is made if it is
/// missing. [`Begin::Resume`] goes on from the folder's last checkpoint, exactly as if it had not stopped; [`Begin::Anew`] removes
/// an earlier run once this one is ready to begin.
///
/// # Errors
/// A configuration that does not fit the tiles; an `out` that holds a run already ([`Begin::New`]) or
/// none ([`Begin::Resume`]); an unreadable tile; [`Error::NonFiniteLoss`]; [`Error::Interrupted`] after saving.
pub fn run<B>(
    config: &TrainConfig,
    device: &B::Device,
    sources: &Sources,
    out: &Path,
    begin: Begin,
    watch: &Watch<'_>,
) -> Result<Report>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    let setup = Setup::new(config, sources)?;
    if setup.batches.val_tiles().is_empty() {
        if config.schedule.kind == ScheduleKind::Plateau {
            return Err(Error::config(
                "schedule.kind",
                "is \"plateau\", but the tile set has no validation tiles: choose another, or cut some",
            ));
        }
        tracing::warn!("the tile set has no validation tiles: the last model is kept, unmeasured");
    }
    let steps = setup.steps(device)?;
    let folder = Folder::open(out, begin)?;
    if begin == Begin::Anew {
        check_init(config, out)?;
    }
    let resume = begin == Begin::Resume;
    let learner =
        if resume { setup.resumed::<B>(&folder.last(), device)? } else { setup.learner(device)? };
    let tracker = Tracker::start(config, out, resume)?;
    folder.claim(begin)?;
    crate::config::write_effective(config, &folder.config())?;
    tracker.iter().try_for_each(|tracker| tracker.write_id(out))?;
    let mut log = Log::open(out, learner.state.step, tracker)?;
    let plan = setup.plan();
    let schedule =
        Schedule::new(&config.schedule, config.optimizer.learning_rate, plan.total_steps);
    let training = Training {
        config,
        device,
        steps,
        set: &sources.labelled,
        batches: &setup.batches,
        spec: &setup.spec,
        folder: &folder,
        plan,
        schedule,
        watch,
        workers: workers(config.data.workers),
        seconds_before: learner.state.seconds,
        started: Instant::now(),
    };
    let end = std::thread::scope(|scope| training.run(scope, learner, &mut log));
    log.close(Status::of(&end));
    end
}

/// Threads that make batches: enough to stay ahead of a GPU, few enough to leave a CPU to the network.
fn workers(configured: usize) -> usize {
    match configured {
        0 => (available_parallelism().map_or(2, usize::from) / 2).clamp(1, 8),
        given => given,
    }
}

/// What stays the same throughout a training.
struct Training<'env, B: AutodiffBackend> {
    config: &'env TrainConfig,
    device: &'env B::Device,
    steps: Steps<'env, B>,
    set: &'env TileSet,
    batches: &'env Batches<'env>,
    spec: &'env ModelSpec,
    folder: &'env Folder,
    plan: Plan,
    schedule: Schedule,
    watch: &'env Watch<'env>,
    workers: usize,
    seconds_before: f64,
    started: Instant,
}

impl<'env, B> Training<'env, B>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    /// The loop.
    fn run<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        mut learner: Learner<B>,
        log: &mut Log,
    ) -> Result<Report> {
        let total = self.plan.total_steps;
        let accumulate = self.config.optimizer.accumulate as u64;
        let batches = self.batches;
        let first = learner.state.step as u64 * accumulate;
        let mut training_batches =
            Prefetch::start(scope, self.workers, first..total as u64 * accumulate, move |k| {
                batches.training(k)
            });
        let bar = self.watch.progress.bar("train", total as u64, "steps");
        bar.inc(learner.state.step as u64);
        let mut shown = Shown::default();
        let ended = loop {
            if self.validation_is_due(&learner) {
                let finished = self.validate(scope, &mut learner, log, &bar)?;
                if !finished {
                    return self.save_and_stop(learner, &bar);
                }
            }
            let patience = self.config.run.patience;
            if learner.state.step >= total {
                break Ended::AllSteps;
            }
            if patience > 0 && learner.state.stale_validations >= patience {
                break Ended::NoBetter;
            }
            if self.gives_up(&learner, log) {
                break Ended::GivenUp;
            }
            if self.watch.interrupt.requested() {
                return self.save_and_stop(learner, &bar);
            }
            let started = Instant::now();
            let rate = self.rate(&learner);
            let (next, entry) = self.steps.step(learner, rate, &mut training_batches)?;
            learner = next;
            let entry = StepEntry {
                tiles_per_s: (self.config.data.batch as u64 * accumulate) as f64
                    / started.elapsed().as_secs_f64(),
                ..entry
            };
            shown.update(&entry);
            bar.message(shown.text());
            bar.inc(1);
            log.push(Entry::Step(entry))?;
            if self.plan.epoch_ends_after(learner.state.step) {
                log.push(self.epoch_entry(&learner, log))?;
            }
        };
        bar.finish();
        self.finish(scope, learner, log, ended)
    }

    /// The rate of the next step.
    fn rate(&self, learner: &Learner<B>) -> f64 {
        let plateau = learner.state.plateau.factor(&self.config.schedule);
        self.schedule.rate(learner.state.step) * plateau
    }

    fn epoch_entry(&self, learner: &Learner<B>, log: &Log) -> Entry {
        let step = learner.state.step;
        let epoch = self.plan.epoch(step - 1);
        let (mut pixels, mut loss_sum, mut steps) = (Confusion::default(), 0.0, 0);
        for entry in log.steps_of(epoch) {
            pixels.add(entry.pixels);
            loss_sum += entry.loss;
            steps += 1;
        }
        let loss = loss_sum / f64::from(steps.max(1));
        Entry::Epoch(EpochEntry { step, epoch, loss, iou: pixels.iou(), time: now_s() })
    }

    fn validation_is_due(&self, learner: &Learner<B>) -> bool {
        let state = &learner.state;
        self.plan.validates_after(state.step) && state.validated_step < state.step
    }

    /// Whether whoever watches gives the training up at the validation that was just made, or that a resumed one begins at.
    fn gives_up(&self, learner: &Learner<B>, log: &Log) -> bool {
        let last = log.last_validation().filter(|last| last.step == learner.state.step);
        let total = self.plan.total_steps;
        self.watch.give_up.zip(last).is_some_and(|(give_up, last)| give_up(last, total))
    }

    fn save(&self, learner: &mut Learner<B>) -> Result<()> {
        learner.state.seconds = self.seconds();
        learner.save(&self.folder.last(), self.spec)
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn save_and_stop(&self, mut learner: Learner<B>, bar: &Bar) -> Result<Report> {
        bar.finish();
        self.save(&mut learner)?;
        Err(Error::Interrupted {
            kept: format!(
                "{} holds step {} of {}; resume with --resume",
                self.folder.last().display(),
                learner.state.step,
                self.plan.total_steps
            ),
        })
    }
}
