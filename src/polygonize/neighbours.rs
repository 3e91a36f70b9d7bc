//! No two buildings overlap.
//!
//! Outlines of different components are simplified apart from each other, so where houses stand a pixel apart, walls may come to lie
//! across one another. Every outline is compared with those before it, in reading order; what it shares with one of them, it loses.

use std::sync::Arc;

use geo::{Area, BooleanOps, BoundingRect, Intersects, MapCoords, MultiPolygon, Validation};

use crate::geo::GeoTransform;
use crate::geo::overlap::Shape;

/// Shared areas up to this many square pixels are rounding.
const SAME_PX2: f64 = 1e-6;

/// Columns of a lane, px: outlines are looked up by the lanes that they touch.
const LANE_PX: f64 = 512.0;

/// Rows between two looks at what may be forgotten.
const PASS_ROWS: f64 = 64.0;

/// A polygon that is settled, for those to come to be compared with.
struct Settled {
    polygon: geo::Polygon<f64>,
    bounds: geo::Rect<f64>,
    /// The last row that it reaches, in the scene.
    bottom_px: f64,
}

/// The outlines that later ones may still touch.
///
/// Memory: those that reach down to the row at which the next outline may begin.
pub(super) struct Neighbours {
    to_pixels: GeoTransform,
    pixel_area: f64,
    lanes: Vec<Vec<Arc<Settled>>>,
    /// Nothing above this row is left.
    passed: f64,
}

impl Neighbours {
    /// For outlines in the CRS of a raster of `width` columns.
    pub(super) fn new(transform: &GeoTransform, width: usize) -> Self {
        let g = &transform.0;
        let lanes = (width as f64 / LANE_PX).floor() as usize + 1;
        Self {
            to_pixels: transform.invert().unwrap_or(GeoTransform::PIXEL),
            pixel_area: (g[1] * g[5] - g[2] * g[4]).abs(),
            lanes: std::iter::repeat_with(Vec::new).take(lanes).collect(),
            passed: 0.0,
        }
    }

    /// Forgets the outlines that end above a row (some of them not at once).
    pub(super) fn pass(&mut self, row: f64) {
        if row < self.passed + PASS_ROWS {
            return;
        }
        self.passed = row;
        for lane in &mut self.lanes {
            lane.retain(|settled| settled.bottom_px >= row);
        }
    }

    /// What is left of a polygon that follows all those settled, and whether it lost anything; `None` where nothing is left.
    pub(super) fn settle(
        &mut self,
        polygon: geo::Polygon<f64>,
    ) -> Option<(geo::Polygon<f64>, bool)> {
        let bounds = polygon.bounding_rect()?;
        let lanes = self.lanes_of(&bounds);
        let mut left = MultiPolygon::new(vec![polygon]);
        let mut lost = false;
        let mut shape = None;
        for lane in lanes.clone() {
            for other in &self.lanes[lane] {
                if !other.bounds.intersects(&bounds) {
                    continue;
                }
                let theirs = MultiPolygon::new(vec![other.polygon.clone()]);
                let ours = shape.get_or_insert_with(|| Shape::new(&left));
                if ours.shared_area(&Shape::new(&theirs)) <= SAME_PX2 * self.pixel_area {
                    continue;
                }
                // It rounds coordinates, but nothing that is left lies outside of what was there.
                left = left.difference(&theirs).map_coords(|c| geo::Coord {
                    x: c.x.clamp(bounds.min().x, bounds.max().x),
                    y: c.y.clamp(bounds.min().y, bounds.max().y),
                });
                shape = None;
                lost = true;
            }
        }
        let largest =
            left.into_iter().max_by(|a, b| a.unsigned_area().total_cmp(&b.unsigned_area()))?;
        if lost && !(largest.unsigned_area() > self.pixel_area && largest.is_valid()) {
            return None;
        }
        let bounds = largest.bounding_rect()?;
        let corners = self.corners(&bounds);
        let bottom_px = corners.into_iter().map(|(_, row)| row).fold(f64::NEG_INFINITY, f64::max);
        let settled = Settled { polygon: largest.clone(), bounds, bottom_px };
        let settled = Arc::new(settled);
        for lane in lanes {
            self.lanes[lane].push(settled.clone());
        }
        Some((largest, lost))
    }

    fn corners(&self, bounds: &geo::Rect<f64>) -> [(f64, f64); 4] {
        let (a, b) = (bounds.min(), bounds.max());
        [(a.x, a.y), (b.x, a.y), (a.x, b.y), (b.x, b.y)].map(|(x, y)| self.to_pixels.apply(x, y))
    }

    fn lanes_of(&self, bounds: &geo::Rect<f64>) -> std::ops::RangeInclusive<usize> {
        let columns = self.corners(bounds).map(|(col, _)| col);
        let lane = |col: f64| ((col / LANE_PX).max(0.0) as usize).min(self.lanes.len() - 1);
        let low = columns.into_iter().fold(f64::INFINITY, f64::min);
        let high = columns.into_iter().fold(f64::NEG_INFINITY, f64::max);
        lane(low)..=lane(high)
    }
}
