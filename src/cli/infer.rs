//! `geoseg infer`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::args::Delivery;
use super::project;
use super::scoring::{Scoring, each_scene, none_failed};
use super::validate::check_output;
use super::{Context, stdout};
use crate::config::{self, infer::InferConfig};
use crate::error::{Error, Result};
use crate::geo::vector::{Format, OutputCrs};
use crate::geo::{Crs, Scene, remote};
use crate::infer::Ensemble;
use crate::infer::unfinished::{Identity, Unfinished, stamp, stamps};
use crate::output::{self, Begin, Staged};
use crate::polygonize::{self, BuildingWriter};
use crate::stac::Item;

const EXAMPLES: &str = "\
Examples:
  geoseg infer scene.tif --model model.safetensors -o buildings.geojson
  geoseg infer 'scenes/*.tif' --model model.safetensors -o buildings.gpkg --scores scores/
  geoseg infer scene.tif --model model.safetensors --tta flips -o buildings.geojson
  geoseg infer scene.tif --model model.safetensors -o b.gpkg --scores s.tif --qgis b.qgz --truth osm.gpkg
  geoseg infer scene.tif --model a.safetensors --model b.safetensors --weight 2,1 -o buildings.geojson
  geoseg infer scene.tif --model model.safetensors -o buildings.geojson --resume
  geoseg infer https://example.org/cog.tif --model model.safetensors -o out.fgb --bbox 85.52,27.62,85.53,27.63
  geoseg infer https://example.org/collection.json --model model.safetensors -o /vsis3/bucket/out.parquet

config/infer.toml lists every key with its default. The extension of the output chooses its format:
.geojson (WGS 84, RFC 7946), .geojsonl, .gpkg, .fgb, .parquet, .shp, .mbtiles, .pmtiles. A scene that
fails does not stop the others; the exit code says that one did.";

/// Find buildings in scenes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Buildings of all scenes
    #[arg(short, long, value_name = "FILE", required_unless_present = "scores")]
    output: Option<PathBuf>,
    /// Scores as a cloud-optimized GeoTIFF; with several scenes, a folder that gets one a scene
    #[arg(long, value_name = "FILE|FOLDER")]
    scores: Option<PathBuf>,
    #[command(flatten)]
    delivery: Delivery,
    #[command(flatten)]
    project: project::ProjectArgs,
    /// Replace outputs that are there already
    #[arg(long)]
    overwrite: bool,
    /// Go on with a run that was ended before it was done; what it scored lies beside the output
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    #[command(flatten)]
    scoring: Scoring,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.scoring.configuration(&args.delivery.sets())?;
    let scenes = args.scoring.scenes()?;
    let targets = Targets::check(args, &scenes)?;
    args.project.check(args.replaces())?;
    let mut ensemble = args.scoring.ensemble(&config)?;
    let job = Job { args, config: &config, targets: &targets, context };
    let mut buildings = targets
        .buildings
        .map(|path| {
            Buildings::create(path, args.replaces(), common_crs(&scenes), config.output.crs)
        })
        .transpose()?;
    // Last of all that may refuse: what it makes stays until the run is done.
    let unfinished = args.unfinished(&config, &ensemble, &scenes)?;
    let mut index = 0..;
    let outcome = each_scene(&scenes, |item| {
        let index = index.next().unwrap_or_default();
        job.infer(item, index, &unfinished.scene(index), &mut ensemble, buildings.as_mut())
    });
    let failed = match outcome {
        Ok(failed) => failed,
        Err(Error::Interrupted { .. }) => {
            let kept = format!(
                "what was scored is kept in {}; the same command with --resume goes on",
                unfinished.folder().display()
            );
            return Err(Error::Interrupted { kept });
        }
        // With more room on the disk, the network back or a file in its place, the run may go on.
        Err(error) if unfinished.holds_scores() => {
            tracing::info!(
                "what was scored is kept in {}; the same command with --resume goes on, with --overwrite it begins anew",
                unfinished.folder().display()
            );
            return Err(error);
        }
        Err(error) => {
            // What went wrong first is what the user needs to know.
            let _ = unfinished.remove();
            return Err(error);
        }
    };
    if failed < scenes.len()
        && let (Some(buildings), Some(path)) = (buildings, targets.buildings)
    {
        buildings.commit()?;
        config::write_effective(&config, path)?;
        check_output(path, &config.validate, context)?;
    }
    if failed < scenes.len() {
        let scored = scenes.iter().enumerate().map(|(index, item)| project::Scored {
            scene: &item.scene,
            scores: targets.scores_of(index),
        });
        args.project.write(scored.collect(), targets.buildings, &config, args.replaces())?;
    }
    unfinished.remove()?;
    none_failed(failed, &scenes)
}

impl Args {
    /// Where this run keeps what it has scored.
    fn unfinished(
        &self,
        config: &InferConfig,
        ensemble: &Ensemble,
        scenes: &[Item],
    ) -> Result<Unfinished> {
        let region = self.scoring.region();
        let identity = Identity {
            geoseg: env!("CARGO_PKG_VERSION"),
            config,
            models: ensemble.models(),
            scenes: scenes.iter().flat_map(|item| stamps(&item.scene)).collect(),
            bbox: region.bbox,
            aoi: region.aoi.as_deref().map(stamp),
        };
        let begin = Begin::of(self.resume, self.overwrite);
        Unfinished::open(self.work_beside(), &identity, begin)
    }

