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
//! ```

pub mod augment;
pub mod batches;
pub mod checkpoint;
pub mod colour;
pub mod folder;
pub mod log;
pub mod losses;
pub mod metrics;
pub mod optimizer;
pub mod plan;
pub mod prefetch;
pub mod recalibrate;
pub mod sampler;
pub mod schedule;
pub mod tensorboard;
pub mod validate;
pub mod warp;

use std::path::{Path, PathBuf};
use std::thread::{Scope, available_parallelism};
use std::time::Instant;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use self::batches::{Batch, Batches};
use self::checkpoint::{Best, Learner};
use self::folder::Folder;
use self::log::{Entry, EpochEntry, Log, StepEntry, ValidationEntry, now_s};
use self::losses::{Losses, Truth, losses};
use self::metrics::Confusion;
use self::optimizer::{clip_factor, gradient_norm, move_average};
use self::plan::Plan;
use self::prefetch::Prefetch;
use self::schedule::Schedule;
use self::validate::{Measured, measure, validate};
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::kernels::Kernels;
use crate::model::noise::splitmix64;
use crate::model::weights::{self, Provenance};
use crate::model::{ModelSpec, Network};
use crate::progress::{Bar, Progress};
use crate::tiles::TileSet;

pub use self::folder::remove_run;

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
    /// Whether `run.patience` ended it before the last step.
    pub stopped_early: bool,
    /// Seconds spent training and validating, over all resumptions.
    pub seconds: f64,
}

