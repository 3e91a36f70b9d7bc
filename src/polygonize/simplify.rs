//! Stair steps -> straight walls.
//!
//! Douglas and Peucker (1973) choose which vertices of the raw outline stay. Then every vertex moves to
//! where the lines meet that fit its two walls best (total least squares over the edges that a wall
//! stands for): corners of pixels lie on the outer side of a slanting wall or on its inner side by chance,
//! their mean does not. Walls that buildings share are simplified once, and nodes, where walls meet, stay. Where walls would
//! cross or touch, those concerned go back towards the raw outline, step by step, and nothing else does.

use super::conflicts::{Chain, SegmentId, conflicts, doubled_area, misplaced_holes, turned_nodes};
use super::draft::{Draft, RawArc};
use super::mesh::{Mesh, Point, Topology, Use};

/// Rounds of taking back; each takes back at least one vertex.
const MAX_ROUNDS: usize = 60;

/// Segments that come closer than this share of a pixel are taken to touch. Far above the rounding of
/// coordinates, far below what a pixel can show.
const CLEARANCE_PX: f64 = 0.05;

/// Simplifies outlines by about `tolerance_m`; the result is valid if `raw` is, and stays in the scene, of `scene_m` metres. `pixel_m` is
/// the shorter side of a pixel.
pub(super) fn simplify(raw: &Mesh, tolerance_m: f64, pixel_m: f64, scene_m: Point) -> Mesh {
    let topology = Topology::of(raw);
    let mut drafts: Vec<Draft> = topology
        .arcs
        .iter()
        .map(|arc| {
            let raw = RawArc { points: raw.ring_points(&arc.vertices), closed: arc.closed };
            Draft::new(raw, tolerance_m, scene_m)
        })
        .collect();
    let before: Vec<Chain> = drafts
        .iter()
        .map(|draft| Chain { points: draft.raw().points.clone(), closed: draft.raw().closed })
        .collect();
    let turns: Vec<f64> = ring_areas(&topology, &before).map(f64::signum).collect();
    for _ in 0..MAX_ROUNDS {
        let chains: Vec<Chain> = drafts.iter().map(Draft::chain).collect();
        let mut wrong = conflicts(&chains, CLEARANCE_PX * pixel_m);
        wrong.extend(turned_nodes(&before, &chains));
        let rings = topology.buildings.iter().flatten();
        for ((uses, turn), area) in rings.zip(&turns).zip(ring_areas(&topology, &chains)) {
            // Turned inside out, or vanished.
            if area * turn <= 0.0 {
                wrong.extend(walls_of(uses, &chains));
            }
        }
        if wrong.is_empty() {
            wrong = misplaced(&topology, &drafts, &chains, pixel_m);
        }
        if wrong.is_empty() {
            return together(&topology, &chains);
        }
        if !take_back(&mut drafts, wrong) {
            break;
        }
    }
    raw.clone()
}

fn ring_points(topology: &Topology, chains: &[Chain], uses: &[Use]) -> Vec<Point> {
    topology.ring(uses, |arc| chains[arc].points.clone())
}

fn walls_of(uses: &[Use], chains: &[Chain]) -> impl Iterator<Item = SegmentId> {
    let walls = |arc: usize| chains[arc].points.len() - usize::from(!chains[arc].closed);
    uses.iter().flat_map(move |part| (0..walls(part.arc)).map(|i| (part.arc, i)))
}

/// Twice the signed area of every ring.
fn ring_areas<'a>(topology: &'a Topology, chains: &'a [Chain]) -> impl Iterator<Item = f64> + 'a {
    let rings = topology.buildings.iter().flatten();
    rings.map(|uses| doubled_area(&ring_points(topology, chains, uses)))
}

/// The walls of holes that left their building, and those that they may have crossed.
fn misplaced(
    topology: &Topology,
    drafts: &[Draft],
    chains: &[Chain],
    pixel_m: f64,
) -> Vec<SegmentId> {
    let mut wrong = Vec::new();
    for building in topology.buildings.iter().filter(|building| building.len() > 1) {
        let rings: Vec<Vec<Point>> =
            building.iter().map(|uses| ring_points(topology, chains, uses)).collect();
        for (hole, point) in misplaced_holes(&rings) {
            wrong.extend(walls_of(&building[hole], chains));
            let walls = building.iter().flat_map(|uses| walls_of(uses, chains));
            wrong.extend(walls.filter(|&(arc, i)| drafts[arc].surrounds(i, point, pixel_m)));
        }
    }
    wrong
}

/// Takes a step back at each of the walls; false if there is none left to take.
fn take_back(drafts: &mut [Draft], mut walls: Vec<SegmentId>) -> bool {
    walls.sort_unstable();
    walls.dedup();
    let mut changed = false;
    // From the back: a new vertex moves the numbers of those behind it.
    for (arc, wall) in walls.into_iter().rev() {
        changed |= drafts[arc].take_back(wall);
    }
    changed
}

/// The arcs as a mesh again.
fn together(topology: &Topology, chains: &[Chain]) -> Mesh {
    let mut mesh = Mesh::default();
    // Nodes are the same vertex for all arcs that end there.
    let mut nodes: std::collections::HashMap<u32, u32> = std::collections::HashMap::new();
    let mut vertices: Vec<Vec<u32>> = Vec::new();
    for (arc, chain) in topology.arcs.iter().zip(chains) {
        let last = chain.points.len() - 1;
        let of_arc = chain.points.iter().enumerate().map(|(i, &point)| {
            let next = mesh.points.len() as u32;
            if !arc.closed && (i == 0 || i == last) {
                let node =
                    if i == 0 { arc.vertices[0] } else { arc.vertices[arc.vertices.len() - 1] };
                let known = *nodes.entry(node).or_insert(next);
                if known != next {
                    return known;
                }
            }
            mesh.points.push(point);
            next
        });
        let of_arc = of_arc.collect();
        vertices.push(of_arc);
    }
    for building in &topology.buildings {
        let rings = building.iter().map(|uses| topology.ring(uses, |arc| vertices[arc].clone()));
        let rings = rings.collect();
        mesh.buildings.push(rings);
    }
    mesh
}