    /// The output beside which the work lies; of one on a server, a file of its name in this folder.
    fn work_beside(&self) -> &Path {
        // One of the two is required.
        let target = self.output.as_deref().or(self.scores.as_deref());
        let target = target.unwrap_or(Path::new("geoseg"));
        let here = remote::is_remote(target).then(|| target.file_name()).flatten().map(Path::new);
        here.unwrap_or(target)
    }

    /// Outputs of a run that is taken up may be there from before; those of one that was done are not touched.
    fn replaces(&self) -> bool {
        self.overwrite || (self.resume && Unfinished::folder_of(self.work_beside()).is_dir())
    }
}

/// The CRS of all scenes, or WGS 84 where they differ; what cannot be opened is reported later.
fn common_crs(scenes: &[Item]) -> Option<Crs> {
    let mut systems =
        scenes.iter().filter_map(|item| Scene::open(&item.scene).ok()?.grid().crs.clone());
    let first = systems.next()?;
    if systems.all(|other| other.same_as(&first)) { Some(first) } else { Crs::wgs84().ok() }
}

/// A name for each scene: its file's, with its folder's before it where several files have that name.
fn names_of(scenes: &[Item]) -> Result<Vec<String>> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for item in scenes {
        *uses.entry(Scene::name_of(&item.scene)).or_default() += 1;
    }
    let name = |item: &Item| {
        let name = Scene::name_of(&item.scene);
        match item.scene.parent().and_then(Path::file_name) {
            Some(folder) if uses[&name] > 1 => format!("{}_{name}", folder.to_string_lossy()),
            _ => name,
        }
    };
    let names: Vec<String> = scenes.iter().map(name).collect();
    let mut known = HashSet::new();
    match names.iter().position(|name| !known.insert(name)) {
        None => Ok(names),
        Some(at) => Err(Error::input(
            &scenes[at].scene,
            "scenes of different names, or in folders of different names",
            format!("two that would be called {}", names[at]),
            "find buildings in each by itself, and merge them (geoseg merge)",
        )),
    }
}

/// Where results go; refused before any work is done.
struct Targets<'a> {
    buildings: Option<&'a Path>,
    scores: Option<&'a Path>,
    /// Scores go into a folder, one file a scene.
    scores_in_folder: bool,
    /// What each scene is called.
    names: Vec<String>,
}

impl<'a> Targets<'a> {
    fn check(args: &'a Args, scenes: &[Item]) -> Result<Self> {
        let (buildings, scores) = (args.output.as_deref(), args.scores.as_deref());
        let scenes_and_truth =
            scenes.iter().map(|item| item.scene.as_path()).chain(args.project.truth());
        let inputs = args.scoring.inputs().chain(scenes_and_truth);
        output::check_distinct(&[buildings, scores], inputs)?;
        for path in [buildings, scores].into_iter().flatten() {
            config::check_effective(path, args.replaces())?;
        }
        if let Some(path) = buildings {
            Format::of(path)?;
            output::check_file(path, args.replaces())?;
        }
        let scores_in_folder = scores.is_some_and(|path| {
            path.is_dir() || remote::is_remote(path) && path.to_string_lossy().ends_with('/')
        });
        if let Some(path) = scores.filter(|_| !scores_in_folder) {
            if scenes.len() > 1 {
                return Err(Error::input(
                    path,
                    format!("an existing folder for the scores of {} scenes", scenes.len()),
                    "no folder",
                    "create it, or give one scene",
                ));
            }
            output::check_file(path, args.replaces())?;
        }
        let names = names_of(scenes)?;
        Ok(Self { buildings, scores, scores_in_folder, names })
    }

    /// Of the `index`-th scene.
    fn scores_of(&self, index: usize) -> Option<PathBuf> {
        let path = self.scores?;
        Some(if self.scores_in_folder {
            path.join(format!("{}_scores.tif", self.names[index]))
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
    fn create(
        path: &Path,
        overwrite: bool,
        crs: Option<Crs>,
        output_crs: OutputCrs,
    ) -> Result<Self> {
        let staged = Staged::new(path, overwrite)?;
        let writer = BuildingWriter::create(staged.path(), crs, output_crs)?;
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
    targets: &'a Targets<'a>,
    context: &'a Context,
}

impl Job<'_> {
    fn infer(
        &self,
        item: &Item,
        index: usize,
        work: &Path,
        ensemble: &mut Ensemble,
        buildings: Option<&mut Buildings>,
    ) -> Result<()> {
        let scene = item.scene.as_path();
        let inputs = ensemble.open(scene, &self.args.scoring.region())?;
        let name = &self.targets.names[index];
        let scores_target = self.targets.scores_of(index);
        if let Some(path) = &scores_target {
            output::check_file(path, self.args.replaces())?;
        }
        let progress = self.context.progress;
        let interrupt = &self.context.interrupt;
        let report = ensemble.score(inputs, item.date.as_deref(), work, interrupt, progress)?;
        if let Some(path) = &scores_target {
            let staged = Staged::new(path, self.args.replaces())?;
            crate::geo::to_cog(&report.raster, staged.path(), "average")?;
            staged.commit()?;
            config::write_effective(self.config, path)?;
        }
        let found = match buildings {
            None => String::new(),
            Some(buildings) => {
                let options = &self.config.polygonize;
                let report = polygonize::append(
                    &report.raster,
                    options,
                    &mut buildings.writer,
                    name,
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
