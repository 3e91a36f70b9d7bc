//! Rings of pixel corners -> outlines in metres, along pixel edges or through the pixels.
//!
//! Through the pixels is the contour of the score field at the threshold (marching squares): every pixel edge of a ring lies between the
//! centre of a pixel inside and one outside, and the contour crosses the line between the two where their scores, interpolated linearly,
//! reach the threshold. So a ring has one vertex for each of its pixel edges, and which pixels hang together is decided by the sweep alone.

use std::collections::HashMap;

use super::mesh::{Mesh, Point};
use super::patch::ScoreWindow;
use super::rings::Ring;
use super::sweep::Corner;
use super::threshold::NODATA;

/// How far from its pixel edge, in pixels, the contour may run: short of the centres, where contours could meet.
const FARTHEST_PX: f64 = 0.45;

/// Where scores cross the threshold, and which building each pixel of the component belongs to.
pub(super) struct Field<'a> {
    pub(super) window: &'a ScoreWindow,
    /// Building of each pixel of the window from 1 on, 0 for none; absent where there is one building only.
    pub(super) labels: Option<&'a [u16]>,
    /// The threshold as a score, not rounded.
    pub(super) level: f64,
}

/// How far from a corner by which two pixels are connected, px, a bridge between them begins: rings that met there would not be valid.
const BRIDGE_PX: f64 = 0.125;

/// Outlines of pixels that are connected by corners, too, along their edges: a vertex where they turn, and a narrow bridge at such corners.
pub(super) fn along_edges_and_bridges(buildings: &[Vec<&Ring>], gsd_m: (f64, f64)) -> Mesh {
    let mut mesh = Mesh::default();
    for rings in buildings {
        let mut building = Vec::new();
        for Ring { corners, .. } in rings {
            let first = mesh.points.len() as u32;
            for (i, corner) in corners.iter().enumerate() {
                let (x, y) = (f64::from(corner.col), f64::from(corner.row));
                if !corner.pinch {
                    mesh.points.push(metres(x, y, gsd_m));
                    continue;
                }
                for other in [(i + corners.len() - 1) % corners.len(), (i + 1) % corners.len()] {
                    let (dx, dy) =
                        (f64::from(corners[other].col) - x, f64::from(corners[other].row) - y);
                    let toward = |d: f64| if d == 0.0 { 0.0 } else { BRIDGE_PX.copysign(d) };
                    mesh.points.push(metres(x + toward(dx), y + toward(dy), gsd_m));
                }
            }
            building.push((first..mesh.points.len() as u32).collect());
        }
        mesh.buildings.push(building);
    }
    mesh
}

/// Outlines that follow pixel edges: a vertex where they turn.
pub(super) fn along_edges(buildings: &[Vec<&Ring>], gsd_m: (f64, f64)) -> Mesh {
    let mut mesh = Mesh::default();
    let mut pinches: HashMap<(u32, u32), u32> = HashMap::new();
    for rings in buildings {
        let rings = rings.iter().map(|ring| {
            let vertices = ring.corners.iter().map(|corner| {
                let next = mesh.points.len() as u32;
                if corner.pinch {
                    let known = *pinches.entry((corner.col, corner.row)).or_insert(next);
                    if known != next {
                        return known;
                    }
                }
                mesh.points.push(metres(f64::from(corner.col), f64::from(corner.row), gsd_m));
                next
            });
            vertices.collect()
        });
        let rings = rings.collect();
        mesh.buildings.push(rings);
    }
    mesh
}

/// Outlines of several buildings of one component along pixel edges: a vertex at every corner that a ring passes, so that
/// shared walls have the same ones.
pub(super) fn along_shared_edges(buildings: &[Vec<&Ring>], gsd_m: (f64, f64)) -> Mesh {
    let mut vertices = Vertices::default();
    vertices.mesh(buildings, |vertices, step, ring| {
        let Step { from: (col, row), .. } = step;
        let at = || metres(f64::from(col), f64::from(row), gsd_m);
        ring.push(vertices.shared((col, row, Place::Corner), at));
    })
}

/// Outlines through the pixels.
pub(super) fn through_pixels(buildings: &[Vec<&Ring>], gsd_m: (f64, f64), field: &Field) -> Mesh {
    let mut vertices = Vertices::default();
    vertices.mesh(buildings, |vertices, step, ring| {
        let (col, row) = step.from;
        if field.is_node(i64::from(col), i64::from(row)) {
            let at = || metres(f64::from(col), f64::from(row), gsd_m);
            ring.push(vertices.shared((col, row, Place::Corner), at));
        }
        let (x, y) = step.middle();
        match field.offset_px(&step) {
            Some(offset) => {
                let (dx, dy) = step.outward();
                let (x, y) = (x + dx * offset, y + dy * offset);
                ring.push(vertices.own(metres(x, y, gsd_m)));
            }
            // Two buildings meet at this edge.
            None => ring.push(vertices.shared(step.key(), || metres(x, y, gsd_m))),
        }
    })
}

