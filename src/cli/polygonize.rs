//! `geoseg polygonize`.

use std::path::PathBuf;

use super::Context;
use super::args::ConfigArgs;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg polygonize scores.tif -o buildings.gpkg
  geoseg polygonize scores.tif --set polygonize.threshold=0.4 -o buildings.geojson

config/infer.toml lists every key of [polygonize] with its default.";

/// Turn a scores raster into buildings
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scores raster, as `geoseg infer --scores` writes it
    #[arg(value_name = "SCORES")]
    scores: PathBuf,
    /// Buildings: .geojson, .geojsonl, .gpkg, .fgb or .shp
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Replace an output that is there already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(args: &Args, _context: &Context) -> Result<()> {
    let _ = (&args.scores, &args.output, &args.config, args.overwrite);
    Ok(())
}
