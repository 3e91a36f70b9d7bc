//! Blocks of other kinds: sheds, institutions, fields, woods, open ground.

use super::block::Builder;
use super::building::{Form, Material, Plan};
use super::ground::Cover;
use super::roofs::roof;
use super::shape::{Frame, Rect};
use super::things::Thing;

impl Builder<'_> {
    /// Long sheds of metal on a hard yard, with lorries.
    pub(super) fn sheds(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 44.0, 32.0);
        let yard = self.rng.pick(&[Cover::Concrete, Cover::Gravel, Cover::Earth]);
        self.cover(middle, Rect::centred(a, b), yard);
        for _ in 0..self.rng.whole(6, 14) {
            let (w, d) = (self.rng.range(16.0, 38.0), self.rng.range(9.0, 19.0));
            let (w, d) = if self.rng.chance(0.3) { (d, w) } else { (w, d) };
            let u = self.rng.range(-a + w / 2.0, (a - w / 2.0).max(1.0 - a + w / 2.0));
            let v = self.rng.range(-b + d / 2.0, (b - d / 2.0).max(1.0 - b + d / 2.0));
            let frame = middle.moved(u, v).turned(self.rng.range(-0.03, 0.03));
            let material = self.rng.pick(&[
                Material::Metal,
                Material::Metal,
                Material::Painted,
                Material::Rusty,
                Material::White,
            ]);
            let mut roof = roof(&mut self.rng, material);
            if roof.form != Form::Flat {
                (roof.form, roof.pitch) = (Form::Gable, self.rng.range(0.12, 0.28));
            }
            let eaves = self.rng.range(4.0, 6.5);
            let plan = Plan::rect(-w / 2.0, w / 2.0, -d / 2.0, d / 2.0);
            let gap = self.rng.pick(&[1.0, 3.0, 5.0]);
            self.place(plan.build(frame, eaves, roof), gap);
        }
        for _ in 0..self.rng.whole(3, 14) {
            let (u, v) = (self.rng.range(-a, a), self.rng.range(-b, b));
            let frame = middle.moved(u, v).turned(self.rng.pick(&[0.0, 1.57, 0.4]));
            let car = Thing::car(&mut self.rng, frame);
            self.park(car);
        }
        for _ in 0..16 {
            let p = self.anywhere();
            self.litter(p);
        }
        for _ in 0..8 {
            let (p, radius) = (self.anywhere(), self.rng.range(0.9, 3.0));
            self.plant(p, radius);
        }
    }

    /// Large plans: a courtyard, a U, bars of classrooms, and a sports ground.
    pub(super) fn institution(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 44.0, 32.0);
        let yard = self.rng.pick(&[Cover::Lawn, Cover::Earth, Cover::Paving([0.62, 0.58, 0.52])]);
        self.cover(middle, Rect::centred(a, b), yard);
        let material = self.rng.pick(&[
            Material::Tile,
            Material::Painted,
            Material::Metal,
            Material::Concrete,
        ]);
        let common = roof(&mut self.rng, material);
        let eaves = self.rng.range(3.2, 7.5);
        let (w, d) = (self.rng.range(20.0, 32.0), self.rng.range(18.0, 28.0));
        let wing = self.rng.range(6.0, 8.5);
        let plan = match self.rng.weighted(&[0.5, 0.25, 0.25]) {
            0 => Plan::court(w, d, wing),
            1 => Plan::u(w, d, wing, wing),
            _ => {
                let right = self.rng.chance(0.5);
                Plan::l(w, d, wing, wing, right)
            }
        };
        let mut first = common;
        if plan.hole.is_some() && first.form == Form::Gable {
            // Gables would meet at a courtyard's corners without a valley.
            first.form = Form::Hip;
        }
        if first.form == Form::Lean {
            first.form = Form::Hip;
        }
        let frame = middle.moved(-a + w / 2.0 + 2.0, self.rng.range(-b, (b - d).max(1.0 - b)));
        self.place(plan.build(frame, eaves, first), 2.0);
        for _ in 0..5 {
            let (w, d) = (self.rng.range(16.0, 30.0), self.rng.range(6.5, 9.0));
            let (u, v) = (self.rng.range(-a, a), self.rng.range(-b, b));
            let turn = if self.rng.chance(0.4) { std::f64::consts::FRAC_PI_2 } else { 0.0 };
            let mut roof = common;
            roof.seed = self.rng.bits() as u32;
            if roof.form == Form::Lean {
                roof.form = Form::Gable;
            }
            let plan = Plan::rect(-w / 2.0, w / 2.0, 0.0, d);
            self.place(plan.build(middle.moved(u, v).turned(turn), 3.4, roof), 3.0);
        }
        // A court: as large, flat and rectangular as a roof, and not one.
        let colour = self.rng.pick(&[[0.40, 0.47, 0.36], [0.58, 0.36, 0.27], [0.62, 0.60, 0.56]]);
        let court = middle.moved(a - 11.0, b - 8.0);
        self.free_patch(court, Rect::centred(9.0, 6.0), Cover::Paving(colour));
        for _ in 0..self.rng.whole(8, 22) {
            let (p, radius) = (self.anywhere(), self.rng.range(1.2, 4.2));
            self.plant(p, radius);
        }
    }

    /// Ground of its own colour where no building stands.
    fn free_patch(&mut self, frame: Frame, rect: Rect, cover: Cover) {
        let free = self
            .block
            .buildings
            .iter()
            .all(|b| !b.wings.iter().any(|w| w.rect.near(&b.frame, &rect, &frame, 1.5)));
        if free {
            self.cover(frame, rect, cover);
        }
    }

    /// Strips of crops and bare earth, a lone shed, trees on the borders.
    pub(super) fn fields(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 46.0, 35.0);
        let strips = self.rng.whole(2, 5);
        let mut u = -a;
        for strip in 0..strips {
            let left = strips - strip;
            let width =
                if left == 1 { a - u } else { (a - u) / left as f64 * self.rng.range(0.7, 1.3) };
            let cut = self.rng.range(-0.5, 0.5) * b;
            for (v0, v1) in [(-b, cut), (cut, b)] {
                self.field(middle, Rect::new(u + 0.5, u + width - 0.5, v0 + 0.5, v1 - 0.5));
            }
            u += width;
        }
        if self.rng.chance(0.6) {
            for _ in 0..self.rng.whole(1, 4) {
                let frame = middle
                    .moved(self.rng.range(-a, a), self.rng.range(-b, b))
                    .turned(self.rng.range(-0.3, 0.3));
                let (w, d) = (self.rng.range(4.0, 11.0), self.rng.range(4.0, 8.0));
                let building = self.raise(Plan::rect(-w / 2.0, w / 2.0, 0.0, d), frame);
                self.place(building, 1.0);
            }
        }
        for _ in 0..self.rng.whole(6, 18) {
            let edge = self.rng.pick(&[-1.0, 1.0]);
            let (s, t) = (self.rng.range(-1.0, 1.0), self.rng.range(0.92, 1.08) * edge);
            let p = if self.rng.chance(0.5) {
                middle.world(s * a, t * b)
            } else {
                middle.world(t * a, s * b)
            };
            let radius = self.rng.range(1.0, 4.0);
            self.plant(p, radius);
        }
    }

    fn field(&mut self, frame: Frame, rect: Rect) {
        let style = &self.town.style;
        let crops = [style.grass, style.leaf, style.straw, style.soil, [0.46, 0.50, 0.24]];
        let crop = self.rng.pick(&crops).map(|x| x * self.rng.range_f32(0.88, 1.12));
        let furrow_m = self.rng.pick(&[0.9, 1.2, 1.8, 2.6]);
        let cover = match self.rng.weighted(&[0.75, 0.1, 0.15]) {
            0 => Cover::Field { furrow_m, crop },
            1 => Cover::Scrub,
            _ => Cover::Lawn,
        };
        if self.rng.chance(0.35) {
            // Furrows across: the same rectangle seen from a frame turned by a right angle.
            let turned = frame.turned(std::f64::consts::FRAC_PI_2);
            self.cover(turned, Rect::new(rect.v0, rect.v1, -rect.u1, -rect.u0), cover);
        } else {
            self.cover(frame, rect, cover);
        }
    }

    /// Trees, close in the middle, thin at the edges.
    pub(super) fn wood(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 46.0, 36.0);
        self.cover(middle, Rect::centred(a, b), Cover::Scrub);
        let close = self.rng.range(0.35, 0.9);
        let mut v = -b;
        while v < b {
            let mut u = -a;
            while u < a {
                if self.rng.chance(close) {
                    let p =
                        middle.world(u + self.rng.range(-2.0, 2.0), v + self.rng.range(-2.0, 2.0));
                    let radius = self.rng.range(1.2, 4.4);
                    self.plant(p, radius);
                }
                u += 5.2;
            }
            v += 5.2;
        }
    }

    /// A car park, a market of stalls without roofs, or an empty lot.
    pub(super) fn open(&mut self) {
        let middle = self.middle();
        let (a, b) = self.room(&middle, 42.0, 30.0);
        if self.rng.chance(0.5) {
            self.car_park(middle, a, b);
        } else {
            let cover = self.rng.pick(&[Cover::Earth, Cover::Gravel, Cover::Scrub, Cover::Lawn]);
            self.cover(middle, Rect::centred(a, b), cover);
            for _ in 0..3 {
                let frame = middle.moved(self.rng.range(-a, a) * 0.8, self.rng.range(-b, b) * 0.8);
                let (w, d) = (self.rng.range(4.0, 9.0), self.rng.range(3.0, 8.0));
                // Slabs of houses that were never built, or are gone.
                self.cover(frame.turned(0.1), Rect::centred(w, d), Cover::Concrete);
            }
            for _ in 0..22 {
                let p = self.anywhere();
                self.litter(p);
            }
        }
        for _ in 0..3 {
            let frame = middle.moved(self.rng.range(-a, a), self.rng.range(-b, b));
            let (w, d) = (self.rng.range(4.0, 12.0), self.rng.range(4.0, 9.0));
            let building = self.raise(Plan::rect(-w / 2.0, w / 2.0, 0.0, d), frame);
            self.place(building, 2.0);
        }
        for _ in 0..self.rng.whole(4, 16) {
            let (p, radius) = (self.anywhere(), self.rng.range(1.0, 3.6));
            self.plant(p, radius);
        }
    }

    fn car_park(&mut self, middle: Frame, a: f64, b: f64) {
        self.cover(middle, Rect::centred(a, b), Cover::Parking);
        let full = self.rng.range(0.15, 0.7);
        // Bays of 2.6 m by 5 m, two rows every 11 m, as the ground paints them.
        let first = |low: f64, step: f64| (low / step).ceil() as i64;
        for row in first(-b, 11.0)..first(b, 11.0) {
            for (bay, v) in
                (first(-a, 2.6)..first(a, 2.6) - 1).flat_map(|bay| [(bay, 2.6), (bay, 8.2)])
            {
                let v = row as f64 * 11.0 + v;
                if v > b - 2.5 || !self.rng.chance(full) {
                    continue;
                }
                let frame = middle
                    .moved((bay as f64 + 0.5) * 2.6, v)
                    .turned(std::f64::consts::FRAC_PI_2 + self.rng.range(-0.04, 0.04));
                let car = Thing::car(&mut self.rng, frame);
                self.park(car);
            }
        }
    }
}
