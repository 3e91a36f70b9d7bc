//! Where buildings are judged: inside the area of interest and the scene, on valid pixels.

use std::borrow::Cow;

use geo::{Area, BooleanOps, InteriorPoint, LineString, MultiPolygon, Polygon, unary_union};
use rayon::prelude::*;

use crate::geo::Grid;
use crate::geo::overlap::Shape;

/// A building counts where at least this share of its area lies inside the region.
const LEAST_SHARE_INSIDE: f64 = 0.5;

/// The region that is judged, in the coordinates of the buildings.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// `None`: everywhere.
    area: Option<(MultiPolygon<f64>, Shape)>,
}

/// Buildings of one side, cut to the region.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// What lies inside of each building (empty where nothing does), as given otherwise.
    pub shapes: Vec<Shape>,
    /// Whether the building counts.
    pub counts: Vec<bool>,
}

impl Region {
    /// Inside `aoi` and inside the extent of `grid`, where given.
    pub(super) fn new(aoi: Option<&[MultiPolygon<f64>]>, grid: Option<&Grid>) -> Self {
        let aoi = aoi.map(|shapes| unary_union(shapes.iter().flatten()));
        let extent = grid.map(|grid| {
            let ring = LineString::from(grid.corners().to_vec());
            MultiPolygon(vec![Polygon::new(ring, vec![])])
        });
        let area = match (aoi, extent) {
            (Some(aoi), Some(extent)) => Some(aoi.intersection(&extent)),
            (one, other) => one.or(other),
        };
        Self {
            area: area.map(|area| {
                let shape = Shape::new(&area);
                (area, shape)
            }),
        }
    }

    /// Bounds `[min x, min y, max x, max y]`; `None` where the region has none.
    pub(super) fn bounds(&self) -> Option<[f64; 4]> {
        self.area.as_ref().map(|(_, shape)| shape.bounds())
    }

    /// Cuts buildings at the region's edge. Those that lie mostly outside do not count, but stay, so
    /// that a building on the other side can match what is left of them.
    pub(super) fn judge(&self, buildings: &[MultiPolygon<f64>]) -> Judged {
        let (shapes, counts) = buildings.par_iter().map(|building| self.cut(building)).unzip();
        Judged { shapes, counts }
    }

    fn cut(&self, building: &MultiPolygon<f64>) -> (Shape, bool) {
        let inside = self.inside(building);
        let counts = match &inside {
            Cow::Borrowed(_) => true,
            Cow::Owned(part) => {
                part.unsigned_area() >= building.unsigned_area() * LEAST_SHARE_INSIDE
            }
        };
        (Shape::new(&inside), counts)
    }

    /// What lies inside of a building: nothing, a part of it, or itself.
    pub(super) fn inside<'a>(&self, building: &'a MultiPolygon<f64>) -> Cow<'a, MultiPolygon<f64>> {
        let Some((area, region)) = &self.area else { return Cow::Borrowed(building) };
        let whole = Shape::new(building);
        let inside = region.shared_area(&whole);
        // Rounding: a building wholly inside keeps its own outline.
        if inside >= whole.area() * (1.0 - 1e-9) {
            Cow::Borrowed(building)
        } else if inside <= whole.area() * 1e-9 {
            Cow::Owned(MultiPolygon(Vec::new()))
        } else {
            Cow::Owned(building.intersection(area))
        }
    }
}

/// A pixel inside each building, as (row, column, index of the building), ascending; buildings whose
/// point lies off the grid are left out. It stands for the building where validity is asked for.
pub(super) fn points_inside(
    buildings: &[MultiPolygon<f64>],
    grid: &Grid,
) -> Vec<(usize, usize, usize)> {
    let Some(to_pixels) = grid.transform.invert() else { return Vec::new() };
    let mut points: Vec<_> = buildings
        .iter()
        .enumerate()
        .filter(|(_, building)| building.unsigned_area() > 0.0)
        .filter_map(|(index, building)| {
            let point = building.interior_point()?;
            let (col, row) = to_pixels.apply(point.x(), point.y());
            let on_grid =
                (0.0..grid.width as f64).contains(&col) && (0.0..grid.height as f64).contains(&row);
            on_grid.then_some((row as usize, col as usize, index))
        })
        .collect();
    points.sort_unstable();
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::Rect;

    fn rect(x: f64, y: f64, w: f64, h: f64) -> MultiPolygon<f64> {
        Rect::new((x, y), (x + w, y + h)).to_polygon().into()
    }

    #[test]
    fn a_building_counts_when_half_of_it_lies_inside_and_is_cut_at_the_edge() {
        // Two overlapping parts: their union is the region.
        let aoi = [rect(0.0, 0.0, 6.0, 10.0), rect(4.0, 0.0, 6.0, 10.0)];
        let region = Region::new(Some(&aoi), None);
        let town = [
            rect(4.5, 1.0, 1.0, 1.0),
            rect(9.0, 1.0, 2.0, 1.0),
            rect(9.5, 4.0, 2.0, 1.0),
            rect(20.0, 4.0, 2.0, 1.0),
        ];
        let judged = region.judge(&town);
        assert_eq!(judged.counts, [true, true, false, false]);
        let areas: Vec<f64> = judged.shapes.iter().map(Shape::area).collect();
        for (found, expected) in areas.iter().zip([1.0, 1.0, 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{areas:?}");
        }
    }

    #[test]
    fn without_a_region_every_building_counts() {
        let judged = Region::new(None, None).judge(&[rect(1e6, 1e6, 1.0, 1.0)]);
        assert_eq!(judged.counts, [true]);
    }
}
