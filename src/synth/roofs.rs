//! Roofs: slopes lit by the one sun, ridges and valleys, tiles, metal sheets, rust, parapets.

use super::building::{Building, Form, Material, Roof};
use super::canvas::Canvas;
use super::hash::{Rng, floor, noise, point_unit};
use super::shape::{Frame, Point, Rect};
use super::style::{Rgb, Style, blend, scaled};

/// All materials, in the order of [`Style::roofs`].
pub const MATERIALS: [Material; 7] = [
    Material::Tile,
    Material::Metal,
    Material::Painted,
    Material::Rusty,
    Material::Concrete,
    Material::Thatch,
    Material::White,
];

/// A roof of `material` with its own shade, pitch and age; flat where the material asks for it.
pub fn roof(rng: &mut Rng, material: Material) -> Roof {
    let wear = rng.range_f32(0.05, 0.95);
    let (colours, pitch): (&[Rgb], [f64; 2]) = match material {
        Material::Tile => (
            &[[0.70, 0.41, 0.28], [0.61, 0.34, 0.25], [0.53, 0.32, 0.26], [0.75, 0.49, 0.34]],
            [0.36, 0.62],
        ),
        Material::Metal => {
            (&[[0.70, 0.73, 0.76], [0.60, 0.64, 0.68], [0.77, 0.80, 0.82]], [0.10, 0.35])
        }
        Material::Painted => (
            &[
                [0.60, 0.24, 0.23],
                [0.68, 0.32, 0.28],
                [0.27, 0.42, 0.60],
                [0.33, 0.48, 0.41],
                [0.51, 0.22, 0.25],
                [0.45, 0.51, 0.56],
                [0.56, 0.40, 0.36],
            ],
            [0.14, 0.42],
        ),
        Material::Rusty => {
            (&[[0.55, 0.39, 0.30], [0.62, 0.48, 0.39], [0.48, 0.35, 0.30]], [0.10, 0.34])
        }
        Material::Concrete => {
            (&[[0.62, 0.60, 0.56], [0.55, 0.54, 0.51], [0.69, 0.66, 0.61]], [0.0, 0.0])
        }
        Material::Thatch => (&[[0.56, 0.48, 0.34], [0.47, 0.41, 0.31]], [0.6, 0.8]),
        Material::White => (&[[0.89, 0.89, 0.87], [0.82, 0.82, 0.80]], [0.0, 0.18]),
    };
    // Sun and dust take the colour out of old roofs.
    let light = rng.range_f32(0.88, 1.1);
    let fresh = rng.pick(colours).map(|c| c * light * rng.range_f32(0.96, 1.04));
    let colour = blend(fresh, [0.56, 0.52, 0.48], 0.32 * wear);
    let form = match material {
        Material::Concrete => Form::Flat,
        Material::White if rng.chance(0.5) => Form::Flat,
        Material::Tile | Material::Thatch if rng.chance(0.55) => Form::Hip,
        Material::Painted if rng.chance(0.25) => Form::Hip,
        Material::Metal | Material::Rusty if rng.chance(0.35) => Form::Lean,
        _ => Form::Gable,
    };
    let pitch = match form {
        Form::Flat => 0.0,
        Form::Lean => 0.16,
        _ => rng.range(pitch[0], pitch[1]),
    };
    Roof { form, pitch, material, colour, wear, seed: rng.bits() as u32 }
}

/// Where a point lies on a roof.
struct Slope {
    /// Rise per metre along `u` and `v`.
    rise: (f64, f64),
    /// Metres along the eaves, and down from the ridge.
    along: f64,
    down: f64,
    /// Metres to the ridge, measured in plan.
    ridge: f64,
}

