//! `geoseg infer`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::args::{ConfigArgs, DeviceArgs};
use super::{Context, log, stdout};
use crate::config::{self, Precision, infer::InferConfig};
use crate::error::{Error, Result};
use crate::geo::vector::LayerWriter;
use crate::geo::{Crs, Scene};
use crate::infer::{self, Input, Region, Scorer};
use crate::model::ModelSpec;
use crate::output::{self, Staged};
use crate::polygonize::{self, BuildingWriter};

const EXAMPLES: &str = "\
Examples:
  geoseg infer scene.tif --model model.safetensors -o buildings.geojson
  geoseg infer 'scenes/*.tif' --model model.safetensors -o buildings.gpkg --scores scores/
  geoseg infer https://example.org/cog.tif --model model.safetensors -o out.fgb --bbox 85.52,27.62,85.53,27.63

config/infer.toml lists every key with its default. The extension of the output chooses its format:
.geojson (WGS 84, RFC 7946), .geojsonl, .gpkg, .fgb, .shp. A scene that fails does not stop the
others; the exit code says that one did.";

/// Find buildings in scenes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rasters that GDAL opens: files, URLs, /vsi paths, or patterns in quotes
    #[arg(required = true, value_name = "SCENE")]
    pub scenes: Vec<String>,
    /// Buildings of all scenes
    #[arg(short, long, value_name = "FILE", required_unless_present = "scores")]
    pub output: Option<PathBuf>,
    /// Model file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Scores as a cloud-optimized GeoTIFF; with several scenes, a folder that gets one a scene
    #[arg(long, value_name = "FILE|FOLDER")]
    pub scores: Option<PathBuf>,
    /// Only inside this box: minimum and maximum longitude and latitude (WGS 84)
    #[arg(long, value_name = "MINX,MINY,MAXX,MAXY", allow_hyphen_values = true)]
    pub bbox: Option<BoundingBox>,
    /// Only inside the polygons of this vector file
    #[arg(long, value_name = "FILE")]
    pub aoi: Option<PathBuf>,
    /// Windows computed at once; the same as --set inference.batch=N
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Number format of the network; the same as --set inference.precision=FORMAT
    #[arg(long, value_name = "FORMAT")]
    pub precision: Option<Precision>,
    /// Replace outputs that are there already
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl Args {
    /// The options that have a flag, as `key=value` texts.
    fn sets(&self) -> Vec<String> {
        let batch = self.batch.map(|batch| format!("inference.batch={batch}"));
        let format = self.precision.map(|format| format!("inference.precision={}", format.name()));
        batch.into_iter().chain(format).collect()
    }
}

/// Longitudes and latitudes in degrees, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// West, south, east, north.
    pub corners: [f64; 4],
}

impl FromStr for BoundingBox {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text
            .split(',')
            .map(|number| number.trim().parse::<f64>().ok().filter(|number| number.is_finite()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("expected four numbers, found `{text}`"))?;
        let corners = <[f64; 4]>::try_from(numbers)
            .map_err(|numbers| format!("expected four numbers, found {}", numbers.len()))?;
        let [west, south, east, north] = corners;
        if west >= east || south >= north {
            return Err("expected minx < maxx and miny < maxy".to_owned());
        }
        Ok(Self { corners })
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config: InferConfig = args.config.load(&args.sets())?;
    config.validate()?;
    let scenes = expand(&args.scenes)?;
    let targets = Targets::check(args, scenes.len())?;
    let device = args.device.resolve()?;
    let (spec, mut scorer) = infer::load_scorer(&args.model, &device, config.inference.precision)?;
    let job = Job { args, config: &config, spec: &spec, targets: &targets, context };
    let mut buildings = targets
        .buildings
        .map(|path| Buildings::create(path, args.overwrite, common_crs(&scenes)))
        .transpose()?;
    let mut failures = Vec::new();
    for scene in &scenes {
        match job.infer(scene, &mut scorer, buildings.as_mut()) {
            Ok(()) => {}
            Err(error @ Error::Interrupted { .. }) => return Err(error),
            Err(error) if scenes.len() == 1 => return Err(error),
            Err(error) => {
                log::report_error(&error);
                failures.push(error);
            }
        }
    }
    if failures.len() < scenes.len()
        && let (Some(buildings), Some(path)) = (buildings, targets.buildings)
    {
        buildings.commit()?;
        config::write_effective(&config, path)?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Some { failed: failures.len(), total: scenes.len(), what: "scenes".to_owned() })
}

/// Patterns into paths, in order; what is no pattern stays as it is, to be opened or refused later.
fn expand(scenes: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for scene in scenes {
        let is_pattern = scene.contains(['*', '?', '[']) && !Path::new(scene).exists();
        if !is_pattern || scene.contains("://") || scene.starts_with("/vsi") {
            paths.push(PathBuf::from(scene));
            continue;
        }
        let found = glob::glob(scene)
            .map_err(|problem| Error::input(scene, "a pattern", problem.to_string(), "quote it"))?;
        let before = paths.len();
        paths.extend(found.filter_map(std::result::Result::ok));
        if paths.len() == before {
            return Err(Error::input(scene, "scenes", "no file that fits", "check the pattern"));
        }
    }
    Ok(paths)
}

/// The CRS of all scenes, or WGS 84 where they differ; what cannot be opened is reported later.
fn common_crs(scenes: &[PathBuf]) -> Option<Crs> {
    let mut systems = scenes.iter().filter_map(|path| Scene::open(path).ok()?.grid().crs.clone());
    let first = systems.next()?;
    if systems.all(|other| other.same_as(&first)) { Some(first) } else { Crs::wgs84().ok() }
}

/// Where results go; refused before any work is done.
struct Targets<'a> {
    buildings: Option<&'a Path>,
    scores: Option<&'a Path>,
    /// Scores go into a folder, one file a scene.
    scores_in_folder: bool,
}

