//! Lines through chains of vertices.

use super::mesh::Point;

/// A wall of fewer edges than this keeps the line through its ends: there is nothing to average.
const MIN_EDGES_TO_FIT: usize = 4;

/// Walls at a smaller angle than asin of this have no sharp crossing.
const MIN_SINE: f64 = 0.17;

/// A line through a point along a unit vector.
pub(super) struct Line {
    pub(super) at: Point,
    pub(super) along: Point,
}

impl Line {
    /// The line nearest (total least squares) to the edges of an open chain of at least two vertices.
    pub(super) fn fit(chain: &[Point]) -> Self {
        if chain.len() <= MIN_EDGES_TO_FIT {
            let end = |point: Option<&Point>| point.copied().unwrap_or_default();
            return Self::through(end(chain.first()), end(chain.last()));
        }
        let edges = || chain.iter().zip(&chain[1..]);
        // No `hypot`: metres neither overflow nor vanish when squared.
        let length_of = |a: &Point, b: &Point| {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            (dx * dx + dy * dy).sqrt()
        };
        let (mut length, mut at) = (0.0, [0.0; 2]);
        for (a, b) in edges() {
            let l = length_of(a, b);
            length += l;
            at[0] += l * f64::midpoint(a[0], b[0]);
            at[1] += l * f64::midpoint(a[1], b[1]);
        }
        let at = at.map(|sum| sum / length);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (a, b) in edges() {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let (mx, my) = (f64::midpoint(a[0], b[0]) - at[0], f64::midpoint(a[1], b[1]) - at[1]);
            let l = length_of(a, b);
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

    pub(super) fn meets(&self, other: &Self) -> Option<Point> {
        let sine = self.along[0] * other.along[1] - self.along[1] * other.along[0];
        if sine.abs() < MIN_SINE {
            return None;
        }
        let (dx, dy) = (other.at[0] - self.at[0], other.at[1] - self.at[1]);
        let t = (dx * other.along[1] - dy * other.along[0]) / sine;
        Some([self.at[0] + t * self.along[0], self.at[1] + t * self.along[1]])
    }

    pub(super) fn nearest(&self, p: Point) -> Point {
        let t = (p[0] - self.at[0]) * self.along[0] + (p[1] - self.at[1]) * self.along[1];
        [self.at[0] + t * self.along[0], self.at[1] + t * self.along[1]]
    }
}
