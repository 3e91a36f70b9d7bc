//! The studio around a car: a floor that bends up into a wall, soft shadows, a sheen on the floor, the lens' vignette.

use super::car::Car;
use super::raster::{Vector, add, times, unit};
use crate::synth::hash::{Rng, noise};
use crate::synth::style::{Rgb, blend, scaled};

/// Grain of the floor and the wall, a noise of this strength.
const GRAIN: f32 = 0.02;

/// A studio.
pub(super) struct Studio {
    pub wall: Rgb,
    floor: Rgb,
    /// Where the floor bends up into the wall, metres from the middle.
    bend_m: (f64, f64),
    /// Radius of the turntable, metres.
    table_m: f64,
    /// How dark the floor is right under the car, 0 to 1.
    shadow: f64,
    /// How far that shadow reaches, metres.
    reach_m: f64,
    /// How much of the car the floor mirrors, 0 to 1.
    sheen: f32,
    vignette: f32,
    /// Towards the lamps.
    pub light: Vector,
    seed: u32,
}

/// What a ray meets beside the car.
pub(super) struct Seen {
    pub colour: Rgb,
    /// How deep it lies in the car's shadow, 0 to 1.
    pub shadow: f32,
    /// How much of the car it mirrors, 0 to 1.
    pub sheen: f32,
}

impl Studio {
    /// Furnishes a studio by lot.
    pub fn draw(rng: &mut Rng) -> Self {
        let grey = rng.range_f32(0.52, 0.95);
        let tint = |rng: &mut Rng| [0; 3].map(|_| rng.range_f32(0.97, 1.03));
        let wall = tint(rng).map(|part| (part * grey).min(0.97));
        let floor = tint(rng).map(|part| (part * grey * rng.range_f32(0.86, 1.0)).min(0.97));
        let near = rng.range(3.4, 5.0);
        Self {
            wall,
            floor,
            bend_m: (near, near + rng.range(1.5, 4.0)),
            table_m: rng.range(2.9, 3.6),
            shadow: rng.range(0.55, 0.95),
            reach_m: rng.range(0.25, 0.7),
            sheen: rng.range_f32(0.04, 0.32),
            vignette: rng.range_f32(0.05, 0.35),
            light: unit([rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(1.0, 2.0)]),
            seed: rng.bits() as u32,
        }
    }

    /// What is seen from `eye` in a direction, where the car is not.
    pub fn seen(&self, eye: Vector, ray: Vector, car: &Car) -> Seen {
        // Brightest at the height of the lamps, darker towards the ceiling.
        let wall = scaled(self.wall, (1.02 - 0.35 * (ray[2] - 0.1).abs()) as f32);
        if ray[2] > -1e-3 {
            let grain = noise(ray[0] * 40.0, ray[1] * 40.0 + ray[2] * 70.0, self.seed);
            return Seen { colour: grainy(wall, grain), shadow: 0.0, sheen: 0.0 };
        }
        let at = add(eye, times(ray, -eye[2] / ray[2]));
        let from_middle = at[0].hypot(at[1]);
        let bent = smooth((from_middle - self.bend_m.0) / (self.bend_m.1 - self.bend_m.0));
        let rim = 1.0 - ((from_middle - self.table_m).abs() / 0.05).min(1.0);
        let table = if from_middle < self.table_m { 0.97 } else { 1.0 };
        let floor = scaled(self.floor, (table - 0.10 * rim) as f32);
        let grain = noise(at[0] * 25.0, at[1] * 25.0, self.seed);
        let flat = 1.0 - bent as f32;
        Seen {
            colour: grainy(blend(floor, wall, bent as f32), grain),
            shadow: self.shadow_at(at, car) as f32 * flat,
            sheen: self.sheen * flat,
        }
    }

    /// Dark under the car, softer with the distance; a second, wider shadow lies on the side away from the lamps.
    fn shadow_at(&self, at: Vector, car: &Car) -> f64 {
        let outside = |at: Vector, inset: f64| {
            let x = (at[0].abs() - car.length_m / 2.0 + inset).max(0.0);
            let y = (at[1].abs() - car.width_m / 2.0 + inset).max(0.0);
            x.hypot(y)
        };
        let contact = self.shadow * (-outside(at, 0.12) / (0.35 * self.reach_m)).exp();
        let moved = add(at, times([self.light[0], self.light[1], 0.0], 0.5));
        let cast = 0.45 * self.shadow * (-outside(moved, 0.3) / self.reach_m).exp();
        1.0 - (1.0 - contact) * (1.0 - cast)
    }

    /// How much of the light the lens keeps at (`x`, `y`), both from -1 to 1 over the picture.
    pub fn vignette(&self, x: f64, y: f64) -> f32 {
        1.0 - self.vignette * 0.5 * (x * x + y * y) as f32
    }
}

fn grainy(colour: Rgb, grain: f32) -> Rgb {
    scaled(colour, 1.0 + GRAIN * (grain - 0.5))
}

/// From 0 at 0 to 1 at 1 without a kink.
fn smooth(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}