/// The highest roof over (`u`, `v`): wings meet in valleys where their heights are equal.
fn slope(building: &Building, u: f64, v: f64) -> Slope {
    let pitch = building.roof.pitch;
    let mut best = Slope { rise: (0.0, 0.0), along: u, down: v, ridge: f64::MAX };
    let mut height = f64::MIN;
    for wing in &building.wings {
        let r = wing.rect;
        if r.distance(u, v) > 0.35 {
            continue;
        }
        let (mid_u, mid_v) = r.centre();
        let (half_u, half_v) = ((r.u1 - r.u0) / 2.0, (r.v1 - r.v0) / 2.0);
        let (in_u, in_v) = (half_u - (u - mid_u).abs(), half_v - (v - mid_v).abs());
        let (sign_u, sign_v) = ((mid_u - u).signum(), (mid_v - v).signum());
        // On which of its own slopes the point lies: across `v` (ridge along u) or across `u`.
        let across_v = match building.roof.form {
            Form::Hip => in_v < in_u,
            _ => wing.ridge_along_u,
        };
        let candidate = match building.roof.form {
            Form::Lean => {
                (Slope { rise: (0.0, pitch), along: u, down: r.v1 - v, ridge: f64::MAX }, v - r.v0)
            }
            Form::Cone => {
                let radius = (u * u + v * v).sqrt().max(1e-6);
                let rise = (-u / radius * pitch, -v / radius * pitch);
                let along = v.atan2(u) * 4.0;
                (Slope { rise, along, down: radius, ridge: f64::MAX }, half_u - radius)
            }
            _ if across_v => {
                let ridge = half_v - in_v;
                (Slope { rise: (0.0, sign_v * pitch), along: u, down: ridge, ridge }, in_v)
            }
            _ => {
                let ridge = half_u - in_u;
                (Slope { rise: (sign_u * pitch, 0.0), along: v, down: ridge, ridge }, in_u)
            }
        };
        if candidate.1 > height {
            (best, height) = candidate;
        }
    }
    best
}

/// Colour of the covering at a place on the roof, before the sun.
fn covering(roof: &Roof, u: f64, v: f64, on: &Slope) -> Rgb {
    let seed = roof.seed;
    let stains = noise(u * 0.35, v * 0.35, seed) - 0.5;
    let grain = noise(u * 1.7, v * 1.7, seed ^ 1) - 0.5;
    match roof.material {
        Material::Tile => {
            let tile = point_unit(floor(on.along / 0.42), floor(on.down / 0.42), seed) - 0.5;
            let course = if (on.down / 0.84).fract() < 0.25 { -0.05 } else { 0.01 };
            let dirt = roof.wear * (0.5 + stains) * 0.5;
            let light = 1.0 + 0.16 * tile + course + 0.22 * stains + 0.12 * grain;
            blend(scaled(roof.colour, light), [0.33, 0.27, 0.23], dirt.clamp(0.0, 0.6))
        }
        Material::Metal | Material::Painted | Material::Rusty => {
            // Sheets 0.9 m wide in rows of 3 m; the corrugation itself shows as a fine ripple.
            let sheet = (floor(on.along / 0.9), floor(on.down / 3.0));
            let own = point_unit(sheet.0, sheet.1, seed) - 0.5;
            let across = (on.along / 0.9).rem_euclid(1.0);
            let seam = if across < 0.16 { -0.09 } else { 0.0 };
            let lap = if (on.down / 3.0).rem_euclid(1.0) < 0.06 { -0.10 } else { 0.0 };
            let ripple = ((across * 4.0).fract() as f32 - 0.5) * 0.07;
            let light = 1.0 + 0.13 * own + seam + lap + ripple + 0.08 * grain;
            let rust_level = match roof.material {
                Material::Rusty => 0.15 + 0.55 * roof.wear,
                Material::Metal => 0.22 * roof.wear - 0.06,
                _ => 0.18 * roof.wear - 0.08,
            };
            let streak = noise(on.along * 1.4, on.down * 0.22, seed ^ 2);
            let rust = ((streak * 0.7 + stains + 0.5 + own * 0.5) - 1.15 + rust_level) * 2.6;
            let rust_colour = [0.44, 0.27, 0.18];
            blend(scaled(roof.colour, light), rust_colour, rust.clamp(0.0, 0.8))
        }
        Material::Concrete | Material::White => {
            let patch = noise(u * 0.9, v * 0.9, seed ^ 3) - 0.5;
            let light = 1.0 + (0.24 * stains + 0.14 * patch) * (0.4 + roof.wear) + 0.07 * grain;
            let damp = ((noise(u * 0.25, v * 0.25, seed ^ 4) - 0.62) * 3.0).clamp(0.0, 1.0);
            scaled(roof.colour, light * (1.0 - 0.3 * damp * roof.wear))
        }
        Material::Thatch => {
            let straw = noise(on.along * 5.0, on.down * 0.8, seed ^ 5) - 0.5;
            let ring = if (on.down / 0.9).fract() < 0.2 { -0.08 } else { 0.0 };
            scaled(roof.colour, 1.0 + 0.4 * straw + 0.25 * stains + ring)
        }
    }
}

