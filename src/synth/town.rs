//! The plan of the town: a bent lattice of streets, and the blocks between them.
//!
//! Everything here is a function of the seed and a lattice cell, so any part of the town can be laid out
//! without the rest.

use super::hash::{Rng, noise};
use super::shape::{Bounds, Point, at, length, to_segment};
use super::style::Style;

/// Mean distance between streets, metres: along and across the lattice.
const SPACING_M: [f64; 2] = [106.0, 80.0];
/// How far a crossing strays from its lattice place, metres.
const STRAY_M: f64 = 9.0;
/// Slow bending of the whole lattice, metres, over [`BEND_LENGTH_M`].
const BEND_M: f64 = 58.0;
const BEND_LENGTH_M: f64 = 330.0;
/// Straight pieces of a street between two crossings.
const PIECES: usize = 6;

/// What a street is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asphalt with a centre line and pavements.
    Main,
    /// Asphalt with kerbs.
    Street,
    /// Earth.
    Dirt,
    /// Two wheel tracks or a footpath.
    Path,
}

/// A street between two neighbouring crossings.
#[derive(Clone, Debug)]
pub struct Street {
    /// What it is.
    pub class: Class,
    /// Half its width between kerbs, metres.
    pub half_m: f64,
    /// From crossing to crossing, in ground metres.
    pub line: Vec<Point>,
    /// Lattice cell that owns it, and 0 for along, 1 for across.
    pub key: (i64, i64, u64),
}

impl Street {
    /// Half the width that nothing may be built on: carriageway and pavement.
    pub fn reserve_m(&self) -> f64 {
        self.half_m
            + match self.class {
                Class::Main => 2.2,
                Class::Street => 1.2,
                Class::Dirt => 0.7,
                Class::Path => 0.4,
            }
    }

    /// Distance from `p` to the middle of the street, and metres along it.
    #[inline]
    pub fn distance(&self, p: Point) -> (f64, f64) {
        let (mut best, mut along, mut before) = (f64::MAX, 0.0, 0.0);
        for pair in self.line.windows(2) {
            let size = length(pair[1] - pair[0]);
            let (distance, t) = to_segment(p, pair[0], pair[1]);
            if distance < best {
                (best, along) = (distance, before + t * size);
            }
            before += size;
        }
        (best, along)
    }

    /// Length, metres.
    pub fn length_m(&self) -> f64 {
        self.line.windows(2).map(|p| length(p[1] - p[0])).sum()
    }

    /// The point `along_m` from the start, and the direction there.
    pub fn point(&self, along_m: f64) -> (Point, Point) {
        walk(&self.line, along_m)
    }

    /// The box around its middle line.
    pub fn bounds(&self) -> Bounds {
        Bounds::around(self.line.iter().copied())
    }
}

/// The point `along_m` down a line, and the unit direction there; clamped to the ends.
pub fn walk(line: &[Point], along_m: f64) -> (Point, Point) {
    let mut left = along_m.max(0.0);
    for (index, pair) in line.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        let size = length(step);
        if left <= size || index + 2 == line.len() {
            let t = (left / size).min(1.0);
            return (pair[0] + step * t, step / size);
        }
        left -= size;
    }
    (line[0], at(1.0, 0.0))
}

/// Blocks and streets of one seed.
#[derive(Clone, Debug)]
pub struct Town {
    /// Seed of everything.
    pub seed: u64,
    /// How built-up the town is, 0 to 1.
    pub density: f64,
    /// Its look.
    pub style: Style,
}

/// The four streets around a block, and its corners.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Lattice place.
    pub i: i64,
    /// Lattice place.
    pub j: i64,
    /// Streets along the top, right, bottom and left; each line runs clockwise on screen around the block.
    pub sides: [Street; 4],
    /// Middle lines of the four streets, joined.
    pub ring: Vec<Point>,
}

impl Cell {
    /// The box around the block.
    pub fn bounds(&self) -> Bounds {
        Bounds::around(self.ring.iter().copied())
    }

    /// The mean of the corners.
    pub fn centre(&self) -> Point {
        let sum = self.sides.iter().fold(at(0.0, 0.0), |sum, side| sum + side.line[0]);
        sum / 4.0
    }
}

