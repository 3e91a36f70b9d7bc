//! What stands on flat roofs: water tanks, stair heads, odds and ends.

use super::building::{Building, Form};
use super::hash::Rng;
use super::things::{Kind, Thing};

/// Adds the things on a building's roof to `things`.
pub fn furnish(rng: &mut Rng, building: &Building, things: &mut Vec<Thing>) {
    if building.roof.form != Form::Flat {
        return;
    }
    for wing in &building.wings {
        let r = wing.rect;
        let (width, depth) = (r.u1 - r.u0, r.v1 - r.v0);
        if width < 5.5 || depth < 5.5 {
            continue;
        }
        let mut put = |rng: &mut Rng, kind, half_u: f64, half_v: f64, height_m, colour| {
            let u = rng.range(r.u0 + half_u + 0.6, r.u1 - half_u - 0.6);
            let v = rng.range(r.v0 + half_v + 0.6, r.v1 - half_v - 0.6);
            let frame = building.frame.moved(u, v);
            let base_m = building.eaves_m;
            things.push(Thing { kind, frame, half_u, half_v, base_m, height_m, colour });
        };
        if rng.chance(0.5) {
            let light = rng.range_f32(0.92, 1.12);
            let (a, b) = (rng.range(1.2, 1.8), rng.range(1.2, 2.0));
            put(rng, Kind::Block, a, b, 2.3, building.roof.colour.map(|x| x * light));
        }
        if rng.chance(0.7) {
            let colour = rng.pick(&[[0.12, 0.12, 0.13], [0.12, 0.12, 0.13], [0.20, 0.42, 0.62]]);
            let radius = rng.range(0.5, 0.8);
            put(rng, Kind::Tank, radius, radius, 1.5, colour);
        }
        if rng.chance(0.35) {
            let colour = rng.pick(&[[0.14, 0.18, 0.30], [0.55, 0.33, 0.26], [0.75, 0.74, 0.70]]);
            put(rng, Kind::Sheet, 1.0, 0.6, 0.4, colour);
        }
    }
}
