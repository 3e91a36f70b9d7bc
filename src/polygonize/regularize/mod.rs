//! Simplified outlines -> regular ones, where the traced outlines speak for them.
//!
//! The walls of a component vote for orientations; each wall near an axis of its building's follows it, and walls in a row along one
//! axis lie on one line, the mean of them. Vertices go to where their lines meet. Diagonals keep their own lines. What
//! comes out has to pass a gate, building by building: it must be valid, overlap none and share enough with the traced outline,
//! or the building keeps the simplified one. A component is drawn with larger tolerances, too, and the drawing that says most
//! about the traced outline with fewest corners is taken: what is rough becomes as regular as it can be, what is clear stays exact.

mod choice;
mod circle;
mod gate;
mod lines;
mod orientation;
mod redraw;
mod walls;

use self::choice::{Evidence, has_right_angles_only};
use self::circle::circle;
use self::gate::{Gate, is_inside, shape};
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

/// Where a component lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The shorter side of a pixel.
    pub(super) pixel_m: f64,
    /// The scene's sides.
    pub(super) scene_m: Point,
}

/// Rounds in which buildings go back to their simple outline; after them all do.
const MAX_ROUNDS: usize = 20;

/// Walls that come closer than this part of a pixel are taken to touch, vertices to be one.
const CLEARANCE_PX: f64 = 0.05;

/// Coordinates may be off by as much through arithmetic alone.
const ROUNDING_M: f64 = 1e-6;

/// A circle may agree less than a simplified outline, which follows the noise as well, by this much. A hexagon's circle
/// agrees less by 0.07.
const CIRCLE_MARGIN: f64 = 0.02;

/// The buildings of a component made regular. `traced` holds them as they were traced; `simplified` simplifies that by so many
/// times the tolerance. The result is valid and in the scene where the simplified outlines are.
pub(super) fn regularize(
    traced: &Mesh,
    simplified: impl Fn(f64) -> Mesh,
    options: &Regularize,
    place: Place,
) -> Regular {
    let mut regular = chosen(traced, simplified, options, place);
    for point in &mut regular.mesh.points {
        *point = [0, 1].map(|axis| point[axis].clamp(0.0, place.scene_m[axis]));
    }
    regular
}

/// The drawing that is taken; in the scene but for rounding.
fn chosen(
    traced: &Mesh,
    simplified: impl Fn(f64) -> Mesh,
    options: &Regularize,
    place: Place,
) -> Regular {
    let simple = simplified(1.0);
    let evidence = Evidence::new(traced, &simple);
    let draft = |simple, scale| Draft::new(simple, &evidence, options, scale, place);
    let mut drawing = draft(&simple, 1.0).as_far_as_it_goes();
    if let ([rings], true) = (&traced.buildings[..], options.circles)
        && let [ring] = &rings[..]
        && let Some(round) =
            rounded(&drawing.regular, &traced.ring_points(ring), &evidence, options.min_iou, place)
    {
        return round;
    }
    let scale = options.rough_scale;
    if scale > 1.0 {
        // Where all walls follow their axes, there is none to turn further.
        let turns = !has_right_angles_only(&drawing.regular.mesh);
        let turned = turns.then(|| draft(&simple, scale).all_regular()).flatten();
        let coarse = Some(simplified(scale)).filter(|coarse| *coarse != simple);
        let coarse = coarse.as_ref().and_then(|coarse| draft(coarse, scale).all_regular());
        drawing = evidence.best(drawing, turned.into_iter().chain(coarse));
    }
    drawing.regular
}

/// A component drawn regular, and what it does not share with the traced one.
struct Drawing {
    regular: Regular,
    /// Square metres; absent where not all of it has been compared.
    astray_m2: Option<f64>,
}

/// The simplified outlines of a component, about to be drawn regular.
struct Draft<'a> {
    simple: &'a Mesh,
    walls: Walls,
    orientations: Orientations,
    gate: Gate<'a>,
    tolerance_m: f64,
}

