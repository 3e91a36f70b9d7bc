//! Scenes and footprints, and photos and masks, into a tile set.
//!
//! [`run`] reads top to bottom: prepare the scenes, plan the tiles, see that no two groups share
//! ground, cut in parallel, write the index. What is on disk afterwards is described in [`set`].

mod cut;
mod divide;
mod ground;
mod hash;
mod index;
mod journal;
mod labels;
mod listing;
mod photos;
mod plan;
mod prepare;
mod report;
mod root;
mod select;
pub mod set;
mod sheet;
mod split;
mod summary;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;

use crate::config::dataset::{DatasetConfig, TileMode};
use crate::config::to_toml;
use crate::error::{Error, Result};
use crate::geo::{Crs, Scene};
use crate::output::write_whole;
use crate::progress::{Bar, Progress};

pub use labels::SOFT_SCALE;
pub use listing::scene_splits;
pub use report::Report;
pub use select::{Selected, write as write_selection};
pub use set::{Labels, SceneInfo, Split, TileCounts, TilePixels, TileRecord, TileSet, TileSetInfo};

use cut::Open;
use ground::Outline;
use journal::{Journal, Kept, Outcome};
use plan::PlannedTile;
use prepare::{Dataset, Prepared};
use set::{CONFIG_FILE, INDEX_FILE};
use split::Group;

/// Tiles that a task cuts with one open scene: about a row of a scene, whose blocks GDAL then decodes
/// once.
const TILES_PER_TASK: usize = 32;

/// Begins the names of folders for files that are not whole yet.
const STAGING_PREFIX: &str = ".geoseg-";

/// What became of every planned tile of a scene.
type Cut<'a> = Vec<(&'a PlannedTile, Outcome)>;

/// Cuts a tile set into the folder `out`.
///
/// An interrupted run goes on where it was when called again with the same configuration and inputs;
/// a finished set is left as it is. The number of threads (rayon's) changes no byte of the result.
///
/// # Errors
/// An input or a configuration value cannot be used, `out` holds another set and `overwrite` is false,
/// or the disk is full.
pub fn run(
    config: &DatasetConfig,
    out: &Path,
    overwrite: bool,
    progress: Progress,
) -> Result<Report> {
    config.validate()?;
    let effective = to_toml(config)?;
    let photos = photos::find_all(config)?;
    let fingerprint = root::fingerprint(config, &photos, &effective);
    crate::output::check_writable(out, true)?;
    let mut dataset = prepare::prepare(config, &photos)?;
    let mut plans = plan_all(config, &dataset);
    let overlaps = drop_overlaps(&dataset, &mut plans, config)?;
    check_any(&plans, config)?;
    check_distinct(&dataset, &plans)?;
    let work = match root::claim(out, &fingerprint, overwrite)? {
        root::Found::Work(work) => work,
        root::Found::Finished(info) => {
            return Ok(Report {
                root: out.to_owned(),
                info: *info,
                resumed: 0,
                already_complete: true,
            });
        }
    };
    let (journal, done) = Journal::open(&work, &fingerprint)?;
    write_whole(work.join(CONFIG_FILE), effective.as_bytes(), true)?;

    let total: usize = plans.iter().map(|plan| plan.tiles.len()).sum();
    let resumed = done.len();
    let bar = progress.bar("tiles", total as u64, "tiles");
    bar.inc(resumed as u64);
    let cut: Vec<Cut<'_>> = dataset
        .scenes
        .par_iter()
        .zip(&plans)
        .map(|(scene, plan)| cut_scene(&work, scene, &plan.tiles, config, &journal, &done, &bar))
        .collect::<Result<_>>()?;
    bar.finish();

    if kept(&cut).next().is_none() {
        root::abandon(out)?;
        return Err(no_tile(config));
    }
    summary::warn(config, &cut, &plans, overlaps, &mut dataset.warnings);
    let info = summary::describe(config, &dataset, &cut, &plans, fingerprint);
    let tiles = write_index(&work, &dataset, &cut)?;
    let set = TileSet { root: work, info, tiles };
    sheet::write(&set)?;
    set.write_info()?;
    root::finish(out)?;
    Ok(Report { root: out.to_owned(), info: set.info, resumed, already_complete: false })
}

