//! `geoseg tiles`.

use std::path::PathBuf;

use super::args::ConfigArgs;
use super::judged::read_dataset;
use super::{Context, stdout};
use crate::error::Result;
use crate::tiles;

const EXAMPLES: &str = "\
Examples:
  geoseg tiles --config dataset.toml -o tiles
  geoseg tiles --config dataset.toml --set tiles.gsd_m=[0.15,0.3] --set split.mode=blocks -o tiles

config/dataset.toml lists every key with its default. A run that was stopped goes on where it was
when it is started again with the same configuration.";

/// Cut scenes and footprints into a tile set
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the tile set
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Seed of every random choice; the same as --set split.seed=N
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Replace a tile set that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let seed = args.seed.map(|seed| format!("split.seed={seed}"));
    let layers = args.config.layers(seed.as_slice())?;
    let config = read_dataset(&layers)?;
    let report = tiles::run(&config, &args.output, args.overwrite, context.progress)?;
    for warning in report.warnings() {
        tracing::warn!("{warning}");
    }
    stdout::print(&report.to_string())
}
