//! `geoseg lr-find`.

use std::path::PathBuf;

use super::args::DeviceArgs;
use super::train::TrainingArgs;
use super::{Context, stdout};
use crate::error::{Error, Result};
use crate::output::check_writable;
use crate::train::lr_find::{self, End, Options};
use crate::train::sources::Sources;
use crate::with_autodiff_backend;

const EXAMPLES: &str = "\
Examples:
  geoseg lr-find --config train.toml --tiles tiles -o lr.png
  geoseg lr-find --config train.toml --from 1e-5 --to 0.1 --steps 200 -o lr.png --overwrite

Trains for some steps at a rate that rises from step to step, keeps nothing of it, and draws the loss over
the rate. The numbers go into the same file with the extension .json. The rate to train with lies where
the loss falls fastest: set optimizer.learning_rate to it.";

/// Find a learning rate: a short training at a rising rate
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The picture to write (PNG)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The first step's rate
    #[arg(long, value_name = "RATE", default_value_t = Options::default().from)]
    from: f64,
    /// The last step's rate
    #[arg(long, value_name = "RATE", default_value_t = Options::default().to)]
    to: f64,
    /// Steps in all
    #[arg(long, value_name = "N", default_value_t = Options::default().steps)]
    steps: usize,
    /// Share of the loss's running mean that stays at each step
    #[arg(long, value_name = "SHARE", default_value_t = Options::default().smoothing)]
    smoothing: f64,
    /// End when the smoothed loss is more than this many times its minimum
    #[arg(long, value_name = "FACTOR", default_value_t = Options::default().divergence)]
    divergence: f64,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.training.load()?;
    let options = Options {
        from: args.from,
        to: args.to,
        steps: args.steps,
        smoothing: args.smoothing,
        divergence: args.divergence,
    };
    if args.output.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        return Err(Error::config("--output", "must end in .png: the numbers go beside it"));
    }
    let json = args.output.with_extension("json");
    for path in [&args.output, &json] {
        check_writable(path, args.overwrite)?;
    }
    let device = args.device.resolve()?;
    let sources = Sources::open(&config)?;
    let report = with_autodiff_backend!(&device, |B, handle| {
        lr_find::run::<B>(&config, &handle, &sources, &options, context.progress)
    })?;
    report.write_json(&json, args.overwrite)?;
    report.draw(&args.output)?;
    let end = match report.end {
        End::AllSteps => "",
        End::Diverged => ", then the loss was too far above its minimum",
        End::NonFinite => ", then the loss was no number any more",
    };
    let found = report.suggestion.map_or_else(
        || "none: the loss never fell; try other rates or more steps".to_owned(),
        |found| {
            format!(
                "{:.1e} (steepest descent), {:.1e} (a tenth of the minimum's rate)",
                found.steepest, found.minimum_tenth
            )
        },
    );
    stdout::print(&format!(
        "rate     {found}\nsteps    {} of {}{end}\nchart    {}\nnumbers  {}",
        report.points.len(),
        args.steps,
        args.output.display(),
        json.display()
    ))
}
