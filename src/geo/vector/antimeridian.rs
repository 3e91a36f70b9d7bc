//! Polygons in degrees, cut where longitude jumps from 180 to -180 (RFC 7946, section 3.1.9).

use geo::{
    BooleanOps, BoundingRect, LineString, MapCoords, MultiPolygon, Polygon, Rect, unary_union,
};

use crate::geo::grid::Grid;

/// Half of the way around the Earth, degrees.
const HALF: f64 = 180.0;
const WHOLE: f64 = 360.0;
/// Once around the equator of Web Mercator.
const WHOLE_WEB_MERCATOR_M: f64 = 40_075_016.685_578_49;
/// A cut's own vertices miss the meridian by up to this share of the polygon's extent: the overlay counts in
/// whole fractions of that, some 2^-30.
const ROUNDING: f64 = 1e-8;

/// The same ground with every longitude in -180..=180 and no edge that runs the long way around the
/// Earth; `None` where the polygon is like that already.
///
/// Vertices of an edge are taken to be on the nearer side of each other: no building spans half
/// of the Earth.
pub fn cut(polygon: &Polygon<f64>) -> Option<MultiPolygon<f64>> {
    let within = |ring: &LineString<f64>| {
        ring.0.iter().all(|c| c.x.abs() <= HALF)
            && ring.0.windows(2).all(|edge| (edge[1].x - edge[0].x).abs() <= HALF)
    };
    if within(polygon.exterior()) {
        return None;
    }
    let exterior = unrolled(polygon.exterior(), polygon.exterior().0.first()?.x);
    let bounds = exterior.bounding_rect()?;
    let middle = bounds.center().x;
    let holes = polygon.interiors().iter().map(|ring| unrolled(ring, middle)).collect();
    let whole = Polygon::new(exterior, holes);
    let first = ((bounds.min().x + HALF) / WHOLE).floor() as i32;
    let last = ((bounds.max().x - HALF) / WHOLE).ceil() as i32;
    let rounding = ROUNDING * bounds.width().max(bounds.height());
    let mut parts = Vec::new();
    for turn in first..=last {
        let shift = f64::from(turn) * WHOLE;
        // No larger than needed: the overlay counts in fractions of the whole extent.
        let (min, max) = (bounds.min(), bounds.max());
        let world = Rect::new(
            (min.x.max(shift - HALF), min.y - bounds.height()),
            (max.x.min(shift + HALF), max.y + bounds.height()),
        )
        .to_polygon();
        for part in whole.intersection(&world) {
            parts.push(part.map_coords(|c| geo::Coord {
                x: on_meridian(c.x - shift, rounding),
                y: c.y.clamp(bounds.min().y, bounds.max().y),
            }));
        }
    }
    Some(MultiPolygon(parts))
}

/// Polygons in degrees as [`cut`] leaves them.
pub fn cut_all(polygons: MultiPolygon<f64>) -> MultiPolygon<f64> {
    let parts = polygons.into_iter().flat_map(|polygon| match cut(&polygon) {
        Some(parts) => parts.0,
        None => vec![polygon],
    });
    parts.collect()
}

/// The coordinate at the nearest whole number of turns to `near`.
fn turned(x: f64, near: f64, whole: f64) -> f64 {
    x - ((x - near) / whole).round() * whole
}

/// Where a raster counts on beyond the antimeridian: what others write on the other side of the Earth lies beside it.
#[derive(Clone, Copy, Debug)]
pub struct Beyond {
    /// Of the raster.
    middle: f64,
    /// Once around the Earth, in the units of its CRS.
    whole: f64,
}

impl Beyond {
    /// For a raster in degrees or Web Mercator that reaches beyond the end of the world; `None` for all others.
    pub fn of(grid: &Grid) -> Option<Self> {
        let crs = grid.crs.as_ref()?;
        let whole = match crs.authority() {
            _ if crs.is_geographic() => WHOLE,
            Some(("EPSG", "3857")) => WHOLE_WEB_MERCATOR_M,
            _ => return None,
        };
        Self::within(grid.bounds(), whole)
    }

    /// For polygons in degrees, cut at the antimeridian, that stand on both of its sides.
    pub fn of_polygons<'a>(
        polygons: impl IntoIterator<Item = &'a MultiPolygon<f64>>,
    ) -> Option<Self> {
        let boxes = polygons.into_iter().filter_map(BoundingRect::bounding_rect);
        let (west, east) = boxes.fold((f64::INFINITY, f64::NEG_INFINITY), |(west, east), b| {
            (west.min(b.min().x), east.max(b.max().x))
        });
        (east - west > HALF).then_some(Self { middle: HALF, whole: WHOLE })
    }

    fn within([west, _, east, _]: [f64; 4], whole: f64) -> Option<Self> {
        let beyond = west < -whole / 2.0 || east > whole / 2.0;
        beyond.then(|| Self { middle: f64::midpoint(west, east), whole })
    }

    /// A place as the raster counts it.
    pub fn x(&self, x: f64) -> f64 {
        turned(x, self.middle, self.whole)
    }

    /// Polygons as the raster counts; parts that lie side by side again are one.
    pub fn polygons(&self, polygons: MultiPolygon<f64>) -> MultiPolygon<f64> {
        let mut moved = false;
        let parts = polygons.into_iter().map(|polygon| {
            let centre = polygon.bounding_rect().map_or(self.middle, |bounds| bounds.center().x);
            let shift = self.x(centre) - centre;
            if shift == 0.0 {
                return polygon;
            }
            moved = true;
            polygon.map_coords(|c| geo::Coord { x: c.x + shift, y: c.y })
        });
        let parts: Vec<_> = parts.collect();
        if moved && parts.len() > 1 { unary_union(&parts) } else { MultiPolygon(parts) }
    }
}

