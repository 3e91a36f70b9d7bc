//! The ground: earth and grass, fields, yards, streets.

use super::canvas::Canvas;
use super::hash::{floor, noise, point_unit};
use super::shape::{Bounds, Frame, Point, Rect};
use super::style::{Rgb, Style, blend, scaled};
use super::town::{Class, Street, Town};

/// What covers a patch of ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cover {
    /// A mown or grazed lawn.
    Lawn,
    /// Bare trodden earth.
    Earth,
    /// Cast concrete in slabs.
    Concrete,
    /// Gravel or rubble.
    Gravel,
    /// Paving stones of one colour.
    Paving(Rgb),
    /// Parking bays on asphalt.
    Parking,
    /// Furrows along `u` every `furrow_m`, with a crop of some colour.
    Field {
        /// Distance between furrows, metres.
        furrow_m: f64,
        /// The crop, or bare earth.
        crop: Rgb,
    },
    /// Vegetable beds.
    Garden,
    /// Scrub and tall grass.
    Scrub,
}

/// A rectangle of ground with a cover of its own.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    /// Frame of the rectangle.
    pub frame: Frame,
    /// The rectangle.
    pub rect: Rect,
    /// What lies there.
    pub cover: Cover,
    /// Seed of its texture.
    pub seed: u32,
}

/// Paints open country everywhere: earth and grass as the town's greenness has them.
pub fn paint_country(canvas: &mut Canvas, town: &Town) {
    let (style, seed) = (&town.style, town.seed as u32);
    let everywhere = canvas.bounds();
    canvas.each(&everywhere, |canvas, index, p| {
        canvas.rgb[index] = country(p, style, seed);
    });
}

#[inline]
fn country(p: Point, style: &Style, seed: u32) -> Rgb {
    let wide = noise(p.x / 55.0, p.y / 55.0, seed ^ 0x21);
    let middle = noise(p.x / 13.0, p.y / 13.0, seed ^ 0x22);
    let small = noise(p.x / 3.1, p.y / 3.1, seed ^ 0x23);
    let fine = noise(p.x / 0.8, p.y / 0.8, seed ^ 0x24);
    let green = 0.45 * wide + 0.33 * middle + 0.22 * small - 0.5;
    let green = ((green + (style.greenness - 0.5) * 0.8) * 5.0 + 0.5).clamp(0.0, 1.0);
    let earth = blend(style.soil_dark, style.soil, 0.25 + 0.5 * middle + 0.35 * small);
    let dry = (0.75 - wide + 0.5 * (small - 0.5)).clamp(0.0, 1.0);
    let grass = blend(style.grass, style.straw, dry * 0.8);
    let rough = 1.0 + (fine - 0.5) * (0.16 + 0.22 * green) + (small - 0.5) * 0.12;
    scaled(blend(earth, grass, green), rough)
}

/// Paints a patch over the open country.
pub fn paint_patch(canvas: &mut Canvas, patch: &Patch, style: &Style) {
    let bounds = Bounds::around(patch.rect.corners(&patch.frame)).grown(1.0);
    if !bounds.meets(&canvas.bounds()) {
        return;
    }
    let made = matches!(patch.cover, Cover::Concrete | Cover::Paving(_) | Cover::Parking);
    let seed = patch.seed;
    canvas.each(&bounds, |canvas, index, p| {
        let (u, v) = patch.frame.local(p);
        let distance = patch.rect.distance(u, v);
        if distance > 1.0 {
            return;
        }
        let small = noise(p.x / 2.3, p.y / 2.3, seed);
        let cover = if made {
            canvas.coverage(distance)
        } else {
            // Grass and earth fray into each other over a metre or so.
            let ragged = f64::from(small - 0.5) * 2.0;
            ((0.4 - distance - ragged) / 0.8).clamp(0.0, 1.0) as f32
        };
        if cover <= 0.0 {
            return;
        }
        let fine = noise(p.x / 0.6, p.y / 0.6, seed ^ 1) - 0.5;
        let wide = noise(p.x / 9.0, p.y / 9.0, seed ^ 2) - 0.5;
        let (colour, strength) = patch_colour(patch, (u, v), [fine, small - 0.5, wide], style);
        canvas.stain(index, colour, cover * strength);
    });
}

