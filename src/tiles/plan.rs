//! Where tiles lie: pure arithmetic, no file is opened.
//!
//! A tile is `tile_px` square. Only in a scene smaller than that does it reach beyond the scene; in
//! all others the last row and column of a lattice are moved back to end at the edge.

use std::collections::BTreeSet;

use crate::config::dataset::{TileMode, TilesSection};
use crate::geo::{Grid, Window};

use super::split::{Division, Group, PxRect};

/// One resolution of one scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The folder's name: `x2` (twice the scene's pixels) or `0.3m` (a ground sample distance).
    pub name: String,
    /// The scene's extent in pixels of this scale.
    pub grid: Grid,
}

impl Scale {
    /// The scales of a scene, in the order of the configuration.
    pub fn of(native: &Grid, tiles: &TilesSection) -> Vec<Self> {
        if !tiles.gsd_m.is_empty() {
            return tiles
                .gsd_m
                .iter()
                .map(|&gsd_m| Self { name: format!("{gsd_m}m"), grid: native.at_gsd(gsd_m) })
                .collect();
        }
        let factors = if tiles.scales.is_empty() { &[1.0][..] } else { &tiles.scales[..] };
        factors
            .iter()
            .map(|&factor| {
                let side = |pixels: usize| ((pixels as f64 * factor).round() as usize).max(1);
                let grid = native.resized(side(native.width), side(native.height));
                Self { name: format!("x{factor}"), grid }
            })
            .collect()
    }

    /// Scene pixels per pixel of this scale along (columns, rows).
    pub fn step(&self, native: &Grid) -> (f64, f64) {
        (
            native.width as f64 / self.grid.width as f64,
            native.height as f64 / self.grid.height as f64,
        )
    }
}

/// A tile to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlannedTile {
    /// What it is for.
    pub group: Group,
    /// Which of the scene's scales.
    pub scale: usize,
    /// Its pixels at that scale; may reach beyond a scene smaller than a tile.
    pub window: Window,
}

/// What planning a scene gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScenePlan {
    /// The tiles, sorted, none twice.
    pub tiles: Vec<PlannedTile>,
    /// Tiles left out because they came too near to ground of another group, as (group, scale).
    pub dropped: Vec<(Group, usize)>,
}

/// Plans all tiles of a scene. `boxes` bound its footprints in scene pixels (for buildings mode).
pub fn plan(
    native: &Grid,
    scales: &[Scale],
    division: &Division,
    boxes: &[PxRect],
    tiles: &TilesSection,
) -> ScenePlan {
    let mut planned = BTreeSet::new();
    let mut dropped = Vec::new();
    for (scale, at) in scales.iter().enumerate() {
        let step = at.step(native);
        let size = (at.grid.width, at.grid.height);
        match (tiles.mode, division) {
            (TileMode::Grid, Division::Whole(group)) => {
                let area = [0, 0, size.0, size.1];
                for window in lattice(area, tiles.tile_px, tiles.overlap_px) {
                    planned.insert(PlannedTile { group: *group, scale, window });
                }
            }
            (TileMode::Grid, Division::Blocks(blocks)) => {
                for block in 0..blocks.count() {
                    let group = blocks.group(block);
                    let Some(area) = room(blocks.inner(block), step, size, tiles.tile_px) else {
                        dropped.push((group, scale));
                        continue;
                    };
                    for window in lattice(area, tiles.tile_px, tiles.overlap_px) {
                        if blocks.keeps_corners(block, to_scene(window, step)) {
                            planned.insert(PlannedTile { group, scale, window });
                        } else {
                            dropped.push((group, scale));
                        }
                    }
                }
            }
            (TileMode::Buildings, _) => {
                let gsd_m = at.grid.gsd_m.unwrap_or((1.0, 1.0));
                let padding = (tiles.padding_m / gsd_m.0, tiles.padding_m / gsd_m.1);
                for &[x0, y0, x1, y1] in boxes {
                    // A footprint of a whole country needs no more tiles than the scene has.
                    let tile = tiles.tile_px as f64;
                    let (right, bottom) = (size.0 as f64 + tile, size.1 as f64 + tile);
                    let around = [
                        (x0 / step.0 - padding.0).clamp(-tile, right),
                        (y0 / step.1 - padding.1).clamp(-tile, bottom),
                        (x1 / step.0 + padding.0).clamp(-tile, right),
                        (y1 / step.1 + padding.1).clamp(-tile, bottom),
                    ];
                    for (col, row) in crops(around, tiles.tile_px) {
                        let found = place(col, row, step, size, division, tiles.tile_px);
                        match found {
                            Ok((group, window)) => {
                                planned.insert(PlannedTile { group, scale, window });
                            }
                            Err(group) => dropped.push((group, scale)),
                        }
                    }
                }
            }
        }
    }
    ScenePlan { tiles: planned.into_iter().collect(), dropped }
}