impl<'a> Draft<'a> {
    /// With so many times the tolerance.
    fn new(
        simple: &'a Mesh,
        evidence: &'a Evidence,
        options: &Regularize,
        scale: f64,
        place: Place,
    ) -> Self {
        let walls = Walls::new(simple, place.scene_m);
        let orientations = Orientations::new(&walls, simple.buildings.len());
        let gate = Gate {
            simple,
            traced: &evidence.shapes,
            scene_m: place.scene_m,
            min_iou: options.min_iou,
            clearance_m: CLEARANCE_PX * place.pixel_m,
        };
        let tolerance_m = scale * options.tolerance_m.max(place.pixel_m);
        Self { simple, walls, orientations, gate, tolerance_m }
    }

    /// The buildings whose walls follow no direction.
    fn aimless(&self) -> Vec<bool> {
        self.orientations.of.iter().map(Vec::is_empty).collect()
    }

    /// Drawn with the simple outlines of the buildings that are `back`; else the buildings that fail.
    fn drawn(&self, back: &[bool]) -> Result<Drawing, Vec<bool>> {
        let sketch = Sketch {
            mesh: self.simple,
            walls: &self.walls,
            axes: self.orientations.axes(&self.walls, back, self.tolerance_m),
            held: held(self.simple, back),
            tolerance_m: self.tolerance_m,
        };
        let mesh = sketch.redrawn(self.gate.clearance_m);
        let astray_m2 = self.gate.check(&mesh, back)?;
        let astray_m2 = (!back.contains(&true)).then_some(astray_m2);
        let of = |back: &bool| if *back { Status::Simplified } else { Status::Regular };
        let status = back.iter().map(of).collect();
        Ok(Drawing { regular: Regular { mesh, status }, astray_m2 })
    }

    /// Buildings that fail keep their simple outline.
    fn as_far_as_it_goes(&self) -> Drawing {
        let mut back = self.aimless();
        for _ in 0..MAX_ROUNDS {
            if back.iter().all(|back| *back) {
                break;
            }
            match self.drawn(&back) {
                Ok(drawing) => return drawing,
                Err(failed) => {
                    back.iter_mut().zip(failed).for_each(|(back, failed)| *back |= failed);
                }
            }
        }
        let status = vec![Status::Simplified; back.len()];
        Drawing { regular: Regular { mesh: self.simple.clone(), status }, astray_m2: None }
    }

    /// `None` where a building fails.
    fn all_regular(&self) -> Option<Drawing> {
        let back = self.aimless();
        if back.contains(&true) { None } else { self.drawn(&back).ok() }
    }
}

/// The vertices of buildings that keep their simple outline.
fn held(mesh: &Mesh, back: &[bool]) -> Vec<bool> {
    let mut held = vec![false; mesh.points.len()];
    for (rings, _) in mesh.buildings.iter().zip(back).filter(|(_, back)| **back) {
        rings.iter().flatten().for_each(|&vertex| held[vertex as usize] = true);
    }
    held
}

/// A building without neighbours and holes as a circle where that agrees with what was traced, better than right
/// angles do and not much worse than the simplified outline.
fn rounded(
    drawn: &Regular,
    outline: &[Point],
    evidence: &Evidence,
    min_iou: f64,
    place: Place,
) -> Option<Regular> {
    let points = circle(outline, place.pixel_m)?;
    if !points.iter().all(|&point| is_inside(point, place.scene_m)) {
        return None;
    }
    let ring: Ring = (0..points.len() as u32).collect();
    let circle = Mesh { points, buildings: vec![vec![ring]] };
    let agreement = |mesh: &Mesh| shape(&mesh.points, &mesh.buildings[0]).iou(&evidence.shapes[0]);
    let less = if drawn.status == [Status::Regular] { 0.0 } else { CIRCLE_MARGIN };
    let agrees = agreement(&circle) >= min_iou.max(agreement(&drawn.mesh) - less);
    agrees.then(|| Regular { mesh: circle, status: vec![Status::Circle] })
}

#[cfg(test)]
mod tests;
