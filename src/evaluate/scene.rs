//! One scene: pixels strip by strip, then buildings.

use std::path::Path;

use geo::MultiPolygon;
use rayon::prelude::*;

use super::buildings::{BuildingCounts, Pair, count, matched, pairs_above};
use super::pass::{Pass, Strip};
use super::pixels::Confusion;
use super::polis::{OutlineDistances, Ruler};
use super::region::Region;
use super::{EvalOptions, SceneInputs, Source};
use crate::error::{Error, Result};
use crate::geo::vector::antimeridian::Beyond;
use crate::geo::vector::{Footprints, VectorSource, read_footprints};
use crate::geo::{Band, GeoTransform, Grid, Scene, SceneOptions, Window};
use crate::progress::Progress;

/// Pixels of a strip: with what reading scores (f32) and a scene of a few bands takes, some 50 MB a thread.
const STRIP_PX: usize = 4 << 20;

/// What was counted in one scene.
#[derive(Debug)]
pub(super) struct SceneCounts {
    pub pixels: Vec<(Source, Confusion)>,
    pub buildings: Option<BuildingCounts>,
    /// Of the buildings that were found.
    pub outlines: OutlineDistances,
}

/// The vectors of a scene, all in the CRS of its grid.
pub(super) struct Vectors {
    pub truth: Footprints,
    pub predicted: Option<Footprints>,
    pub aoi: Option<Footprints>,
}

pub(super) fn evaluate(
    inputs: &SceneInputs,
    options: &EvalOptions,
    progress: Progress,
) -> Result<SceneCounts> {
    let raster_grid = reference_grid(inputs)?;
    let vectors = read_vectors(inputs, raster_grid.as_ref())?;
    let aoi = vectors.aoi.as_ref().map(|aoi| aoi.polygons.as_slice());
    let region = Region::new(aoi, raster_grid.as_ref());
    check_overlap(inputs, &vectors.truth, &region)?;
    let grid = match raster_grid {
        Some(grid) => grid,
        None => made_grid(inputs, &vectors, &region, options.grid_gsd_m)?,
    };

    let pass = Pass::new(inputs, options, &grid, &vectors)?;
    let rows = (STRIP_PX / grid.width.max(1)).clamp(1, grid.height.max(1));
    let starts: Vec<usize> = (0..grid.height).step_by(rows).collect();
    let bar = progress.bar(&inputs.name, starts.len() as u64, "strips");
    let strips: Vec<Strip> = starts
        .par_iter()
        .map_init(
            || pass.open_files(),
            |files, &row| {
                let height = rows.min(grid.height - row);
                let window = Window { col: 0, row, width: grid.width, height };
                let strip = match files {
                    Ok(files) => pass.strip(files, window),
                    // An error cannot be had twice from one value: trying again makes another.
                    Err(_) => pass.open_files().and_then(|files| pass.strip(&files, window)),
                };
                bar.inc(1);
                strip
            },
        )
        .collect::<Result<_>>()?;
    bar.finish();

    let mut pixels: Vec<(Source, Confusion)> =
        pass.sources().into_iter().map(|source| (source, Confusion::default())).collect();
    for strip in &strips {
        for ((_, sum), part) in pixels.iter_mut().zip(&strip.counts) {
            *sum = sum.plus(*part);
        }
    }
    let mut outlines = OutlineDistances::default();
    let buildings = vectors.predicted.as_ref().map(|predicted| {
        let mut truth = region.judge(&vectors.truth.polygons);
        let mut found = region.judge(&predicted.polygons);
        for strip in &strips {
            strip.truth_on_nodata.iter().for_each(|&index| truth.counts[index] = false);
            strip.found_on_nodata.iter().for_each(|&index| found.counts[index] = false);
        }
        let pairs = pairs_above(&found.shapes, &truth.shapes, options.iou_limit);
        let matches = matched(pairs, &found.shapes, &truth.shapes);
        let distance_m = |pair: &Pair| {
            let cut =
                |from: &Footprints, index: usize| region.inside(&from.polygons[index]).into_owned();
            let (a, b) = (cut(predicted, pair.predicted), cut(&vectors.truth, pair.truth));
            Ruler::new(&grid).polis_m(&a, &b)
        };
        let counted: Vec<&Pair> = matches.iter().filter(|pair| truth.counts[pair.truth]).collect();
        let distances: Vec<f64> = counted.into_par_iter().map(distance_m).collect();
        // One after another, so that the sum does not depend on the threads.
        outlines =
            distances.into_iter().map(OutlineDistances::of).fold(outlines, OutlineDistances::plus);
        count(&matches, &found.counts, &truth.counts)
    });
    Ok(SceneCounts { pixels, buildings, outlines })
}

/// The grid that pixels are counted on: the prediction's, or else the scene's; `None` where there is
/// neither.
fn reference_grid(inputs: &SceneInputs) -> Result<Option<Grid>> {
    if let Some(path) = inputs.mask.as_ref().or(inputs.scores.as_ref()) {
        return Ok(Some(Band::open(path)?.grid().clone()));
    }
    match &inputs.scene {
        Some(path) => Ok(Some(open_scene(path, &inputs.scene_options)?.grid().clone())),
        None => Ok(None),
    }
}

