//! Stair steps -> straight walls.
//!
//! Douglas and Peucker (1973) choose which corners of the pixels' outline stay. Then every vertex moves to
//! where the lines meet that fit its two walls best (total least squares over the pixel edges that a wall
//! stands for): corners of pixels lie on the outer side of a slanting wall or on its inner side by chance,
//! their mean does not. Where rings would cross or touch, the walls concerned go back towards the pixels'
//! outline, step by step, and nothing else does.

use super::conflicts::{
    SegmentId, TestRing, conflicts, distance_squared, doubled_area, misplaced_holes,
};

/// A position in metres from the scene's upper left: along columns, along rows.
pub(super) type Point = [f64; 2];

/// A ring of the pixels' outline in metres (the first vertex is not repeated).
pub(super) struct RawRing {
    pub(super) points: Vec<Point>,
    /// Vertices that must stay: another ring of the polygon touches there.
    pub(super) pinned: Vec<bool>,
}

/// Rounds of taking back; each takes back at least one vertex.
const MAX_ROUNDS: usize = 60;

/// A wall of fewer pixel edges than this keeps the line through its ends: there is nothing to average.
const MIN_EDGES_TO_FIT: usize = 4;

/// Walls at a smaller angle than asin of this have no sharp crossing.
const MIN_SINE: f64 = 0.17;

/// Segments that come closer than this share of a pixel are taken to touch. Far above the rounding of
/// coordinates, far below what a pixel can show.
const CLEARANCE_PX: f64 = 0.05;

/// Simplifies the rings of one polygon (outer ring first) by about `tolerance_m`; the result is a valid polygon
/// if the input is one. `pixel_m` is the shorter side of a pixel.
pub(super) fn simplify(rings: &[RawRing], tolerance_m: f64, pixel_m: f64) -> Vec<Vec<Point>> {
    let mut drafts: Vec<Draft> = rings.iter().map(|ring| Draft::new(ring, tolerance_m)).collect();
    for _ in 0..MAX_ROUNDS {
        let tests: Vec<TestRing> = drafts.iter().map(Draft::test).collect();
        let mut wrong = conflicts(&tests, CLEARANCE_PX * pixel_m);
        for (ring, (test, raw)) in tests.iter().zip(rings).enumerate() {
            if (doubled_area(&test.points) > 0.0) != (doubled_area(&raw.points) > 0.0) {
                wrong.extend((0..test.points.len()).map(|i| (ring, i)));
            }
        }
        if wrong.is_empty() {
            for (hole, point) in misplaced_holes(&tests) {
                wrong.extend((0..tests[hole].points.len()).map(|i| (hole, i)));
                wrong.extend(walls_around(&drafts, point, pixel_m));
            }
        }
        if wrong.is_empty() {
            return tests.into_iter().map(|test| test.points).collect();
        }
        if !take_back(&mut drafts, wrong) {
            break;
        }
    }
    rings.iter().map(|ring| ring.points.clone()).collect()
}

/// The walls whose part of the pixels' outline surrounds `point`.
fn walls_around(drafts: &[Draft], point: Point, pixel_m: f64) -> Vec<SegmentId> {
    let mut walls = Vec::new();
    for (ring, draft) in drafts.iter().enumerate() {
        walls.extend(
            (0..draft.kept.len())
                .filter(|&i| draft.surrounds(i, point, pixel_m))
                .map(|i| (ring, i)),
        );
    }
    walls
}

/// Takes a step back at each of the walls; false if there is none left to take.
fn take_back(drafts: &mut [Draft], mut walls: Vec<SegmentId>) -> bool {
    walls.sort_unstable();
    walls.dedup();
    let mut changed = false;
    // From the back: a new vertex moves the numbers of those behind it.
    for (ring, wall) in walls.into_iter().rev() {
        changed |= drafts[ring].take_back(wall);
    }
    changed
}

/// A ring being simplified: which vertices stay, and where they moved.
struct Draft<'a> {
    raw: &'a RawRing,
    /// Indices into `raw`, ascending; wall `i` runs from `kept[i]` to the next.
    kept: Vec<usize>,
    moved: Vec<Option<Point>>,
}

