//! `geoseg train`.

use std::path::{Path, PathBuf};

use super::args::{ConfigArgs, DeviceArgs};
use super::{Context, stdout};
use crate::config::{Precision, train::TrainConfig};
use crate::error::{Error, Result};
use crate::output::{self, Begin};
use crate::train::{self, Ended, Watch, sources::Sources};
use crate::with_autodiff_backend;

const EXAMPLES: &str = "\
Examples:
  geoseg train --config train.toml --tiles tiles -o runs/a
  geoseg train --config train.toml --set optimizer.learning_rate=5e-4 --set run.steps=2000 -o runs/b
  geoseg train --config train.toml --init start.safetensors -o runs/c
  geoseg train --config train.toml -o runs/a --resume
  geoseg train --config train.toml --preview crops.png

config/train.toml lists every key with its default. Ctrl-C saves a checkpoint and ends; --resume goes
on from it as if nothing had happened.";

/// Learn a model from a tile set
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the run: checkpoints, model.safetensors, metrics.jsonl, curves
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "preview")]
    output: Option<PathBuf>,
    /// Only draw the first augmented crops into this PNG, and do not train
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    preview: Option<PathBuf>,
    /// Go on from the run's last checkpoint
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a run that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The configuration of a training.
#[derive(Debug, clap::Args)]
pub(super) struct TrainingArgs {
    /// Folder of the tile set; the same as --set data.tiles=FOLDER
    #[arg(long, value_name = "FOLDER")]
    tiles: Option<PathBuf>,
    /// A model to start from; the same as --set model.init=FILE
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Seed of weights, batches and augmentation; the same as --set run.seed=N
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number format of the steps; the same as --set run.precision=FORMAT
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl TrainingArgs {
    /// The typed configuration, its values checked.
    pub(super) fn load(&self) -> Result<TrainConfig> {
        let path = |key: &str, path: &Path| {
            format!("{key}={}", toml::Value::String(path.to_string_lossy().into_owned()))
        };
        let tiles = self.tiles.as_ref().map(|folder| path("data.tiles", folder));
        let seed = self.seed.map(|seed| format!("run.seed={seed}"));
        let init = self.init.as_ref().map(|file| path("model.init", file));
        let format = self.precision.map(|format| format!("run.precision={}", format.name()));
        let flags = tiles.into_iter().chain(init).chain(seed).chain(format).collect::<Vec<_>>();
        let config = self.config.load::<TrainConfig>(&flags)?;
        config.validate()?;
        Ok(config)
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.training.load()?;
    if let Some(preview) = &args.preview {
        output::check_writable(preview, args.overwrite)?;
        train::preview::write(&config, &Sources::open(&config)?, preview)?;
        return stdout::print(&format!("crops    {}", preview.display()));
    }
    let Some(folder) = &args.output else {
        return Err(Error::config("--output", "is needed: the folder of the run"));
    };
    let device = args.device.resolve()?;
    let sources = Sources::open(&config)?;
    let report = with_autodiff_backend!(&device, |B, handle| {
        train::run::<B>(
            &config,
            &handle,
            &sources,
            folder,
            Begin::of(args.resume, args.overwrite),
            &Watch::new(&context.interrupt, context.progress),
        )
    })?;
    let mut text = format!(
        "model    {}\nsteps    {}{} in {:.0} s, {} parameters\ntiles    {} train, {} val",
        report.model.display(),
        report.steps,
        if report.ended == Ended::NoBetter {
            " (no better IoU for long: stopped early)"
        } else {
            ""
        },
        report.seconds,
        report.parameters,
        report.train_tiles,
        report.val_tiles,
    );
    if let Some(best) = &report.best {
        text.push_str(&format!(
            "\nbest     pixel IoU {:.4} on val after step {}",
            best.iou, best.step
        ));
    }
    stdout::print(&text)
}
