//! Simplified outlines -> regular ones, where the traced outlines speak for them.
//!
//! The walls of a component vote for orientations; each wall near an axis of its building's follows it, and walls in a row along one
//! axis lie on one line, the mean of them. Vertices go to where their lines meet. Diagonals keep their own lines. What
//! comes out has to pass a gate, building by building: it must be valid, overlap none and share enough with the traced outline,
//! or the building keeps the simplified one.

mod circle;
mod gate;
mod lines;
mod orientation;
mod redraw;
mod walls;

use self::circle::circle;
use self::gate::{Gate, shape};
use self::orientation::Orientations;
use self::redraw::Sketch;
use self::walls::Walls;
use super::mesh::{Mesh, Point, Ring};
use super::outline::Status;
use crate::config::regularize::Regularize;

/// A component made regular.
#[derive(Clone, Debug)]
pub(super) struct Regular {
    pub(super) mesh: Mesh,
    /// Of each building.
    pub(super) status: Vec<Status>,
}

/// Rounds in which buildings go back to their simple outline; after them all do.
const MAX_ROUNDS: usize = 20;

/// Walls that come closer than this part of a pixel are taken to touch, vertices to be one.
const CLEARANCE_PX: f64 = 0.05;

/// A circle may agree less than a simplified outline, which follows the noise as well, by this much. A hexagon's circle
/// agrees less by 0.07.
const CIRCLE_MARGIN: f64 = 0.02;

/// Makes the simplified outlines of a component regular. `traced` holds the same buildings as they were traced; `pixel_m` is
/// the shorter side of a pixel. The result is valid where `simple` is.
pub(super) fn regularize(
    simple: &Mesh,
    traced: &Mesh,
    options: &Regularize,
    pixel_m: f64,
) -> Regular {
    let walls = Walls::new(simple);
    let tolerance_m = options.tolerance_m.max(pixel_m);
    let orientations = Orientations::new(&walls, simple.buildings.len());
    let shapes = traced.buildings.iter().map(|rings| shape(&traced.points, rings)).collect();
    let gate = Gate {
        simple,
        traced: shapes,
        min_iou: options.min_iou,
        clearance_m: CLEARANCE_PX * pixel_m,
    };
    let mut back: Vec<bool> = orientations.of.iter().map(Vec::is_empty).collect();
    let mut mesh = simple.clone();
    for round in 0..=MAX_ROUNDS {
        if round == MAX_ROUNDS {
            back.fill(true);
        }
        if back.iter().all(|back| *back) {
            mesh = simple.clone();
            break;
        }
        let sketch = Sketch {
            mesh: simple,
            walls: &walls,
            axes: orientations.axes(&walls, &back, tolerance_m),
            held: held(simple, &back),
            tolerance_m,
        };
        mesh = sketch.redrawn(gate.clearance_m);
        let failed = gate.failures(&mesh, &back);
        if !failed.contains(&true) {
            break;
        }
        back.iter_mut().zip(failed).for_each(|(back, failed)| *back |= failed);
    }
    let status = back.iter().map(|back| if *back { Status::Simplified } else { Status::Regular });
    let mut regular = Regular { mesh, status: status.collect() };
    if let ([rings], true) = (&traced.buildings[..], options.circles)
        && let [ring] = &rings[..]
    {
        let outline: Vec<Point> =
            ring.iter().map(|&vertex| traced.points[vertex as usize]).collect();
        make_round(&mut regular, &outline, &gate, pixel_m);
    }
    regular
}

/// The vertices of buildings that keep their simple outline.
fn held(mesh: &Mesh, back: &[bool]) -> Vec<bool> {
    let mut held = vec![false; mesh.points.len()];
    for (rings, _) in mesh.buildings.iter().zip(back).filter(|(_, back)| **back) {
        rings.iter().flatten().for_each(|&vertex| held[vertex as usize] = true);
    }
    held
}

/// Makes a building without neighbours and holes a circle where that agrees with what was traced, better than right
/// angles do and not much worse than the simplified outline.
fn make_round(regular: &mut Regular, outline: &[Point], gate: &Gate, pixel_m: f64) {
    let Some(points) = circle(outline, pixel_m) else { return };
    let ring: Ring = (0..points.len() as u32).collect();
    let circle = Mesh { points, buildings: vec![vec![ring]] };
    let agreement = |mesh: &Mesh| shape(&mesh.points, &mesh.buildings[0]).iou(&gate.traced[0]);
    let less = if regular.status == [Status::Regular] { 0.0 } else { CIRCLE_MARGIN };
    if agreement(&circle) >= gate.min_iou.max(agreement(&regular.mesh) - less) {
        *regular = Regular { mesh: circle, status: vec![Status::Circle] };
    }
}

#[cfg(test)]
mod tests;