/// A window in scene pixels.
pub fn to_scene(window: Window, step: (f64, f64)) -> PxRect {
    [
        window.col as f64 * step.0,
        window.row as f64 * step.1,
        window.right() as f64 * step.0,
        window.bottom() as f64 * step.1,
    ]
}

/// First pixels of tiles that cover `from..to`: `tile - overlap` apart, the last one moved back.
fn starts(from: usize, to: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if to - from <= tile {
        return vec![from];
    }
    let last = to - tile;
    let mut starts: Vec<usize> = (from..last).step_by(tile - overlap).collect();
    starts.push(last);
    starts
}

/// Tiles that cover `[col0, row0, col1, row1]`, row by row.
fn lattice(area: [usize; 4], tile: usize, overlap: usize) -> impl Iterator<Item = Window> {
    let [col0, row0, col1, row1] = area;
    let cols = starts(col0, col1, tile, overlap);
    starts(row0, row1, tile, overlap).into_iter().flat_map(move |row| {
        cols.clone().into_iter().map(move |col| Window { col, row, width: tile, height: tile })
    })
}

/// The whole pixels of a scale inside `inner` (scene pixels), if a tile fits there. A side that spans
/// the whole scene is always wide enough: what a tile has beyond the scene is nobody's ground.
fn room(inner: PxRect, step: (f64, f64), size: (usize, usize), tile: usize) -> Option<[usize; 4]> {
    // Blocks end on fractions of pixels; 1e-6 px forgives rounding at the scene's own edge.
    let axis = |from: f64, to: f64, step: f64, size: usize| {
        let from = (from / step - 1e-6).ceil().max(0.0) as usize;
        let to = ((to / step + 1e-6).floor().max(0.0) as usize).min(size);
        (from + tile <= to || (from == 0 && to == size)).then_some((from, to))
    };
    let (col0, col1) = axis(inner[0], inner[2], step.0, size.0)?;
    let (row0, row1) = axis(inner[1], inner[3], step.1, size.1)?;
    Some([col0, row0, col1, row1])
}

/// Upper left corners of the fewest tiles, centred, that cover `around` (pixels of the scale).
fn crops([x0, y0, x1, y1]: [f64; 4], tile: usize) -> Vec<(f64, f64)> {
    let tile = tile as f64;
    let axis = |from: f64, to: f64| {
        let count = ((to - from) / tile).ceil().max(1.0);
        let first = (from + to - count * tile) / 2.0;
        (0..count as usize).map(move |i| first + i as f64 * tile)
    };
    axis(y0, y1).flat_map(|row| axis(x0, x1).map(move |col| (col, row))).collect()
}

