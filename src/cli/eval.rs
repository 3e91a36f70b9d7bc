//! `geoseg eval`.

use std::path::PathBuf;

use super::judged::Judged;
use super::{Context, stdout};
use crate::error::Result;
use crate::evaluate::{self, EvalOptions};

const EXAMPLES: &str = "\
Examples:
  geoseg eval --predicted buildings.geojson --truth truth.gpkg
  geoseg eval --predicted buildings.geojson --truth truth.gpkg --image scene.tif --overlay overlay.png
  geoseg eval --scores scores.tif --threshold 0.4 --truth truth.gpkg --aoi aoi.geojson
  geoseg eval --dataset dataset.toml --split val --predictions runs/a/val --json metrics.json

Keys of the dataset ([truth], [tiles]) say how truth is rasterized and how scenes are read; --set
overrides them, also where one scene is judged: --set truth.all_touched=false.";

/// Compare predicted buildings with true ones: pixel IoU, building F1, an overlay picture
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Predicted buildings of one scene
    #[arg(short, long, value_name = "FILE", requires = "truth")]
    predicted: Option<PathBuf>,
    /// Predicted labels of one scene, a raster
    #[arg(long, value_name = "FILE", requires = "truth")]
    mask: Option<PathBuf>,
    /// Scores from this probability on are building
    #[arg(long, value_name = "P", default_value_t = EvalOptions::default().threshold)]
    threshold: f64,
    /// A building is found at an IoU above this
    #[arg(long, value_name = "IOU", default_value_t = EvalOptions::default().iou_limit)]
    iou: f64,
    /// Pixels of the grid for pixel metrics where no raster is given, metres
    #[arg(long, value_name = "METRES", default_value_t = EvalOptions::default().grid_gsd_m)]
    grid_gsd_m: f64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the scene with true and predicted outlines (PNG; with several scenes one each)
    #[arg(long, value_name = "FILE")]
    overlay: Option<PathBuf>,
    /// Longest side of the overlay, pixels
    #[arg(long, value_name = "PX", default_value_t = EvalOptions::default().overlay_px)]
    overlay_px: usize,
    /// One key of the dataset; repeatable
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Replace outputs that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    judged: Judged,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let dataset = args.judged.dataset(&args.set)?;
    let scenes = args.judged.scenes(&dataset, args.predicted.as_deref(), args.mask.as_deref())?;
    let options = EvalOptions {
        scenes,
        threshold: args.threshold,
        iou_limit: args.iou,
        grid_gsd_m: args.grid_gsd_m,
        all_touched: dataset.truth.all_touched,
        json: args.json.clone(),
        overlay: args.overlay.clone(),
        overlay_px: args.overlay_px,
        overwrite: args.overwrite,
    };
    let report = evaluate::run(&options, context.progress)?;
    stdout::print(&report.table())
}
