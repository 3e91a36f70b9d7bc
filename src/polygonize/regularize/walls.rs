//! The walls of a mesh, each once.

use std::collections::HashMap;
use std::f64::consts::PI;

use super::super::mesh::Mesh;
use super::super::mesh::Point;
use super::ROUNDING_M;

/// An edge of the mesh.
#[derive(Clone, Debug)]
pub(super) struct Wall {
    /// Its vertices.
    pub(super) ends: [u32; 2],
    /// The buildings at its sides; twice the same where there is only one.
    pub(super) owners: [u32; 2],
    /// Metres.
    pub(super) length: f64,
    /// Direction, 0..PI.
    pub(super) angle: f64,
    pub(super) middle: Point,
    /// It lies on the scene's edge: what is known of the building ends there, not the building.
    pub(super) is_cut: bool,
}

/// All walls of a mesh, in the order in which its rings pass them first.
#[derive(Clone, Debug, Default)]
pub(super) struct Walls {
    pub(super) walls: Vec<Wall>,
    /// The walls that meet at each vertex.
    pub(super) at: Vec<Vec<u32>>,
}

impl Walls {
    /// Those of a mesh in a scene of `scene_m` metres.
    pub(super) fn new(mesh: &Mesh, scene_m: Point) -> Self {
        let walls = walls_of(mesh, scene_m);
        let mut at = vec![Vec::new(); mesh.points.len()];
        for (number, wall) in walls.iter().enumerate() {
            wall.ends.iter().for_each(|&end| at[end as usize].push(number as u32));
        }
        Self { walls, at }
    }
}

/// The walls of a mesh in a scene of `scene_m` metres.
pub(super) fn walls_of(mesh: &Mesh, scene_m: Point) -> Vec<Wall> {
    let mut walls: Vec<Wall> = Vec::new();
    // One building alone shares no wall.
    let shares = mesh.buildings.len() > 1;
    let mut known: HashMap<[u32; 2], usize> = HashMap::new();
    for (building, rings) in mesh.buildings.iter().enumerate() {
        for ends in rings.iter().flat_map(|ring| edges(ring)) {
            let key = [ends[0].min(ends[1]), ends[0].max(ends[1])];
            let next = walls.len();
            let number = if shares { *known.entry(key).or_insert(next) } else { next };
            if number == next {
                walls.push(Wall::new(mesh, ends, building as u32, scene_m));
            } else {
                walls[number].owners[1] = building as u32;
            }
        }
    }
    walls
}

impl Wall {
    fn new(mesh: &Mesh, ends: [u32; 2], owner: u32, scene_m: Point) -> Self {
        let [a, b] = ends.map(|end| mesh.points[end as usize]);
        let lies_at = |axis: usize, edge: f64| {
            [a, b].iter().all(|end| (end[axis] - edge).abs() <= ROUNDING_M)
        };
        Self {
            ends,
            owners: [owner; 2],
            length: (b[0] - a[0]).hypot(b[1] - a[1]),
            angle: (b[1] - a[1]).atan2(b[0] - a[0]).rem_euclid(PI),
            middle: [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])],
            is_cut: (0..2).any(|axis| lies_at(axis, 0.0) || lies_at(axis, scene_m[axis])),
        }
    }
}

/// The edges of a ring as pairs of vertices.
pub(super) fn edges(ring: &[u32]) -> impl Iterator<Item = [u32; 2]> + '_ {
    ring.iter().zip(ring.iter().cycle().skip(1)).map(|(&a, &b)| [a, b])
}
