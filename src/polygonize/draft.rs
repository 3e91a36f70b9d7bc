//! One arc being simplified: which vertices stay, and where they move.

use super::conflicts::{Chain, distance_squared};
use super::line::Line;
use super::mesh::Point;

/// An arc of the raw outline in metres.
pub(super) struct RawArc {
    pub(super) points: Vec<Point>,
    /// The last vertex is followed by the first; else both ends stay where they are.
    pub(super) closed: bool,
}

/// An arc being simplified.
pub(super) struct Draft {
    raw: RawArc,
    /// Indices into the raw vertices, ascending; wall `i` runs from `kept[i]` to the next.
    kept: Vec<usize>,
    moved: Vec<Option<Point>>,
}

impl Draft {
    /// No vertex moves out of the scene, which reaches from 0, 0 to `scene_m`.
    pub(super) fn new(raw: RawArc, tolerance_m: f64, scene_m: Point) -> Self {
        let is_loop = raw.closed || raw.points.first() == raw.points.last();
        let least = if is_loop { 4 } else { 2 };
        let mut kept = Vec::new();
        let mut tolerance = tolerance_m;
        // Small shapes lose all their corners at once: look closer until four stay.
        for _ in 0..6 {
            kept = douglas_peucker(&raw, tolerance);
            if kept.len() >= least {
                break;
            }
            tolerance /= 2.0;
        }
        if kept.len() < least {
            kept = (0..raw.points.len()).collect();
        }
        let mut draft = Self { raw, moved: vec![None; kept.len()], kept };
        draft.fit(tolerance, scene_m);
        draft
    }

    fn point(&self, i: usize) -> Point {
        self.moved[i].unwrap_or(self.raw.points[self.kept[i]])
    }

    pub(super) fn points(&self) -> Vec<Point> {
        (0..self.kept.len()).map(|i| self.point(i)).collect()
    }

    pub(super) fn raw(&self) -> &RawArc {
        &self.raw
    }

    pub(super) fn chain(&self) -> Chain {
        Chain { points: self.points(), closed: self.raw.closed }
    }

    pub(super) fn walls(&self) -> usize {
        self.kept.len() - usize::from(!self.raw.closed)
    }

    fn next(&self, i: usize) -> usize {
        (i + 1) % self.kept.len()
    }

    /// Raw vertices of wall `i`, both ends included.
    fn wall(&self, i: usize) -> impl Iterator<Item = Point> + '_ {
        let n = self.raw.points.len();
        let (from, to) = (self.kept[i], self.kept[self.next(i)]);
        let count = if to > from { to - from } else { to + n - from };
        (0..=count).map(move |k| self.raw.points[(from + k) % n])
    }

    /// Moves vertices to where the fitted lines of their walls meet.
    fn fit(&mut self, tolerance_m: f64, scene_m: Point) {
        let line = |i: usize| Line::fit(&self.wall(i).collect::<Vec<_>>());
        let lines: Vec<Line> = (0..self.walls()).map(line).collect();
        let inner = if self.raw.closed { 0..self.kept.len() } else { 1..self.kept.len() - 1 };
        for i in inner {
            let at = self.raw.points[self.kept[i]];
            let (before, after) = (&lines[(i + lines.len() - 1) % lines.len()], &lines[i]);
            let to = before.meets(after).unwrap_or_else(|| {
                let (a, b) = (before.nearest(at), after.nearest(at));
                [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])]
            });
            let to = [to[0].clamp(0.0, scene_m[0]), to[1].clamp(0.0, scene_m[1])];
            if (to[0] - at[0]).hypot(to[1] - at[1]) <= tolerance_m {
                self.moved[i] = Some(to);
            }
        }
    }

    /// One step towards the raw outline at wall `i`: its ends go back, or else it gets a vertex more.
    /// False if there is none left to take.
    pub(super) fn take_back(&mut self, i: usize) -> bool {
        let next = self.next(i);
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

    /// Whether the raw vertices of wall `i` surround a point, by their bounds.
    pub(super) fn surrounds(&self, i: usize, point: Point, margin: f64) -> bool {
        (0..2).all(|axis| {
            let values = || self.wall(i).map(|p| p[axis]);
            let least = values().fold(f64::INFINITY, f64::min);
            let most = values().fold(f64::NEG_INFINITY, f64::max);
            (least - margin..=most + margin).contains(&point[axis])
        })
    }
}

/// Indices of the vertices that stay, ascending: all others are within the tolerance of the new outline.
fn douglas_peucker(arc: &RawArc, tolerance_m: f64) -> Vec<usize> {
    let (points, n) = (&arc.points, arc.points.len());
    let mut stays = vec![false; n];
    let mut todo: Vec<(usize, usize)> = Vec::new();
    if arc.closed {
        // Two vertices that surely are corners: the farthest from the middle, and the farthest from that.
        let first = farthest_from(points, centre(points));
        let second = farthest_from(points, points[first]);
        (stays[first], stays[second]) = (true, true);
        let (a, b) = (first.min(second), first.max(second));
        todo.extend([(a, b), (b, a + n)]);
    } else {
        (stays[0], stays[n - 1]) = (true, true);
        todo.push((0, n - 1));
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
