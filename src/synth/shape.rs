//! Plane geometry in ground metres: x to the east, y to the south, origin at the scene's upper-left corner.

use geo::{Coord, LineString, Polygon};

/// A point in ground metres (x east, y south).
pub type Point = Coord<f64>;

/// A point.
pub const fn at(x: f64, y: f64) -> Point {
    Point { x, y }
}

/// Length of a vector.
pub fn length(v: Point) -> f64 {
    v.x.hypot(v.y)
}

/// A box with sides parallel to the axes, in ground metres, bounds inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Upper-left (north-west) corner.
    pub min: Point,
    /// Lower-right (south-east) corner.
    pub max: Point,
}

impl Bounds {
    /// The smallest box around `points`.
    pub fn around(points: impl IntoIterator<Item = Point>) -> Self {
        let mut bounds = Self { min: at(f64::MAX, f64::MAX), max: at(f64::MIN, f64::MIN) };
        for p in points {
            bounds.min = at(bounds.min.x.min(p.x), bounds.min.y.min(p.y));
            bounds.max = at(bounds.max.x.max(p.x), bounds.max.y.max(p.y));
        }
        bounds
    }

    /// Grown by `margin_m` on every side.
    #[must_use]
    pub fn grown(self, margin_m: f64) -> Self {
        let margin = at(margin_m, margin_m);
        Self { min: self.min - margin, max: self.max + margin }
    }

    /// Grown so that it also holds itself moved by `offset`.
    #[must_use]
    pub fn swept(self, offset: Point) -> Self {
        Self {
            min: at(self.min.x + offset.x.min(0.0), self.min.y + offset.y.min(0.0)),
            max: at(self.max.x + offset.x.max(0.0), self.max.y + offset.y.max(0.0)),
        }
    }

    /// Whether the two boxes have a point in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.min.x <= other.max.x
            && other.min.x <= self.max.x
            && self.min.y <= other.max.y
            && other.min.y <= self.max.y
    }
}

/// A rotated right-handed frame: `u` along the frontage, `v` into the plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Where u = v = 0 lies.
    pub origin: Point,
    /// Unit vector of `u` in ground metres; `v` is a right-angle turn of it (clockwise as seen on screen).
    pub u: Point,
}

impl Frame {
    /// A frame at `origin` whose `u` axis points along `direction`.
    pub fn along(origin: Point, direction: Point) -> Self {
        let size = length(direction).max(1e-9);
        Self { origin, u: direction / size }
    }

    /// The frame with its `u` axis turned by `angle_rad`.
    pub fn turned(self, angle_rad: f64) -> Self {
        let (sin, cos) = angle_rad.sin_cos();
        let u = at(self.u.x * cos - self.u.y * sin, self.u.x * sin + self.u.y * cos);
        Self { origin: self.origin, u }
    }

    /// The frame with its origin at (`u`, `v`).
    pub fn moved(self, u: f64, v: f64) -> Self {
        Self { origin: self.world(u, v), u: self.u }
    }

    /// From frame coordinates to ground metres.
    #[inline]
    pub fn world(&self, u: f64, v: f64) -> Point {
        at(self.origin.x + self.u.x * u - self.u.y * v, self.origin.y + self.u.y * u + self.u.x * v)
    }

    /// From ground metres to frame coordinates.
    #[inline]
    pub fn local(&self, p: Point) -> (f64, f64) {
        let d = p - self.origin;
        (d.x * self.u.x + d.y * self.u.y, d.y * self.u.x - d.x * self.u.y)
    }

    /// A vector of ground metres in frame coordinates.
    pub fn local_vector(&self, d: Point) -> (f64, f64) {
        (d.x * self.u.x + d.y * self.u.y, d.y * self.u.x - d.x * self.u.y)
    }
}

/// A rectangle of a frame: `u0..u1` by `v0..v1`, metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left.
    pub u0: f64,
    /// Right.
    pub u1: f64,
    /// Front.
    pub v0: f64,
    /// Back.
    pub v1: f64,
}

impl Rect {
    /// A rectangle from its bounds.
    pub const fn new(u0: f64, u1: f64, v0: f64, v1: f64) -> Self {
        Self { u0, u1, v0, v1 }
    }

