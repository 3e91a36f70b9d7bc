//! PoLiS: how far apart the outlines of two buildings run.
//!
//! The metric of Avbelj, Müller and Bamler (2015, "A Metric for Polygon Comparison and Building Extraction
//! Evaluation", IEEE Geoscience and Remote Sensing Letters 12(1)): the mean distance of one outline's
//! vertices from the other's boundary, and the reverse, averaged. It is symmetric, and unlike IoU it also says how well corners
//! and walls lie on large buildings. Here all rings count, those of holes as well.

use geo::{Coord, MultiPolygon};

use crate::geo::{GeoTransform, Grid};

/// Distances between the outlines of matched buildings, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutlineDistances {
    /// Pairs that were compared.
    pub pairs: u64,
    /// Sum of their PoLiS, metres.
    pub sum_m: f64,
}

impl OutlineDistances {
    /// Of one pair.
    pub fn of(distance_m: f64) -> Self {
        Self { pairs: 1, sum_m: distance_m }
    }

    /// Both sums together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { pairs: self.pairs + other.pairs, sum_m: self.sum_m + other.sum_m }
    }

    /// The mean over all pairs, metres; `None` without any.
    pub fn mean_m(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.sum_m / self.pairs as f64)
    }
}

/// Measures in a scene's metres.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruler {
    to_pixels: GeoTransform,
    /// Metres a pixel along columns and along rows; 1 where the scene has no georeference.
    gsd_m: (f64, f64),
}

impl Ruler {
    /// For outlines in the CRS of `grid`.
    pub(super) fn new(grid: &Grid) -> Self {
        Self {
            to_pixels: grid.transform.invert().unwrap_or(GeoTransform::PIXEL),
            gsd_m: grid.gsd_m.unwrap_or((1.0, 1.0)),
        }
    }

    /// PoLiS of two outlines, metres. Both must have vertices.
    pub(super) fn polis_m(&self, a: &MultiPolygon<f64>, b: &MultiPolygon<f64>) -> f64 {
        let (a, b) = (self.rings_m(a), self.rings_m(b));
        f64::midpoint(mean_distance(&a, &b), mean_distance(&b, &a))
    }

    /// Closed rings (the first vertex is repeated) in metres from the scene's upper left.
    fn rings_m(&self, polygons: &MultiPolygon<f64>) -> Vec<Vec<[f64; 2]>> {
        let metres = |c: &Coord<f64>| {
            let (col, row) = self.to_pixels.apply(c.x, c.y);
            [col * self.gsd_m.0, row * self.gsd_m.1]
        };
        let rings =
            polygons.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
        rings.map(|ring| ring.coords().map(metres).collect()).collect()
    }
}

/// Mean distance of the vertices of `from` from the boundary `to`.
fn mean_distance(from: &[Vec<[f64; 2]>], to: &[Vec<[f64; 2]>]) -> f64 {
    let vertices = || from.iter().flat_map(|ring| ring.iter().skip(1));
    let sum: f64 = vertices().map(|&vertex| distance_to(vertex, to)).sum();
    sum / vertices().count() as f64
}

fn distance_to(point: [f64; 2], rings: &[Vec<[f64; 2]>]) -> f64 {
    let edges = rings.iter().flat_map(|ring| ring.windows(2));
    let squared = edges.map(|edge| squared_distance(point, edge[0], edge[1]));
    squared.fold(f64::INFINITY, f64::min).sqrt()
}

fn squared_distance(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let (px, py) = (p[0] - a[0], p[1] - a[1]);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).powi(2) + (py - along * dy).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::{AffineOps, AffineTransform, Rect, polygon};
    use proptest::prelude::*;

    /// Pixels of 0.5 m x 0.25 m, which are 5 x 5 units of the CRS.
    fn ruler() -> Ruler {
        let transform = GeoTransform([100.0, 5.0, 0.0, 900.0, 0.0, -5.0]);
        let grid = Grid { width: 80, height: 80, transform, crs: None, gsd_m: Some((0.5, 0.25)) };
        Ruler::new(&grid)
    }

    fn rect(x: f64, y: f64, w: f64, h: f64) -> MultiPolygon<f64> {
        Rect::new((x, y), (x + w, y + h)).to_polygon().into()
    }

    fn metric() -> Ruler {
        let grid =
            Grid { width: 9, height: 9, transform: GeoTransform::PIXEL, crs: None, gsd_m: None };
        Ruler::new(&grid)
    }

    #[test]
    fn outlines_compared_by_hand() {
        let square = rect(0.0, 0.0, 10.0, 10.0);
        assert_eq!(metric().polis_m(&square, &square), 0.0);
        // Two of four corners of the wider one are 2 off; those of the square lie on its outline.
        assert_eq!(metric().polis_m(&square, &rect(0.0, 0.0, 12.0, 10.0)), 0.5);
        // From the inner square every corner is 1 from a wall, from the outer one sqrt(2) from a corner.
        let apart = metric().polis_m(&square, &rect(-1.0, -1.0, 12.0, 12.0));
        assert!((apart - f64::midpoint(1.0, 2_f64.sqrt())).abs() < 1e-12, "{apart}");
        // Of five vertices only the apex is off the square, by 3; every corner of the square is one of the house.
        let house: MultiPolygon<f64> =
            polygon![(x: 0., y: 0.), (x: 10., y: 0.), (x: 10., y: 10.), (x: 5., y: 13.), (x: 0., y: 10.)]
                .into();
        assert_eq!(metric().polis_m(&square, &house), (3.0 / 5.0) / 2.0);
    }

    #[test]
    fn a_missing_courtyard_counts() {
        let full = rect(0.0, 0.0, 10.0, 10.0);
        let mut yard = full.clone();
        yard.0[0].interiors_push(rect(4.0, 4.0, 2.0, 2.0).0[0].exterior().clone());
        // Four of eight vertices lie 4 from the nearest wall.
        assert_eq!(metric().polis_m(&full, &yard), 1.0);
    }

    #[test]
    fn distances_are_metres_along_columns_and_rows() {
        let square = rect(200.0, 700.0, 50.0, 50.0);
        let wider = ruler().polis_m(&square, &rect(200.0, 700.0, 60.0, 50.0));
        let higher = ruler().polis_m(&square, &rect(200.0, 700.0, 50.0, 60.0));
        assert!((wider - 0.25).abs() < 1e-12 && (higher - 0.125).abs() < 1e-12, "{wider} {higher}");
    }

    #[test]
    fn the_mean_is_over_all_pairs_and_absent_without_any() {
        assert_eq!(OutlineDistances::default().mean_m(), None);
        let two = OutlineDistances::of(1.0).plus(OutlineDistances::of(0.5));
        assert_eq!(two.plus(OutlineDistances::default()).mean_m(), Some(0.75));
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_a_small_shift_costs_no_more_than_its_length(
            w in 2.0..30f64, h in 2.0..30f64, angle in 0.0..360f64, dx in -1.0..1f64, dy in -1.0..1f64,
        ) {
            let turn = AffineTransform::rotate(angle, (0.0, 0.0));
            let a = rect(0.0, 0.0, w, h).affine_transform(&turn);
            let b = a.affine_transform(&AffineTransform::translate(dx, dy));
            let (there, back) = (metric().polis_m(&a, &b), metric().polis_m(&b, &a));
            prop_assert!((there - back).abs() < 1e-12);
            prop_assert!(there <= dx.hypot(dy) + 1e-12);
        }
    }
}
