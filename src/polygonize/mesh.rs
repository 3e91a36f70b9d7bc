//! Outlines of buildings that may share walls: rings over common vertices, and the arcs between the vertices where walls meet.

use std::collections::HashMap;

/// A position in metres from the scene's upper left: along columns, along rows.
pub(super) type Point = [f64; 2];

/// The buildings of one component of the mask.
///
/// A wall that two buildings share runs over the same vertices in both, so whoever moves or removes a vertex does so for both, and
/// neither a gap nor an overlap arises between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mesh {
    /// Each vertex once.
    pub(super) points: Vec<Point>,
    /// Rings of each building, the outer one first.
    pub(super) buildings: Vec<Vec<Ring>>,
}

/// Indices of a closed ring's vertices (the first is not repeated). On a screen an outer ring runs counter-clockwise and a hole clockwise.
pub(super) type Ring = Vec<u32>;

impl Mesh {
    /// The vertices of a ring.
    pub(super) fn ring_points(&self, ring: &[u32]) -> Vec<Point> {
        ring.iter().map(|&vertex| self.points[vertex as usize]).collect()
    }
}

/// A stretch of wall between two nodes, or a closed wall without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arc {
    pub(super) vertices: Vec<u32>,
    /// No node lies on it; the first vertex is not repeated.
    pub(super) closed: bool,
}

/// An arc as part of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) arc: usize,
    pub(super) reversed: bool,
}

/// A mesh taken apart at its nodes: the vertices where more or fewer than two walls meet.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    pub(super) arcs: Vec<Arc>,
    /// Building, ring, arcs in the order of the ring.
    pub(super) buildings: Vec<Vec<Vec<Use>>>,
}

impl Topology {
    pub(super) fn of(mesh: &Mesh) -> Self {
        let rings = || mesh.buildings.iter().flatten();
        let mut topology = Self::default();
        if rings().map(Vec::len).sum::<usize>() == mesh.points.len() {
            // No vertex is used twice.
            for building in &mesh.buildings {
                let rings = building.iter().map(|ring| {
                    topology.arcs.push(Arc { vertices: ring.clone(), closed: true });
                    vec![Use { arc: topology.arcs.len() - 1, reversed: false }]
                });
                let rings = rings.collect();
                topology.buildings.push(rings);
            }
            return topology;
        }
        let is_node = nodes(mesh);
        let mut known = Known::default();
        for building in &mesh.buildings {
            let rings = building.iter().map(|ring| topology.take_apart(ring, &is_node, &mut known));
            let rings = rings.collect();
            topology.buildings.push(rings);
        }
        topology
    }

    fn take_apart(&mut self, ring: &[u32], is_node: &[bool], known: &mut Known) -> Vec<Use> {
        let n = ring.len();
        let Some(start) = ring.iter().position(|&vertex| is_node[vertex as usize]) else {
            let start = (0..n).min_by_key(|&i| ring[i]).unwrap_or(0);
            let vertices: Vec<u32> = (0..n).map(|i| ring[(start + i) % n]).collect();
            return vec![self.closed(vertices, known)];
        };
        let mut uses = Vec::new();
        let mut vertices = vec![ring[start]];
        for i in 1..=n {
            let vertex = ring[(start + i) % n];
            vertices.push(vertex);
            if is_node[vertex as usize] {
                uses.push(self.open(std::mem::replace(&mut vertices, vec![vertex]), known));
            }
        }
        uses
    }

    fn closed(&mut self, vertices: Vec<u32>, known: &mut Known) -> Use {
        if let Some(&arc) = known.closed.get(&vertices[0]) {
            return Use { arc, reversed: self.arcs[arc].vertices.get(1) != vertices.get(1) };
        }
        let arc = self.arcs.len();
        known.closed.insert(vertices[0], arc);
        self.arcs.push(Arc { vertices, closed: true });
        Use { arc, reversed: false }
    }

    fn open(&mut self, vertices: Vec<u32>, known: &mut Known) -> Use {
        let edge = (vertices[0], vertices[1]);
        if let Some(&found) = known.open.get(&edge) {
            return found;
        }
        let arc = self.arcs.len();
        let n = vertices.len();
        known.open.insert(edge, Use { arc, reversed: false });
        known.open.insert((vertices[n - 1], vertices[n - 2]), Use { arc, reversed: true });
        self.arcs.push(Arc { vertices, closed: false });
        Use { arc, reversed: false }
    }

    /// A ring from something for each vertex of its arcs (nodes once).
    pub(super) fn ring<T: Clone>(&self, uses: &[Use], of_arc: impl Fn(usize) -> Vec<T>) -> Vec<T> {
        let mut ring = Vec::new();
        for part in uses {
            let mut vertices = of_arc(part.arc);
            if part.reversed {
                vertices.reverse();
            }
            if !self.arcs[part.arc].closed {
                // The next arc begins with the node that this one ends with.
                vertices.pop();
            }
            ring.append(&mut vertices);
        }
        ring
    }
}

/// Arcs that another ring has used.
#[derive(Default)]
struct Known {
    /// By the first edge along either direction.
    open: HashMap<(u32, u32), Use>,
    /// By the lowest vertex.
    closed: HashMap<u32, usize>,
}

fn nodes(mesh: &Mesh) -> Vec<bool> {
    let mut edges = Vec::new();
    for ring in mesh.buildings.iter().flatten() {
        for (i, &a) in ring.iter().enumerate() {
            let b = ring[(i + 1) % ring.len()];
            edges.push((a.min(b), a.max(b)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let mut degrees = vec![0_u32; mesh.points.len()];
    for (a, b) in edges {
        degrees[a as usize] += 1;
        degrees[b as usize] += 1;
    }
    degrees.into_iter().map(|degree| degree != 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two squares side by side: 0 1 2 along the top, 3 4 5 along the bottom.
    fn pair() -> Mesh {
        let points = (0..6).map(|i| [f64::from(i % 3), f64::from(i / 3)]).collect();
        Mesh { points, buildings: vec![vec![vec![0, 3, 4, 1]], vec![vec![1, 4, 5, 2]]] }
    }

    #[test]
    fn a_shared_wall_is_one_arc() {
        let mesh = pair();
        let topology = Topology::of(&mesh);
        assert_eq!(topology.arcs.len(), 3);
        let shared = |building: usize| {
            let uses = &topology.buildings[building][0];
            uses.iter().find(|u| topology.arcs[u.arc].vertices.len() == 2).copied().unwrap()
        };
        assert_eq!(shared(0).arc, shared(1).arc);
        assert_ne!(shared(0).reversed, shared(1).reversed);
    }

    #[test]
    fn rings_come_together_again() {
        let island = Mesh {
            points: vec![[0.0; 2]; 8],
            buildings: vec![vec![vec![0, 1, 2, 3], vec![7, 6, 5, 4]], vec![vec![5, 6, 7, 4]]],
        };
        for mesh in [pair(), island] {
            let topology = Topology::of(&mesh);
            for (rings, uses) in mesh.buildings.iter().zip(&topology.buildings) {
                for (ring, uses) in rings.iter().zip(uses) {
                    let mut again = topology.ring(uses, |arc| topology.arcs[arc].vertices.clone());
                    let start = again.iter().position(|v| *v == ring[0]).unwrap();
                    again.rotate_left(start);
                    assert_eq!(&again, ring);
                }
            }
        }
    }
}