/// Trains on `set` and writes model, metrics and checkpoints into the folder `out`, which is made if it is
/// missing. With `resume` it goes on from the folder's last checkpoint, exactly as if it had not stopped.
///
/// # Errors
/// A configuration that does not fit the tiles; an `out` that holds a run already (without `resume`) or
/// none (with it); an unreadable tile; [`Error::NonFiniteLoss`]; [`Error::Interrupted`] after saving.
pub fn run<B>(
    config: &TrainConfig,
    device: &B::Device,
    set: &TileSet,
    out: &Path,
    resume: bool,
    interrupt: &Interrupt,
    progress: Progress,
) -> Result<Report>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    config.validate()?;
    let batches = Batches::new(set, config, plan::normalisation(&set.info))?;
    let spec = plan::model_spec(config, &set.info, &batches)?;
    if batches.val_tiles().is_empty() {
        tracing::warn!("the tile set has no validation tiles: the last model is kept, unmeasured");
    }
    let folder = Folder::open(out, resume)?;
    let learner = if resume {
        Learner::<B>::load(&folder.last(), config, &spec, device)?
    } else {
        Learner::new(config, &spec, device)?
    };
    crate::config::write_effective(config, &folder.config())?;
    let log = Log::open(out, learner.state.step)?;
    let plan = Plan::new(config, batches.batches_per_epoch());
    let schedule =
        Schedule::new(&config.schedule, config.optimizer.learning_rate, plan.total_steps);
    let training = Training {
        config,
        device,
        set,
        batches: &batches,
        spec: &spec,
        folder: &folder,
        plan,
        schedule,
        interrupt,
        workers: workers(config.data.workers),
        progress,
        seconds_before: learner.state.seconds,
        started: Instant::now(),
    };
    std::thread::scope(|scope| training.run(scope, learner, log))
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
    set: &'env TileSet,
    batches: &'env Batches<'env>,
    spec: &'env ModelSpec,
    folder: &'env Folder,
    plan: Plan,
    schedule: Schedule,
    interrupt: &'env Interrupt,
    workers: usize,
    progress: Progress,
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
        mut log: Log,
    ) -> Result<Report> {
        let total = self.plan.total_steps;
        let accumulate = self.config.optimizer.accumulate as u64;
        let batches = self.batches;
        let first = learner.state.step as u64 * accumulate;
        let mut training_batches =
            Prefetch::start(scope, self.workers, first..total as u64 * accumulate, move |k| {
                batches.training(k)
            });
        let bar = self.progress.bar("train", total as u64, "steps");
        bar.inc(learner.state.step as u64);
        let mut shown = Shown::default();
        let stopped_early = loop {
            if self.validation_is_due(&learner) {
                let finished = self.validate(scope, &mut learner, &mut log, &bar)?;
                if !finished {
                    return self.save_and_stop(learner, &bar);
                }
            }
            let stale = self.config.run.patience > 0
                && learner.state.stale_validations >= self.config.run.patience;
            if learner.state.step >= total || stale {
                break stale;
            }
            if self.interrupt.requested() {
                return self.save_and_stop(learner, &bar);
            }
            let started = Instant::now();
            let (next, entry) = self.step(learner, &mut training_batches)?;
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
                log.push(self.epoch_entry(&learner, &log))?;
            }
        };
        bar.finish();
        self.finish(scope, learner, &log, stopped_early)
    }

    /// One optimizer step over `accumulate` batches.
    fn step(
        &self,
        mut learner: Learner<B>,
        batches: &mut Prefetch<Batch>,
    ) -> Result<(Learner<B>, StepEntry)> {
        let section = &self.config.optimizer;
        let (step, accumulate) = (learner.state.step, section.accumulate);
        let rate = self.schedule.rate(step);
        let mut accumulator = GradientsAccumulator::new();
        let mut measured = Vec::new();
        let mut gradients = GradientsParams::new();
        for pass in 0..accumulate {
            let batch = batches.next().ok_or_else(|| {
                Error::config("data.workers", "a thread that makes batches has stopped")
            })??;
            let (image, truth) = batch.to_device::<B>(self.device); // [n, bands, h, w]
            let seed = splitmix64(self.config.run.seed, (step * accumulate + pass) as u64);
            let logits = learner.network.forward_train(image, seed); // [n, classes, h, w]
            let losses = losses(&self.config.loss, logits.clone(), &truth);
            let gradient = losses.total.clone().div_scalar(accumulate as f64).backward();
            gradients = GradientsParams::from_grads(gradient, &learner.network);
            if accumulate > 1 {
                accumulator.accumulate(&learner.network, gradients);
                gradients = GradientsParams::new();
                if pass + 1 == accumulate {
                    gradients = accumulator.grads();
                }
            }
            let norm = gradient_norm::<B, _>(&learner.network, &gradients, self.device);
            let numbers = measure(
                inner_losses(losses),
                logits.inner(),
                &inner_truth(truth),
                self.config.run.threshold,
                norm,
            );
            // The gradients may overflow before the loss does.
            for number in [numbers.loss, numbers.extra] {
                if !number.is_finite() {
                    return Err(Error::NonFiniteLoss { step, loss: number, tiles: batch.tiles });
                }
            }
            measured.push(numbers);
        }
        let norm = measured.last().map_or(0.0, |last| last.extra);
        let clip = clip_factor(norm, section.clip_norm);
        learner.network = learner.optimizer.step(learner.network, gradients, rate, clip);
        if let Some(average) = learner.average.take() {
            let live = burn::module::AutodiffModule::valid(&learner.network);
            learner.average = Some(move_average(average, &live, section.ema_decay, step));
        }
        learner.state.step += 1;
        Ok((learner, self.step_entry(step, rate, norm, &measured)))
    }

    fn step_entry(&self, step: usize, rate: f64, norm: f64, measured: &[Measured]) -> StepEntry {
        let mean = |value: fn(&Measured) -> Option<f64>| {
            let values: Option<Vec<f64>> = measured.iter().map(value).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let mut pixels = Confusion::default();
        for numbers in measured {
            pixels.add(numbers.pixels);
        }
        StepEntry {
            step: step + 1,
            epoch: self.plan.epoch(step),
            loss: mean(|numbers| Some(numbers.loss)).unwrap_or_default(),
            focal: mean(|numbers| numbers.focal),
            dice: mean(|numbers| numbers.dice),
            bce: mean(|numbers| numbers.bce),
            iou: pixels.iou(),
            pixels,
            learning_rate: rate,
            gradient_norm: norm,
            tiles_per_s: 0.0,
            time: now_s(),
        }
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

    /// Measures the network on the validation tiles, keeps it if it is the best, and saves a checkpoint.
    /// False when it was interrupted.
    fn validate<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        learner: &mut Learner<B>,
        log: &mut Log,
        bar: &Bar,
    ) -> Result<bool> {
        let started = Instant::now();
        let batches = self.batches;
        if !batches.val_tiles().is_empty() {
            let network = self.settled(scope, learner)?;
            let count = batches.validation_batches() as u64;
            let val_batches =
                Prefetch::start(scope, self.workers, 0..count, move |k| batches.validation(k));
            let (section, threshold) = (&self.config.loss, self.config.run.threshold);
            let stop = || self.interrupt.requested();
            let result = validate(&network, val_batches, section, threshold, self.device, stop)?;
            let Some((loss, pixels)) = result else { return Ok(false) };
            let step = learner.state.step;
            let best = learner.state.best.is_none_or(|best| pixels.iou() > best.iou);
            let entry = ValidationEntry {
                step,
                epoch: self.plan.epoch(step - 1),
                loss,
                iou: pixels.iou(),
                precision: pixels.precision(),
                recall: pixels.recall(),
                f1: pixels.f1(),
                best,
                seconds: started.elapsed().as_secs_f64(),
                time: now_s(),
            };
            if best {
                learner.state.best = Some(Best { step, iou: pixels.iou() });
                learner.state.stale_validations = 0;
                let provenance = self.provenance(step, Some(&entry));
                weights::save(&self.folder.best_model()?, self.spec, &network, &provenance)?;
            } else {
                learner.state.stale_validations += 1;
            }
            bar.println(&format!(
                "step {step}: validation IoU {:.3}, precision {:.3}, recall {:.3}, loss {:.4}{}",
                entry.iou,
                entry.precision,
                entry.recall,
                entry.loss,
                if best { ", the best so far" } else { "" }
            ));
            log.push(Entry::Validation(entry))?;
        }
        learner.state.validated_step = learner.state.step;
        self.save(learner)?;
        self.folder.keep(learner.state.step, self.config.run.keep)?;
        log.draw("training")?;
        Ok(true)
    }

    /// The network to measure and to keep: the average of the weights if there is one, with statistics
    /// measured afresh. The learning network stays as it is.
    fn settled<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        learner: &Learner<B>,
    ) -> Result<Network<B::InnerBackend>> {
        let live = || burn::module::AutodiffModule::valid(&learner.network);
        let network = learner.average.clone().unwrap_or_else(live);
        let (batches, count) = (self.batches, self.config.run.recalibrate_batches as u64);
        let plain =
            Prefetch::start(scope, self.workers, 0..count, move |k| batches.recalibration(k));
        recalibrate::recalibrate(&network, plain, self.device)?;
        Ok(network)
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

    /// Writes the model that is kept.
    fn finish<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        mut learner: Learner<B>,
        log: &Log,
        stopped_early: bool,
    ) -> Result<Report> {
        let model = self.folder.model();
        if learner.state.best.is_some() {
            let bytes = std::fs::read(self.folder.best_model()?).map_err(Error::io(&model))?;
            crate::output::write_whole(&model, &bytes, true)?;
        } else {
            let network = self.settled(scope, &learner)?;
            let provenance = self.provenance(learner.state.step, None);
            weights::save(&model, self.spec, &network, &provenance)?;
        }
        self.save(&mut learner)?;
        log.draw("training")?;
        Ok(Report {
            model,
            steps: learner.state.step,
            parameters: learner.network.parameters(),
            train_tiles: self.batches.train_tiles().len(),
            val_tiles: self.batches.val_tiles().len(),
            best: learner.state.best,
            stopped_early,
            seconds: self.seconds(),
        })
    }

    /// How the model came about: metadata beside its spec.
    fn provenance(&self, step: usize, validation: Option<&ValidationEntry>) -> Provenance {
        let json = |value: Result<serde_json::Value, serde_json::Error>| {
            value.map_or_else(|_| String::new(), |value| value.to_string())
        };
        let scenes: std::collections::BTreeSet<&str> =
            self.batches.train_tiles().iter().map(|tile| tile.scene.as_str()).collect();
        let data = serde_json::json!({
            "fingerprint": self.set.info.fingerprint,
            "scenes": scenes,
            "train_tiles": self.batches.train_tiles().len(),
            "val_tiles": self.batches.val_tiles().len(),
            "tile_px": self.set.info.tile_px,
        });
        let mut provenance = Provenance::from([
            ("geoseg.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("geoseg.config".to_owned(), json(serde_json::to_value(self.config))),
            ("geoseg.data".to_owned(), data.to_string()),
            ("geoseg.step".to_owned(), format!("{step} of {}", self.plan.total_steps)),
        ]);
        if let Some(entry) = validation {
            let metrics = serde_json::json!({
                "iou": entry.iou,
                "precision": entry.precision,
                "recall": entry.recall,
                "f1": entry.f1,
                "loss": entry.loss,
                "threshold": self.config.run.threshold,
            });
            provenance.insert("geoseg.validation".to_owned(), metrics.to_string());
        }
        provenance
    }
}