fn patch_colour(patch: &Patch, at: (f64, f64), noise3: [f32; 3], style: &Style) -> (Rgb, f32) {
    let ([fine, small, wide], (u, v)) = (noise3, at);
    let seed = patch.seed;
    match patch.cover {
        Cover::Lawn => {
            let c = blend(style.grass, style.straw, (0.25 + wide).clamp(0.0, 1.0));
            (scaled(c, 1.04 + 0.2 * fine + 0.12 * small), 0.92)
        }
        Cover::Earth => {
            let c = blend(style.soil, style.soil_dark, (0.3 + wide + 0.6 * small).clamp(0.0, 1.0));
            (scaled(c, 1.04 + 0.1 * fine), 0.88)
        }
        Cover::Gravel => {
            let stone = blend([0.56, 0.54, 0.51], style.soil, 0.35);
            (scaled(stone, 1.0 + 0.34 * fine + 0.2 * wide), 0.85)
        }
        Cover::Concrete => {
            let slab = point_unit(floor(u / 3.4), floor(v / 3.4), seed) - 0.5;
            let joint = (u / 3.4).rem_euclid(1.0) < 0.05 || (v / 3.4).rem_euclid(1.0) < 0.05;
            let dirt = (0.25 + wide * 1.2 + small * 0.4).clamp(0.0, 0.7);
            let c = blend([0.63, 0.61, 0.57], style.soil, dirt);
            (scaled(c, 1.0 + 0.07 * slab + 0.08 * fine - if joint { 0.09 } else { 0.0 }), 0.96)
        }
        Cover::Paving(colour) => {
            let dirt = (0.12 + wide * 0.9 + small * 0.3).clamp(0.0, 0.6);
            (scaled(blend(colour, style.soil, dirt), 1.0 + 0.1 * fine + 0.08 * small), 0.95)
        }
        Cover::Parking => {
            let bay = (u / 2.6).rem_euclid(1.0) * 2.6;
            let in_bay = (v / 11.0).rem_euclid(1.0) * 11.0;
            let marked = (bay < 0.14 && !(5.0..6.0).contains(&in_bay) && in_bay < 10.5)
                || (5.4..5.55).contains(&in_bay);
            let asphalt = scaled([0.40, 0.40, 0.41], 1.0 + 0.12 * fine + 0.22 * wide);
            let paint = if marked { 0.75 } else { 0.0 };
            (blend(asphalt, [0.80, 0.80, 0.78], paint * (0.8 + small)), 0.97)
        }
        Cover::Field { furrow_m, crop } => {
            let bent = v + f64::from(wide) * 1.2;
            let across = (bent / furrow_m).rem_euclid(1.0);
            let row = 1.0 - (across - 0.5).abs() as f32 * 2.0;
            let gaps = (0.8 + wide * 1.6 + small * 1.3).clamp(0.0, 1.0);
            let c = blend(style.soil_dark, crop, (0.25 + 0.75 * row) * gaps);
            (scaled(c, 1.0 + 0.16 * fine), 0.93)
        }
        Cover::Garden => {
            // Long beds with trodden paths between them; each bed has its crop, and gaps in it.
            let across = (v + f64::from(wide) * 0.8) / 1.4;
            let bed = (floor(u / 7.5), floor(across));
            let kind = point_unit(bed.0, bed.1, seed);
            let path = (u / 7.5).rem_euclid(1.0) < 0.07 || across.rem_euclid(1.0) < 0.24;
            if path {
                return (blend(style.soil, style.soil_dark, 0.5 + small), 0.75);
            }
            let leaf = blend(style.leaf, style.grass, kind);
            let grown = (0.15 + kind * 0.9 + small * 1.2).clamp(0.0, 1.0);
            let c = blend(style.soil_dark, leaf, grown);
            (scaled(c, 1.0 + 0.4 * fine + 0.2 * (kind - 0.5)), 0.85)
        }
        Cover::Scrub => {
            let tuft = (0.5 + wide + 1.2 * small).clamp(0.0, 1.0);
            let c = blend(style.straw, style.leaf, tuft * 0.75);
            (scaled(c, 1.0 + 0.4 * fine), 0.85)
        }
    }
}

/// Distances to the nearest streets of a window, and their markings.
struct StreetMap {
    /// Metres beyond the kerb of the nearest asphalt; negative on it.
    paved: Vec<f32>,
    /// Metres beyond the edge of the nearest earth road.
    dirt: Vec<f32>,
    /// Width of the pavement beside the nearest asphalt, metres.
    pavement: Vec<f32>,
    /// How much of the pixel a marking covers.
    marking: Vec<f32>,
}

