//! Where the rings of a polygon meet although they must not.

use super::simplify::Point;

/// A ring under test: its vertices (the first is not repeated) and which of them another ring of the
/// polygon may touch.
pub(super) struct TestRing {
    pub(super) points: Vec<Point>,
    pub(super) pinned: Vec<bool>,
}

/// Segment `1` of ring `0`: from that vertex to the next.
pub(super) type SegmentId = (usize, usize);

struct Segment {
    a: Point,
    b: Point,
    id: SegmentId,
}

/// The segments that cross, touch or nearly touch (closer than `clearance`) another one, except neighbours in
/// a ring at their common vertex and two rings at a pinned vertex of both. May name a segment twice.
pub(super) fn conflicts(rings: &[TestRing], clearance: f64) -> Vec<SegmentId> {
    let mut segments: Vec<Segment> = Vec::new();
    for (ring, test) in rings.iter().enumerate() {
        let n = test.points.len();
        segments.extend((0..n).map(|i| Segment {
            a: test.points[i],
            b: test.points[(i + 1) % n],
            id: (ring, i),
        }));
    }
    segments.sort_unstable_by(|s, t| s.a[0].min(s.b[0]).total_cmp(&t.a[0].min(t.b[0])));
    let mut found = Vec::new();
    for (i, s) in segments.iter().enumerate() {
        let right = s.a[0].max(s.b[0]) + clearance;
        let (top, bottom) = (s.a[1].min(s.b[1]) - clearance, s.a[1].max(s.b[1]) + clearance);
        for t in &segments[i + 1..] {
            if t.a[0].min(t.b[0]) > right {
                break;
            }
            if t.a[1].max(t.b[1]) < top || t.a[1].min(t.b[1]) > bottom {
                continue;
            }
            if in_conflict(s, t, rings, clearance) {
                found.extend([s.id, t.id]);
            }
        }
    }
    crossings_at_pins(rings, &mut found);
    found
}

fn in_conflict(s: &Segment, t: &Segment, rings: &[TestRing], clearance: f64) -> bool {
    let (ring, n) = (s.id.0, rings[s.id.0].points.len());
    if ring == t.id.0 {
        // Neighbours may not fold back on each other.
        if (s.id.1 + 1) % n == t.id.1 {
            return near(t.b, s, clearance) || near(s.a, t, clearance);
        }
        if (t.id.1 + 1) % n == s.id.1 {
            return near(s.b, t, clearance) || near(t.a, s, clearance);
        }
    } else {
        let pinned = |segment: &Segment, end: usize| {
            let pins = &rings[segment.id.0].pinned;
            pins[(segment.id.1 + end) % pins.len()]
        };
        let (s_ends, t_ends) = ([s.a, s.b], [t.a, t.b]);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            if s_ends[i] == t_ends[j] && pinned(s, i) && pinned(t, j) {
                return near(s_ends[1 - i], t, clearance) || near(t_ends[1 - j], s, clearance);
            }
        }
    }
    near(s.a, t, clearance)
        || near(s.b, t, clearance)
        || near(t.a, s, clearance)
        || near(t.b, s, clearance)
        || (side(s, t.a) != side(s, t.b) && side(t, s.a) != side(t, s.b))
}

/// Rings that touch at a pinned vertex must not change sides there.
fn crossings_at_pins(rings: &[TestRing], found: &mut Vec<SegmentId>) {
    let mut pins: Vec<(Point, usize, usize)> = Vec::new();
    for (ring, test) in rings.iter().enumerate() {
        let pinned = test.pinned.iter().enumerate().filter(|(_, pinned)| **pinned);
        pins.extend(pinned.map(|(i, _)| (test.points[i], ring, i)));
    }
    pins.sort_unstable_by(|a, b| {
        (a.0[0].total_cmp(&b.0[0])).then(a.0[1].total_cmp(&b.0[1])).then(a.1.cmp(&b.1))
    });
    for pair in pins.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (at, ring, i) = pair[0];
        let (_, other, j) = pair[1];
        let arms = |ring: usize, i: usize| {
            let points = &rings[ring].points;
            let n = points.len();
            let before = (i + n - 1) % n;
            [(points[before], (ring, before)), (points[(i + 1) % n], (ring, i))]
        };
        let [a, b] = arms(ring, i);
        let [c, d] = arms(other, j);
        if in_wedge(at, a.0, b.0, c.0) != in_wedge(at, a.0, b.0, d.0) {
            found.extend([a.1, b.1, c.1, d.1]);
        }
    }
}

