//! Buildings: rectangular wings in a rotated frame, their exact outline and their roof.

use geo::Polygon;

use super::hash::Rng;
use super::shape::{Bounds, Frame, Point, Rect, polygon};
use super::style::Rgb;

/// How a roof rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Two slopes and a ridge along the wing.
    Gable,
    /// Four slopes.
    Hip,
    /// One slope, rising to the back.
    Lean,
    /// None: concrete with a parapet.
    Flat,
    /// Round, rising to the middle.
    Cone,
}

/// What a roof is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Material {
    /// Burnt-clay tiles.
    Tile,
    /// Bare corrugated metal.
    Metal,
    /// Painted corrugated metal.
    Painted,
    /// Rusty corrugated metal.
    Rusty,
    /// Cast concrete.
    Concrete,
    /// Straw.
    Thatch,
    /// A white membrane or whitewash.
    White,
}

/// A roof over all wings of a building.
#[derive(Clone, Copy, Debug)]
pub struct Roof {
    /// How it rises.
    pub form: Form,
    /// Rise per metre of run.
    pub pitch: f64,
    /// What it is made of.
    pub material: Material,
    /// Its own colour.
    pub colour: Rgb,
    /// 0 new, 1 weathered.
    pub wear: f32,
    /// Seed of its texture.
    pub seed: u32,
}

/// A rectangular part of a building under its own ridge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wing {
    /// Its walls, in the building's frame.
    pub rect: Rect,
    /// Whether the ridge runs along `u`.
    pub ridge_along_u: bool,
}

impl Wing {
    fn new(u0: f64, u1: f64, v0: f64, v1: f64) -> Self {
        Self { rect: Rect::new(u0, u1, v0, v1), ridge_along_u: u1 - u0 >= v1 - v0 }
    }
}

/// A building: the painter draws its wings, the truth is its outline, and they agree exactly.
#[derive(Clone, Debug)]
pub struct Building {
    /// Frame of the wings.
    pub frame: Frame,
    /// Overlapping or touching rectangles whose union is the plan. One for a round hut.
    pub wings: Vec<Wing>,
    /// The plan in ground metres.
    pub outline: Polygon<f64>,
    /// Height of the eaves (of the parapet, when flat) above ground.
    pub eaves_m: f64,
    /// The roof.
    pub roof: Roof,
}

impl Building {
    /// Height that throws the shadow: the eaves and half the rise of the roof.
    pub fn height_m(&self) -> f64 {
        if matches!(self.roof.form, Form::Flat) {
            return self.eaves_m;
        }
        let span = self
            .wings
            .iter()
            .map(|w| (w.rect.u1 - w.rect.u0).min(w.rect.v1 - w.rect.v0))
            .fold(0.0, f64::max);
        self.eaves_m + 0.25 * span * self.roof.pitch
    }

    /// The box around the plan.
    pub fn bounds(&self) -> Bounds {
        Bounds::around(self.outline.exterior().coords().copied())
    }

    /// Signed distance from frame coordinates to the plan's border; negative inside (at least as deep as given).
    #[inline]
    pub fn distance(&self, u: f64, v: f64) -> f64 {
        if self.roof.form == Form::Cone {
            return round_distance(self.wings[0].rect.u1, u, v);
        }
        self.wings.iter().map(|w| w.rect.distance(u, v)).fold(f64::MAX, f64::min)
    }
}

/// Corners of the polygon that stands for a round hut.
const ROUND_CORNERS: usize = 24;

/// Signed distance to a regular polygon of [`ROUND_CORNERS`] around the origin.
fn round_distance(radius: f64, u: f64, v: f64) -> f64 {
    let step = std::f64::consts::TAU / ROUND_CORNERS as f64;
    let angle = v.atan2(u);
    let within = angle - (angle / step).floor() * step - step / 2.0;
    (u * u + v * v).sqrt() * within.cos() - radius * (step / 2.0).cos()
}

/// The plan of a building, before it has a place.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Wings in the plan's frame.
    pub wings: Vec<Wing>,
    /// Corners of the union, clockwise on screen, in the same frame.
    pub ring: Vec<(f64, f64)>,
    /// Corners of a courtyard.
    pub hole: Option<Vec<(f64, f64)>>,
}

impl Plan {
    /// A rectangle, `u0..u1` by `v0..v1`.
    pub fn rect(u0: f64, u1: f64, v0: f64, v1: f64) -> Self {
        Self {
            wings: vec![Wing::new(u0, u1, v0, v1)],
            ring: vec![(u0, v0), (u1, v0), (u1, v1), (u0, v1)],
            hole: None,
        }
    }

    /// An L: a front `a` deep and a side wing `b` wide, on the left or the right.
    pub fn l(w: f64, d: f64, a: f64, b: f64, right: bool) -> Self {
        let h = w / 2.0;
        let mut plan = Self {
            wings: vec![Wing::new(-h, h, 0.0, a), Wing::new(-h, -h + b, 0.0, d)],
            ring: vec![(-h, 0.0), (h, 0.0), (h, a), (-h + b, a), (-h + b, d), (-h, d)],
            hole: None,
        };
        if right {
            plan.mirror();
        }
        plan
    }

