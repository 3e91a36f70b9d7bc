//! The exact area that two polygons share, without building the shared polygon.
//!
//! A valid polygon is the signed sum of the trapezoids under its edges: those under the edges along
//! its top count +1, those along its bottom -1. The product of two such sums is a sum over pairs of
//! edges, and two trapezoids share the area under the lower of two line segments, which has a closed
//! form. No intersection point is ever joined to another, so nothing can go wrong topologically:
//! touching, coincident and nearly parallel edges are ordinary cases. The cost is the product of the
//! numbers of vertices, small for buildings.

use geo::{LineString, MultiPolygon, Polygon};

/// An edge from left to right.
#[derive(Clone, Copy, Debug)]
struct Edge {
    x0: f64,
    y0: f64,
    x1: f64,
    y1: f64,
    /// +1 where the polygon lies below the edge, -1 where it lies above.
    sign: f64,
}

/// A polygon with its area and bounds, ready to be compared with many others. Orientation of rings
/// does not matter; validity does.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Sorted by `x0`.
    edges: Vec<Edge>,
    /// Min x, min y, max x, max y; an empty shape has bounds that touch nothing.
    bounds: [f64; 4],
    area: f64,
}

impl Shape {
    /// Prepares a polygon; its coordinates' units square to those of the areas.
    pub fn new(polygons: &MultiPolygon<f64>) -> Self {
        let mut bounds = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for c in polygons.iter().flat_map(|p| &p.exterior().0) {
            bounds[0] = bounds[0].min(c.x);
            bounds[1] = bounds[1].min(c.y);
            bounds[2] = bounds[2].max(c.x);
            bounds[3] = bounds[3].max(c.y);
        }
        let mut edges = Vec::new();
        for polygon in polygons {
            push_polygon(&mut edges, polygon);
        }
        edges.sort_by(|a: &Edge, b: &Edge| a.x0.total_cmp(&b.x0));
        let base = bounds[1];
        let area = edges
            .iter()
            .map(|e| e.sign * (e.x1 - e.x0) * ((e.y0 - base) + (e.y1 - base)) / 2.0)
            .sum::<f64>()
            .max(0.0);
        Self { edges, bounds, area }
    }

    /// Its area.
    pub fn area(&self) -> f64 {
        self.area
    }

    /// Min x, min y, max x, max y.
    pub fn bounds(&self) -> [f64; 4] {
        self.bounds
    }

    /// The area shared with `other`.
    pub fn shared_area(&self, other: &Self) -> f64 {
        if self.shared_box_area(other) <= 0.0 {
            return 0.0;
        }
        let base = self.bounds[1].min(other.bounds[1]);
        let (left, right) =
            (self.bounds[0].max(other.bounds[0]), self.bounds[2].min(other.bounds[2]));
        let mut sum = 0.0;
        for a in self.edges.iter().take_while(|a| a.x0 < right).filter(|a| a.x1 > left) {
            for b in other.edges.iter().take_while(|b| b.x0 < a.x1) {
                if b.x1 > a.x0 {
                    sum += a.sign * b.sign * area_under_both(a, b, base);
                }
            }
        }
        sum.clamp(0.0, self.area.min(other.area))
    }

