//! The painter: ground, then everything that stands on it from the lowest to the highest.

use super::block::{Block, Builder};
use super::building::Building;
use super::camera;
use super::canvas::{Canvas, Frame};
use super::shape::Bounds;
use super::things::{Kind, Thing};
use super::town::{Street, Town};
use super::vegetation::Tree;
use super::{ground, roofs};

/// How far beyond its own block anything reaches, metres: the longest shadow (a wood's tallest tree, with
/// the sun at its lowest), a crown over the street.
const REACH_M: f64 = 24.0;

/// One thing to paint. Things are painted by the height of their tops, so that higher ones cover lower
/// ones and throw their shadows on them.
enum Piece<'a> {
    Building(&'a Building),
    Tree(&'a Tree),
    Thing(&'a Thing),
}

impl Piece<'_> {
    fn top_m(&self) -> f64 {
        match self {
            Self::Building(b) => b.height_m(),
            Self::Tree(t) => t.height_m,
            Self::Thing(t) => t.base_m + t.height_m,
        }
    }

    fn bounds(&self) -> Bounds {
        match self {
            Self::Building(b) => b.bounds(),
            Self::Tree(t) => t.bounds(),
            Self::Thing(t) => t.bounds(),
        }
    }
}

/// Paints a window of the town as the camera sees it: 8-bit RGB, interleaved, row by row.
///
/// The result depends on the town and on which pixels these are, not on the window they are asked in.
pub fn window(town: &Town, gsd_m: f64, frame: Frame) -> Vec<u8> {
    let halo = camera::HALO_PX;
    let wide = Frame {
        col: frame.col - halo as i64,
        row: frame.row - halo as i64,
        width: frame.width + 2 * halo,
        height: frame.height + 2 * halo,
    };
    let mut canvas = Canvas::new(wide, gsd_m);
    let bounds = canvas.bounds();
    let cells = town.cells(&bounds, REACH_M);
    let streets: Vec<Street> = cells
        .iter()
        .flat_map(|cell| cell.sides.iter())
        .filter(|street| street.bounds().grown(12.0).meets(&bounds))
        .fold(Vec::new(), |mut unique: Vec<Street>, street| {
            if unique.iter().all(|other| other.key != street.key) {
                unique.push(street.clone());
            }
            unique
        });
    let blocks: Vec<Block> = cells.iter().map(|cell| Builder::new(town, cell).build()).collect();

    ground::paint_country(&mut canvas, town);
    for patch in blocks.iter().flat_map(|block| &block.patches) {
        ground::paint_patch(&mut canvas, patch, &town.style);
    }
    ground::paint_streets(&mut canvas, &streets, town);

    let mut pieces: Vec<Piece> = Vec::new();
    for block in &blocks {
        pieces.extend(block.buildings.iter().map(Piece::Building));
        pieces.extend(block.trees.iter().map(Piece::Tree));
        pieces.extend(block.things.iter().map(Piece::Thing));
    }
    pieces.retain(|piece| piece.bounds().grown(REACH_M).meets(&bounds));
    // Ties are broken by place, so that the order does not depend on the window.
    pieces.sort_by(|a, b| {
        let key = |p: &Piece| {
            let b = p.bounds();
            [p.top_m(), b.min.x, b.min.y, b.max.x]
        };
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    for piece in &pieces {
        paint(&mut canvas, piece, town);
    }
    camera::expose(&canvas, &town.style, town.seed)
}

fn paint(canvas: &mut Canvas, piece: &Piece, town: &Town) {
    let style = &town.style;
    match piece {
        Piece::Building(building) => {
            roofs::cast_building(canvas, building, style);
            roofs::paint(canvas, building, style);
        }
        Piece::Tree(tree) => {
            tree.cast(canvas, style);
            tree.paint(canvas, style);
        }
        Piece::Thing(thing) => {
            if thing.kind != Kind::Sheet || thing.height_m > 0.3 {
                thing.cast(canvas, style);
            }
            thing.paint(canvas, style);
        }
    }
}