fn metres(x: f64, y: f64, gsd_m: (f64, f64)) -> Point {
    [x * gsd_m.0, y * gsd_m.1]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A pixel corner.
    Corner,
    /// The edge from that corner to the right.
    Right,
    /// The edge from that corner down.
    Down,
}

/// Vertices by where they lie.
#[derive(Default)]
struct Vertices {
    points: Vec<Point>,
    known: HashMap<(u32, u32, Place), u32>,
}

impl Vertices {
    fn own(&mut self, at: Point) -> u32 {
        self.points.push(at);
        self.points.len() as u32 - 1
    }

    fn shared(&mut self, key: (u32, u32, Place), at: impl Fn() -> Point) -> u32 {
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let vertex = self.own(at());
        self.known.insert(key, vertex);
        vertex
    }

    /// Rings step by step.
    fn mesh(
        &mut self,
        buildings: &[Vec<&Ring>],
        mut take: impl FnMut(&mut Self, Step, &mut Vec<u32>),
    ) -> Mesh {
        let mut mesh = Mesh::default();
        for rings in buildings {
            let mut building = Vec::new();
            for ring in rings {
                let mut vertices = Vec::new();
                for step in steps(&ring.corners) {
                    take(self, step, &mut vertices);
                }
                building.push(vertices);
            }
            mesh.buildings.push(building);
        }
        mesh.points = std::mem::take(&mut self.points);
        mesh
    }
}

/// One pixel edge of a ring, in the ring's direction: the foreground lies at its left hand.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: (u32, u32),
    to: (u32, u32),
}

fn steps(corners: &[Corner]) -> impl Iterator<Item = Step> + '_ {
    corners.iter().enumerate().flat_map(|(i, a)| {
        let b = corners[(i + 1) % corners.len()];
        let length = a.col.abs_diff(b.col) + a.row.abs_diff(b.row);
        let toward = |from: u32, to: u32, by: u32| match from.cmp(&to) {
            std::cmp::Ordering::Less => from + by,
            std::cmp::Ordering::Equal => from,
            std::cmp::Ordering::Greater => from - by,
        };
        let at = move |by: u32| (toward(a.col, b.col, by), toward(a.row, b.row, by));
        (0..length).map(move |by| Step { from: at(by), to: at(by + 1) })
    })
}

impl Step {
    fn middle(&self) -> (f64, f64) {
        let half = |a: u32, b: u32| f64::midpoint(f64::from(a), f64::from(b));
        (half(self.from.0, self.to.0), half(self.from.1, self.to.1))
    }

    /// Away from the foreground.
    fn outward(&self) -> (f64, f64) {
        let along = |a: u32, b: u32| f64::from(b) - f64::from(a);
        (-along(self.from.1, self.to.1), along(self.from.0, self.to.0))
    }

    fn key(&self) -> (u32, u32, Place) {
        let (col, row) = self.from.min(self.to);
        (col, row, if self.from.1 == self.to.1 { Place::Right } else { Place::Down })
    }

    /// (column, row) of the pixels at its left and right hand.
    fn sides(&self) -> ((i64, i64), (i64, i64)) {
        let (x, y) = self.middle();
        let (dx, dy) = self.outward();
        let pixel = |sign: f64| {
            ((x + sign * 0.5 * dx).floor() as i64, (y + sign * 0.5 * dy).floor() as i64)
        };
        (pixel(-1.0), pixel(1.0))
    }
}

impl Field<'_> {
    /// How far outward of a pixel edge the contour crosses, pixels; `None` where another building lies outside.
    fn offset_px(&self, step: &Step) -> Option<f64> {
        let (inside, outside) = step.sides();
        let (inside, outside) =
            (self.window.index(inside.0, inside.1), self.window.index(outside.0, outside.1));
        if self.labels.is_some_and(|labels| labels[outside] != 0) {
            return None;
        }
        let (high, low) = (self.window.scores[inside], self.window.scores[outside]);
        let (high, low) =
            if low == NODATA { return Some(0.0) } else { (f64::from(high), f64::from(low)) };
        // Closing, opening and filling decide against the scores: there the pixel edge is all that is known.
        if !(low < self.level && self.level <= high) {
            return Some(0.0);
        }
        let share = (high - self.level) / (high - low);
        Some((share - 0.5).clamp(-FARTHEST_PX, FARTHEST_PX))
    }

    /// Whether walls of two or more buildings end or meet at a pixel corner.
    fn is_node(&self, col: i64, row: i64) -> bool {
        let Some(labels) = self.labels else { return false };
        let label = |dx: i64, dy: i64| labels[self.window.index(col + dx, row + dy)];
        let around = [label(-1, -1), label(0, -1), label(0, 0), label(-1, 0)];
        let walls = (0..4).filter(|&i| {
            let (a, b) = (around[i], around[(i + 1) % 4]);
            a != 0 && b != 0 && a != b
        });
        match walls.count() {
            0 => false,
            // A wall that runs through.
            2 => around.contains(&0),
            _ => true,
        }
    }
}
