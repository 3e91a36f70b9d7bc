//! `geoseg polygonize`.

use std::path::PathBuf;

use super::args::{ConfigArgs, Delivery};
use super::validate::check_output;
use super::{Context, stdout};
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::{config, output, polygonize};

const EXAMPLES: &str = "\
Examples:
  geoseg polygonize scores.tif -o buildings.gpkg
  geoseg polygonize scores.tif --set polygonize.threshold=0.4 -o buildings.geojson
  geoseg polygonize scores.tif --crs EPSG:3857 -o buildings.parquet

config/infer.toml lists every key of [polygonize] with its default.";

/// Turn a scores raster into buildings
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scores raster, as `geoseg infer --scores` writes it
    #[arg(value_name = "SCORES")]
    scores: PathBuf,
    /// Buildings: .geojson, .geojsonl, .gpkg, .fgb, .parquet, .shp, .mbtiles or .pmtiles
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Value of the attribute `scene`; the scores' file name where absent
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
    #[command(flatten)]
    delivery: Delivery,
    /// Replace an output that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.config.load::<InferConfig>(&args.delivery.sets())?;
    config.validate()?;
    output::check_file(&args.output, args.overwrite)?;
    config::check_effective(&args.output, args.overwrite)?;
    let stem = || args.scores.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let report = polygonize::run(
        &args.scores,
        &config.polygonize,
        &args.output,
        config.output.crs,
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
    ))?;
    check_output(&args.output, &config.validate, context)
}
