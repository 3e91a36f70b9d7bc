//! What a town looks like as a whole: its light, its earth, its roofs.

use serde::{Deserialize, Serialize};

use super::hash::Rng;
use super::shape::{Point, at};

/// Red, green and blue, 0 to 1 as displayed.
pub type Rgb = [f32; 3];

/// Mixes two colours; `t` = 0 gives `a`.
#[inline]
pub fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/// A colour made brighter or darker.
#[inline]
pub fn scaled(c: Rgb, by: f32) -> Rgb {
    [c[0] * by, c[1] * by, c[2] * by]
}

/// Which family of towns to draw from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StyleName {
    /// One of the others, by the seed.
    #[default]
    Auto,
    /// Red earth, tiles and painted metal, green gardens.
    Highland,
    /// Pale sand, bare metal and thatch, palms.
    Coast,
    /// Grey-brown soil, flat concrete roofs, terraces of fields.
    Valley,
}

/// The light, the earth and the roofs of one town.
#[derive(Clone, Debug)]
pub struct Style {
    /// Unit vector towards the sun: east, south, up.
    pub sun: [f64; 3],
    /// Turn of the street lattice, radians.
    pub turn_rad: f64,
    /// Dry earth.
    pub soil: Rgb,
    /// Its other tone.
    pub soil_dark: Rgb,
    /// Fresh grass.
    pub grass: Rgb,
    /// Dry grass.
    pub straw: Rgb,
    /// Crowns of trees.
    pub leaf: Rgb,
    /// Share of open ground that is green, 0 to 1.
    pub greenness: f32,
    /// Share of trees that are palms.
    pub palms: f64,
    /// Weights of the roof materials, in the order of `roofs::MATERIALS`.
    pub roofs: [f64; 7],
    /// The camera's colour cast.
    pub cast: Rgb,
}

impl Style {
    /// The style of a town: the family's own values, varied a little by the seed.
    pub fn of(name: StyleName, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0x57, 0, 0);
        let drawn = rng.pick(&[StyleName::Highland, StyleName::Coast, StyleName::Valley]);
        let name = if name == StyleName::Auto { drawn } else { name };
        // Roofs: tile, bare metal, painted metal, rusty metal, concrete, thatch, white.
        let (soil, soil_dark, greenness, palms, roofs) = match name {
            StyleName::Highland | StyleName::Auto => (
                [0.66, 0.46, 0.33],
                [0.50, 0.34, 0.25],
                0.56,
                0.06,
                [0.28, 0.16, 0.22, 0.14, 0.14, 0.01, 0.05],
            ),
            StyleName::Coast => (
                [0.70, 0.60, 0.46],
                [0.55, 0.46, 0.35],
                0.50,
                0.35,
                [0.12, 0.30, 0.14, 0.18, 0.12, 0.07, 0.07],
            ),
            StyleName::Valley => (
                [0.60, 0.52, 0.42],
                [0.45, 0.39, 0.31],
                0.46,
                0.03,
                [0.14, 0.18, 0.16, 0.08, 0.36, 0.01, 0.07],
            ),
        };
        let mut vary = |c: Rgb, by: f32| {
            let light = rng.range_f32(1.0 - by, 1.0 + by);
            c.map(|x| x * light * rng.range_f32(1.0 - by * 0.4, 1.0 + by * 0.4))
        };
        let soil = vary(soil, 0.08);
        let soil_dark = vary(soil_dark, 0.08);
        let grass = vary([0.36, 0.43, 0.22], 0.12);
        let straw = vary([0.53, 0.49, 0.32], 0.08);
        let leaf = vary([0.25, 0.34, 0.16], 0.14);
        let cast = vary([1.0, 1.0, 1.0], 0.04);
        let azimuth = rng.range(-70.0, 70.0) + if rng.chance(0.3) { 180.0 } else { 0.0 };
        let elevation = rng.range(42.0f64, 62.0).to_radians();
        let (sin, cos) = f64::to_radians(azimuth).sin_cos();
        Self {
            sun: [sin * elevation.cos(), -cos * elevation.cos(), elevation.sin()],
            turn_rad: rng.range(-0.7, 0.7),
            soil,
            soil_dark,
            grass,
            straw,
            leaf,
            greenness: (greenness + rng.range_f32(-0.06, 0.06)).clamp(0.0, 1.0),
            palms,
            roofs,
            cast,
        }
    }

    /// Where the tip of a mast of 1 m throws its shadow, relative to its foot: metres east and south.
    pub fn shadow_per_m(&self) -> Point {
        at(-self.sun[0] / self.sun[2], -self.sun[1] / self.sun[2])
    }

    /// How bright a slope is against flat ground; `gx`, `gy` are its rise per metre east and south.
    #[inline]
    pub fn light(&self, gx: f64, gy: f64) -> f32 {
        // A cloudless sky gives about a third of the light of flat ground, whichever way a slope looks.
        const SKY: f64 = 0.34;
        let facing = (self.sun[2] - gx * self.sun[0] - gy * self.sun[1])
            / ((1.0 + gx * gx + gy * gy).sqrt() * self.sun[2]);
        (SKY + (1.0 - SKY) * facing.max(0.0)) as f32
    }
}
