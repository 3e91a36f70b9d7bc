//! Blocks people live in: houses in gardens, rows, hamlets.

use super::block::Builder;
use super::building::{Form, Material, Plan};
use super::ground::Cover;
use super::roofs::roof;
use super::shape::{Frame, Rect, at, length};
use super::things::Thing;

impl Builder<'_> {
    fn side_length(&self, side: usize) -> f64 {
        self.cell.sides[side].length_m()
    }

    /// What a yard is covered with.
    fn yard_cover(&mut self) -> Cover {
        let bare = 0.35 + 0.5 * self.density - 0.3 * f64::from(self.town.style.greenness);
        let weights = [1.0 - bare, bare + 0.3, 0.22 + 0.25 * self.density, 0.12, 0.07];
        match self.rng.weighted(&weights) {
            0 => Cover::Lawn,
            1 => Cover::Earth,
            2 => Cover::Concrete,
            3 => Cover::Paving(self.rng.pick(&[[0.66, 0.55, 0.47], [0.62, 0.58, 0.52]])),
            _ => Cover::Garden,
        }
    }

    /// Free-standing houses along all four streets.
    pub(super) fn houses(&mut self) {
        let walled = self.rng.chance(0.55);
        let wall = self.rng.pick(&[[0.68, 0.64, 0.58], [0.60, 0.52, 0.45], [0.74, 0.72, 0.68]]);
        for side in [0, 2, 1, 3] {
            let total = self.side_length(side);
            // The long sides take the corners, the short ones what is left between.
            let margin = if side % 2 == 0 { self.rng.range(4.0, 8.0) } else { 27.0 };
            let mut along = margin;
            while along < total - margin - 8.0 {
                let roomy = self.rng.range(0.8, 1.25) * (1.25 - 0.5 * self.density);
                let width = (16.0 * roomy).min(total - margin - along);
                let frame = self.frontage(side, along + width / 2.0);
                let depth = if side % 2 == 0 { self.rng.range(24.0, 29.0) } else { 19.0 };
                if self.rng.chance(0.93) {
                    self.plot(frame, width, depth, walled.then_some(wall));
                }
                along += width;
            }
        }
        self.back_buildings();
        for _ in 0..self.rng.whole(8, 26) {
            let (p, radius) = (self.anywhere(), self.rng.range(0.9, 3.8));
            self.plant(p, radius);
        }
        for _ in 0..self.rng.whole(0, 4) {
            self.grove();
        }
        for _ in 0..5 {
            let p = self.anywhere();
            self.litter(p);
        }
    }

    /// A wall along `frame`'s `u` axis, unless it would cross a street or is too short to be one.
    fn wall(&mut self, frame: Frame, length_m: f64, colour: [f32; 3]) {
        let free =
            [0.0, 0.5, 1.0].iter().all(|t| self.free_ground(frame.world(length_m * t, 0.0), -0.3));
        if length_m > 1.0 && free {
            self.block.things.push(Thing::wall(frame, length_m, 1.9, colour));
        }
    }

    fn plot(&mut self, frame: Frame, width: f64, depth: f64, wall: Option<[f32; 3]>) {
        let half = width / 2.0;
        let yard = self.yard_cover();
        self.cover(frame, Rect::new(-half + 0.3, half - 0.3, 0.2, depth * 0.62), yard);
        let behind = if self.rng.chance(0.3) { Cover::Garden } else { self.yard_cover() };
        self.cover(frame, Rect::new(-half + 0.3, half - 0.3, depth * 0.62, depth), behind);
        if let Some(colour) = wall {
            let gate = self.rng.range(0.2, 0.6) * width;
            let side = frame.moved(-half, 0.2).turned(std::f64::consts::FRAC_PI_2);
            self.wall(frame.moved(-half, 0.2), gate, colour);
            self.wall(frame.moved(-half + gate + 3.2, 0.2), width - gate - 3.2, colour);
            self.wall(side, depth - 0.2, colour);
            self.wall(frame.moved(-half, depth), width, colour);
        }
        let setback = self.rng.range(1.0, 6.5) * (1.15 - 0.6 * self.density);
        let mut w = self.rng.range(8.0, 15.5).min(width - 1.8);
        let mut d = self.rng.range(7.5, 14.0).min(depth - setback - 2.0);
        let turn = if self.rng.chance(0.12) {
            self.rng.range(-0.5, 0.5)
        } else {
            self.rng.range(-0.05, 0.05)
        };
        let slack = ((width - w) / 2.0 - 0.6).max(0.0);
        let offset = self.rng.range(-slack, slack);
        for _ in 0..3 {
            let place = frame.moved(offset, setback).turned(turn);
            let plan = Plan::house(&mut self.rng, w, d);
            let house = self.raise(plan, place);
            if self.place(house, 1.0) {
                break;
            }
            (w, d) = (w * 0.8, d * 0.8);
        }
        // A shed or an annexe behind, most often small, sometimes close to the house.
        let sheds = self.rng.weighted(&[0.45, 0.4, 0.15]);
        for _ in 0..sheds {
            let (w, d) = (self.rng.range(3.2, 6.0), self.rng.range(3.0, 4.8));
            let u = self.rng.range(-half + w / 2.0 + 0.5, (half - w / 2.0 - 0.5).max(-half + w));
            let v = self.rng.range(setback + d * 0.5, depth - d - 0.5);
            let plan = Plan::rect(-w / 2.0, w / 2.0, 0.0, d);
            let roof = {
                let material = self.rng.pick(&[
                    Material::Metal,
                    Material::Rusty,
                    Material::Rusty,
                    Material::Painted,
                ]);
                roof(&mut self.rng, material)
            };
            let eaves = self.rng.range(2.2, 2.8);
            let shed = plan.build(frame.moved(u, v).turned(turn), eaves, roof);
            let gap = self.rng.pick(&[0.5, 1.0, 1.0, 1.5]);
            self.place(shed, gap);
        }
        if self.rng.chance(0.25) {
            let car = frame.moved(half - 1.8, 3.4).turned(1.57 + self.rng.range(-0.1, 0.1));
            let thing = Thing::car(&mut self.rng, car);
            self.park(thing);
        }
        for _ in 0..self.rng.whole(0, 4) {
            let p = frame.world(self.rng.range(-half, half), self.rng.range(0.5, depth));
            let radius = self.rng.range(0.7, 3.2);
            self.plant(p, radius);
        }
    }

    /// Puts a car down unless a building stands there.
    pub(super) fn park(&mut self, car: Thing) {
        let free =
            self.block.buildings.iter().all(|b| {
                !b.wings.iter().any(|w| w.rect.near(&b.frame, &car.rect(), &car.frame, 0.3))
            });
        if free {
            self.block.things.push(car);
        }
    }

    /// A few large trees whose crowns run together.
    fn grove(&mut self) {
        let middle = self.anywhere();
        for _ in 0..self.rng.whole(3, 9) {
            let away = at(self.rng.range(-6.0, 6.0), self.rng.range(-6.0, 6.0));
            let radius = self.rng.range(2.2, 4.8);
            self.plant(middle + away, radius);
        }
    }

    /// Small buildings in the middle of a crowded block.
    fn back_buildings(&mut self) {
        let tries = (self.density * 34.0) as usize;
        let middle = self.middle();
        for _ in 0..tries {
            let frame = middle
                .moved(self.rng.range(-38.0, 38.0), self.rng.range(-26.0, 26.0))
                .turned(self.rng.range(-0.12, 0.12));
            let (w, d) = (self.rng.range(4.5, 10.0), self.rng.range(4.5, 9.5));
            let building = self.raise(Plan::rect(-w / 2.0, w / 2.0, -d / 2.0, d / 2.0), frame);
            let gap = self.rng.pick(&[0.7, 1.1, 1.8]);
            self.place(building, gap);
        }
    }

    /// Rows of houses that share walls along the long streets, yards behind them.
    pub(super) fn rows(&mut self) {
        let frame = self.middle();
        let (a, b) = self.room(&frame, 48.0, 36.0);
        self.cover(frame, Rect::centred(a, b), Cover::Earth);
        for _ in 0..self.rng.whole(6, 14) {
            // Yards of their own behind the rows.
            let (w, d) = (self.rng.range(4.0, 11.0), self.rng.range(4.0, 9.0));
            let yard = frame.moved(self.rng.range(-a, a) * 0.8, self.rng.range(-b, b) * 0.8);
            let cover = self.yard_cover();
            self.cover(yard, Rect::centred(w, d), cover);
        }
        for side in [0, 2, 1, 3] {
            let total = self.side_length(side);
            let end = total - if side % 2 == 0 { 3.0 } else { 18.0 };
            let mut along = if side % 2 == 0 { self.rng.range(3.0, 6.0) } else { 18.0 };
            while along < end - 9.0 {
                // Most houses of a crowded street stand a step apart; some share their walls.
                let (unit, count, gap) = if self.rng.chance(0.13) {
                    let gap = self.rng.pick(&[1.5, 3.0, 6.0]);
                    (self.rng.range(5.2, 7.8), self.rng.whole(2, 4), gap)
                } else {
                    let gap = self.rng.pick(&[0.9, 1.2, 1.8, 3.0]);
                    (self.rng.range(6.5, 11.0), 1, gap)
                };
                let count = count.min(((end - along) / unit) as usize);
                if count == 0 {
                    break;
                }
                self.row(side, along, unit, count);
                along += unit * count as f64 + gap;
            }
        }
        self.back_buildings();
        for _ in 0..self.rng.whole(4, 14) {
            let (p, radius) = (self.anywhere(), self.rng.range(0.8, 3.0));
            self.plant(p, radius);
        }
        if self.rng.chance(0.5) {
            self.grove();
        }
        for _ in 0..9 {
            let p = self.anywhere();
            self.litter(p);
        }
    }

    fn row(&mut self, side: usize, along: f64, unit: f64, count: usize) {
        let width = unit * count as f64;
        let (a, b) = (self.frontage(side, along), self.frontage(side, along + width));
        let frame = Frame::along(a.origin, b.origin - a.origin);
        if length(b.origin - a.origin) < width * 0.8 {
            return;
        }
        let setback = self.rng.range(0.5, 2.5);
        let depth = self.rng.range(7.5, 12.5);
        let alike = self.rng.chance(0.4);
        let shared = self.draw_roof();
        let mut row = Vec::new();
        for k in 0..count {
            // Neighbours share both corners to the last bit: the same frame, the same numbers.
            let (u0, u1) = (unit * k as f64, unit * (k + 1) as f64);
            let d = if self.rng.chance(0.25) { depth * self.rng.range(0.75, 1.2) } else { depth };
            let mut roof = if alike { shared } else { self.draw_roof() };
            roof.seed = self.rng.bits() as u32;
            if matches!(roof.form, Form::Hip | Form::Cone) {
                roof.form = Form::Gable;
            }
            let plan = Plan::rect(u0, u1, setback, setback + d);
            let storeys = self.rng.whole(1, if roof.form == Form::Flat { 3 } else { 2 });
            let mut house = plan.build(frame, 2.9 * storeys as f64, roof);
            house.wings[0].ridge_along_u = true;
            if self.fits(&house, 0.9) {
                row.push(house);
            }
        }
        for house in row {
            self.put(house);
        }
    }

    /// Round huts and small sheds scattered over bare earth.
    pub(super) fn hamlet(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 40.0, 28.0);
        self.cover(middle, Rect::centred(a, b), Cover::Earth);
        for _ in 0..self.rng.whole(10, 22) {
            let (u, v) = (self.rng.range(-a, a), self.rng.range(-b, b));
            let frame = middle.moved(u, v).turned(self.rng.range(-1.5, 1.5));
            let building = if self.rng.chance(0.5) {
                let mut thatch = roof(&mut self.rng, Material::Thatch);
                thatch.form = Form::Cone;
                Plan::round(self.rng.range(1.9, 3.4)).build(frame, 2.0, thatch)
            } else {
                let (w, d) = (self.rng.range(4.0, 10.0), self.rng.range(3.5, 7.0));
                let material = self.rng.pick(&[
                    Material::Metal,
                    Material::Rusty,
                    Material::Thatch,
                    Material::Tile,
                ]);
                let roof = roof(&mut self.rng, material);
                Plan::rect(-w / 2.0, w / 2.0, 0.0, d).build(frame, 2.4, roof)
            };
            self.place(building, 1.4);
        }
        for _ in 0..self.rng.whole(12, 30) {
            let (p, radius) = (self.anywhere(), self.rng.range(0.8, 4.2));
            self.plant(p, radius);
        }
        for _ in 0..4 {
            let p = self.anywhere();
            self.litter(p);
        }
        if self.rng.chance(0.6) {
            let frame = Frame::along(middle.world(a * 0.5, b * 0.5), at(1.0, 0.2));
            self.cover(frame, Rect::centred(8.0, 6.0), Cover::Garden);
        }
    }
}