    /// A rectangle around the frame's origin.
    pub const fn centred(half_u: f64, half_v: f64) -> Self {
        Self::new(-half_u, half_u, -half_v, half_v)
    }

    /// Its middle.
    pub const fn centre(&self) -> (f64, f64) {
        (f64::midpoint(self.u0, self.u1), f64::midpoint(self.v0, self.v1))
    }

    /// Its corners in ground metres, clockwise on screen.
    pub fn corners(&self, frame: &Frame) -> [Point; 4] {
        [
            frame.world(self.u0, self.v0),
            frame.world(self.u1, self.v0),
            frame.world(self.u1, self.v1),
            frame.world(self.u0, self.v1),
        ]
    }

    /// Signed distance from (`u`, `v`) to the border, metres; negative inside.
    #[inline]
    pub fn distance(&self, u: f64, v: f64) -> f64 {
        let du = (self.u0 - u).max(u - self.u1);
        let dv = (self.v0 - v).max(v - self.v1);
        if du > 0.0 && dv > 0.0 { (du * du + dv * dv).sqrt() } else { du.max(dv) }
    }

    /// Whether two rectangles of two frames come closer than `gap_m` (separating axes).
    pub fn near(&self, frame: &Frame, other: &Self, other_frame: &Frame, gap_m: f64) -> bool {
        !(separated(self, frame, &other.corners(other_frame), gap_m)
            || separated(other, other_frame, &self.corners(frame), gap_m))
    }
}

/// Whether an axis of `rect` separates it from `points` by `gap_m` or more.
fn separated(rect: &Rect, frame: &Frame, points: &[Point; 4], gap_m: f64) -> bool {
    let local = points.map(|p| frame.local(p));
    let all = |f: &dyn Fn(&(f64, f64)) -> bool| local.iter().all(f);
    all(&|p| p.0 >= rect.u1 + gap_m)
        || all(&|p| p.0 <= rect.u0 - gap_m)
        || all(&|p| p.1 >= rect.v1 + gap_m)
        || all(&|p| p.1 <= rect.v0 - gap_m)
}

/// A polygon from its rings; the first and last point need not coincide.
pub fn polygon(exterior: Vec<Point>, hole: Option<Vec<Point>>) -> Polygon<f64> {
    Polygon::new(LineString(exterior), hole.map(LineString).into_iter().collect())
}

/// Distance from `p` to the segment `a`-`b`, and how far along it the nearest point lies (0 to 1).
#[inline]
pub fn to_segment(p: Point, a: Point, b: Point) -> (f64, f64) {
    let (d, q) = (b - a, p - a);
    let t = ((q.x * d.x + q.y * d.y) / (d.x * d.x + d.y * d.y).max(1e-12)).clamp(0.0, 1.0);
    let r = q - d * t;
    ((r.x * r.x + r.y * r.y).sqrt(), t)
}

/// Whether `p` lies inside the ring (even-odd rule).
pub fn inside(p: Point, ring: &[Point]) -> bool {
    let mut odd = false;
    let mut b = ring[ring.len() - 1];
    for &a in ring {
        if (a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x {
            odd = !odd;
        }
        b = a;
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_there_and_back() {
        let frame = Frame::along(at(10.0, -4.0), at(3.0, 4.0)).turned(0.3);
        let (u, v) = frame.local(frame.world(2.5, -7.0));
        assert!((u - 2.5).abs() < 1e-12 && (v + 7.0).abs() < 1e-12);
    }

    #[test]
    fn rectangles_are_near_only_within_the_gap() {
        let frame = Frame::along(at(0.0, 0.0), at(1.0, 0.0));
        let turned = Frame::along(at(5.0, 0.0), at(1.0, 1.0));
        let (a, b) = (Rect::centred(2.0, 2.0), Rect::centred(1.0, 1.0));
        // The turned square reaches 1.41 m towards the first: 1.59 m of air.
        assert!(!a.near(&frame, &b, &turned, 1.5));
        assert!(a.near(&frame, &b, &turned, 1.7));
    }

    #[test]
    fn distance_to_a_rectangle_is_negative_inside() {
        let rect = Rect::new(0.0, 4.0, 0.0, 2.0);
        assert_eq!(rect.distance(2.0, 1.0), -1.0);
        assert_eq!(rect.distance(7.0, 6.0), 5.0);
    }
}