/// Reads all vectors in the CRS of `grid`; in the truth's own where there is none. Coordinates are taken as they are, in
/// pixels, where the grid has no CRS.
pub(super) fn read_vectors(inputs: &SceneInputs, grid: Option<&Grid>) -> Result<Vectors> {
    let truth = read_footprints(&inputs.truth, grid.and_then(|grid| grid.crs.as_ref()))?;
    let beyond = match (grid, &truth.crs) {
        (Some(grid), _) => Beyond::of(grid),
        // A town on both sides of the line, not one around the whole Earth.
        (None, Some(crs)) if crs.is_geographic() => Beyond::of_polygons(&truth.polygons),
        _ => None,
    };
    let truth = truth.moved(beyond);
    warn_of(&inputs.truth, &truth);
    let crs = match grid {
        None => truth.crs.clone(),
        Some(grid) => grid.crs.clone(),
    };
    let read = |source: &VectorSource| -> Result<Footprints> {
        let found = read_footprints(source, crs.as_ref())?.moved(beyond);
        if let (None, None, Some(own)) = (grid, &crs, &found.crs) {
            return Err(Error::input(
                &source.path,
                "coordinates without a reference system, like those of the truth",
                own.label(),
                "assign the truth its own, for example `ogr2ogr -a_srs EPSG:n ...`",
            ));
        }
        warn_of(source, &found);
        Ok(found)
    };
    let predicted = inputs.predicted.as_ref().map(read).transpose()?;
    let aoi = inputs.aoi.as_ref().map(read).transpose()?;
    if let (Some(source), Some(aoi)) = (&inputs.aoi, &aoi)
        && aoi.polygons.is_empty()
    {
        return Err(Error::input(
            &source.path,
            "at least one polygon to evaluate inside",
            "none",
            "leave the area of interest out to evaluate everywhere",
        ));
    }
    Ok(Vectors { truth, predicted, aoi })
}

fn warn_of(source: &VectorSource, found: &Footprints) {
    let path = source.path.display();
    if found.repaired > 0 {
        tracing::warn!("{path}: {} invalid geometries were repaired", found.repaired);
    }
    if found.dropped > 0 {
        tracing::warn!("{path}: {} features without an area were left out", found.dropped);
    }
    if found.polygons.is_empty() {
        tracing::warn!("{path}: no polygons");
    }
}

/// Refuses truth of another place.
pub(super) fn check_overlap(
    inputs: &SceneInputs,
    truth: &Footprints,
    region: &Region,
) -> Result<()> {
    let Some([x0, y0, x1, y1]) = region.bounds() else { return Ok(()) };
    let inside = |shape: &MultiPolygon<f64>| {
        let [a0, b0, a1, b1] = crate::geo::overlap::Shape::new(shape).bounds();
        a0 < x1 && a1 > x0 && b0 < y1 && b1 > y0
    };
    if truth.polygons.is_empty() || truth.polygons.iter().any(inside) {
        return Ok(());
    }
    Err(Error::input(
        &inputs.truth.path,
        format!("true buildings inside x {x0:.6} to {x1:.6}, y {y0:.6} to {y1:.6}"),
        "none there",
        "check that truth, prediction and area of interest belong to the same place",
    ))
}

/// A north-up grid of `gsd_m` over everything, for vectors that come without a raster.
fn made_grid(inputs: &SceneInputs, vectors: &Vectors, region: &Region, gsd_m: f64) -> Result<Grid> {
    let mut bounds = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    if let Some(region) = region.bounds() {
        bounds = region;
    } else {
        let predicted = vectors.predicted.iter().flat_map(|p| &p.polygons);
        for shape in vectors.truth.polygons.iter().chain(predicted) {
            let [x0, y0, x1, y1] = crate::geo::overlap::Shape::new(shape).bounds();
            bounds = [bounds[0].min(x0), bounds[1].min(y0), bounds[2].max(x1), bounds[3].max(y1)];
        }
    }
    if bounds[0] >= bounds[2] {
        // Nothing true and nothing predicted: one empty pixel says so.
        bounds = [0.0, 0.0, 1e-9, 1e-9];
    }
    let crs = vectors.truth.crs.clone();
    let middle = (f64::midpoint(bounds[0], bounds[2]), f64::midpoint(bounds[1], bounds[3]));
    let unit_m = crs.as_ref().and_then(|crs| crs.metres_per_unit(middle.0, middle.1));
    let (step_x, step_y) = unit_m.map_or((gsd_m, gsd_m), |(x, y)| (gsd_m / x, gsd_m / y));
    let columns = ((bounds[2] - bounds[0]) / step_x).ceil().max(1.0);
    let rows = ((bounds[3] - bounds[1]) / step_y).ceil().max(1.0);
    // Counting a whole country at 0.3 m is a mistake, most likely one stray coordinate.
    let most_px = 1e12;
    if columns * rows >= most_px || !(columns * rows).is_finite() {
        return Err(Error::input(
            &inputs.truth.path,
            format!("buildings within a place of at most {most_px:.0e} pixels of {gsd_m} m"),
            format!("{columns:.0} x {rows:.0} pixels"),
            "look for stray coordinates, pass the scene or an area of interest",
        ));
    }
    Ok(Grid {
        width: columns as usize,
        height: rows as usize,
        transform: GeoTransform([bounds[0], step_x, 0.0, bounds[3], 0.0, -step_y]),
        crs,
        gsd_m: Some((gsd_m, gsd_m)),
    })
}

pub(super) fn open_scene(path: &Path, options: &SceneOptions) -> Result<Scene> {
    // Only validity is asked for: a given range saves the search for one.
    let value_range = options.value_range.or(Some([0.0, 255.0]));
    Scene::open_with(path, &SceneOptions { value_range, ..options.clone() })
}