/// Whether a ray from `at` that turns from `from` to `to` passes `point` on its way.
fn in_wedge(at: Point, from: Point, to: Point, point: Point) -> bool {
    let angle = |p: Point| (p[1] - at[1]).atan2(p[0] - at[0]);
    let turn = |p: Point| (angle(p) - angle(from)).rem_euclid(std::f64::consts::TAU);
    turn(point) < turn(to)
}

fn side(s: &Segment, p: Point) -> bool {
    (s.b[0] - s.a[0]) * (p[1] - s.a[1]) - (s.b[1] - s.a[1]) * (p[0] - s.a[0]) > 0.0
}

fn near(p: Point, s: &Segment, clearance: f64) -> bool {
    distance_squared(p, s.a, s.b) < clearance * clearance
}

/// Squared distance of `p` from the segment `a`..`b`.
pub(super) fn distance_squared(p: Point, a: Point, b: Point) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = dx * dx + dy * dy;
    let along = (p[0] - a[0]) * dx + (p[1] - a[1]) * dy;
    let t = if length > 0.0 { (along / length).clamp(0.0, 1.0) } else { 0.0 };
    let (ex, ey) = (p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
    ex * ex + ey * ey
}

/// Twice the signed area of a ring.
pub(super) fn doubled_area(points: &[Point]) -> f64 {
    let Some(&origin) = points.first() else { return 0.0 };
    // Relative to a vertex: large coordinates would eat the digits.
    let relative = |p: Point| [p[0] - origin[0], p[1] - origin[1]];
    let pairs = points.iter().zip(points.iter().cycle().skip(1));
    pairs.map(|(a, b)| (relative(*a), relative(*b))).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum()
}

/// Holes (rings after the first) that do not lie inside the first ring and outside all others, each with a point
/// on it. The rings must be free of conflicts.
pub(super) fn misplaced_holes(rings: &[TestRing]) -> Vec<(usize, Point)> {
    if rings.len() < 2 {
        return Vec::new();
    }
    let bands = Bands::new(rings);
    let expected = if doubled_area(&rings[0].points) > 0.0 { 1 } else { -1 };
    let holes = rings.iter().enumerate().skip(1);
    holes
        .map(|(ring, test)| {
            let (a, b) = (test.points[0], test.points[1]);
            (ring, [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])])
        })
        .filter(|&(ring, point)| bands.winding(point, ring) != expected)
        .collect()
}

/// Segments by the horizontal bands that they cross, for rays along rows.
struct Bands {
    top: f64,
    height: f64,
    segments: Vec<Vec<Segment>>,
}

impl Bands {
    fn new(rings: &[TestRing]) -> Self {
        let points = || rings.iter().flat_map(|ring| &ring.points);
        let top = points().map(|p| p[1]).fold(f64::INFINITY, f64::min);
        let bottom = points().map(|p| p[1]).fold(f64::NEG_INFINITY, f64::max);
        let count = (points().count() / 4).max(1);
        let height = ((bottom - top) / count as f64).max(f64::MIN_POSITIVE);
        let mut bands = Self { top, height, segments: Vec::new() };
        bands.segments.resize_with(count, Vec::new);
        for (ring, test) in rings.iter().enumerate() {
            let n = test.points.len();
            for i in 0..n {
                let (a, b) = (test.points[i], test.points[(i + 1) % n]);
                for band in bands.of(a[1].min(b[1]))..=bands.of(a[1].max(b[1])) {
                    bands.segments[band].push(Segment { a, b, id: (ring, i) });
                }
            }
        }
        bands
    }

    fn of(&self, y: f64) -> usize {
        (((y - self.top) / self.height) as usize).min(self.segments.len() - 1)
    }

    /// How often all rings but one run around a point.
    fn winding(&self, p: Point, without: usize) -> i32 {
        let mut winding = 0;
        for s in self.segments[self.of(p[1])].iter().filter(|s| s.id.0 != without) {
            let (down, up) = (s.a[1] <= p[1] && s.b[1] > p[1], s.b[1] <= p[1] && s.a[1] > p[1]);
            if (down || up) && side(s, p) == down {
                winding += if down { 1 } else { -1 };
            }
        }
        winding
    }
}