    /// Intersection over union; 0 where neither has an area.
    pub fn iou(&self, other: &Self) -> f64 {
        let shared = self.shared_area(other);
        let union = self.area + other.area - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// A number that [`Shape::iou`] cannot exceed, from bounds and areas alone.
    pub fn iou_bound(&self, other: &Self) -> f64 {
        let most = self.shared_box_area(other).min(self.area).min(other.area);
        let union = self.area + other.area - most;
        if union > 0.0 { most / union } else { 0.0 }
    }

    fn shared_box_area(&self, other: &Self) -> f64 {
        let (a, b) = (&self.bounds, &other.bounds);
        let width = a[2].min(b[2]) - a[0].max(b[0]);
        let height = a[3].min(b[3]) - a[1].max(b[1]);
        if width > 0.0 && height > 0.0 { width * height } else { 0.0 }
    }
}

fn push_polygon(edges: &mut Vec<Edge>, polygon: &Polygon<f64>) {
    push_ring(edges, polygon.exterior(), 1.0);
    for hole in polygon.interiors() {
        push_ring(edges, hole, -1.0);
    }
}

/// `sign` is that of the ring's area: +1 for an outline, -1 for a hole.
fn push_ring(edges: &mut Vec<Edge>, ring: &LineString<f64>, sign: f64) {
    let Some(origin) = ring.0.first() else { return };
    let doubled_area: f64 = ring
        .lines()
        .map(|l| {
            (l.start.x - origin.x) * (l.end.y - origin.y)
                - (l.end.x - origin.x) * (l.start.y - origin.y)
        })
        .sum();
    let sign = if doubled_area < 0.0 { -sign } else { sign };
    for l in ring.lines() {
        // Around a counter-clockwise outline, the top runs from right to left.
        if l.start.x > l.end.x {
            edges.push(Edge { x0: l.end.x, y0: l.end.y, x1: l.start.x, y1: l.start.y, sign });
        } else if l.start.x < l.end.x {
            let sign = -sign;
            edges.push(Edge { x0: l.start.x, y0: l.start.y, x1: l.end.x, y1: l.end.y, sign });
        }
    }
}

/// The area above `base` and below both edges, where both have an x. No edge reaches below `base`.
fn area_under_both(a: &Edge, b: &Edge, base: f64) -> f64 {
    let (left, right) = (a.x0.max(b.x0), a.x1.min(b.x1));
    let width = right - left;
    let (a_left, a_right) = (height(a, left) - base, height(a, right) - base);
    let (b_left, b_right) = (height(b, left) - base, height(b, right) - base);
    let (d_left, d_right) = (a_left - b_left, a_right - b_right);
    if d_left * d_right >= 0.0 {
        return width * (a_left.min(b_left) + a_right.min(b_right)) / 2.0;
    }
    let crossing = d_left / (d_left - d_right);
    let middle = a_left + crossing * (a_right - a_left);
    let (low_left, low_right) = (a_left.min(b_left), a_right.min(b_right));
    width * (crossing * (low_left + middle) + (1.0 - crossing) * (middle + low_right)) / 2.0
}

fn height(edge: &Edge, x: f64) -> f64 {
    // Most often it is an end, and a division takes longer than all the rest.
    let share = if x == edge.x0 {
        0.0
    } else if x == edge.x1 {
        1.0
    } else {
        (x - edge.x0) / (edge.x1 - edge.x0)
    };
    edge.y0 + (edge.y1 - edge.y0) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::{Area, BooleanOps, polygon};
    use proptest::prelude::*;

    fn square(x: f64, y: f64, side: f64) -> MultiPolygon<f64> {
        polygon![(x: x, y: y), (x: x + side, y: y), (x: x + side, y: y + side), (x: x, y: y + side)]
            .into()
    }

    /// A star-shaped polygon (always valid) around a point far from the origin, with a hole.
    fn star(x: f64, y: f64, radii: &[f64], clockwise: bool) -> MultiPolygon<f64> {
        let ring = |share: f64| {
            let mut points: Vec<(f64, f64)> = radii
                .iter()
                .enumerate()
                .map(|(i, r)| {
                    let angle = std::f64::consts::TAU * i as f64 / radii.len() as f64;
                    (x + share * r * angle.cos(), y + share * r * angle.sin())
                })
                .collect();
            if clockwise {
                points.reverse();
            }
            LineString::from(points)
        };
        let mut polygon = Polygon::new(ring(1.0), vec![ring(0.4)]);
        polygon.exterior_mut(LineString::close);
        polygon.into()
    }

    #[test]
    fn squares_share_what_they_should() {
        let shape = |x, y, side| Shape::new(&square(x, y, side));
        let a = shape(0.0, 0.0, 2.0);
        assert_eq!(a.area(), 4.0);
        assert_eq!(a.shared_area(&a), 4.0);
        assert_eq!(a.iou(&shape(1.0, 0.0, 2.0)), 2.0 / 6.0);
        assert_eq!(a.shared_area(&shape(2.0, 0.0, 2.0)), 0.0, "they touch");
        assert_eq!(a.shared_area(&shape(0.5, 0.5, 1.0)), 1.0, "one inside the other");
        assert_eq!(a.shared_area(&Shape::new(&MultiPolygon(vec![]))), 0.0);
    }

    #[test]
    fn a_courtyard_is_not_shared() {
        let mut ring = square(0.0, 0.0, 4.0);
        let hole = square(1.0, 1.0, 2.0).0[0].exterior().clone();
        ring.0[0].interiors_push(hole);
        let ring = Shape::new(&ring);
        assert_eq!(ring.area(), 12.0);
        assert_eq!(ring.shared_area(&Shape::new(&square(1.0, 1.0, 2.0))), 0.0);
        assert_eq!(ring.shared_area(&Shape::new(&square(0.0, 0.0, 2.0))), 3.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn shared_area_agrees_with_a_constructed_intersection(
            radii_a in proptest::collection::vec(2.0..20f64, 3..24),
            radii_b in proptest::collection::vec(2.0..20f64, 3..24),
            dx in -15.0..15f64, dy in -15.0..15f64, clockwise in any::<bool>(),
        ) {
            let (x, y) = (431_000.0, 9_331_000.0);
            let a = star(x, y, &radii_a, clockwise);
            let b = star(x + dx, y + dy, &radii_b, !clockwise);
            let (sa, sb) = (Shape::new(&a), Shape::new(&b));
            prop_assert!((sa.area() - a.unsigned_area()).abs() < 1e-5);
            let expected = a.intersection(&b).unsigned_area();
            let found = sa.shared_area(&sb);
            prop_assert!((found - expected).abs() < 1e-4, "{found} against {expected}");
            prop_assert!((found - sb.shared_area(&sa)).abs() < 1e-6);
            prop_assert!(sa.iou(&sb) <= sa.iou_bound(&sb) + 1e-12);
        }
    }
}