impl<'a> Draft<'a> {
    fn new(raw: &'a RawRing, tolerance_m: f64) -> Self {
        let mut kept = Vec::new();
        let mut tolerance = tolerance_m;
        // Small shapes lose all their corners at once: look closer until four stay.
        for _ in 0..6 {
            kept = douglas_peucker(raw, tolerance);
            if kept.len() >= 4 {
                break;
            }
            tolerance /= 2.0;
        }
        if kept.len() < 4 {
            kept = (0..raw.points.len()).collect();
        }
        let mut draft = Self { raw, moved: vec![None; kept.len()], kept };
        draft.fit(tolerance);
        draft
    }

    fn point(&self, i: usize) -> Point {
        self.moved[i].unwrap_or(self.raw.points[self.kept[i]])
    }

    fn test(&self) -> TestRing {
        TestRing {
            points: (0..self.kept.len()).map(|i| self.point(i)).collect(),
            pinned: self.kept.iter().map(|&i| self.raw.pinned[i]).collect(),
        }
    }

    /// Raw vertices of wall `i`, both ends included.
    fn wall(&self, i: usize) -> impl Iterator<Item = Point> + Clone + '_ {
        let n = self.raw.points.len();
        let (from, to) = (self.kept[i], self.kept[(i + 1) % self.kept.len()]);
        let count = if to > from { to - from } else { to + n - from };
        (0..=count).map(move |k| self.raw.points[(from + k) % n])
    }

    /// Moves vertices to where the fitted lines of their walls meet.
    fn fit(&mut self, tolerance_m: f64) {
        let lines: Vec<Line> = (0..self.kept.len()).map(|i| Line::fit(&self.wall(i))).collect();
        for i in 0..self.kept.len() {
            if self.raw.pinned[self.kept[i]] {
                continue;
            }
            let at = self.raw.points[self.kept[i]];
            let (before, after) = (&lines[(i + lines.len() - 1) % lines.len()], &lines[i]);
            let to = before.meets(after).unwrap_or_else(|| {
                let (a, b) = (before.nearest(at), after.nearest(at));
                [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])]
            });
            if (to[0] - at[0]).hypot(to[1] - at[1]) <= tolerance_m {
                self.moved[i] = Some(to);
            }
        }
    }

    /// One step towards the pixels' outline at wall `i`: its ends go back, or else it gets a vertex more.
    fn take_back(&mut self, i: usize) -> bool {
        let next = (i + 1) % self.kept.len();
        if self.moved[i].is_some() || self.moved[next].is_some() {
            (self.moved[i], self.moved[next]) = (None, None);
            return true;
        }
        let (a, b) = (self.point(i), self.point(next));
        let inner = self.wall(i).count().saturating_sub(2);
        let farthest = self.wall(i).enumerate().skip(1).take(inner).max_by(|(_, p), (_, q)| {
            distance_squared(*p, a, b).total_cmp(&distance_squared(*q, a, b))
        });
        let Some((k, _)) = farthest else { return false };
        let index = (self.kept[i] + k) % self.raw.points.len();
        let place = self.kept.partition_point(|&kept| kept < index);
        self.kept.insert(place, index);
        self.moved.insert(place, None);
        true
    }

    fn surrounds(&self, i: usize, point: Point, margin: f64) -> bool {
        (0..2).all(|axis| {
            let values = || self.wall(i).map(|p| p[axis]);
            let least = values().fold(f64::INFINITY, f64::min);
            let most = values().fold(f64::NEG_INFINITY, f64::max);
            (least - margin..=most + margin).contains(&point[axis])
        })
    }
}