fn plan_all(config: &DatasetConfig, dataset: &Dataset) -> Vec<plan::ScenePlan> {
    dataset
        .scenes
        .par_iter()
        .map(|scene| {
            let boxes = scene.labels.boxes();
            plan::plan(&scene.native, &scene.scales, &scene.division, &boxes, &config.tiles)
        })
        .collect()
}

/// Leaves out tiles that overlap a tile of another scene and another group; returns how many.
fn drop_overlaps(
    dataset: &Dataset,
    plans: &mut [plan::ScenePlan],
    config: &DatasetConfig,
) -> Result<usize> {
    let groups: BTreeSet<Group> =
        plans.iter().flat_map(|plan| plan.tiles.iter().map(|tile| tile.group)).collect();
    if groups.len() < 2 || dataset.scenes.len() < 2 {
        return Ok(0);
    }
    let inset = ground::inset_px(config.tiles.tile_px);
    let spaces = spaces(dataset);
    let mut outlines = Vec::new();
    for (number, (scene, plan)) in dataset.scenes.iter().zip(plans.iter()).enumerate() {
        let way = ground::to_degrees(scene.native.crs.as_ref());
        for tile in &plan.tiles {
            let grid = &scene.scales[tile.scale].grid;
            let outline = ground::outline(grid, tile.window, inset, way.as_ref())?;
            let parts = if way.is_some() { ground::parts(outline) } else { vec![outline] };
            outlines.push(Outline {
                scene: number,
                space: spaces[number],
                group: tile.group,
                parts,
            });
        }
    }
    let keep = ground::keep(&outlines);
    let mut next = keep.iter().copied();
    for plan in plans.iter_mut() {
        let (kept, left): (Vec<_>, Vec<_>) =
            plan.tiles.drain(..).partition(|_| next.next().unwrap_or(true));
        plan.tiles = kept;
        plan.dropped.extend(left.into_iter().map(|tile| (tile.group, tile.scale)));
    }
    Ok(keep.iter().filter(|kept| !**kept).count())
}

/// Which scenes' coordinates can be compared: 0 for all that lead to degrees, one number for each
/// other CRS, and one for each image without any.
fn spaces(dataset: &Dataset) -> Vec<usize> {
    let mut known: Vec<String> = Vec::new();
    dataset
        .scenes
        .iter()
        .map(|scene| {
            if ground::to_degrees(scene.native.crs.as_ref()).is_some() {
                return 0;
            }
            let name = match &scene.native.crs {
                Some(crs) => crs.wkt().to_owned(),
                None => std::fs::canonicalize(&scene.path)
                    .unwrap_or_else(|_| scene.path.clone())
                    .display()
                    .to_string(),
            };
            let at = known.iter().position(|other| *other == name).unwrap_or_else(|| {
                known.push(name);
                known.len() - 1
            });
            at + 1
        })
        .collect()
}

/// Refuses a plan without a tile before anything is written.
fn check_any(plans: &[plan::ScenePlan], config: &DatasetConfig) -> Result<()> {
    if plans.iter().any(|plan| !plan.tiles.is_empty()) {
        return Ok(());
    }
    let problem = if config.tiles.mode == TileMode::Buildings {
        "no footprint gives a tile; use `grid`"
    } else {
        "no tile fits; choose smaller tiles or larger blocks"
    };
    Err(Error::config("tiles.mode", problem))
}

/// Refuses tiles that would be one file: a photo may be called like the part of another.
fn check_distinct(dataset: &Dataset, plans: &[plan::ScenePlan]) -> Result<()> {
    let mut known = HashSet::new();
    for (scene, plan) in dataset.scenes.iter().zip(plans).filter(|(scene, _)| scene.photo.is_some())
    {
        for path in plan.tiles.iter().map(|tile| cut::image_path(scene, tile)) {
            if known.contains(&path) {
                return Err(Error::input(
                    &scene.path,
                    "photos whose tiles have different names",
                    format!("two that would be {}", path.display()),
                    "rename the photo and its mask",
                ));
            }
            known.insert(path);
        }
    }
    Ok(())
}

