//! `geoseg eval`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::ConfigArgs;
use super::{Context, stdout};
use crate::config::dataset::DatasetConfig;
use crate::error::{Error, Result};
use crate::evaluate::{self, EvalOptions, SceneInputs, dataset};
use crate::geo::vector::VectorSource;
use crate::tiles::Split;

const EXAMPLES: &str = "\
Examples:
  geoseg eval --predicted buildings.geojson --truth truth.gpkg
  geoseg eval --predicted buildings.geojson --truth truth.gpkg --image scene.tif --overlay overlay.png
  geoseg eval --scores scores.tif --threshold 0.4 --truth truth.gpkg --aoi aoi.geojson
  geoseg eval --config dataset.toml --split val --predictions runs/a/val --json metrics.json

The last form judges every scene of a split: scene `town` is predicted in town.geojson (or .gpkg, .fgb,
.geojsonl, .shp), town_scores.tif or town_mask.tif of the folder. The keys [truth] and [tiles] of the
dataset also say how truth is rasterized and how scenes are read.";

/// Compare predicted buildings with true ones: pixel IoU, building F1, an overlay picture
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["truth", "predictions"]))]
pub struct Args {
    /// True buildings: any vector file that OGR opens
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Layer of the true buildings, the first where absent
    #[arg(long, value_name = "NAME", requires = "truth")]
    truth_layer: Option<String>,
    /// Predicted buildings
    #[arg(long, value_name = "FILE", requires = "truth")]
    predicted: Option<PathBuf>,
    /// Predicted scores
    #[arg(long, value_name = "FILE", requires = "truth")]
    scores: Option<PathBuf>,
    /// Predicted labels
    #[arg(long, value_name = "FILE", requires = "truth")]
    mask: Option<PathBuf>,
    /// Judge only inside the polygons of this vector file
    #[arg(long, value_name = "FILE", requires = "truth")]
    aoi: Option<PathBuf>,
    /// The scene: says which pixels have data, and lies under the overlay
    #[arg(long, value_name = "FILE", requires = "truth")]
    image: Option<PathBuf>,
    /// Folder with a prediction for every scene of a split of the dataset in --config
    #[arg(long, value_name = "FOLDER", requires = "config", conflicts_with = "truth")]
    predictions: Option<PathBuf>,
    /// The dataset's scenes to judge
    #[arg(long, value_name = "SPLIT", default_value = "val", requires = "predictions")]
    split: SplitArg,
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
    #[command(flatten)]
    config: ConfigArgs,
    /// Replace outputs that are there already
    #[arg(long)]
    overwrite: bool,
}

/// A split of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitArg {
    /// Scenes to learn from
    Train,
    /// Scenes for validation
    Val,
    /// Scenes for the last test
    Test,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Val => Self::Val,
            SplitArg::Test => Self::Test,
        }
    }
}

/// The dataset with paths that start where the program was started.
pub(super) fn dataset_of(config: &ConfigArgs) -> Result<DatasetConfig> {
    let layers = config.layers(&[])?;
    let mut dataset = layers.parse::<DatasetConfig>()?;
    if let Some(folder) = layers.folder_of("scene") {
        dataset.resolve_paths(folder);
    }
    Ok(dataset)
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let dataset = dataset_of(&args.config)?;
    let scenes = match (&args.predictions, &args.truth) {
        (Some(folder), _) => dataset::scenes_of(&dataset, args.split.into(), folder)?,
        (None, Some(truth)) => vec![one_scene(args, truth, &dataset)],
        (None, None) => return Err(Error::config("--truth", "say what the true buildings are")),
    };
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

fn one_scene(args: &Args, truth: &Path, dataset: &DatasetConfig) -> SceneInputs {
    let named_after = [&args.image, &args.predicted, &args.scores, &args.mask];
    let named_after = named_after.into_iter().flatten().next().map_or(truth, PathBuf::as_path);
    SceneInputs {
        name: named_after.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        truth: VectorSource {
            path: truth.to_owned(),
            layer: args.truth_layer.clone(),
            filter: None,
        },
        predicted: args.predicted.clone().map(VectorSource::file),
        scores: args.scores.clone(),
        mask: args.mask.clone(),
        aoi: args.aoi.clone().map(VectorSource::file),
        scene: args.image.clone(),
        scene_options: dataset.scene_options(),
    }
}
