//! Polygons into pixels by the pixel-centre rule: a pixel belongs to a polygon that covers its centre.

use std::ops::Range;

use geo::MultiPolygon;

use crate::geo::{GeoTransform, Window};
use crate::truth::{BUILDING, IGNORE};

/// A polygon in pixel coordinates: edges that cross a row's centre line.
#[derive(Clone, Debug)]
pub(super) struct PixelShape {
    /// x0, y0, x1, y1 with y0 < y1.
    edges: Vec<[f64; 4]>,
    /// Rows whose centre line it may cross; may reach outside of any raster.
    rows: (f64, f64),
}

impl PixelShape {
    /// `to_pixels` maps the polygon's coordinates to columns and rows.
    pub(super) fn new(polygons: &MultiPolygon<f64>, to_pixels: &GeoTransform) -> Self {
        let mut edges = Vec::new();
        let mut rows = (f64::INFINITY, f64::NEG_INFINITY);
        let rings =
            polygons.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
        for line in rings.flat_map(geo::LineString::lines) {
            let (x0, y0) = to_pixels.apply(line.start.x, line.start.y);
            let (x1, y1) = to_pixels.apply(line.end.x, line.end.y);
            if y0 != y1 {
                edges.push(if y0 < y1 { [x0, y0, x1, y1] } else { [x1, y1, x0, y0] });
                rows = (rows.0.min(y0.min(y1)), rows.1.max(y0.max(y1)));
            }
        }
        Self { edges, rows }
    }

    /// Calls `visit(row, columns)` for each run of pixels whose centres lie inside, in rows of
    /// `rows` and columns 0..`width`.
    pub(super) fn spans(
        &self,
        width: usize,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, Range<usize>),
    ) {
        if self.rows.0 >= rows.end as f64 || self.rows.1 <= rows.start as f64 {
            return;
        }
        // Where edges cross centre lines. An edge owns its upper end, so a vertex on a centre line
        // counts once where the outline passes through it and twice or never where it turns back.
        let mut crossings: Vec<(usize, f64)> = Vec::new();
        for &[x0, y0, x1, y1] in &self.edges {
            for row in centres(y0, y1, rows.clone()) {
                let y = row as f64 + 0.5;
                crossings.push((row, x0 + (x1 - x0) * ((y - y0) / (y1 - y0))));
            }
        }
        crossings.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in crossings.chunks_exact(2) {
            let columns = centres(pair[0].1, pair[1].1, 0..width);
            if !columns.is_empty() {
                visit(pair[0].0, columns);
            }
        }
    }
}

/// Marks pixels inside `shapes` as building in the labels of `window`, except where they are ignored.
/// Predicted polygons and the truth that they are compared with go through the same rule, down to edges
/// that pass exactly through a centre; otherwise truth would not equal itself.
pub(super) fn burn(labels: &mut [u8], shapes: &[PixelShape], window: Window) {
    for shape in shapes {
        shape.spans(window.width, window.row..window.bottom(), |row, columns| {
            for label in &mut labels[(row - window.row) * window.width..][columns] {
                if *label != IGNORE {
                    *label = BUILDING;
                }
            }
        });
    }
}

/// The pixels of `within` whose centre lies in `from..to`.
fn centres(from: f64, to: f64, within: Range<usize>) -> Range<usize> {
    let (low, high) = (within.start as f64, within.end as f64);
    let start = (from - 0.5).ceil().clamp(low, high) as usize;
    let end = (to - 0.5).ceil().clamp(low, high) as usize;
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::{Contains, Rotate, polygon};
    use proptest::prelude::*;

    fn mask(shape: &PixelShape, width: usize, rows: Range<usize>) -> Vec<bool> {
        let first = rows.start;
        let mut mask = vec![false; width * rows.len()];
        shape.spans(width, rows, |row, columns| {
            mask[(row - first) * width..][columns].fill(true);
        });
        mask
    }

    proptest! {
        #[test]
        fn a_pixel_is_inside_where_its_centre_is(
            x in -5.0..25f64, y in -5.0..25f64, w in 0.5..20f64, h in 0.5..20f64, degrees in 0.0..360f64,
        ) {
            let polygon = polygon![(x: x, y: y), (x: x + w, y: y), (x: x + w, y: y + h), (x: x, y: y + h)]
                .rotate_around_centroid(degrees);
            let shape = PixelShape::new(&polygon.clone().into(), &GeoTransform::PIXEL);
            let found = mask(&shape, 20, 0..20);
            for (i, found) in found.iter().enumerate() {
                let centre = geo::Point::new((i % 20) as f64 + 0.5, (i / 20) as f64 + 0.5);
                prop_assert_eq!(*found, polygon.contains(&centre));
            }
            // Strips give what the whole gives.
            let strips: Vec<bool> =
                [0..7, 7..8, 8..20].into_iter().flat_map(|rows| mask(&shape, 20, rows)).collect();
            prop_assert_eq!(strips, found);
        }
    }

    #[test]
    fn whole_pixels_come_back_as_they_were_and_holes_stay_open() {
        let mut ring: MultiPolygon<f64> =
            geo::Rect::new((1.0, 1.0), (6.0, 6.0)).to_polygon().into();
        let hole = geo::Rect::new((2.0, 2.0), (4.0, 4.0)).to_polygon();
        ring.0[0].interiors_push(hole.exterior().clone());
        // A grid with pixels of 2 units, south up.
        let to_pixels = GeoTransform([10.0, 2.0, 0.0, 30.0, 0.0, 2.0]).invert().unwrap();
        let world = geo::MapCoords::map_coords(&ring, |c| geo::Coord {
            x: 10.0 + 2.0 * c.x,
            y: 30.0 + 2.0 * c.y,
        });
        let found = mask(&PixelShape::new(&world, &to_pixels), 8, 0..8);
        assert_eq!(found.iter().filter(|&&f| f).count(), 25 - 4);
    }
}