/// Paints the roof of a building over whatever is below.
pub fn paint(canvas: &mut Canvas, building: &Building, style: &Style) {
    let (frame, roof) = (building.frame, building.roof);
    let flat = roof.form == Form::Flat;
    let to_sun = {
        let length = style.sun[0].hypot(style.sun[1]);
        let d = Point { x: style.sun[0] / length, y: style.sun[1] / length };
        frame.local_vector(d)
    };
    let parapet_shadow_m = 0.7 * style.shadow_per_m().x.hypot(style.shadow_per_m().y);
    canvas.each(&building.bounds(), |canvas, index, p| {
        let (u, v) = frame.local(p);
        let distance = building.distance(u, v);
        let cover = canvas.coverage(distance);
        if cover <= 0.0 {
            return;
        }
        let on = slope(building, u, v);
        let mut colour = covering(&roof, u, v, &on);
        if flat {
            const PARAPET_M: f64 = 0.35;
            if distance > -PARAPET_M {
                colour = scaled(colour, 1.12);
            } else {
                let (su, sv) = (u + to_sun.0 * parapet_shadow_m, v + to_sun.1 * parapet_shadow_m);
                if building.distance(su, sv) > -PARAPET_M {
                    colour = shaded(colour, 0.8);
                }
            }
        } else {
            let (gx, gy) = (
                on.rise.0 * frame.u.x - on.rise.1 * frame.u.y,
                on.rise.0 * frame.u.y + on.rise.1 * frame.u.x,
            );
            colour = scaled(colour, style.light(gx, gy));
            if on.ridge < 0.22 && roof.material != Material::Thatch {
                colour = scaled(colour, 1.1);
            }
            // The eaves: a gutter or the sheet's bright edge, thinner than a pixel.
            if distance > -0.18 {
                colour = scaled(colour, 0.9);
            }
        }
        canvas.paint(index, colour, cover);
    });
}

/// A colour in shadow: the sky's light is left, and it is bluish.
#[inline]
pub fn shaded(c: Rgb, depth: f32) -> Rgb {
    blend(c, [c[0] * 0.36, c[1] * 0.40, c[2] * 0.48], depth)
}

/// The shadow of a prism of `height_m` on `rect`, on everything below it.
///
/// The shadow of a rectangle is the rectangle swept along the shadow vector: a hexagon, the meeting of
/// three slabs.
pub fn cast(canvas: &mut Canvas, frame: &Frame, rect: &Rect, height_m: f64, style: &Style) {
    let reach = style.shadow_per_m() * height_m;
    let bounds = super::shape::Bounds::around(rect.corners(frame)).swept(reach).grown(0.5);
    if !bounds.meets(&canvas.bounds()) {
        return;
    }
    let (su, sv) = frame.local_vector(reach);
    let size = su.hypot(sv).max(1e-9);
    let (nu, nv) = (-sv / size, su / size);
    let (mid_u, mid_v) = rect.centre();
    let half = (rect.u1 - rect.u0) / 2.0 * nu.abs() + (rect.v1 - rect.v0) / 2.0 * nv.abs();
    let swept = Rect::new(
        rect.u0 + su.min(0.0),
        rect.u1 + su.max(0.0),
        rect.v0 + sv.min(0.0),
        rect.v1 + sv.max(0.0),
    );
    canvas.each(&bounds, |canvas, index, p| {
        let (u, v) = frame.local(p);
        let aside = ((u - mid_u) * nu + (v - mid_v) * nv).abs() - half;
        let depth = canvas.coverage(swept.distance(u, v).max(aside));
        if depth > 0.0 {
            canvas.shade(index, depth);
        }
    });
}

/// The shadow of a whole building.
pub fn cast_building(canvas: &mut Canvas, building: &Building, style: &Style) {
    for wing in &building.wings {
        let rect = if building.roof.form == Form::Cone {
            // A cone's shadow is narrower than its box's.
            let r = wing.rect.u1 * 0.75;
            Rect::centred(r, r)
        } else {
            wing.rect
        };
        cast(canvas, &building.frame, &rect, building.height_m(), style);
    }
}
