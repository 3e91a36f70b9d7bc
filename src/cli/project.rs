//! The QGIS project that `infer` writes beside its results.

use std::path::{Path, PathBuf};

use crate::config::infer::{InferConfig, ScoresType};
use crate::error::Result;
use crate::geo::vector::{FeatureReader, Format, OutputCrs, VectorSource};
use crate::geo::{Crs, Reprojection, Scene, remote};
use crate::qgis::{Layer, Project, Show};
use crate::{conflate, output};

/// What goes into the project besides the results.
#[derive(Debug, clap::Args)]
pub struct ProjectArgs {
    /// QGIS project (.qgz) of the scenes and everything that is written
    #[arg(long, value_name = "FILE")]
    qgis: Option<PathBuf>,
    /// Known buildings, shown in the project; the differences go into NAME_changes.gpkg beside it
    #[arg(long, value_name = "FILE", requires = "qgis")]
    truth: Option<PathBuf>,
}

/// A scene, and its scores where they were kept.
pub struct Scored<'a> {
    /// The scene.
    pub scene: &'a Path,
    /// Its scores.
    pub scores: Option<PathBuf>,
}

/// The score of certainty in a raster of bytes.
const FULL_BYTE: f64 = 254.0;

impl ProjectArgs {
    /// Known buildings.
    pub fn truth(&self) -> Option<&Path> {
        self.truth.as_deref()
    }

    /// Refuses, before any work is done, what could not be written.
    pub fn check(&self, overwrite: bool) -> Result<()> {
        let Some(path) = &self.qgis else { return Ok(()) };
        output::check_writable(path, overwrite)?;
        if self.truth.is_some() {
            output::check_writable(&changes_of(path), overwrite)?;
        }
        Ok(())
    }

    /// Writes the project, if one is wanted.
    pub fn write(
        &self,
        scored: Vec<Scored<'_>>,
        buildings: Option<&Path>,
        config: &InferConfig,
        overwrite: bool,
    ) -> Result<()> {
        let Some(path) = &self.qgis else { return Ok(()) };
        // A scene that cannot be opened was reported when it was scored.
        let scenes: Vec<(Scene, Option<PathBuf>)> = scored
            .into_iter()
            .filter_map(|one| Some((Scene::open_with(one.scene, &config.input).ok()?, one.scores)))
            .collect();
        let mut layers = Vec::new();
        // Outlines above fills, and of fills only the uppermost: through two of them nothing is seen.
        if let Some(truth) = &self.truth {
            layers.push(vectors("truth", truth, Show::Truth, true));
        }
        let changes = changes_of(path);
        let compared = self.write_changes(&changes, buildings, config, overwrite)?;
        if compared {
            layers.push(vectors("differences", &changes, Show::Changes, true));
        }
        if let Some(buildings) = buildings {
            layers.push(vectors("buildings", buildings, Show::Buildings, !compared));
        }
        let full = match config.inference.scores {
            ScoresType::Uint8 => FULL_BYTE,
            ScoresType::Float32 => 1.0,
        };
        for (scene, scores) in &scenes {
            // Those of a scene that failed are not there.
            let written = scores.as_ref().filter(|path| remote::is_remote(path) || path.is_file());
            layers.extend(written.map(|scores| Layer {
                name: format!("scores of {}", Scene::name_of(scene.path())),
                path: scores.clone(),
                crs: scene.grid().crs.clone(),
                show: Show::Scores { full, threshold: config.polygonize.threshold },
                visible: buildings.is_none(),
            }));
        }
        layers.extend(scenes.iter().map(|(scene, _)| Layer {
            name: Scene::name_of(scene.path()),
            path: scene.path().to_owned(),
            crs: scene.grid().crs.clone(),
            show: Show::Picture {
                bands: scene.band_numbers().to_vec(),
                range: (!scene.is_8_bit()).then(|| scene.value_range()),
            },
            visible: true,
        }));
        let crs = scenes.first().and_then(|(scene, _)| scene.grid().crs.clone());
        let extent = scenes
            .iter()
            .filter_map(|(scene, _)| extent_in(scene, crs.as_ref()))
            .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])
            .unwrap_or_default();
        let title = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Project { title, crs, extent, layers }.write(path, overwrite)
    }

    /// Compares the buildings with the known ones, where both are there and can be read; whether they were.
    fn write_changes(
        &self,
        changes: &Path,
        buildings: Option<&Path>,
        config: &InferConfig,
        overwrite: bool,
    ) -> Result<bool> {
        let (Some(truth), Some(buildings)) = (&self.truth, buildings) else { return Ok(false) };
        if Format::of(buildings)?.is_tiles() {
            tracing::warn!("{}: not read back, so no differences are shown", buildings.display());
            return Ok(false);
        }
        conflate::run(
            &VectorSource::file(buildings),
            &VectorSource::file(truth),
            &config.conflate,
            changes,
            OutputCrs::Auto,
            overwrite,
        )?;
        Ok(true)
    }
}

/// A layer of features; its CRS is the file's where that can be read.
fn vectors(name: &str, path: &Path, show: Show, visible: bool) -> Layer {
    let reader = FeatureReader::open(&VectorSource::file(path)).ok();
    let crs = reader.and_then(|reader| reader.crs().cloned());
    Layer { name: name.to_owned(), path: path.to_owned(), crs, show, visible }
}

fn changes_of(project: &Path) -> PathBuf {
    let stem = project.file_stem().unwrap_or_default().to_string_lossy();
    project.with_file_name(format!("{stem}_changes.gpkg"))
}

/// Where a scene lies in the CRS of the map.
fn extent_in(scene: &Scene, crs: Option<&Crs>) -> Option<[f64; 4]> {
    let grid = scene.grid();
    let mut corners = grid.corners();
    if let (Some(from), Some(to)) = (&grid.crs, crs) {
        Reprojection::new(from, to).ok()?.points(&mut corners).ok()?;
    }
    let [first, ..] = corners;
    let start = [first.0, first.1, first.0, first.1];
    Some(
        corners
            .iter()
            .fold(start, |b, &(x, y)| [b[0].min(x), b[1].min(y), b[2].max(x), b[3].max(y)]),
    )
}
