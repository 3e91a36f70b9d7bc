//! What stands in a block: its plots, buildings, gardens, trees and walls.

use super::building::{Building, Plan};
use super::ground::{Cover, Patch};
use super::hash::Rng;
use super::roofs::{MATERIALS, roof};
use super::shape::{Frame, Point, at, inside, length};
use super::things::{Kind, Thing};
use super::town::{Cell, Class, Town, walk};
use super::vegetation::Tree;

/// Everything in one block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Ground covers, in painting order.
    pub patches: Vec<Patch>,
    /// Buildings; their interiors never overlap.
    pub buildings: Vec<Building>,
    /// Trees and bushes.
    pub trees: Vec<Tree>,
    /// Walls, cars, tanks.
    pub things: Vec<Thing>,
}

/// How a block is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Houses in gardens.
    Houses,
    /// Rows of houses that share walls.
    Rows,
    /// A few long sheds on a yard.
    Sheds,
    /// A school, a hospital: large plans, courtyards, a sports ground.
    Institution,
    /// Round huts and small sheds in bare earth.
    Hamlet,
    /// Fields.
    Fields,
    /// Wood or scrub.
    Wood,
    /// An empty lot, a car park, a market.
    Open,
}

/// Lays out one block.
pub struct Builder<'a> {
    /// The town.
    pub town: &'a Town,
    /// The block's streets.
    pub cell: &'a Cell,
    /// The block's own randomness.
    pub rng: Rng,
    /// What has been placed.
    pub block: Block,
    /// How built-up the block is, 0 to 1.
    pub density: f64,
}

impl<'a> Builder<'a> {
    /// A block with nothing in it.
    pub fn new(town: &'a Town, cell: &'a Cell) -> Self {
        Self {
            town,
            cell,
            rng: Rng::new(town.seed, 0xB0, cell.i, cell.j),
            block: Block::default(),
            density: town.density_at(cell.centre()),
        }
    }

    /// The whole block.
    pub fn build(mut self) -> Block {
        match self.draw_use() {
            Use::Houses => self.houses(),
            Use::Rows => self.rows(),
            Use::Sheds => self.sheds(),
            Use::Institution => self.institution(),
            Use::Hamlet => self.hamlet(),
            Use::Fields => self.fields(),
            Use::Wood => self.wood(),
            Use::Open => self.open(),
        }
        self.street_life();
        self.block
    }

    fn draw_use(&mut self) -> Use {
        let d = self.density;
        let weights = [
            (Use::Houses, 1.2),
            (Use::Rows, (d - 0.42).max(0.0) * 1.8 + 0.06),
            (Use::Sheds, 0.16),
            (Use::Institution, 0.15),
            (Use::Hamlet, (0.45 - d).max(0.0) * 1.2),
            (Use::Fields, (0.55 - d).max(0.0) * 2.6 + 0.03),
            (Use::Wood, (0.5 - d).max(0.0) * 0.9 + 0.03),
            (Use::Open, 0.13),
        ];
        weights[self.rng.weighted(&weights.map(|w| w.1))].0
    }

    /// Whether `p` is inside the block and `margin_m` clear of the reserve of every street.
    pub fn free_ground(&self, p: Point, margin_m: f64) -> bool {
        inside(p, &self.cell.ring)
            && self.cell.sides.iter().all(|s| s.distance(p).0 > s.reserve_m() + margin_m)
    }

    /// Whether a building fits the block with `gap_m` to every other.
    pub fn fits(&self, building: &Building, gap_m: f64) -> bool {
        let free = building.outline.exterior().lines().all(|wall| {
            // The middle of a wall too: streets bend.
            self.free_ground(wall.start, 0.3)
                && self.free_ground((wall.start + wall.end) / 2.0, 0.3)
        });
        free && self.clear_of_others(building, gap_m)
    }

    fn clear_of_others(&self, building: &Building, gap_m: f64) -> bool {
        let near = building.bounds().grown(gap_m);
        self.block.buildings.iter().all(|other| {
            !near.meets(&other.bounds())
                || !building.wings.iter().any(|a| {
                    other
                        .wings
                        .iter()
                        .any(|b| a.rect.near(&building.frame, &b.rect, &other.frame, gap_m))
                })
        })
    }

    /// A roof from the town's own mix.
    pub fn draw_roof(&mut self) -> super::building::Roof {
        let material = MATERIALS[self.rng.weighted(&self.town.style.roofs)];
        roof(&mut self.rng, material)
    }

    /// Puts a building in place if it fits; says whether it did.
    pub fn place(&mut self, building: Building, gap_m: f64) -> bool {
        let fits = self.fits(&building, gap_m);
        if fits {
            self.put(building);
        }
        fits
    }

    /// Puts a building in place, with what stands on its roof.
    pub fn put(&mut self, building: Building) {
        super::rooftop::furnish(&mut self.rng, &building, &mut self.block.things);
        self.block.buildings.push(building);
    }

    /// A patch of ground.
    pub fn cover(&mut self, frame: Frame, rect: super::shape::Rect, cover: Cover) {
        let seed = self.rng.bits() as u32;
        self.block.patches.push(Patch { frame, rect, cover, seed });
    }