/// Indices of the vertices that stay, ascending: all others are within the tolerance of the new outline.
fn douglas_peucker(ring: &RawRing, tolerance_m: f64) -> Vec<usize> {
    let (points, n) = (&ring.points, ring.points.len());
    let mut stays = ring.pinned.clone();
    // Two vertices that surely are corners: the farthest from the middle, and the farthest from that.
    let middle = centre(points);
    let first = farthest_from(points, middle);
    stays[first] = true;
    stays[farthest_from(points, points[first])] = true;
    let anchors: Vec<usize> = (0..n).filter(|&i| stays[i]).collect();
    let mut todo: Vec<(usize, usize)> = Vec::new();
    for (i, &from) in anchors.iter().enumerate() {
        let to = anchors.get(i + 1).copied().unwrap_or(anchors[0] + n);
        todo.push((from, to));
    }
    while let Some((from, to)) = todo.pop() {
        let (a, b) = (points[from % n], points[to % n]);
        let mut worst = (tolerance_m * tolerance_m, None);
        for i in from + 1..to {
            let distance = distance_squared(points[i % n], a, b);
            if distance > worst.0 {
                worst = (distance, Some(i));
            }
        }
        if let Some(i) = worst.1 {
            stays[i % n] = true;
            todo.extend([(from, i), (i, to)]);
        }
    }
    (0..n).filter(|&i| stays[i]).collect()
}

fn centre(points: &[Point]) -> Point {
    let mut sum = [0.0; 2];
    for p in points {
        sum = [sum[0] + p[0], sum[1] + p[1]];
    }
    sum.map(|s| s / points.len() as f64)
}

/// The first of the farthest vertices.
fn farthest_from(points: &[Point], from: Point) -> usize {
    let mut best = (0, -1.0);
    for (i, p) in points.iter().enumerate() {
        let distance = (p[0] - from[0]).powi(2) + (p[1] - from[1]).powi(2);
        if distance > best.1 {
            best = (i, distance);
        }
    }
    best.0
}

/// A line through a point along a unit vector.
struct Line {
    at: Point,
    along: Point,
}

impl Line {
    /// The line nearest (total least squares) to the edges of an open chain of at least two vertices.
    fn fit(chain: &(impl Iterator<Item = Point> + Clone)) -> Self {
        let edges = || chain.clone().zip(chain.clone().skip(1));
        let first = chain.clone().next().unwrap_or_default();
        let last = chain.clone().last().unwrap_or_default();
        if edges().count() < MIN_EDGES_TO_FIT {
            return Self::through(first, last);
        }
        let (mut length, mut at) = (0.0, [0.0; 2]);
        for (a, b) in edges() {
            let l = (b[0] - a[0]).hypot(b[1] - a[1]);
            length += l;
            at[0] += l * f64::midpoint(a[0], b[0]);
            at[1] += l * f64::midpoint(a[1], b[1]);
        }
        let at = at.map(|sum| sum / length);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (a, b) in edges() {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let (mx, my) = (f64::midpoint(a[0], b[0]) - at[0], f64::midpoint(a[1], b[1]) - at[1]);
            let l = dx.hypot(dy);
            // An edge counts as all its points, not as its middle alone.
            xx += l * (mx * mx + dx * dx / 12.0);
            xy += l * (mx * my + dx * dy / 12.0);
            yy += l * (my * my + dy * dy / 12.0);
        }
        let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
        Self { at, along: [angle.cos(), angle.sin()] }
    }

    fn through(a: Point, b: Point) -> Self {
        let length = (b[0] - a[0]).hypot(b[1] - a[1]).max(f64::MIN_POSITIVE);
        Self { at: a, along: [(b[0] - a[0]) / length, (b[1] - a[1]) / length] }
    }

    fn meets(&self, other: &Self) -> Option<Point> {
        let sine = self.along[0] * other.along[1] - self.along[1] * other.along[0];
        if sine.abs() < MIN_SINE {
            return None;
        }
        let (dx, dy) = (other.at[0] - self.at[0], other.at[1] - self.at[1]);
        let t = (dx * other.along[1] - dy * other.along[0]) / sine;
        Some([self.at[0] + t * self.along[0], self.at[1] + t * self.along[1]])
    }

    fn nearest(&self, p: Point) -> Point {
        let t = (p[0] - self.at[0]) * self.along[0] + (p[1] - self.at[1]) * self.along[1];
        [self.at[0] + t * self.along[0], self.at[1] + t * self.along[1]]
    }
}
