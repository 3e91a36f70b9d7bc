//! `geoseg tune`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::args::ConfigArgs;
use super::judged::Judged;
use super::{Context, stdout};
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::evaluate::tune::{self, Objective, TuneOptions};

const EXAMPLES: &str = "\
Examples:
  geoseg tune --scores scores.tif --truth truth.gpkg -o infer.toml --chart tune.png
  geoseg tune --dataset dataset.toml --split val --predictions runs/a/val --objective building-f1 -o infer.toml

The winner goes into [polygonize] of the output, which is made where it is missing; everything else in
it stays. Tune on validation scenes, never on the test.";

/// Find the best threshold, smallest area and clean-up on validation scenes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The infer configuration that gets the winner
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the winner is best at
    #[arg(long, value_name = "WHAT", default_value = "pixel-iou")]
    objective: ObjectiveArg,
    /// Thresholds to try
    #[arg(long, value_name = "P,P,..", value_delimiter = ',', default_values_t = TuneOptions::default().thresholds)]
    thresholds: Vec<f64>,
    /// Smallest areas to try, square metres
    #[arg(long, value_name = "M2,M2,..", value_delimiter = ',', default_values_t = TuneOptions::default().min_areas_m2)]
    min_areas_m2: Vec<f64>,
    /// Radii of the opening to try, metres
    #[arg(long, value_name = "M,M,..", value_delimiter = ',', default_values_t = TuneOptions::default().openings_m)]
    openings_m: Vec<f64>,
    /// Radii of the closing to try, metres
    #[arg(long, value_name = "M,M,..", value_delimiter = ',', default_values_t = TuneOptions::default().closings_m)]
    closings_m: Vec<f64>,
    /// A building is found at an IoU above this
    #[arg(long, value_name = "IOU", default_value_t = TuneOptions::default().iou_limit)]
    iou: f64,
    /// Draw the curves (PNG)
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Write every trial as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Replace a chart or JSON that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a winner is best at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectiveArg {
    /// Intersection over union of pixels
    PixelIou,
    /// F1 of buildings
    BuildingF1,
}

impl From<ObjectiveArg> for Objective {
    fn from(objective: ObjectiveArg) -> Self {
        match objective {
            ObjectiveArg::PixelIou => Self::PixelIou,
            ObjectiveArg::BuildingF1 => Self::BuildingF1,
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.config.load::<InferConfig>(&[])?;
    config.validate()?;
    let dataset = args.judged.dataset(&[])?;
    let options = TuneOptions {
        scenes: args.judged.scenes(&dataset, None, None)?,
        base: config.polygonize,
        objective: args.objective.into(),
        thresholds: args.thresholds.clone(),
        min_areas_m2: args.min_areas_m2.clone(),
        openings_m: args.openings_m.clone(),
        closings_m: args.closings_m.clone(),
        iou_limit: args.iou,
        all_touched: dataset.truth.all_touched,
        config: args.output.clone(),
        chart: args.chart.clone(),
        json: args.json.clone(),
        overwrite: args.overwrite,
    };
    let report = tune::run(&options, context.progress)?;
    stdout::print(&report.table())
}