    /// A tree, unless its trunk would stand in a building or a street.
    pub fn plant(&mut self, p: Point, radius_m: f64) {
        let trunk_free = self.free_ground(p, -0.6)
            && self.block.buildings.iter().all(|b| {
                let (u, v) = b.frame.local(p);
                b.distance(u, v) > (radius_m * 0.3).max(0.5)
            });
        if trunk_free {
            let tree = Tree::grow(&mut self.rng, p, radius_m, &self.town.style);
            self.block.trees.push(tree);
        }
    }

    /// A random point of the block's box; often inside the block.
    pub fn anywhere(&mut self) -> Point {
        let b = self.cell.bounds();
        at(self.rng.range(b.min.x, b.max.x), self.rng.range(b.min.y, b.max.y))
    }

    /// The frame on one side of the block at `along_m`: origin at the edge of the street's reserve.
    pub fn frontage(&self, side: usize, along_m: f64) -> Frame {
        let street = &self.cell.sides[side];
        let (p, direction) = walk(&street.line, along_m);
        Frame::along(p, direction).moved(0.0, street.reserve_m())
    }

    /// A frame in the middle of the block, along its top side.
    pub fn middle(&self) -> Frame {
        let top = &self.cell.sides[0].line;
        Frame::along(self.cell.centre(), top[top.len() - 1] - top[0])
    }

    /// The largest rectangle around `frame`'s origin, up to the given halves, that stays on free ground.
    pub fn room(&self, frame: &Frame, half_u: f64, half_v: f64) -> (f64, f64) {
        let (mut a, mut b) = (half_u, half_v);
        for _ in 0..24 {
            let free = [(-1.0, -1.0), (0.0, -1.0), (1.0, -1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
                .into_iter()
                .chain([(-1.0, 1.0), (-1.0, 0.0)])
                .all(|(s, t)| self.free_ground(frame.world(s * a, t * b), 0.5));
            if free {
                break;
            }
            (a, b) = (a * 0.93, b * 0.93);
        }
        (a, b)
    }

    /// Trees along the streets, cars on them.
    fn street_life(&mut self) {
        // Each block sees to its top and left streets, so that every street is seen to once.
        for side in [0usize, 3] {
            let street = &self.cell.sides[side];
            let mut rng = Rng::new(self.town.seed, 0xCA + side as u64, self.cell.i, self.cell.j);
            let total = street.length_m();
            let traffic = match street.class {
                Class::Main => 0.05,
                Class::Street => 0.035,
                Class::Dirt => 0.012,
                Class::Path => 0.0,
            };
            let mut along = rng.range(6.0, 20.0);
            while along < total - 6.0 {
                if rng.chance(traffic * 9.0 * (0.3 + self.density)) {
                    let (p, direction) = street.point(along);
                    let lane = if street.half_m > 4.0 && rng.chance(0.6) {
                        0.45 * street.half_m
                    } else {
                        street.half_m - 1.15
                    };
                    let side = if rng.chance(0.5) { lane } else { -lane };
                    let frame = Frame::along(p, direction).moved(0.0, side);
                    self.block.things.push(Thing::car(&mut rng, frame));
                }
                along += rng.range(6.5, 11.0);
            }
        }
        let lined = self.rng.chance(0.4);
        for side in 0..4 {
            let total =
                length(self.cell.sides[side].line[0] - self.cell.sides[(side + 1) % 4].line[0]);
            let mut along = self.rng.range(4.0, 12.0);
            while along < total {
                if self.rng.chance(if lined { 0.35 } else { 0.1 }) {
                    let p = self.frontage(side, along).world(0.0, -0.2);
                    let radius = self.rng.range(1.0, 2.6);
                    self.plant(p, radius);
                }
                along += self.rng.range(5.0, 9.0);
            }
        }
    }

    /// A flat sheet: a tarpaulin, a heap of sand, goods.
    pub fn litter(&mut self, p: Point) {
        let colour = self.rng.pick(&[
            [0.20, 0.38, 0.66],
            [0.72, 0.70, 0.64],
            [0.50, 0.47, 0.42],
            [0.66, 0.55, 0.40],
            [0.30, 0.32, 0.33],
        ]);
        let frame = Frame::along(p, at(1.0, 0.0)).turned(self.rng.range(0.0, 3.1));
        let thing = Thing {
            kind: Kind::Sheet,
            frame,
            half_u: self.rng.range(0.6, 1.9),
            half_v: self.rng.range(0.4, 1.2),
            base_m: 0.0,
            height_m: self.rng.range(0.2, 0.8),
            colour,
        };
        let free = self.free_ground(p, 1.0)
            && self.block.buildings.iter().all(|b| {
                let (u, v) = b.frame.local(p);
                b.distance(u, v) > 2.2
            });
        if free {
            self.block.things.push(thing);
        }
    }

    /// A plan on a frame, as a building with a roof from the town's mix.
    pub fn raise(&mut self, plan: Plan, frame: Frame) -> Building {
        let roof = self.draw_roof();
        let storeys = if roof.form == super::building::Form::Flat {
            self.rng.weighted(&[0.4, 0.4, 0.2]) + 1
        } else {
            self.rng.weighted(&[0.85, 0.15]) + 1
        };
        let eaves = 2.7 * storeys as f64 + self.rng.range(0.0, 0.6);
        plan.build(frame, eaves, roof)
    }
}
