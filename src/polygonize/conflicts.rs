//! Where walls meet although they must not.

use super::mesh::Point;

/// An arc under test.
pub(super) struct Chain {
    /// The first is not repeated in a closed chain; the ends of an open one are nodes, at which chains meet.
    pub(super) points: Vec<Point>,
    pub(super) closed: bool,
}

impl Chain {
    fn segments(&self) -> usize {
        self.points.len() - usize::from(!self.closed)
    }

    fn segment(&self, chain: usize, i: usize) -> Segment {
        let n = self.points.len();
        Segment {
            a: self.points[i],
            b: self.points[(i + 1) % n],
            nodes: [!self.closed && i == 0, !self.closed && i + 2 == n],
            id: (chain, i),
        }
    }
}

/// Segment `1` of chain `0`: from that vertex to the next.
pub(super) type SegmentId = (usize, usize);

struct Segment {
    a: Point,
    b: Point,
    /// Which of its ends are nodes.
    nodes: [bool; 2],
    id: SegmentId,
}

/// The segments that cross, touch or nearly touch (closer than `clearance`) another one, except neighbours in
/// a chain at their common vertex and two segments at a node of both. May name a segment twice.
pub(super) fn conflicts(chains: &[Chain], clearance: f64) -> Vec<SegmentId> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, chain) in chains.iter().enumerate() {
        segments.extend((0..chain.segments()).map(|i| chain.segment(index, i)));
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
            if in_conflict(s, t, chains, clearance) {
                found.extend([s.id, t.id]);
            }
        }
    }
    found
}

fn in_conflict(s: &Segment, t: &Segment, chains: &[Chain], clearance: f64) -> bool {
    if s.id.0 == t.id.0 {
        let chain = &chains[s.id.0];
        let follows = |s: &Segment, t: &Segment| {
            s.id.1 + 1 == t.id.1 || (chain.closed && (s.id.1 + 1) % chain.segments() == t.id.1)
        };
        // Neighbours may not fold back on each other.
        if follows(s, t) {
            return near(t.b, s, clearance) || near(s.a, t, clearance);
        }
        if follows(t, s) {
            return near(s.b, t, clearance) || near(t.a, s, clearance);
        }
    }
    let (s_ends, t_ends) = ([s.a, s.b], [t.a, t.b]);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        if s_ends[i] == t_ends[j] && s.nodes[i] && t.nodes[j] {
            return near(s_ends[1 - i], t, clearance) || near(t_ends[1 - j], s, clearance);
        }
    }
    near(s.a, t, clearance)
        || near(s.b, t, clearance)
        || near(t.a, s, clearance)
        || near(t.b, s, clearance)
        || (side(s, t.a) != side(s, t.b) && side(t, s.a) != side(t, s.b))
}

/// The walls at nodes around which they no longer stand in the order in which they stood in `raw`.
pub(super) fn turned_nodes(raw: &[Chain], now: &[Chain]) -> Vec<SegmentId> {
    // By node: the walls that leave it, with their raw and present directions.
    let mut arms: Vec<(Point, f64, f64, SegmentId)> = Vec::new();
    for (index, (raw, now)) in raw.iter().zip(now).enumerate().filter(|(_, (raw, _))| !raw.closed) {
        let (r, n) = (raw.points.len(), now.points.len());
        let ends = [
            (raw.points[0], raw.points[1], now.points[1], 0),
            (raw.points[r - 1], raw.points[r - 2], now.points[n - 2], now.segments() - 1),
        ];
        for (node, raw, now, segment) in ends {
            let direction = |to: Point| (to[1] - node[1]).atan2(to[0] - node[0]);
            arms.push((node, direction(raw), direction(now), (index, segment)));
        }
    }
    arms.sort_unstable_by(|a, b| {
        (a.0[0].total_cmp(&b.0[0])).then(a.0[1].total_cmp(&b.0[1])).then(a.1.total_cmp(&b.1))
    });
    let mut found = Vec::new();
    for node in arms.chunk_by(|a, b| a.0 == b.0) {
        // Going around once in the old order, the new directions pass their end once.
        let falls = (0..node.len()).filter(|&i| node[i].2 >= node[(i + 1) % node.len()].2);
        if node.len() > 2 && falls.count() != 1 {
            found.extend(node.iter().map(|arm| arm.3));
        }
    }
    found
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
pub(super) fn misplaced_holes(rings: &[Vec<Point>]) -> Vec<(usize, Point)> {
    if rings.len() < 2 {
        return Vec::new();
    }
    let bands = Bands::new(rings);
    let expected = if doubled_area(&rings[0]) > 0.0 { 1 } else { -1 };
    let holes = rings.iter().enumerate().skip(1);
    holes
        .map(|(ring, points)| {
            let (a, b) = (points[0], points[1]);
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
    fn new(rings: &[Vec<Point>]) -> Self {
        let points = || rings.iter().flatten();
        let top = points().map(|p| p[1]).fold(f64::INFINITY, f64::min);
        let bottom = points().map(|p| p[1]).fold(f64::NEG_INFINITY, f64::max);
        let count = (points().count() / 4).max(1);
        let height = ((bottom - top) / count as f64).max(f64::MIN_POSITIVE);
        let mut bands = Self { top, height, segments: Vec::new() };
        bands.segments.resize_with(count, Vec::new);
        for (ring, points) in rings.iter().enumerate() {
            for (i, &a) in points.iter().enumerate() {
                let b = points[(i + 1) % points.len()];
                for band in bands.of(a[1].min(b[1]))..=bands.of(a[1].max(b[1])) {
                    let segment = Segment { a, b, nodes: [false; 2], id: (ring, i) };
                    bands.segments[band].push(segment);
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