impl Town {
    /// The crossing (`i`, `j`) in ground metres.
    fn crossing(&self, i: i64, j: i64) -> Point {
        let mut rng = Rng::new(self.seed, 0x0C, i, j);
        let (u, v) = (
            i as f64 * SPACING_M[0] + rng.range(-STRAY_M, STRAY_M),
            j as f64 * SPACING_M[1] + rng.range(-STRAY_M, STRAY_M),
        );
        let seed = self.seed as u32;
        let bend = |salt: u32| {
            let n = noise(u / BEND_LENGTH_M, v / BEND_LENGTH_M, seed ^ salt);
            (f64::from(n) - 0.5) * 2.0 * BEND_M
        };
        let (u, v) = (u + bend(0xB1), v + bend(0xB2));
        let (sin, cos) = self.style.turn_rad.sin_cos();
        at(u * cos - v * sin, u * sin + v * cos)
    }

    /// How built-up the town is at a point, 0 to 1.
    pub fn density_at(&self, p: Point) -> f64 {
        let seed = self.seed as u32;
        let wide = f64::from(noise(p.x / 420.0, p.y / 420.0, seed ^ 0xD1)) - 0.5;
        let near = f64::from(noise(p.x / 150.0, p.y / 150.0, seed ^ 0xD2)) - 0.5;
        (self.density + 0.55 * wide + 0.45 * near).clamp(0.0, 1.0)
    }

    /// The street from (`i`, `j`) to (`i+1`, `j`) (`across` false) or to (`i`, `j+1`).
    pub fn street(&self, i: i64, j: i64, across: bool) -> Street {
        let node = |k: i64| {
            if across { self.crossing(i, j + k) } else { self.crossing(i + k, j) }
        };
        let (a, b, c, d) = (node(-1), node(0), node(1), node(2));
        // A Catmull-Rom curve: streets run on smoothly through the crossings.
        let line = (0..=PIECES)
            .map(|k| {
                let t = k as f64 / PIECES as f64;
                let (t2, t3) = (t * t, t * t * t);
                (b * 2.0
                    + (c - a) * t
                    + (a * 2.0 - b * 5.0 + c * 4.0 - d) * t2
                    + (b * 3.0 - a - c * 3.0 + d) * t3)
                    * 0.5
            })
            .collect();
        let (number, key) = if across { (i, (i, j, 1)) } else { (j, (i, j, 0)) };
        let mut whole_line = Rng::new(self.seed, 0x11, number, i64::from(across));
        let mut own = Rng::new(self.seed, 0x12 + u64::from(across), i, j);
        let main = number.rem_euclid(5) == if across { 1 } else { 2 };
        let rank = 0.55 * whole_line.unit() + 0.45 * own.unit();
        let density = self.density_at((b + c) / 2.0);
        let (class, half_m) = if main {
            (Class::Main, whole_line.range(4.2, 5.4))
        } else if rank < 0.25 + 0.35 * density {
            (Class::Street, own.range(2.5, 3.3))
        } else if rank < 0.62 + 0.25 * density {
            (Class::Dirt, own.range(1.7, 2.7))
        } else {
            (Class::Path, own.range(0.7, 1.2))
        };
        Street { class, half_m, line, key }
    }

    /// The block between (`i`, `j`) and (`i+1`, `j+1`).
    pub fn cell(&self, i: i64, j: i64) -> Cell {
        let mut sides = [
            self.street(i, j, false),
            self.street(i + 1, j, true),
            self.street(i, j + 1, false),
            self.street(i, j, true),
        ];
        sides[2].line.reverse();
        sides[3].line.reverse();
        let ring = sides.iter().flat_map(|s| s.line[..PIECES].iter().copied()).collect::<Vec<_>>();
        Cell { i, j, sides, ring }
    }

    /// Every block whose own ground comes within `margin_m` of `bounds`.
    pub fn cells(&self, bounds: &Bounds, margin_m: f64) -> Vec<Cell> {
        let near = bounds.grown(margin_m);
        let (sin, cos) = self.style.turn_rad.sin_cos();
        let corners = [near.min, at(near.max.x, near.min.y), near.max, at(near.min.x, near.max.y)];
        let lattice =
            Bounds::around(corners.map(|p| at(p.x * cos + p.y * sin, p.y * cos - p.x * sin)))
                // A curve between crossings swings out by less than a tenth of the spacing.
                .grown(BEND_M + STRAY_M + 0.1 * SPACING_M[0]);
        let first = |low: f64, spacing: f64| (low / spacing).floor() as i64 - 1;
        let last = |high: f64, spacing: f64| (high / spacing).ceil() as i64;
        let mut cells = Vec::new();
        for j in first(lattice.min.y, SPACING_M[1])..=last(lattice.max.y, SPACING_M[1]) {
            for i in first(lattice.min.x, SPACING_M[0])..=last(lattice.max.x, SPACING_M[0]) {
                let cell = self.cell(i, j);
                if cell.bounds().meets(&near) {
                    cells.push(cell);
                }
            }
        }
        cells
    }
}
