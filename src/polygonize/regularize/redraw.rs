//! A component drawn anew along the lines of its walls.

use super::super::mesh::Mesh;
use super::super::mesh::Point;
use super::lines::Lines;
use super::orientation::Axis;
use super::walls::{Walls, edges};

/// No vertex moves further than this many tolerances: lines that meet further away do so by chance.
const REACH: f64 = 4.0;

/// A mesh with the directions that its walls are to follow.
pub(super) struct Sketch<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) walls: &'a Walls,
    pub(super) axes: Vec<Option<Axis>>,
    /// Vertices that stay where they are.
    pub(super) held: Vec<bool>,
    pub(super) tolerance_m: f64,
}

impl Sketch<'_> {
    /// The lines, and the vertices that fall together at jogs.
    fn lines(&self) -> (Lines, Together) {
        let is_held = |vertex: u32| self.held[vertex as usize];
        let points = &self.mesh.points;
        let mut lines = Lines::new(self.walls, &self.axes, points, is_held, self.tolerance_m);
        let mut together = Together::new(points.len());
        lines.join_across_jogs(self.walls, |jog| {
            if !jog.ends.into_iter().any(is_held) {
                together.join(jog.ends[0], jog.ends[1]);
            }
        });
        lines.join_at_vertices(self.walls, |_| true);
        (lines, together)
    }

    /// The mesh with its vertices where their lines meet. Vertices closer than `joint_m` become one, and those that
    /// are no corner of any building are left out.
    pub(super) fn redrawn(&self, joint_m: f64) -> Mesh {
        let (lines, mut together) = self.lines();
        let mut points = self.places(&lines, &together);
        let mut joined = false;
        for wall in &self.walls.walls {
            let [p, q] = wall.ends.map(|end| points[together.find(end) as usize]);
            let held = wall.ends.map(|end| self.held[end as usize]);
            if held == [false; 2] && (p[0] - q[0]).hypot(p[1] - q[1]) < joint_m {
                together.join(wall.ends[0], wall.ends[1]);
                joined = true;
            }
        }
        if joined {
            points = self.places(&lines, &together);
        }
        let mut buildings = self.mesh.buildings.clone();
        for vertex in buildings.iter_mut().flatten().flatten() {
            *vertex = together.find(*vertex);
        }
        let mut drawn = Mesh { points, buildings };
        while leave_out(&mut drawn, &self.held, joint_m) {}
        drawn
    }

    /// Where each vertex lies that stands for itself or others.
    fn places(&self, lines: &Lines, together: &Together) -> Vec<Point> {
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.mesh.points.len()];
        for vertex in 0..self.mesh.points.len() as u32 {
            members[together.find(vertex) as usize].push(vertex);
        }
        let stays = |group: &[u32]| group.iter().all(|&vertex| self.held[vertex as usize]);
        let place = |(group, at): (&Vec<u32>, &Point)| {
            if stays(group) { *at } else { self.place(group, lines, together) }
        };
        members.iter().zip(&self.mesh.points).map(place).collect()
    }

    /// Where the two longest lines of a group of vertices meet; the scene's edge comes first, then lines that follow
    /// an axis.
    fn place(&self, group: &[u32], lines: &Lines, together: &Together) -> Point {
        let at = |v: u32| self.mesh.points[v as usize];
        let middle =
            [0, 1].map(|axis| group.iter().map(|&v| at(v)[axis]).sum::<f64>() / group.len() as f64);
        let mut meeting: Vec<u32> = Vec::new();
        for &wall in group.iter().flat_map(|&v| &self.walls.at[v as usize]) {
            let [a, b] = self.walls.walls[wall as usize].ends.map(|end| together.find(end));
            if a != b {
                meeting.push(lines.find(wall));
            }
        }
        meeting.sort_unstable_by(|&one, &other| {
            let (a, b) = (lines.line(one), lines.line(other));
            let cut = b.is_cut.cmp(&a.is_cut);
            let follows = cut.then(b.axis.is_some().cmp(&a.axis.is_some()));
            follows.then(b.length.total_cmp(&a.length)).then(one.cmp(&other))
        });
        let Some(&first) = meeting.first() else { return middle };
        let line = lines.line(first);
        if group.len() == 1 && meeting.iter().all(|&line| lines.line(line).axis.is_none()) {
            return middle;
        }
        let near =
            |p: &Point| (p[0] - middle[0]).hypot(p[1] - middle[1]) <= REACH * self.tolerance_m;
        let crossing = meeting.iter().find_map(|&other| line.meets(lines.line(other)));
        crossing.filter(near).unwrap_or_else(|| line.nearest(middle))
    }
}

/// Leaves out vertices where an outline passes twice in a row, turns back, or does not turn; false if there was none.
fn leave_out(mesh: &mut Mesh, held: &[bool], joint_m: f64) -> bool {
    let mut changed = false;
    // Three neighbours are as good as more.
    let mut around = vec![([0; 3], 0); mesh.points.len()];
    for ring in mesh.buildings.iter_mut().flatten() {
        let before = ring.len();
        ring.dedup();
        while ring.len() > 1 && ring.first() == ring.last() {
            ring.pop();
        }
        changed |= ring.len() < before;
        for [a, b] in edges(ring) {
            for (from, to) in [(a, b), (b, a)] {
                let (known, count): &mut ([u32; 3], usize) = &mut around[from as usize];
                if *count < 3 && !known[..*count].contains(&to) {
                    known[*count] = to;
                    *count += 1;
                }
            }
        }
    }
    let mut gone = vec![false; mesh.points.len()];
    for vertex in 0..mesh.points.len() {
        let (known, count) = &around[vertex];
        let needless = match known[..*count] {
            [_] => true,
            // One of two neighbours at a time: the other is measured against what is left.
            [a, b] if !gone[a as usize] && !gone[b as usize] => {
                let [p, a, b] = [vertex as u32, a, b].map(|v| mesh.points[v as usize]);
                off_line(p, a, b) < joint_m
            }
            _ => false,
        };
        gone[vertex] = needless && !held[vertex];
    }
    for ring in mesh.buildings.iter_mut().flatten().filter(|ring| ring.len() > 3) {
        let before = ring.len();
        ring.retain(|&vertex| !gone[vertex as usize]);
        changed |= ring.len() < before;
    }
    changed
}

/// Distance of `p` from the line through `a` and `b`, also beyond them.
fn off_line(p: Point, a: Point, b: Point) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    (dx * (p[1] - a[1]) - dy * (p[0] - a[0])).abs() / dx.hypot(dy).max(f64::MIN_POSITIVE)
}

/// Vertices that have become one.
struct Together(Vec<u32>);

impl Together {
    fn new(vertices: usize) -> Self {
        Self((0..vertices as u32).collect())
    }

    /// The vertex that stands for all of them.
    fn find(&self, mut vertex: u32) -> u32 {
        while self.0[vertex as usize] != vertex {
            vertex = self.0[vertex as usize];
        }
        vertex
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.find(one), self.find(other));
        // The lower number stands for both.
        self.0[one.max(other) as usize] = one.min(other);
    }
}
