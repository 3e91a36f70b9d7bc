//! Small things that stand on the ground or on a roof: walls, cars, tanks, sheds of no account.

use super::canvas::Canvas;
use super::hash::{Rng, noise};
use super::roofs::{cast, shaded};
use super::shape::{Bounds, Frame, Rect};
use super::style::{Rgb, Style, blend, scaled};

/// What a [`Thing`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A wall or a box of one colour.
    Block,
    /// A car, a van or a lorry, its front towards positive `u`.
    Car,
    /// A round water tank.
    Tank,
    /// A tarpaulin or a stack of goods: flat on the ground.
    Sheet,
}

/// A box with a colour and a height.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Its middle and direction.
    pub frame: Frame,
    /// Half length along `u`, metres.
    pub half_u: f64,
    /// Half width along `v`, metres.
    pub half_v: f64,
    /// Height of its foot above ground, metres.
    pub base_m: f64,
    /// Height above its foot, metres.
    pub height_m: f64,
    /// Its colour.
    pub colour: Rgb,
}

impl Thing {
    /// Its plan.
    pub fn rect(&self) -> Rect {
        Rect::centred(self.half_u, self.half_v)
    }

    /// The box around its plan.
    pub fn bounds(&self) -> Bounds {
        Bounds::around(self.rect().corners(&self.frame))
    }

    /// A wall along the line from `frame`'s origin to (`length_m`, 0).
    pub fn wall(frame: Frame, length_m: f64, height_m: f64, colour: Rgb) -> Self {
        Self {
            kind: Kind::Block,
            frame: frame.moved(length_m / 2.0, 0.0),
            half_u: length_m / 2.0 + 0.12,
            half_v: 0.14,
            base_m: 0.0,
            height_m,
            colour,
        }
    }

    /// A car, now and then a lorry.
    pub fn car(rng: &mut Rng, frame: Frame) -> Self {
        let lorry = rng.chance(0.08);
        let colour = rng.pick(&[
            [0.88, 0.88, 0.88],
            [0.80, 0.81, 0.82],
            [0.62, 0.64, 0.66],
            [0.17, 0.18, 0.20],
            [0.55, 0.12, 0.12],
            [0.16, 0.25, 0.45],
        ]);
        let (half_u, half_v, height_m) = if lorry { (3.9, 1.2, 2.9) } else { (2.1, 0.87, 1.4) };
        let frame = if rng.chance(0.5) { frame } else { frame.turned(std::f64::consts::PI) };
        Self { kind: Kind::Car, frame, half_u, half_v, base_m: 0.0, height_m, colour }
    }

    fn distance(&self, u: f64, v: f64) -> f64 {
        match self.kind {
            Kind::Tank => (u * u + v * v).sqrt() - self.half_u,
            Kind::Car => {
                // Rounded corners.
                Rect::centred(self.half_u - 0.35, self.half_v - 0.35).distance(u, v) - 0.35
            }
            _ => self.rect().distance(u, v),
        }
    }

    /// Lets its shadow fall.
    pub fn cast(&self, canvas: &mut Canvas, style: &Style) {
        let rect = if self.kind == Kind::Tank {
            Rect::centred(self.half_u * 0.85, self.half_v * 0.85)
        } else {
            self.rect()
        };
        cast(canvas, &self.frame, &rect, self.height_m, style);
    }

    /// Paints it.
    pub fn paint(&self, canvas: &mut Canvas, style: &Style) {
        let (sun_u, sun_v) = self.frame.local_vector(super::shape::at(style.sun[0], style.sun[1]));
        canvas.each(&self.bounds(), |canvas, index, p| {
            let (u, v) = self.frame.local(p);
            let cover = canvas.coverage(self.distance(u, v));
            if cover <= 0.0 {
                return;
            }
            let (a, b) = (u / self.half_u, v / self.half_v);
            let colour = match self.kind {
                Kind::Car => {
                    let windscreen = (0.18..0.42).contains(&a) && b.abs() < 0.82;
                    let rear = (-0.78..-0.6).contains(&a) && b.abs() < 0.8;
                    if self.height_m < 2.0 && (windscreen || rear) {
                        [0.13, 0.15, 0.18]
                    } else if self.height_m < 2.0 && (-0.6..0.18).contains(&a) {
                        scaled(self.colour, 1.06)
                    } else {
                        scaled(self.colour, 0.94)
                    }
                }
                Kind::Tank => {
                    let lit = (a * sun_u + b * sun_v) as f32;
                    scaled(self.colour, 1.0 + 0.35 * lit)
                }
                Kind::Sheet => {
                    let folds = noise(p.x * 1.1, p.y * 1.1, 0x5E) - 0.5;
                    scaled(self.colour, 1.0 + 0.35 * folds)
                }
                Kind::Block => {
                    let stains = noise(p.x * 0.8, p.y * 0.8, 0x5F) - 0.5;
                    blend(self.colour, shaded(self.colour, 0.3), 0.5 + stains)
                }
            };
            canvas.paint(index, colour, cover);
        });
    }
}
