//! `geoseg polygonize`.

use std::path::PathBuf;

use super::args::ConfigArgs;
use super::{Context, stdout};
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::{config, output, polygonize};

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
    /// Value of the attribute `scene`; the scores' file name where absent
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
    /// Replace an output that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.config.load::<InferConfig>(&[])?;
    config.validate()?;
    output::check_writable(&args.output, args.overwrite)?;
    let stem = || args.scores.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let report = polygonize::run(
        &args.scores,
        &config.polygonize,
        &args.output,
        args.overwrite,
        &args.scene.clone().unwrap_or_else(stem),
        context.progress,
    )?;
    config::write_effective(&config, &args.output)?;
    stdout::print(&format!(
        "{}: {} buildings, {:.0} m2 ({} smaller ones left out, {} small holes filled)",
        args.output.display(),
        report.buildings,
        report.area_m2_total,
        report.dropped_small,
        report.holes_filled,
    ))
}
