//! `geoseg merge`.

use std::path::PathBuf;

use super::args::{ConfigArgs, Delivery};
use super::validate::check_output;
use super::{Context, stdout};
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::{config, merge};

const EXAMPLES: &str = "\
Examples:
  geoseg merge west.gpkg east.gpkg -o all.gpkg
  geoseg merge a.parquet b.fgb c.gpkg --crs EPSG:3857 -o all.parquet
  geoseg merge west.gpkg east.gpkg --set merge.iou=0.3 --set merge.contained=0 -o all.gpkg

The CRS is that of the files where they agree, and WGS 84 where they differ. config/infer.toml lists every
key of [merge] with its default.";

/// Make one file of the buildings of several scenes, each building once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Buildings, as `geoseg infer` writes them: GeoParquet, or any vector file that GDAL opens
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Buildings: .geojson, .geojsonl, .gpkg, .fgb, .parquet, .shp, .mbtiles or .pmtiles
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    delivery: Delivery,
    /// Replace an output that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config: InferConfig = args.config.load(&args.delivery.sets())?;
    config.validate()?;
    let report = merge::run(
        &args.files,
        &config.merge,
        &args.output,
        config.output.crs,
        args.overwrite,
        context.progress,
    )?;
    config::write_effective(&config, &args.output)?;
    stdout::print(&format!(
        "{}: {} buildings of {} in {} files ({} duplicates, {} parts of larger ones, {} unusable left out)",
        args.output.display(),
        report.buildings,
        report.features,
        report.files.len(),
        report.duplicates,
        report.parts,
        report.unusable,
    ))?;
    check_output(&args.output, &config.validate, context)
}