fn inner_losses<B: AutodiffBackend>(losses: Losses<B>) -> Losses<B::InnerBackend> {
    Losses {
        total: losses.total.inner(),
        focal: losses.focal.map(Tensor::inner),
        dice: losses.dice.map(Tensor::inner),
        bce: losses.bce.map(Tensor::inner),
    }
}

fn inner_truth<B: AutodiffBackend>(truth: Truth<B>) -> Truth<B::InnerBackend> {
    Truth { labels: truth.labels.inner(), valid: truth.valid.inner() }
}

/// The bar's message: numbers of single steps jump too much to be read.
#[derive(Default)]
struct Shown {
    loss: Option<f64>,
    pixels: Vec<Confusion>,
    tiles_per_s: Option<f64>,
}

/// Steps behind the IoU on the bar.
const SHOWN_STEPS: usize = 20;

impl Shown {
    fn update(&mut self, entry: &StepEntry) {
        let smooth =
            |old: Option<f64>, new: f64| Some(old.map_or(new, |old| 0.9 * old + 0.1 * new));
        self.loss = smooth(self.loss, entry.loss);
        self.tiles_per_s = smooth(self.tiles_per_s, entry.tiles_per_s);
        self.pixels.push(entry.pixels);
        if self.pixels.len() > SHOWN_STEPS {
            self.pixels.remove(0);
        }
    }

    fn text(&self) -> String {
        let mut pixels = Confusion::default();
        for &counts in &self.pixels {
            pixels.add(counts);
        }
        format!(
            "loss {:.3} IoU {:.3} {:.1} tiles/s",
            self.loss.unwrap_or_default(),
            pixels.iou(),
            self.tiles_per_s.unwrap_or_default()
        )
    }
}
