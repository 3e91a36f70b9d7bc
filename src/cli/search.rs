//! `geoseg search`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::train::TrainingArgs;
use super::{Context, stdout};
use crate::config::{self, search::SearchConfig};
use crate::device::{self, DeviceChoice};
use crate::error::Result;
use crate::output::Begin;
use crate::search::{self, Options};

const EXAMPLES: &str = "\
Examples:
  geoseg search --config train.toml --search search.toml --tiles tiles -o runs/search
  geoseg search --config train.toml --set run.steps=500 --trials 40 --parallel 2 -o runs/search
  geoseg search --config train.toml --devices cuda:0,cuda:1 -o runs/search
  geoseg search --config train.toml --search search.toml -o runs/search --resume
  geoseg train --config runs/search/best.toml --set run.steps=5000 -o runs/a

config/search.toml lists every key with its default: how many trials, which keys of train.toml, when a trial
is given up. Ctrl-C saves and ends; --resume goes on, with more trials if --trials says so.";

/// Search for good settings of a training: many short ones, the bad ones given up early
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the search: trials, best.toml, search.png
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// TOML file that says what to search; repeatable, later files override earlier ones key by key
    #[arg(long, value_name = "FILE")]
    search: Vec<PathBuf>,
    /// Trainings in all, instead of the file's
    #[arg(long, value_name = "N")]
    trials: Option<usize>,
    /// Devices to run a trial each at a time (auto, cpu, cuda:N, vulkan:N)
    #[arg(long, value_name = "DEVICE,..", value_delimiter = ',', default_value = "auto")]
    devices: Vec<DeviceChoice>,
    /// Trials at once on every device; on the CPU they share the cores
    #[arg(long, value_name = "N", default_value = "1")]
    parallel: NonZeroUsize,
    /// Go on with the search in the folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a search that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    training: TrainingArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let training = args.training.load()?;
    let trials: Vec<String> =
        args.trials.map(|n| format!("search.trials={n}")).into_iter().collect();
    let config = config::load::<SearchConfig>(&args.search, &trials)?;
    config.validate()?;
    let mut devices = Vec::new();
    for &choice in &args.devices {
        let device = device::resolve(choice)?;
        tracing::info!("device: {device}");
        devices.extend(std::iter::repeat_n(device, args.parallel.get()));
    }
    let out = args.output.clone();
    let options =
        Options { config, training, out, devices, begin: Begin::of(args.resume, args.overwrite) };
    let report = search::run(&options, &context.interrupt, context.progress)?;
    let mut text = report.table();
    if let Some((number, iou)) = report.best() {
        text += &format!(
            "best     trial {number:03}, pixel IoU {iou:.4} on val\nconfig   {}\nchart    {}",
            args.output.join("best.toml").display(),
            args.output.join("search.png").display()
        );
    }
    stdout::print(&text)
}
