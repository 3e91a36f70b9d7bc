//! Whole stages, file to file, on a synthetic scene in a temporary folder.

use std::path::{Path, PathBuf};

use burn::backend::{Flex, flex::FlexDevice};
use tempfile::TempDir;

use super::measure::{Figure, measure};
use super::{Options, network};
use crate::config::dataset::{DatasetConfig, SceneEntry, SplitChoice};
use crate::config::infer::InferConfig;
use crate::config::polygonize::PolygonizeOptions;
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::geo::vector::{OutputCrs, VectorSource, read_footprints};
use crate::geo::{Compression, RasterWriter, Scene, Window};
use crate::infer::{Input, Region, load_scorer};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::scores::BANDS;
use crate::synth::{self, SynthOptions};
use crate::tiles::TileSet;
use crate::train::batches::Batches;
use crate::train::plan;
use crate::train::sources::Sources;
use crate::truth::{BUILDING, Truth, TruthOptions};
use crate::{infer, model, polygonize as polygons, tiles as tiling};

/// Scores of buildings and of the ground between them.
const SCORES: (u8, u8) = (240, 8);

/// Rows that are made at a time.
const STRIP_PX: usize = 256;

pub(super) struct Town {
    pub(super) folder: TempDir,
    pub(super) image: PathBuf,
    pub(super) footprints: PathBuf,
}

fn town(options: &Options) -> Result<Town> {
    town_of(options.scene_px)
}

/// A synthetic scene of that side, px.
pub(super) fn town_of(side: usize) -> Result<Town> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let drawn = SynthOptions { width_px: side, height_px: side, ..SynthOptions::default() };
    let report = synth::run(&drawn, folder.path(), true, Progress::Hidden)?;
    Ok(Town { folder, image: report.image, footprints: report.footprints })
}

pub(super) fn title(what: &str, options: &Options) -> String {
    format!("{what}, {0} x {0} px", options.scene_px)
}

/// The town's footprints as a scores raster.
fn write_scores(town: &Town, path: &Path) -> Result<()> {
    let scene = Scene::open(&town.image)?;
    let grid = scene.grid();
    let buildings = read_footprints(&VectorSource::file(&town.footprints), grid.crs.as_ref())?;
    let truth = Truth::prepare(&buildings.polygons, None, grid, &TruthOptions::default())?;
    let mut writer =
        RasterWriter::<u8>::create(path, grid, &BANDS[..1], Some(255.0), Compression::Deflate)?;
    for row in (0..grid.height).step_by(STRIP_PX) {
        let height = STRIP_PX.min(grid.height - row);
        let window = Window { col: 0, row, width: grid.width, height };
        let labels = truth.rasterize(grid, window, &vec![true; window.area()])?;
        let scores: Vec<u8> = labels
            .iter()
            .map(|label| if *label == BUILDING { SCORES.0 } else { SCORES.1 })
            .collect();
        writer.write_rows(row, &scores)?;
    }
    writer.finish()
}

/// Scores into FlatGeobuf.
pub fn polygonize(options: &Options) -> Result<Figure> {
    let town = town(options)?;
    let scores = town.folder.path().join("scores.tif");
    write_scores(&town, &scores)?;
    let out = town.folder.path().join("buildings.fgb");
    let settings = PolygonizeOptions::default();
    let pixels = options.scene_px * options.scene_px;
    measure(title("polygonize", options), pixels, 1, options, || {
        polygons::run(&scores, &settings, &out, OutputCrs::Auto, true, "town", Progress::Hidden)
            .map(|_| ())
    })
}

/// A scene into tiles at its own resolution.
pub fn tiles(options: &Options) -> Result<Figure> {
    let town = town(options)?;
    let mut config = DatasetConfig::default();
    config.scene.push(scene(&town));
    config.tiles.tile_px = options.window_px;
    let out = town.folder.path().join("tiles");
    let pixels = options.scene_px * options.scene_px;
    measure(title("tiles", options), pixels, 1, options, || {
        tiling::run(&config, &out, true, Progress::Hidden).map(|_| ())
    })
}

/// Batches of augmented crops, read from tiles on one thread.
pub fn loader(options: &Options) -> Result<Figure> {
    let town = town(options)?;
    let mut tiled = DatasetConfig::default();
    tiled.scene.push(scene(&town));
    tiled.tiles.tile_px = 2 * options.window_px;
    let out = town.folder.path().join("tiles");
    tiling::run(&tiled, &out, true, Progress::Hidden)?;
    let mut config = TrainConfig::default();
    (config.data.crop_px, config.data.batch) = (options.window_px, options.batch);
    let sources = Sources::of(TileSet::open(&out)?);
    let normalisation = plan::normalisation(&sources.labelled.info);
    let batches = Batches::new(&sources, &config, normalisation)?;
    let case = format!("loader, {} crops of {} px, one thread", options.batch, options.window_px);
    let pixels = options.batch * options.window_px * options.window_px;
    let mut k = 0;
    measure(case, pixels, 1, options, || {
        k += 1;
        batches.training(k).map(|_| ())
    })
}

fn scene(town: &Town) -> SceneEntry {
    SceneEntry {
        image: town.image.clone(),
        footprints: town.footprints.clone(),
        split: SplitChoice::Train,
        ..SceneEntry::default()
    }
}

/// A scene into a scores raster and a FlatGeobuf of buildings.
pub fn infer_scene(options: &Options) -> Result<Figure> {
    let town = town(options)?;
    let random = town.folder.path().join("model.safetensors");
    if options.model.is_none() {
        let network = network::settled::<Flex>(&options.spec, &FlexDevice)?;
        model::save(&random, &options.spec, &network, &model::weights::Provenance::default())?;
    }
    let file = options.model.as_ref().unwrap_or(&random);
    let (spec, mut scorer) = load_scorer(file, &options.device, options.precision)?;
    let mut config = InferConfig::default();
    config.inference.window_px = options.window_px;
    config.inference.overlap_px = options.window_px / 4;
    config.inference.batch = options.batch;
    config.validate()?;
    let out = town.folder.path().join("buildings.fgb");
    let pixels = options.scene_px * options.scene_px;
    measure(title("infer-scene", options), pixels, 1, options, || {
        let input = Input::open(&town.image, &spec, &config, &Region::default())?;
        let interrupt = Interrupt::default();
        // Nothing is left of the run before.
        let folder = tempfile::tempdir_in(&town.folder).map_err(Error::io(&town.folder))?;
        let (scores, progress) = (folder.path(), Progress::Hidden);
        let report =
            infer::run(input, &config.inference, scores, &mut scorer, &interrupt, progress)?;
        let options = &config.polygonize;
        polygons::run(&report.raster, options, &out, OutputCrs::Auto, true, "town", progress)
            .map(|_| ())
    })
}
