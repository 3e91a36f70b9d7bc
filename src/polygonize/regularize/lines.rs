//! The straight lines that walls lie on.
//!
//! Walls along one axis that follow each other lie on one line, which is one number: how far off the origin it lies, the mean
//! over its walls weighted with their lengths. Every other wall has a line of its own, and a vertex lies where its lines
//! meet. Two buildings that share a wall share its line, so that nothing comes apart. Short walls say little of their direction and
//! come last: first they may turn out to be jogs.

use super::super::mesh::Point;
use super::orientation::Axis;
use super::walls::{Wall, Walls};

/// What a wall counts that follows its axis no better than the other one: as good as nothing.
const LEAST_AGREEMENT: f64 = 1e-3;
/// Lines at a smaller angle than asin of this have no sharp crossing.
const MIN_SINE: f64 = 0.2;

/// A line, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Unit vector.
    along: Point,
    /// The axis that it follows; absent for a wall that is left as it is.
    pub(super) axis: Option<u32>,
    /// Metres of wall.
    pub(super) length: f64,
    /// What its walls count, and the sum of their offsets times that.
    weight: f64,
    moment: f64,
    /// Least and greatest offset of its walls.
    range: [f64; 2],
    /// Number and sum of offsets of vertices that must not move.
    held: (f64, f64),
    /// It is the scene's edge.
    pub(super) is_cut: bool,
}

impl Line {
    fn new(wall: &Wall, axis: Option<Axis>) -> Self {
        let angle = axis.map_or(wall.angle, |axis| axis.angle);
        let (sine, cosine) = angle.sin_cos();
        // 1 along the axis, 0 at 45 degrees to it, where a wall is a corner cut short.
        let agreement = (2.0 * (wall.angle - angle)).cos().max(LEAST_AGREEMENT);
        let weight = wall.length * agreement.powi(2);
        let mut line = Self {
            along: [cosine, sine],
            axis: axis.map(|axis| axis.id),
            length: wall.length,
            weight,
            moment: 0.0,
            range: [0.0; 2],
            held: (0.0, 0.0),
            is_cut: wall.is_cut,
        };
        let offset = line.offset_of(wall.middle);
        line.moment = offset * weight;
        line.range = [offset; 2];
        line
    }

    /// How far left of the origin's parallel a point lies.
    pub(super) fn offset_of(&self, p: Point) -> f64 {
        p[1] * self.along[0] - p[0] * self.along[1]
    }

    pub(super) fn offset(&self) -> f64 {
        let (held, sum) = self.held;
        if held > 0.0 { sum / held } else { self.moment / self.weight }
    }

    /// The point of the line nearest to `p`.
    pub(super) fn nearest(&self, p: Point) -> Point {
        let off = self.offset() - self.offset_of(p);
        [p[0] - off * self.along[1], p[1] + off * self.along[0]]
    }

    /// Where the two lines meet, unless they are nearly parallel.
    pub(super) fn meets(&self, other: &Self) -> Option<Point> {
        let sine = self.along[0] * other.along[1] - self.along[1] * other.along[0];
        if sine.abs() < MIN_SINE {
            return None;
        }
        let (a, b) = (self.offset(), other.offset());
        Some([0, 1].map(|axis| (a * other.along[axis] - b * self.along[axis]) / sine))
    }
}

/// The lines of all walls of a mesh.
pub(super) struct Lines {
    /// The wall whose line a wall shares, or itself.
    parent: Vec<u32>,
    /// Of value where a wall is its own parent.
    all: Vec<Line>,
    /// No wall lies further than this from the middle of its line's walls, metres.
    tolerance_m: f64,
}

