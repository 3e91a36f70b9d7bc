//! The truth: outlines of all buildings of a scene, and an area of interest.

use std::path::Path;

use geo::{Area, BooleanOps, Coord, MapCoords, Polygon};
use rayon::prelude::*;

use super::block::Builder;
use super::shape::{Bounds, at, polygon};
use super::town::Town;
use crate::error::{Error, Result};
use crate::geo::Grid;
use crate::geo::vector::{FieldKind, LayerWriter, Value};

/// Height of the bands that blocks are laid out in, metres: it bounds the memory. Not an option, as the
/// order of the features depends on it.
const BAND_M: f64 = 400.0;

/// What is left of a building at the scene's edge is a building from this area on, m2.
const SMALLEST_REST_M2: f64 = 1.0;

/// The outlines of the buildings in `bounds` (ground metres), cut at its edges. Calls `take` with each,
/// in an order that depends on the town and `bounds` only.
///
/// # Errors
/// Those of `take`.
pub fn outlines(
    town: &Town,
    bounds: &Bounds,
    mut take: impl FnMut(Polygon<f64>) -> Result<()>,
) -> Result<()> {
    let mut top = bounds.min.y;
    while top < bounds.max.y {
        let bottom = (top + BAND_M).min(bounds.max.y);
        let (first, last) = (top <= bounds.min.y, bottom >= bounds.max.y);
        let band = Bounds { min: at(bounds.min.x, top), max: at(bounds.max.x, bottom) };
        // Each block belongs to the band that holds its centre.
        let cells = town.cells(&band, 200.0);
        let found: Vec<Vec<Polygon<f64>>> = cells
            .par_iter()
            .map(|cell| {
                let y = cell.centre().y;
                let ours = (first || y >= top) && (last || y < bottom);
                if !ours || !cell.bounds().meets(bounds) {
                    return Vec::new();
                }
                let block = Builder::new(town, cell).build();
                block.buildings.into_iter().flat_map(|b| clipped(b.outline, bounds)).collect()
            })
            .collect();
        for outline in found.into_iter().flatten() {
            take(outline)?;
        }
        top = bottom;
    }
    Ok(())
}

fn clipped(outline: Polygon<f64>, bounds: &Bounds) -> Vec<Polygon<f64>> {
    let own = Bounds::around(outline.exterior().coords().copied());
    if !own.meets(bounds) {
        return Vec::new();
    }
    let inside = own.min.x >= bounds.min.x
        && own.min.y >= bounds.min.y
        && own.max.x <= bounds.max.x
        && own.max.y <= bounds.max.y;
    if inside {
        return vec![outline];
    }
    let (a, b) = (bounds.min, bounds.max);
    let extent = polygon(vec![a, at(b.x, a.y), b, at(a.x, b.y)], None);
    let rest = outline.intersection(&extent);
    // The intersection rounds to a grid of its own, a hair beyond the edge.
    let clamp = |c: Coord<f64>| at(c.x.clamp(a.x, b.x), c.y.clamp(a.y, b.y));
    rest.into_iter()
        .filter(|p| p.unsigned_area() >= SMALLEST_REST_M2)
        .map(|p| p.map_coords(clamp))
        .collect()
}

/// Writes the footprints of a whole scene; returns how many there are.
///
/// # Errors
/// The file cannot be written.
pub fn write_footprints(path: &Path, town: &Town, gsd_m: f64, grid: &Grid) -> Result<usize> {
    // GeoPackage records when it was written; the same town must give the same bytes.
    const TODAY: &str = "OGR_CURRENT_DATE";
    gdal::config::set_thread_local_config_option(TODAY, "2000-01-01T00:00:00.000Z")
        .map_err(Error::gdal(path))?;
    let written = write_outlines(path, town, gsd_m, grid);
    gdal::config::clear_thread_local_config_option(TODAY).map_err(Error::gdal(path))?;
    written
}

fn write_outlines(path: &Path, town: &Town, gsd_m: f64, grid: &Grid) -> Result<usize> {
    let mut writer = LayerWriter::create(
        path,
        "buildings",
        grid.crs.as_ref(),
        &[("id", FieldKind::Int), ("area_m2", FieldKind::Real)],
    )?;
    let bounds = Bounds {
        min: at(0.0, 0.0),
        max: at(grid.width as f64 * gsd_m, grid.height as f64 * gsd_m),
    };
    let mut count = 0;
    outlines(town, &bounds, |outline| {
        count += 1;
        // Ground metres to pixels to the world.
        let world = outline.map_coords(|c| {
            let (x, y) = grid.transform.apply(c.x / gsd_m, c.y / gsd_m);
            Coord { x, y }
        });
        let area_m2 = (outline.unsigned_area() * 100.0).round() / 100.0;
        writer.push(&world.into(), &[Value::Int(count), Value::Real(area_m2)])
    })?;
    writer.finish()?;
    Ok(count as usize)
}

/// Writes an area of interest: an irregular hexagon over most of the scene.
///
/// # Errors
/// The file cannot be written.
pub fn write_aoi(path: &Path, grid: &Grid) -> Result<()> {
    const CORNERS: [(f64, f64); 6] =
        [(0.05, 0.04), (0.62, 0.02), (0.97, 0.16), (0.95, 0.94), (0.40, 0.98), (0.03, 0.78)];
    let ring = CORNERS
        .map(|(x, y)| grid.transform.apply(x * grid.width as f64, y * grid.height as f64))
        .map(|(x, y)| at(x, y));
    let mut writer =
        LayerWriter::create(path, "aoi", grid.crs.as_ref(), &[("name", FieldKind::Text)])?;
    writer.push(&polygon(ring.to_vec(), None).into(), &[Value::Text("area of interest")])?;
    writer.finish()
}