    /// A T: a bar `a` deep in front, a stem `b` wide behind its middle.
    pub fn t(w: f64, d: f64, a: f64, b: f64) -> Self {
        let (h, s) = (w / 2.0, b / 2.0);
        Self {
            wings: vec![Wing::new(-h, h, 0.0, a), Wing::new(-s, s, 0.0, d)],
            ring: vec![(-h, 0.0), (h, 0.0), (h, a), (s, a), (s, d), (-s, d), (-s, a), (-h, a)],
            hole: None,
        }
    }

    /// A U, open to the back: a bar `a` deep, two wings `b` wide.
    pub fn u(w: f64, d: f64, a: f64, b: f64) -> Self {
        let h = w / 2.0;
        Self {
            wings: vec![
                Wing::new(-h, h, 0.0, a),
                Wing::new(-h, -h + b, 0.0, d),
                Wing::new(h - b, h, 0.0, d),
            ],
            ring: vec![
                (-h, 0.0),
                (h, 0.0),
                (h, d),
                (h - b, d),
                (h - b, a),
                (-h + b, a),
                (-h + b, d),
                (-h, d),
            ],
            hole: None,
        }
    }

    /// Four wings, `a` deep, around a courtyard.
    pub fn court(w: f64, d: f64, a: f64) -> Self {
        let h = w / 2.0;
        Self {
            wings: vec![
                Wing::new(-h, h, 0.0, a),
                Wing::new(-h, h, d - a, d),
                Wing::new(-h, -h + a, 0.0, d),
                Wing::new(h - a, h, 0.0, d),
            ],
            ring: vec![(-h, 0.0), (h, 0.0), (h, d), (-h, d)],
            hole: Some(vec![(-h + a, a), (-h + a, d - a), (h - a, d - a), (h - a, a)]),
        }
    }

    /// A round hut.
    pub fn round(radius: f64) -> Self {
        let corner = |k: usize| {
            let angle = std::f64::consts::TAU * k as f64 / ROUND_CORNERS as f64;
            (radius * angle.cos(), radius * angle.sin())
        };
        Self {
            wings: vec![Wing::new(-radius, radius, -radius, radius)],
            ring: (0..ROUND_CORNERS).map(corner).collect(),
            hole: None,
        }
    }

    fn mirror(&mut self) {
        for wing in &mut self.wings {
            let r = wing.rect;
            wing.rect = Rect::new(-r.u1, -r.u0, r.v0, r.v1);
        }
        self.ring = self.ring.iter().rev().map(|&(u, v)| (-u, v)).collect();
    }

    /// The plan of a free-standing house about `w` wide and `d` deep.
    pub fn house(rng: &mut Rng, w: f64, d: f64) -> Self {
        let h = w / 2.0;
        // Only a house with room for two wings of 3.5 m can have a corner.
        if w < 7.5 || d < 7.5 {
            return Self::rect(-h, h, 0.0, d);
        }
        let a = (d * rng.range(0.42, 0.62)).max(3.5);
        let b = (w * rng.range(0.38, 0.55)).max(3.5);
        match rng.weighted(&[0.52, 0.28, 0.13, 0.07]) {
            1 => {
                let right = rng.chance(0.5);
                Self::l(w, d, a, b, right)
            }
            2 => Self::t(w, d, a, b),
            3 if w > 12.0 => Self::u(w, d, a, w * rng.range(0.28, 0.36)),
            _ => Self::rect(-h, h, 0.0, d),
        }
    }

    /// The building on `frame`.
    pub fn build(self, frame: Frame, eaves_m: f64, roof: Roof) -> Building {
        let ring = |corners: &[(f64, f64)]| -> Vec<Point> {
            corners.iter().map(|&(u, v)| frame.world(u, v)).collect()
        };
        let outline = polygon(ring(&self.ring), self.hole.as_deref().map(ring));
        Building { frame, wings: self.wings, outline, eaves_m, roof }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::at;
    use super::*;
    use geo::{Area, Contains};

    fn plain_roof(form: Form) -> Roof {
        Roof { form, pitch: 0.4, material: Material::Tile, colour: [0.5; 3], wear: 0.0, seed: 1 }
    }

    #[test]
    fn outlines_and_wings_describe_the_same_plan() {
        let frame = Frame::along(at(3.0, -2.0), at(0.8, 0.6));
        let plans = [
            (Plan::rect(-4.0, 4.0, 0.0, 9.0), Form::Gable),
            (Plan::l(12.0, 11.0, 5.0, 4.0, false), Form::Hip),
            (Plan::l(12.0, 11.0, 5.0, 4.0, true), Form::Hip),
            (Plan::t(12.0, 11.0, 5.0, 4.0), Form::Gable),
            (Plan::u(16.0, 12.0, 5.0, 4.0), Form::Flat),
            (Plan::court(20.0, 18.0, 6.0), Form::Hip),
            (Plan::round(3.0), Form::Cone),
        ];
        for (plan, form) in plans {
            let building = plan.build(frame, 3.0, plain_roof(form));
            assert!(building.outline.unsigned_area() > 20.0);
            for i in -30..30 {
                for j in -30..50 {
                    let (u, v) = (f64::from(i) * 0.47 + 0.013, f64::from(j) * 0.47 + 0.017);
                    let point = geo::Point(frame.world(u, v));
                    let inside = building.distance(u, v) < 0.0;
                    assert_eq!(building.outline.contains(&point), inside, "{form:?} {u} {v}");
                }
            }
        }
    }
}
