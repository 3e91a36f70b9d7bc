//! Whether redrawn buildings are still the buildings that were traced.

use geo::{LineString, MultiPolygon, Polygon};

use super::super::conflicts::{distance_squared, doubled_area};
use super::super::mesh::{Mesh, Point};
use super::ROUNDING_M;
use super::walls::{Wall, walls_of};
use crate::geo::overlap::Shape;

/// The part of a smaller building that rounding may make overlap.
const ROUNDING: f64 = 1e-9;

/// What redrawn buildings are held to.
pub(super) struct Gate<'a> {
    pub(super) simple: &'a Mesh,
    /// The traced buildings.
    pub(super) traced: &'a [Shape],
    /// The scene's sides, metres: what is known of a building ends there.
    pub(super) scene_m: Point,
    pub(super) min_iou: f64,
    /// Walls that come closer are taken to touch, metres.
    pub(super) clearance_m: f64,
}

impl Gate<'_> {
    /// What the buildings of `drawn` that are not `back` and the traced ones do not share, square metres.
    ///
    /// # Errors
    /// The buildings that must go back to their simple outline; those that are `back` already, which are valid among
    /// themselves, are not asked again.
    pub(super) fn check(&self, drawn: &Mesh, back: &[bool]) -> Result<f64, Vec<bool>> {
        let mut failed: Vec<bool> = (0..drawn.buildings.len())
            .map(|building| {
                let is_whole =
                    || self.has_its_rings(drawn, building) && self.lies_in_scene(drawn, building);
                !back[building] && !is_whole()
            })
            .collect();
        for (one, other) in conflicts(drawn, self.clearance_m, self.scene_m) {
            for &owner in one.owners.iter().chain(&other.owners) {
                failed[owner as usize] |= !back[owner as usize];
            }
        }
        // Shared areas hold for valid rings only.
        if failed.contains(&true) {
            return Err(failed);
        }
        let shapes: Vec<Shape> =
            drawn.buildings.iter().map(|rings| shape(&drawn.points, rings)).collect();
        let mut astray_m2 = 0.0;
        for building in (0..shapes.len()).filter(|building| !back[*building]) {
            let (shape, traced) = (&shapes[building], &self.traced[building]);
            let shared = shape.shared_area(traced);
            let union = shape.area() + traced.area() - shared;
            astray_m2 += union - shared;
            failed[building] = shared < self.min_iou * union || !holes_lie_inside(drawn, building);
        }
        for (one, a) in shapes.iter().enumerate() {
            for (other, b) in shapes.iter().enumerate().skip(one + 1) {
                let rounding = ROUNDING * a.area().min(b.area());
                if !(back[one] && back[other]) && a.shared_area(b) > rounding {
                    failed[one] |= !back[one];
                    failed[other] |= !back[other];
                }
            }
        }
        if failed.contains(&true) { Err(failed) } else { Ok(astray_m2) }
    }

    fn lies_in_scene(&self, drawn: &Mesh, building: usize) -> bool {
        let mut vertices = drawn.buildings[building].iter().flatten();
        vertices.all(|&vertex| is_inside(drawn.points[vertex as usize], self.scene_m))
    }

    /// Whether every ring is still there, passes no vertex twice and encloses something on the same side.
    fn has_its_rings(&self, drawn: &Mesh, building: usize) -> bool {
        let (rings, simple) = (&drawn.buildings[building], &self.simple.buildings[building]);
        rings.iter().zip(simple).all(|(ring, before)| {
            let mut vertices = ring.clone();
            vertices.sort_unstable();
            vertices.dedup();
            let area = doubled_area(&along(&drawn.points, ring));
            let area_before = doubled_area(&along(&self.simple.points, before));
            vertices.len() == ring.len() && ring.len() >= 3 && area * area_before > 0.0
        })
    }
}

/// Whether a point lies in a scene of `scene_m` metres, or so little outside that it is rounding.
pub(super) fn is_inside(point: Point, scene_m: Point) -> bool {
    (0..2).all(|axis| (-ROUNDING_M..=scene_m[axis] + ROUNDING_M).contains(&point[axis]))
}

fn along(points: &[Point], ring: &[u32]) -> Vec<Point> {
    ring.iter().map(|&vertex| points[vertex as usize]).collect()
}

/// A building as a shape.
pub(super) fn shape(points: &[Point], rings: &[Vec<u32>]) -> Shape {
    let line = |ring: &Vec<u32>| -> LineString<f64> { along(points, ring).into() };
    let exterior = rings.first().map_or_else(|| LineString(Vec::new()), line);
    // Closes the rings.
    let polygon = Polygon::new(exterior, rings.iter().skip(1).map(line).collect());
    Shape::new(&MultiPolygon(vec![polygon]))
}

fn holes_lie_inside(mesh: &Mesh, building: usize) -> bool {
    let rings = &mesh.buildings[building];
    if rings.len() < 2 {
        return true;
    }
    let filled: Vec<Shape> =
        rings.iter().map(|ring| shape(&mesh.points, std::slice::from_ref(ring))).collect();
    let (outer, holes) = (&filled[0], &filled[1..]);
    holes.iter().enumerate().all(|(i, hole)| {
        let rounding = ROUNDING * hole.area();
        hole.area() - outer.shared_area(hole) <= rounding
            && holes[i + 1..].iter().all(|other| hole.shared_area(other) <= rounding)
    })
}

/// Pairs of walls that cross, touch or nearly touch, other than by a common vertex.
fn conflicts(mesh: &Mesh, clearance_m: f64, scene_m: Point) -> Vec<(Wall, Wall)> {
    let mut walls = walls_of(mesh, scene_m);
    let bounds = |wall: &Wall, axis: usize| {
        let [a, b] = wall.ends.map(|end| mesh.points[end as usize][axis]);
        [a.min(b), a.max(b)]
    };
    walls.sort_by(|s, t| bounds(s, 0)[0].total_cmp(&bounds(t, 0)[0]));
    let mut found = Vec::new();
    for (i, s) in walls.iter().enumerate() {
        let right = bounds(s, 0)[1] + clearance_m;
        let [top, bottom] = bounds(s, 1);
        for t in walls[i + 1..].iter().take_while(|t| bounds(t, 0)[0] <= right) {
            let rows = bounds(t, 1);
            let apart = rows[1] < top - clearance_m || rows[0] > bottom + clearance_m;
            if !apart && in_conflict(mesh, s, t, clearance_m) {
                found.push((s.clone(), t.clone()));
            }
        }
    }
    found
}

fn in_conflict(mesh: &Mesh, s: &Wall, t: &Wall, clearance_m: f64) -> bool {
    let ends = |wall: &Wall| wall.ends.map(|end| mesh.points[end as usize]);
    let ([a, b], [c, d]) = (ends(s), ends(t));
    let near = |p, [from, to]: [Point; 2]| distance_squared(p, from, to) < clearance_m.powi(2);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        if s.ends[i] == t.ends[j] {
            // Walls with a common vertex must not fold back on each other.
            return near([a, b][1 - i], [c, d]) || near([c, d][1 - j], [a, b]);
        }
    }
    let side = |p: Point, [from, to]: [Point; 2]| {
        (to[0] - from[0]) * (p[1] - from[1]) - (to[1] - from[1]) * (p[0] - from[0]) > 0.0
    };
    let crosses = side(a, [c, d]) != side(b, [c, d]) && side(c, [a, b]) != side(d, [a, b]);
    crosses || near(a, [c, d]) || near(b, [c, d]) || near(c, [a, b]) || near(d, [a, b])
}
