//! `geoseg conflate`.

use std::path::PathBuf;

use super::args::{ConfigArgs, Delivery};
use super::stdout;
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::geo::vector::VectorSource;
use crate::{config, conflate, output};

const EXAMPLES: &str = "\
Examples:
  geoseg conflate buildings.gpkg osm.geojson -o changes.gpkg
  geoseg conflate buildings.gpkg cadastre.gpkg --reference-layer houses --json changes.json -o changes.gpkg
  geoseg conflate buildings.parquet overture.parquet --set conflate.iou=0.3 -o changes.geojson

config/infer.toml lists every key of [conflate] with its default.";

/// Compare buildings with known footprints: matched, changed, new, missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Predicted buildings
    #[arg(value_name = "PREDICTED")]
    predicted: PathBuf,
    /// Known buildings: GeoParquet, or any vector file that GDAL opens, in any CRS
    #[arg(value_name = "REFERENCE")]
    reference: PathBuf,
    /// Layer of the known buildings, the first where absent
    #[arg(long, value_name = "NAME")]
    reference_layer: Option<String>,
    /// Every building with its status: .geojson, .geojsonl, .gpkg, .fgb, .parquet, .shp, .mbtiles or .pmtiles
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the counts as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    delivery: Delivery,
    /// Replace outputs that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let config: InferConfig = args.config.load(&args.delivery.sets())?;
    config.validate()?;
    let inputs = [args.predicted.as_path(), args.reference.as_path()];
    output::check_distinct(&[Some(&args.output), args.json.as_deref()], inputs)?;
    if let Some(json) = &args.json {
        output::check_file(json, args.overwrite)?;
    }
    let reference = VectorSource {
        layer: args.reference_layer.clone(),
        ..VectorSource::file(args.reference.clone())
    };
    let report = conflate::run(
        &VectorSource::file(args.predicted.clone()),
        &reference,
        &config.conflate,
        &args.output,
        config.output.crs,
        args.overwrite,
    )?;
    config::write_effective(&config, &args.output)?;
    if let Some(json) = &args.json {
        output::write_json(json, &report, args.overwrite)?;
    }
    stdout::print(&report.table())
}