/// Moves a crop whose corner is (`col`, `row`) into the scene, and into the room of the block that
/// holds its centre. `Err` names the group of a crop that finds no room, or would lose its centre.
fn place(
    col: f64,
    row: f64,
    step: (f64, f64),
    size: (usize, usize),
    division: &Division,
    tile: usize,
) -> Result<(Group, Window), Group> {
    let half = tile as f64 / 2.0;
    let centre = (col + half, row + half);
    let (group, block) = match division {
        Division::Whole(group) => (*group, None),
        Division::Blocks(blocks) => {
            let block = blocks.at(centre.0 * step.0, centre.1 * step.1);
            (blocks.group(block), Some((blocks, block)))
        }
    };
    let area = match block {
        None => [0, 0, size.0, size.1],
        Some((blocks, block)) => room(blocks.inner(block), step, size, tile).ok_or(group)?,
    };
    let into = |start: f64, from: usize, to: usize| {
        let last = to.saturating_sub(tile).max(from);
        (start.round().max(0.0) as usize).clamp(from, last)
    };
    let window = Window {
        col: into(col, area[0], area[2]),
        row: into(row, area[1], area[3]),
        width: tile,
        height: tile,
    };
    if let Some((blocks, block)) = block {
        let holds = |start: usize, centre: f64, size: usize| {
            let centre = centre.clamp(0.0, size as f64);
            (start as f64..=(start + tile) as f64).contains(&centre)
        };
        let kept = holds(window.col, centre.0, size.0) && holds(window.row, centre.1, size.1);
        if !kept || !blocks.keeps_corners(block, to_scene(window, step)) {
            return Err(group);
        }
    }
    Ok((group, window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::GeoTransform;
    use crate::tiles::Split;
    use proptest::prelude::*;

    fn grid(width: usize, height: usize) -> Grid {
        let transform = GeoTransform([0.0, 0.1, 0.0, 0.0, 0.0, -0.1]);
        Grid { width, height, transform, crs: None, gsd_m: Some((0.1, 0.1)) }
    }

    fn windows(native: &Grid, boxes: &[PxRect], tiles: &TilesSection) -> Vec<Window> {
        let division = Division::Whole(Group::of(Split::Train));
        let scales = Scale::of(native, tiles);
        plan(native, &scales, &division, boxes, tiles).tiles.iter().map(|t| t.window).collect()
    }

    proptest! {
        #[test]
        fn a_lattice_covers_every_pixel_and_stays_inside(
            from in 0usize..50, length in 1usize..300, tile in 16usize..100, share in 0.0..0.9f64,
        ) {
            let overlap = (tile as f64 * share) as usize;
            let to = from + length;
            let starts = starts(from, to, tile, overlap);
            prop_assert_eq!(starts[0], from);
            prop_assert!(starts.windows(2).all(|w| w[0] < w[1] && w[1] - w[0] <= tile - overlap));
            let end = starts.last().unwrap() + tile;
            let covered = if length <= tile { end >= to } else { end == to };
            prop_assert!(covered);
        }
    }

    #[test]
    fn scale_two_has_twice_the_pixels_and_its_folder_says_so() {
        let tiles = TilesSection { scales: vec![1.0, 2.0, 0.5], ..Default::default() };
        let scales = Scale::of(&grid(100, 60), &tiles);
        let names: Vec<&str> = scales.iter().map(|scale| scale.name.as_str()).collect();
        assert_eq!(names, ["x1", "x2", "x0.5"]);
        assert_eq!((scales[1].grid.width, scales[2].grid.height), (200, 30));
        let tiles = TilesSection { gsd_m: vec![0.3], ..Default::default() };
        let scales = Scale::of(&grid(100, 60), &tiles);
        assert_eq!((scales[0].name.as_str(), scales[0].grid.width), ("0.3m", 33));
    }

    #[test]
    fn a_scene_smaller_than_a_tile_gives_one_tile() {
        let tiles = TilesSection { tile_px: 64, ..Default::default() };
        assert_eq!(windows(&grid(40, 50), &[], &tiles), [Window::whole(64, 64)]);
    }

    #[test]
    fn a_crop_is_centred_on_its_building_and_moved_into_the_scene_at_its_edge() {
        let tiles = TilesSection {
            tile_px: 64,
            mode: TileMode::Buildings,
            padding_m: 1.0,
            ..Default::default()
        };
        let boxes = [[100.0, 100.0, 120.0, 110.0], [0.0, 195.0, 10.0, 200.0]];
        let found = windows(&grid(200, 200), &boxes, &tiles);
        let at = |row, col| Window { col, row, width: 64, height: 64 };
        assert_eq!(
            found,
            [at(136, 0), at(73, 78)]
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_building_larger_than_a_tile_is_covered_by_several() {
        let tiles = TilesSection {
            tile_px: 64,
            mode: TileMode::Buildings,
            padding_m: 0.0,
            ..Default::default()
        };
        let found = windows(&grid(400, 400), &[[100.0, 100.0, 200.0, 130.0]], &tiles);
        assert_eq!(found.len(), 2);
        let (left, right) = (found[0].col.min(found[1].col), found[0].col.max(found[1].col));
        assert!(left <= 100 && right + 64 >= 200 && right == left + 64);
    }
}