fn cut_scene<'a>(
    work: &Path,
    scene: &Prepared,
    tiles: &'a [PlannedTile],
    config: &DatasetConfig,
    journal: &Journal,
    done: &HashMap<String, Outcome>,
    bar: &Bar,
) -> Result<Cut<'a>> {
    let mut all = Vec::new();
    let mut todo = Vec::new();
    for tile in tiles {
        let path = cut::image_path(scene, tile);
        match done.get(path.to_string_lossy().as_ref()) {
            Some(outcome) => all.push((tile, outcome.clone())),
            None => todo.push((tile, path)),
        }
    }
    let folders: BTreeSet<_> = todo.iter().filter_map(|(_, path)| path.parent()).collect();
    for folder in folders {
        let folder = work.join(folder);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    let cut: Vec<Cut<'a>> = todo
        .par_chunks(TILES_PER_TASK)
        .map(|task| {
            let source = Scene::open_with(&scene.path, &scene.options)?;
            let labeller = scene.labels.open()?;
            let staging = tempfile::Builder::new()
                .prefix(STAGING_PREFIX)
                .tempdir_in(work)
                .map_err(Error::io(work))?;
            task.iter()
                .map(|(tile, path)| {
                    let open = Open { scene, source: &source, labeller: &labeller };
                    let outcome = cut::cut(work, staging.path(), &open, tile, config)?;
                    journal.append(&path.to_string_lossy(), &outcome)?;
                    bar.inc(1);
                    Ok((*tile, outcome))
                })
                .collect()
        })
        .collect::<Result<_>>()?;
    all.extend(cut.into_iter().flatten());
    // Planned order, whichever run or thread cut them.
    all.sort_by_key(|(tile, _)| **tile);
    Ok(all)
}

fn kept<'a>(cut: &'a [Cut<'_>]) -> impl Iterator<Item = (usize, &'a PlannedTile, &'a Kept)> {
    cut.iter().enumerate().flat_map(|(scene, tiles)| {
        tiles.iter().filter_map(move |(tile, outcome)| match outcome {
            Outcome::Kept(kept) => Some((scene, *tile, &**kept)),
            Outcome::NoData | Outcome::Empty => None,
        })
    })
}

/// Every tile was left out.
fn no_tile(config: &DatasetConfig) -> Error {
    let scenes = config.scene.iter().map(|scene| &scene.image);
    let images: Vec<String> = scenes
        .chain(config.photos.iter().map(|photos| &photos.images))
        .map(|image| image.display().to_string())
        .collect();
    Error::input(
        images.join(", "),
        format!(
            "a tile of {} px with a share of at least {} labelled pixels, and buildings",
            config.tiles.tile_px, config.tiles.min_valid_fraction
        ),
        "none (no data, outside the AOI, or no building with `tiles.keep_empty` below 1)",
        "look at the scene's nodata and AOI, or change `tiles.tile_px`, `tiles.min_valid_fraction` \
         or `tiles.keep_empty`",
    )
}

/// Writes `tiles.gpkg` and returns its rows, ordered by split, scene, scale, row and column.
fn write_index(work: &Path, dataset: &Dataset, cut: &[Cut<'_>]) -> Result<Vec<TileRecord>> {
    let ways: Vec<_> =
        dataset.scenes.iter().map(|scene| ground::to_degrees(scene.native.crs.as_ref())).collect();
    let in_degrees = ways.iter().any(Option::is_some);
    let mut rows = Vec::new();
    for (scene, tile, kept) in kept(cut) {
        let way = ways[scene].as_ref();
        let grid = &dataset.scenes[scene].scales[tile.scale].grid;
        // Beside scenes with a place on Earth, one without has an empty outline, and so has a tile
        // with a corner in the sky (a weather satellite's full disk).
        let nowhere = || geo::MultiPolygon(Vec::new()).into();
        let outline = if in_degrees && way.is_none() {
            nowhere()
        } else {
            ground::outline(grid, tile.window, 0.0, way)
                .map_or_else(|_| nowhere(), geo::Geometry::Polygon)
        };
        rows.push((&kept.record, outline));
    }
    rows.sort_by(|(a, _), (b, _)| {
        (a.split, &a.scene, &a.scale, a.row, a.col)
            .cmp(&(b.split, &b.scene, &b.scale, b.row, b.col))
    });
    let crs = if in_degrees { Some(Crs::wgs84()?) } else { None };
    index::write(&work.join(INDEX_FILE), crs.as_ref(), &rows)?;
    Ok(rows.into_iter().map(|(record, _)| record.clone()).collect())
}