/// The ring without jumps, its first vertex within half a turn of `near`.
fn unrolled(ring: &LineString<f64>, near: f64) -> LineString<f64> {
    let mut before = near;
    ring.0
        .iter()
        .map(|c| {
            before = turned(c.x, before, WHOLE);
            geo::Coord { x: before, y: c.y }
        })
        .collect()
}

fn on_meridian(x: f64, rounding: f64) -> f64 {
    if (x.abs() - HALF).abs() < rounding { HALF.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use geo::{Area, Validation, polygon};
    use proptest::prelude::*;

    use super::*;

    fn longitudes(polygon: &Polygon<f64>) -> (f64, f64) {
        let bounds = polygon.bounding_rect().unwrap();
        (bounds.min().x, bounds.max().x)
    }

    #[test]
    fn what_does_not_cross_is_left_alone() {
        let square = polygon![(x: 179.0, y: 0.0), (x: 180.0, y: 0.0), (x: 180.0, y: 1.0)];
        assert!(cut(&square).is_none());
    }

    #[test]
    fn a_courtyard_house_across_the_line_becomes_two_halves() {
        let house = polygon![
            exterior: [(x: 179.9, y: -17.0), (x: -179.9, y: -17.0), (x: -179.9, y: -16.8), (x: 179.9, y: -16.8)],
            interiors: [[(x: -179.95, y: -16.95), (x: -179.95, y: -16.85), (x: 179.95, y: -16.85), (x: 179.95, y: -16.95)]],
        ];
        let halves = cut(&house).unwrap();
        assert_eq!(halves.0.len(), 2);
        assert!(halves.is_valid());
        assert!((halves.unsigned_area() - (0.2 * 0.2 - 0.1 * 0.1)).abs() < 1e-9);
        let ((west, line), (other_line, east)) =
            (longitudes(&halves.0[0]), longitudes(&halves.0[1]));
        assert!((west - 179.9).abs() < 1e-9 && (east + 179.9).abs() < 1e-9, "{west} {east}");
        assert_eq!((line, other_line), (180.0, -180.0), "both reach the line");
    }

    #[test]
    fn longitudes_beyond_180_come_back_to_the_other_side() {
        let beyond = polygon![(x: 180.5, y: 0.0), (x: 181.0, y: 0.0), (x: 181.0, y: 1.0)];
        let back = cut(&beyond).unwrap();
        assert_eq!(back.0.len(), 1);
        let (west, east) = longitudes(&back.0[0]);
        assert!((west + 179.5).abs() < 1e-9 && (east + 179.0).abs() < 1e-9, "{west} {east}");
        let across = polygon![(x: 179.5, y: 0.0), (x: 180.5, y: 0.0), (x: 180.5, y: 1.0)];
        assert_eq!(cut(&across).unwrap().0.len(), 2);
        let west = polygon![(x: -180.5, y: 0.0), (x: -179.5, y: 0.0), (x: -179.5, y: 1.0)];
        let parts = cut(&west).unwrap();
        assert_eq!(longitudes(&parts.0[0]).1, 180.0);
        assert_eq!(longitudes(&parts.0[1]).0, -180.0);
    }

    #[test]
    fn halves_on_both_sides_are_one_house_beside_a_raster_that_counts_on() {
        let house = polygon![(x: 179.9, y: 0.0), (x: 180.2, y: 0.0), (x: 180.2, y: 0.1), (x: 179.9, y: 0.1)];
        let halves = cut(&house).unwrap();
        assert_eq!(halves.0.len(), 2);
        for middle in [180.0, 181.0, -180.0, 540.0] {
            let whole = Beyond { middle, whole: WHOLE }.polygons(halves.clone());
            assert_eq!(whole.0.len(), 1, "{middle}");
            let (west, east) = longitudes(&whole.0[0]);
            let from = turned(179.9, middle, WHOLE);
            assert!(
                (west - from).abs() < 1e-8 && (east - from - 0.3).abs() < 1e-8,
                "{west} {east}"
            );
        }
        assert_eq!(Beyond { middle: 0.0, whole: WHOLE }.polygons(halves.clone()), halves);
    }

    proptest! {
        #[test]
        fn the_ground_stays_the_same_and_no_part_reaches_across(
            radii in proptest::collection::vec(0.5..2f64, 3..16), centre in -3.0..3f64, hole in any::<bool>(),
        ) {
            let ring = |share: f64| -> LineString<f64> {
                let corners = radii.iter().enumerate().map(|(i, radius)| {
                    let angle = std::f64::consts::TAU * i as f64 / radii.len() as f64;
                    (180.0 + centre + share * radius * angle.cos(), share * radius * angle.sin())
                });
                corners.collect()
            };
            let holes = if hole { vec![ring(0.4)] } else { Vec::new() };
            let whole = Polygon::new(ring(1.0), holes);
            // As a reprojection gives it: every longitude by itself in -180..=180.
            let wrapped = whole
                .map_coords(|c| geo::Coord { x: if c.x > HALF { c.x - WHOLE } else { c.x }, y: c.y });
            let parts = cut(&wrapped).unwrap_or_else(|| MultiPolygon(vec![wrapped]));
            prop_assert!((parts.unsigned_area() - whole.unsigned_area()).abs() < 1e-6);
            for part in &parts {
                let (west, east) = longitudes(part);
                prop_assert!(west >= -HALF && east <= HALF && east - west < 10.0);
            }
        }
    }
}
