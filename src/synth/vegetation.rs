//! Trees, palms and bushes: clumpy crowns, lit on the sunny side.

use super::canvas::Canvas;
use super::hash::{Rng, noise};
use super::shape::{Bounds, Point, to_segment};
use super::style::{Rgb, Style, blend, scaled};

/// A tree or a bush as seen from above.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Middle of the crown, ground metres.
    pub at: Point,
    /// Radius of the crown, metres.
    pub radius_m: f64,
    /// Height of the top, metres.
    pub height_m: f64,
    /// Its leaves.
    pub colour: Rgb,
    /// A star of fronds.
    pub palm: bool,
    /// Seed of its texture.
    pub seed: u32,
}

impl Tree {
    /// A tree with a crown of about `radius_m`.
    pub fn grow(rng: &mut Rng, at: Point, radius_m: f64, style: &Style) -> Self {
        let palm = radius_m > 1.4 && rng.chance(style.palms);
        let light = rng.range_f32(0.72, 1.28);
        let yellow = rng.range_f32(-0.25, 0.6);
        let leaf = blend(style.leaf, [0.42, 0.42, 0.20], yellow.max(0.0) * 0.6);
        let radius_m = if palm { rng.range(2.2, 3.4) } else { radius_m };
        let height_m =
            if palm { rng.range(7.0, 11.0) } else { radius_m * rng.range(1.5, 2.2) + 0.6 };
        Self { at, radius_m, height_m, colour: scaled(leaf, light), palm, seed: rng.bits() as u32 }
    }

    /// The box around the crown.
    pub fn bounds(&self) -> Bounds {
        Bounds::around([self.at]).grown(self.radius_m * 1.3)
    }

    /// Lets its shadow fall: the crown swept from its underside to its top.
    pub fn cast(&self, canvas: &mut Canvas, style: &Style) {
        let reach = style.shadow_per_m() * self.height_m;
        let (near, far) = (self.at + reach * 0.25, self.at + reach * 0.85);
        let radius = self.radius_m * if self.palm { 0.6 } else { 0.86 };
        let bounds = Bounds::around([near, far]).grown(radius * 1.25 + 0.5);
        if !bounds.meets(&canvas.bounds()) {
            return;
        }
        canvas.each(&bounds, |canvas, index, p| {
            let (distance, _) = to_segment(p, near, far);
            if distance > radius * 1.25 {
                return;
            }
            let ragged = f64::from(noise(p.x * 0.9, p.y * 0.9, self.seed) - 0.5) * 0.5 * radius;
            let depth = canvas.coverage((distance - radius + ragged) * 0.5) * 0.95;
            canvas.shade(index, depth);
        });
    }

    /// Paints the crown.
    pub fn paint(&self, canvas: &mut Canvas, style: &Style) {
        let r = self.radius_m;
        canvas.each(&self.bounds(), |canvas, index, p| {
            let d = p - self.at;
            let distance = (d.x * d.x + d.y * d.y).sqrt();
            if distance > r * 1.3 {
                return;
            }
            let coarse = noise(p.x / (0.45 * r + 0.4), p.y / (0.45 * r + 0.4), self.seed);
            let border = if self.palm {
                let fronds = (d.y.atan2(d.x) * 4.5 + f64::from(self.seed % 7)).cos().abs();
                r * (0.35 + 0.75 * fronds)
            } else {
                r * (0.72 + 0.5 * f64::from(coarse))
            };
            let cover = canvas.coverage((distance - border) * 0.7);
            if cover <= 0.0 {
                return;
            }
            let fine = noise(p.x * 1.9, p.y * 1.9, self.seed ^ 9);
            let leaves = noise(p.x * 3.6, p.y * 3.6, self.seed ^ 5);
            // A flattened dome, rough with clumps of leaves.
            let dome = 0.75 / r;
            let rough = f64::from(coarse - 0.5) * 0.9 + f64::from(fine - 0.5) * 0.7;
            let (gx, gy) = (-d.x * dome, -d.y * dome);
            let light = style.light(gx, gy) * (1.0 + 0.55 * rough as f32) * (0.72 + 0.56 * leaves);
            let colour = blend(self.colour, [0.44, 0.47, 0.24], (fine * 0.5 - 0.15).max(0.0));
            canvas.paint(index, scaled(colour, light.clamp(0.25, 1.8)), cover);
        });
    }
}