impl<'a> Targets<'a> {
    fn check(args: &'a Args, scenes: usize) -> Result<Self> {
        let (buildings, scores) = (args.output.as_deref(), args.scores.as_deref());
        if let Some(path) = buildings {
            LayerWriter::driver_for(path)?;
            output::check_writable(path, args.overwrite)?;
        }
        let scores_in_folder = scores.is_some_and(Path::is_dir);
        if let Some(path) = scores.filter(|_| !scores_in_folder) {
            if scenes > 1 {
                return Err(Error::input(
                    path,
                    format!("an existing folder for the scores of {scenes} scenes"),
                    "no folder",
                    "create it, or give one scene",
                ));
            }
            output::check_writable(path, args.overwrite)?;
        }
        Ok(Self { buildings, scores, scores_in_folder })
    }

    fn scores_of(&self, scene: &str) -> Option<PathBuf> {
        let path = self.scores?;
        Some(if self.scores_in_folder {
            path.join(format!("{scene}_scores.tif"))
        } else {
            path.to_owned()
        })
    }
}

/// The file of buildings that all scenes share.
struct Buildings {
    staged: Staged,
    writer: BuildingWriter,
}

impl Buildings {
    fn create(path: &Path, overwrite: bool, crs: Option<Crs>) -> Result<Self> {
        let staged = Staged::new(path, overwrite)?;
        let writer = BuildingWriter::create(staged.path(), crs)?;
        Ok(Self { staged, writer })
    }

    fn commit(self) -> Result<()> {
        self.writer.finish()?;
        self.staged.commit()
    }
}

/// What is the same for every scene.
struct Job<'a> {
    args: &'a Args,
    config: &'a InferConfig,
    spec: &'a ModelSpec,
    targets: &'a Targets<'a>,
    context: &'a Context,
}

impl Job<'_> {
    fn infer(
        &self,
        scene: &Path,
        scorer: &mut Scorer,
        buildings: Option<&mut Buildings>,
    ) -> Result<()> {
        let region =
            Region { bbox: self.args.bbox.map(|bbox| bbox.corners), aoi: self.args.aoi.clone() };
        let input = Input::open(scene, self.spec, self.config, &region)?;
        let name = input.scene_name();
        let scores_target = self.targets.scores_of(&name);
        if let Some(path) = &scores_target {
            output::check_writable(path, self.args.overwrite)?;
        }
        // Scores can be as large as the scene: they wait beside the output, not in /tmp.
        let beside = self.targets.buildings.or(scores_target.as_deref()).unwrap_or(scene);
        let raw = Staged::new(beside.with_file_name(format!("{name}.scores.tif")), true)?;
        let progress = self.context.progress;
        let report = infer::run(
            input,
            &self.config.inference,
            raw.path(),
            scorer,
            &self.context.interrupt,
            progress,
        )?;
        if let Some(path) = &scores_target {
            let staged = Staged::new(path, self.args.overwrite)?;
            crate::geo::to_cog(raw.path(), staged.path(), "average")?;
            staged.commit()?;
            config::write_effective(self.config, path)?;
        }
        let found = match buildings {
            None => String::new(),
            Some(buildings) => {
                let options = &self.config.polygonize;
                let report = polygonize::append(
                    raw.path(),
                    options,
                    &mut buildings.writer,
                    &name,
                    progress,
                )?;
                format!(", {} buildings", report.buildings)
            }
        };
        stdout::print(&format!(
            "{}: {:.1} Mpx in {:.1} s ({:.2} Mpx/s), {} windows, {} skipped{found}",
            scene.display(),
            report.pixels as f64 / 1e6,
            report.seconds,
            report.mpx_per_s(),
            report.windows,
            report.skipped_windows,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_numbers_in_order() {
        let parsed = "-1.5, 2,3,4".parse::<BoundingBox>().unwrap();
        assert_eq!(parsed.corners, [-1.5, 2.0, 3.0, 4.0]);
        for wrong in ["", "1,2,3", "1,2,3,4,5", "3,2,1,4", "1,2,x,4", "1,2,nan,4"] {
            assert!(wrong.parse::<BoundingBox>().unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
