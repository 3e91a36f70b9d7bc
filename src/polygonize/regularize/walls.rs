//! The walls of a mesh, each once.

use std::collections::HashMap;
use std::f64::consts::PI;

use super::super::mesh::Mesh;
use super::super::mesh::Point;

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
}

/// All walls of a mesh, in the order in which its rings pass them first.
#[derive(Clone, Debug, Default)]
pub(super) struct Walls {
    pub(super) walls: Vec<Wall>,
    /// The walls that meet at each vertex.
    pub(super) at: Vec<Vec<u32>>,
}

impl Walls {
    pub(super) fn new(mesh: &Mesh) -> Self {
        let mut found = Self { walls: Vec::new(), at: vec![Vec::new(); mesh.points.len()] };
        let mut known: HashMap<[u32; 2], u32> = HashMap::new();
        for (building, rings) in mesh.buildings.iter().enumerate() {
            for ends in rings.iter().flat_map(|ring| edges(ring)) {
                let key = [ends[0].min(ends[1]), ends[0].max(ends[1])];
                let next = found.walls.len() as u32;
                let wall = *known.entry(key).or_insert(next);
                if wall == next {
                    found.push(mesh, ends, building as u32);
                } else {
                    found.walls[wall as usize].owners[1] = building as u32;
                }
            }
        }
        found
    }

    fn push(&mut self, mesh: &Mesh, ends: [u32; 2], owner: u32) {
        let [a, b] = ends.map(|end| mesh.points[end as usize]);
        for end in ends {
            self.at[end as usize].push(self.walls.len() as u32);
        }
        self.walls.push(Wall {
            ends,
            owners: [owner; 2],
            length: (b[0] - a[0]).hypot(b[1] - a[1]),
            angle: (b[1] - a[1]).atan2(b[0] - a[0]).rem_euclid(PI),
            middle: [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])],
        });
    }
}

/// The edges of a ring as pairs of vertices.
pub(super) fn edges(ring: &[u32]) -> impl Iterator<Item = [u32; 2]> + '_ {
    ring.iter().zip(ring.iter().cycle().skip(1)).map(|(&a, &b)| [a, b])
}
