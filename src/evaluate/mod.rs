//! Predicted buildings against true ones: pixel metrics, building metrics, and the search for the
//! settings that score best.
//!
//! What is judged:
//!
//! - **Pixels**, on the grid of the prediction's raster, else of the scene, else of a made one. Predicted
//!   polygons and the truth that they are compared with are rasterized by the pixel-centre rule, which
//!   gives back the mask that polygons were traced from; scores and masks are compared with the truth as
//!   a tile set rasterizes it (`all_touched` by default). Pixels outside the area of interest and pixels
//!   without data are ignored. Where the scene is given, it says which pixels have data, and a raster
//!   prediction that skipped some of them is judged as background there; where it is not, the
//!   prediction's own nodata is ignored.
//! - **Buildings**, by the definition in [`buildings`], on exact polygons cut at the area of interest and
//!   at the raster's edge. A building counts when at least half of it lies inside and its inner point lies
//!   on a pixel with data; a prediction that matches a building that does not count is left out.
//! - **Outlines** of the buildings that were found, by the distance in [`polis`], cut alike.

pub mod buildings;
pub mod dataset;
pub mod pixels;
pub mod polis;
pub mod report;
pub mod tune;

mod pass;
mod region;
mod scanline;
mod scene;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use report::{EvalReport, SceneReport};

use crate::error::{Error, Result};
use crate::geo::SceneOptions;
use crate::geo::vector::VectorSource;
use crate::output::{check_distinct, check_writable};
use crate::picture::overlay;
use crate::progress::Progress;

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// The scenes.
    pub scenes: Vec<SceneInputs>,
    /// Scores from this probability on (0..=1) are building.
    pub threshold: f64,
    /// A building is found at an IoU above this.
    pub iou_limit: f64,
    /// Ground sample distance of the grid that is made where no raster is given, metres.
    pub grid_gsd_m: f64,
    /// The truth that scores and masks are compared with takes every pixel that a footprint touches, as
    /// tile sets do by default.
    pub all_touched: bool,
    /// The report as JSON.
    pub json: Option<PathBuf>,
    /// A picture (PNG) of each scene with true and predicted outlines; with several scenes, each one's
    /// name is added to the file's name. Needs the scene and predicted polygons.
    pub overlay: Option<PathBuf>,
    /// Longest side of that picture, pixels.
    pub overlay_px: usize,
    /// Replace outputs that exist.
    pub overwrite: bool,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            scenes: Vec::new(),
            threshold: 0.5,
            iou_limit: 0.5,
            grid_gsd_m: 0.3,
            all_touched: true,
            json: None,
            overlay: None,
            overlay_px: 2048,
            overwrite: false,
        }
    }
}

/// The files of one scene: truth, and at least one prediction.
#[derive(Clone, Debug, Default)]
pub struct SceneInputs {
    /// Name in the report.
    pub name: String,
    /// True buildings.
    pub truth: VectorSource,
    /// Predicted buildings.
    pub predicted: Option<VectorSource>,
    /// Predicted scores: bytes (p x 254, 255 where not looked) or floating-point probabilities.
    pub scores: Option<PathBuf>,
    /// Predicted labels: 1 building, 2 its boundary, 255 where not looked, all else background.
    pub mask: Option<PathBuf>,
    /// The area of interest: nothing outside is judged.
    pub aoi: Option<VectorSource>,
    /// The scene: says which pixels have data, and lies under the overlay.
    pub scene: Option<PathBuf>,
    /// How the scene is read.
    pub scene_options: SceneOptions,
}

impl SceneInputs {
    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let vectors = [Some(&self.truth), self.predicted.as_ref(), self.aoi.as_ref()];
        let rasters = [&self.scores, &self.mask, &self.scene];
        let vectors = vectors.into_iter().flatten().map(|source| source.path.as_path());
        vectors.chain(rasters.into_iter().flatten().map(PathBuf::as_path))
    }
}

/// What pixel metrics were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Predicted polygons.
    Vectors,
    /// Scores at the threshold.
    Scores,
    /// Predicted labels.
    Mask,
}

impl EvalOptions {
    /// # Errors
    /// A value out of range, or a scene without a prediction.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::config("threshold", "must lie in 0..=1"));
        }
        if !(0.0..1.0).contains(&self.iou_limit) {
            return Err(Error::config("iou_limit", "must be at least 0 and below 1"));
        }
        if !(self.grid_gsd_m.is_finite() && self.grid_gsd_m > 0.0) {
            return Err(Error::config("grid_gsd_m", "must be a positive number of metres"));
        }
        if self.scenes.is_empty() {
            return Err(Error::config("scenes", "nothing to evaluate"));
        }
        for scene in &self.scenes {
            if scene.predicted.is_none() && scene.scores.is_none() && scene.mask.is_none() {
                let problem =
                    "needs predicted buildings, scores or a mask to compare with the truth";
                return Err(Error::config(scene.name.clone(), problem));
            }
        }
        Ok(())
    }

    /// Where the overlay of a scene goes.
    fn overlay_of(&self, scene: &SceneInputs) -> Option<PathBuf> {
        let path = self.overlay.as_ref()?;
        if self.scenes.len() == 1 {
            return Some(path.clone());
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Some(path.with_file_name(format!("{stem}-{}.png", scene.name)))
    }
}

/// Compares every scene, writes the outputs that are asked for and returns the report.
///
/// Memory: the vectors of one scene, and some 50 MB of pixels a thread whatever the scene's size.
///
/// # Errors
/// See [`EvalOptions::validate`]; a file that cannot be read; truth that does not overlap the scene. One
/// bad scene fails the whole call: totals over a part would be mistaken for the whole.
pub fn run(options: &EvalOptions, progress: Progress) -> Result<EvalReport> {
    options.validate()?;
    let overlays: Vec<_> = options.scenes.iter().map(|scene| options.overlay_of(scene)).collect();
    let outputs: Vec<_> =
        overlays.iter().chain([&options.json]).map(|output| output.as_deref()).collect();
    check_distinct(&outputs, options.scenes.iter().flat_map(SceneInputs::files))?;
    if let Some(json) = &options.json {
        check_writable(json, options.overwrite)?;
    }
    for scene in &options.scenes {
        if let Some(picture) = options.overlay_of(scene) {
            check_writable(&picture, options.overwrite)?;
            if scene.scene.is_none() || scene.predicted.is_none() {
                let problem = "an overlay needs the scene and predicted polygons";
                return Err(Error::config("overlay", problem));
            }
        }
    }
    let mut report = EvalReport::new(options);
    for inputs in &options.scenes {
        let counts = scene::evaluate(inputs, options, progress)?;
        report.push(&inputs.name, &counts);
        if let (Some(picture), Some(scene), Some(predicted)) =
            (options.overlay_of(inputs), &inputs.scene, &inputs.predicted)
        {
            draw_overlay(&picture, scene, inputs, predicted, options.overlay_px)?;
        }
    }
    report.finish();
    if let Some(json) = &options.json {
        report.write_json(json, options.overwrite)?;
    }
    Ok(report)
}

fn draw_overlay(
    picture: &Path,
    scene: &Path,
    inputs: &SceneInputs,
    predicted: &VectorSource,
    most_px: usize,
) -> Result<()> {
    overlay::scene_overlay(picture, scene, Some(&inputs.truth), Some(predicted), most_px)
}