impl Lines {
    /// One line for long walls along an axis that follow each other, one for each other wall. A line passes through the vertices
    /// for which `is_held`, as good as it can.
    pub(super) fn new(
        walls: &Walls,
        axes: &[Option<Axis>],
        points: &[Point],
        is_held: impl Fn(u32) -> bool,
        tolerance_m: f64,
    ) -> Self {
        let line_of = |(wall, axis): (&Wall, &Option<Axis>)| {
            let mut line = Line::new(wall, *axis);
            for end in wall.ends.into_iter().filter(|&end| is_held(end)) {
                line.held.0 += 1.0;
                line.held.1 += line.offset_of(points[end as usize]);
            }
            line
        };
        let lines: Vec<Line> = walls.walls.iter().zip(axes).map(line_of).collect();
        let mut joined =
            Self { parent: (0..lines.len() as u32).collect(), all: lines, tolerance_m };
        joined.join_at_vertices(walls, |wall| wall.length > tolerance_m);
        joined
    }

    /// Joins the lines of the walls that follow each other, of those for which `counts`.
    pub(super) fn join_at_vertices(&mut self, walls: &Walls, counts: impl Fn(&Wall) -> bool) {
        for at in &walls.at {
            let counting = || at.iter().filter(|wall| counts(&walls.walls[**wall as usize]));
            for (i, &one) in counting().enumerate() {
                counting().skip(i + 1).for_each(|&other| self.join(one, other));
            }
        }
    }

    /// The line of a wall, by number.
    pub(super) fn find(&self, mut wall: u32) -> u32 {
        while self.parent[wall as usize] != wall {
            wall = self.parent[wall as usize];
        }
        wall
    }

    /// A line by its number.
    pub(super) fn line(&self, number: u32) -> &Line {
        &self.all[number as usize]
    }

    /// Whether two lines could be one: they follow one axis, and no wall would be moved too far.
    pub(super) fn can_join(&self, one: u32, other: u32) -> bool {
        let (a, b) = (self.line(one), self.line(other));
        let range = [a.range[0].min(b.range[0]), a.range[1].max(b.range[1])];
        one != other
            && a.axis.is_some()
            && a.axis == b.axis
            && range[1] - range[0] <= 2.0 * self.tolerance_m
    }

    /// Makes one of the lines of two walls, where that can be.
    pub(super) fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.find(one), self.find(other));
        if !self.can_join(one, other) {
            return;
        }
        // The longer one stays: paths remain short.
        let longer = self.line(one).length >= self.line(other).length;
        let (kept, gone) = if longer { (one, other) } else { (other, one) };
        let line = self.all[gone as usize].clone();
        self.parent[gone as usize] = kept;
        let into = &mut self.all[kept as usize];
        into.length += line.length;
        into.weight += line.weight;
        into.moment += line.moment;
        into.range = [into.range[0].min(line.range[0]), into.range[1].max(line.range[1])];
        into.held = (into.held.0 + line.held.0, into.held.1 + line.held.1);
    }

    /// Straightens jogs: two parallel lines that a short wall connects become one, the nearest pairs first. Hands on
    /// the short walls whose ends are on one line then.
    pub(super) fn join_across_jogs(&mut self, walls: &Walls, mut done: impl FnMut(&Wall)) {
        let mut jogs: Vec<(f64, u32, u32, u32)> = Vec::new();
        for (number, wall) in walls.walls.iter().enumerate() {
            if wall.length > self.tolerance_m {
                continue;
            }
            let [before, after] = wall.ends.map(|end| {
                let long = |&&at: &&u32| walls.walls[at as usize].length > self.tolerance_m;
                walls.at[end as usize].iter().filter(long)
            });
            for (&a, &b) in before.flat_map(|a| after.clone().map(move |b| (a, b))) {
                let (one, other) = (self.find(a), self.find(b));
                if self.can_join(one, other) {
                    let gap = (self.line(one).offset() - self.line(other).offset()).abs();
                    jogs.push((gap, number as u32, a, b));
                }
            }
        }
        jogs.sort_unstable_by(|a, b| {
            a.0.total_cmp(&b.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
        });
        for (_, wall, a, b) in jogs {
            self.join(a, b);
            if self.find(a) == self.find(b) {
                done(&walls.walls[wall as usize]);
            }
        }
    }
}
