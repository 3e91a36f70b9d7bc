//! No two tiles of different groups share ground, even where scenes overlap.
//!
//! Within a scene the division sees to it ([`super::split`]); between scenes the tiles' outlines are
//! compared in longitude and latitude, and of two that overlap the one that matters less is left out:
//! training before validation before test.

use geo::orient::Direction;
use geo::{Intersects, LineString, Orient, Polygon};
use rstar::{AABB, RTree, RTreeObject};

use crate::error::Result;
use crate::geo::vector::antimeridian;
use crate::geo::{Crs, Grid, Reprojection, Window};

use super::set::Split;
use super::split::Group;

/// Outlines are drawn this much smaller, in tile sides: tiles of adjacent scenes that share an edge
/// share no pixel, but rounding in a reprojection (1e-9 degrees, 0.1 mm) could make them touch.
const SHRINK: f64 = 1e-4;

/// A tile's outline on the ground.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Its scene's number.
    pub scene: usize,
    /// The coordinates' space: outlines of different spaces cannot be compared.
    pub space: usize,
    /// Its group.
    pub group: Group,
    /// Longitude and latitude where the scene's CRS leads there; two where the antimeridian cuts it.
    pub parts: Vec<Polygon<f64>>,
}

/// A part of the outline of a tile, by its number.
struct Part {
    tile: usize,
    polygon: Polygon<f64>,
}

impl RTreeObject for Part {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        envelope(&self.polygon)
    }
}

fn envelope(polygon: &Polygon<f64>) -> AABB<[f64; 2]> {
    let corners = polygon.exterior().0.iter().map(|c| [c.x, c.y]);
    AABB::from_points(corners.collect::<Vec<_>>().iter())
}

/// An outline in degrees as places that are compared: every longitude from -180 to 180.
pub fn parts(outline: Polygon<f64>) -> Vec<Polygon<f64>> {
    antimeridian::cut(&outline).map_or_else(|| vec![outline], |parts| parts.0)
}

/// The outline of the part of `window` inside `grid`, in degrees where the grid has a CRS, otherwise
/// in its own coordinates. `inset` pixels are taken off on all sides.
///
/// # Errors
/// A corner cannot be reprojected.
pub fn outline(
    grid: &Grid,
    window: Window,
    inset: f64,
    way: Option<&Reprojection>,
) -> Result<Polygon<f64>> {
    let (c0, r0) = (window.col as f64 + inset, window.row as f64 + inset);
    let c1 = window.right().min(grid.width) as f64 - inset;
    let r1 = window.bottom().min(grid.height) as f64 - inset;
    let mut ring =
        [(c0, r0), (c0, r1), (c1, r1), (c1, r0)].map(|(c, r)| grid.transform.apply(c, r));
    if let Some(way) = way {
        way.points(&mut ring)?;
    }
    let polygon = Polygon::new(LineString::from(ring.to_vec()), Vec::new());
    // Counterclockwise whatever the geotransform.
    Ok(polygon.orient(Direction::Default))
}

/// How far a tile's outline is drawn in for comparisons, pixels.
pub fn inset_px(tile_px: usize) -> f64 {
    tile_px as f64 * SHRINK
}

/// The way from a scene's CRS to degrees; `None` without a CRS, or from another planet's.
pub fn to_degrees(crs: Option<&Crs>) -> Option<Reprojection> {
    Reprojection::new(crs?, &Crs::wgs84().ok()?).ok()
}

/// Which outlines may stay: false for those that overlap one of another scene and another group that
/// matters more. The result does not depend on the order of threads, only on that of `outlines`.
pub fn keep(outlines: &[Outline]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..outlines.len()).collect();
    order.sort_by_key(|&i| (rank(outlines[i].group), i));
    let mut kept: RTree<Part> = RTree::new();
    let mut keep = vec![false; outlines.len()];
    for i in order {
        let tile = &outlines[i];
        let free = |polygon: &Polygon<f64>| {
            kept.locate_in_envelope_intersecting(&envelope(polygon)).all(|part| {
                let other = &outlines[part.tile];
                other.scene == tile.scene
                    || other.space != tile.space
                    || other.group == tile.group
                    || !part.polygon.intersects(polygon)
            })
        };
        if tile.parts.iter().all(free) {
            keep[i] = true;
            for polygon in &tile.parts {
                kept.insert(Part { tile: i, polygon: polygon.clone() });
            }
        }
    }
    keep
}

fn rank(group: Group) -> (u8, Option<u32>) {
    let split = match group.split {
        Split::Test => 0,
        Split::Val => 1,
        Split::Train => 2,
    };
    (split, group.fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(scene: usize, split: Split, x: f64) -> Outline {
        let rect = geo::Rect::new((x, 0.0), (x + 1.0, 1.0));
        Outline { scene, space: 0, group: Group::of(split), parts: parts(rect.to_polygon()) }
    }

    #[test]
    fn training_gives_way_to_validation_and_validation_to_test() {
        let outlines = [
            square(0, Split::Train, 0.0),
            square(1, Split::Val, 0.5),
            square(2, Split::Test, 1.2),
            square(0, Split::Train, 5.0),
        ];
        assert_eq!(keep(&outlines), [true, false, true, true]);
    }

    #[test]
    fn ground_is_the_same_however_often_it_is_counted_around_the_earth() {
        let train = |x: f64| square(0, Split::Train, x);
        let outlines = [square(1, Split::Val, 179.5), train(-180.9), train(180.2), train(0.0)];
        assert_eq!(keep(&outlines), [true, false, false, true]);
        let outlines = [square(1, Split::Val, -170.0), train(190.0), train(-171.5)];
        assert_eq!(keep(&outlines), [true, false, true]);
    }

    #[test]
    fn tiles_of_one_group_may_overlap() {
        let outlines = [square(0, Split::Val, 0.0), square(1, Split::Val, 0.5)];
        assert_eq!(keep(&outlines), [true, true]);
    }
}
