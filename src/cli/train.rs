//! `geoseg train`.

use std::path::PathBuf;

use super::Context;
use super::args::{ConfigArgs, DeviceArgs};
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg train --config train.toml --tiles tiles -o runs/a
  geoseg train --config train.toml --set optimizer.learning_rate=5e-4 --set run.steps=2000 -o runs/b
  geoseg train --config train.toml -o runs/a --resume

config/train.toml lists every key with its default. Ctrl-C saves a checkpoint and ends; --resume goes
on from it as if nothing had happened.";

/// Learn a model from a tile set
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the run: checkpoints, metrics.jsonl, curves, best.safetensors
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Folder of the tile set; the same as --set data.tiles=FOLDER
    #[arg(long, value_name = "FOLDER")]
    tiles: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Seed of weights, batches and augmentation; the same as --set run.seed=N
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Go on from the run's last checkpoint
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a run that is there already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(args: &Args, _context: &Context) -> Result<()> {
    let _ = (&args.output, &args.tiles, &args.config, args.seed, args.resume, args.overwrite);
    args.device.resolve().map(|_| ())
}