/// Paints all streets that come near the window. Crossings need no special care: the distance to the
/// nearest of several streets is the distance to their union.
pub fn paint_streets(canvas: &mut Canvas, streets: &[Street], town: &Town) {
    const FAR: f32 = 99.0;
    let size = canvas.rgb.len();
    let mut map = StreetMap {
        paved: vec![FAR; size],
        dirt: vec![FAR; size],
        pavement: vec![0.0; size],
        marking: vec![0.0; size],
    };
    for street in streets {
        measure(canvas, street, &mut map);
    }
    let (style, seed) = (&town.style, town.seed as u32);
    let everywhere = canvas.bounds();
    canvas.each(&everywhere, |canvas, index, p| {
        let (paved, dirt) = (f64::from(map.paved[index]), f64::from(map.dirt[index]));
        if paved > 4.0 && dirt > 2.0 {
            return;
        }
        let small = noise(p.x / 2.7, p.y / 2.7, seed ^ 0x31);
        let fine = noise(p.x / 0.7, p.y / 0.7, seed ^ 0x32) - 0.5;
        let wide = noise(p.x / 21.0, p.y / 21.0, seed ^ 0x33) - 0.5;
        if dirt < 2.0 {
            let ragged = f64::from(small - 0.5) * 1.6;
            let cover = ((0.3 - dirt - ragged) / 0.9).clamp(0.0, 1.0) as f32;
            let trodden = blend(style.soil, [0.78, 0.70, 0.59], 0.30 + 0.3 * wide);
            // Wheels keep two tracks bare and pale beside the middle.
            let track = (1.0 - ((dirt + 1.0) * 1.6).powi(2)).max(0.0) as f32;
            let light = 1.02 + 0.1 * fine + 0.10 * track + 0.14 * (small - 0.5);
            canvas.stain(index, scaled(trodden, light), cover * 0.92);
        }
        if paved < 4.0 {
            let width = f64::from(map.pavement[index]);
            // A strip of dust, then a pavement of worn slabs, then the kerb, then asphalt.
            let dust = ((0.6 - (paved - width) - f64::from(small - 0.5)) / 1.2).clamp(0.0, 1.0);
            canvas.stain(index, scaled(style.soil, 1.0 + 0.1 * fine), dust as f32 * 0.6);
            if width > 1.4 {
                let slab =
                    blend([0.60, 0.58, 0.55], style.soil, (0.45 + 0.8 * wide).clamp(0.1, 0.9));
                let cover = canvas.coverage(paved - width);
                canvas.stain(index, scaled(slab, 1.0 + 0.08 * fine), cover * 0.9);
            }
            let kerb = canvas.coverage(paved - 0.2);
            canvas.stain(index, [0.66, 0.65, 0.62], kerb * 0.65);
            let asphalt =
                scaled([0.42, 0.415, 0.41], 1.0 + 0.1 * fine + 0.18 * wide + 0.1 * (small - 0.5));
            let dusty =
                (0.18 + wide * 0.8 + (small - 0.5) * 0.4 + ((paved + 1.4) * 0.3).max(0.0) as f32)
                    .clamp(0.0, 0.7);
            let patched = (noise(p.x / 6.0, p.y / 6.0, seed ^ 0x34) - 0.78).max(0.0) * 2.0;
            let asphalt = scaled(blend(asphalt, style.soil, dusty), 1.0 - patched * 0.4);
            canvas.stain(index, asphalt, canvas.coverage(paved));
            let worn = map.marking[index] * (0.45 + 0.7 * small);
            canvas.stain(index, [0.82, 0.82, 0.79], worn.clamp(0.0, 0.85));
        }
    });
}

fn measure(canvas: &mut Canvas, street: &Street, map: &mut StreetMap) {
    let paved = matches!(street.class, Class::Main | Class::Street);
    let reach = street.half_m + if paved { 4.5 } else { 2.5 };
    let bounds = street.bounds().grown(reach);
    if !bounds.meets(&canvas.bounds()) {
        return;
    }
    let total = street.length_m();
    let pavement = street.reserve_m() - street.half_m;
    // Only the piece of the line near a pixel matters, so each piece paints its own box.
    let mut before = 0.0;
    for pair in street.line.windows(2) {
        let size = super::shape::length(pair[1] - pair[0]);
        let bounds = Bounds::around([pair[0], pair[1]]).grown(reach);
        canvas.each(&bounds, |canvas, index, p| {
            let (distance, t) = super::shape::to_segment(p, pair[0], pair[1]);
            let beyond = (distance - street.half_m) as f32;
            if !paved {
                map.dirt[index] = map.dirt[index].min(beyond);
                return;
            }
            if beyond < map.paved[index] {
                map.paved[index] = beyond;
                map.pavement[index] = pavement as f32;
            }
            if street.class == Class::Main {
                let along = before + t * size;
                let clear = along > 9.0 && along < total - 9.0;
                if clear && (along / 6.0).rem_euclid(1.0) < 0.5 {
                    let line = canvas.coverage(distance - 0.09);
                    map.marking[index] = map.marking[index].max(line);
                }
                // Not around the ends of a piece, where the nearest point is its corner.
                if clear && t > 0.0 && t < 1.0 {
                    let line = canvas.coverage((distance - street.half_m + 0.45).abs() - 0.06);
                    map.marking[index] = map.marking[index].max(line * 0.7);
                }
            }
        });
        before += size;
    }
}
