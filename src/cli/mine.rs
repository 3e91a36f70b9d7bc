//! `geoseg mine`.

use std::path::{Path, PathBuf};

use super::args::DeviceArgs;
use super::{Context, stdout};
use crate::error::{Error, Result};
use crate::mine::{self, Options};
use crate::tiles::{Labels, TileSet};

const EXAMPLES: &str = "\
Examples:
  geoseg mine --tiles tiles --model runs/a/model.safetensors -o mined
  geoseg mine --tiles soft-tiles --model runs/a/model.safetensors -o empty --empty-below 0.2
  geoseg train --config train.toml --set data.mined_tiles='\"mined\"' -o runs/b

Of a tile set with labels by hand: training tiles on which the model sees buildings that are none. Of one
with soft labels: tiles that are surely empty. The result is a tile set for data.mined_tiles.";

/// Find tiles that teach: where a model is wrong, or nothing is to be seen
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the tile set to look through
    #[arg(long, value_name = "FOLDER")]
    tiles: PathBuf,
    /// Model file; one with a head for the image's class (efficient-fpn) knows empty tiles best
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Folder of the new tile set
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Probability from which a pixel counts as building
    #[arg(long, value_name = "P", default_value_t = Options::default().threshold)]
    threshold: f64,
    /// Least share of a tile's labelled pixels that is wrongly taken for buildings
    #[arg(long, value_name = "SHARE", default_value_t = Options::default().false_share)]
    false_share: f64,
    /// A tile with soft labels is empty if its class and its likeliest pixel stay below this probability
    #[arg(long, value_name = "P", default_value_t = Options::default().empty_below)]
    empty_below: f64,
    /// Take at most so many tiles, the worst
    #[arg(long, value_name = "N")]
    most: Option<usize>,
    /// Replace a tile set that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let options = Options {
        threshold: args.threshold,
        false_share: args.false_share,
        empty_below: args.empty_below,
        most: args.most,
    };
    let device = args.device.resolve()?;
    let set = TileSet::open(&args.tiles)?;
    let place = |folder: &Path| std::fs::canonicalize(folder).ok();
    if place(&args.tiles) == place(&args.output) {
        let problem = "is the set that tiles are taken from; choose another folder";
        return Err(Error::config("--output", problem));
    }
    let out = (args.output.as_path(), args.overwrite);
    let report = mine::run(&set, &args.model, &device, &options, out, context.progress)?;
    if set.info.labels == Labels::Soft && !report.has_class {
        tracing::warn!(
            "the network has no head for the image's class: tiles are judged by their pixels alone"
        );
    }
    stdout::print(&format!(
        "{} of {} tiles into {}",
        report.kept,
        report.seen,
        args.output.display()
    ))
}
