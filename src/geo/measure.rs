//! Metres and square metres on the ground, whatever the CRS.

use geo::{Area, GeodesicArea, MapCoords};

use super::crs::{Crs, Reprojection};

/// Areas of polygons given in one CRS. Belongs to the thread that made it.
pub struct AreaMeter {
    to_degrees: Option<Reprojection>,
    unit_m: (f64, f64),
}

impl AreaMeter {
    /// For polygons in `crs` near `(x, y)`; without a CRS, a unit is taken as a metre.
    pub fn new(crs: Option<&Crs>, x: f64, y: f64) -> Self {
        let Some(crs) = crs else { return Self { to_degrees: None, unit_m: (1.0, 1.0) } };
        let unit_m = crs.metres_per_unit(x, y).unwrap_or((1.0, 1.0));
        let to_degrees = Crs::wgs84().ok().and_then(|wgs| Reprojection::new(crs, &wgs).ok());
        Self { to_degrees, unit_m }
    }

    /// Area in m2 on the ellipsoid; planar, with the scale of the point given to
    /// [`AreaMeter::new`], where there is no way to longitude and latitude.
    pub fn area_m2(&self, polygon: &geo::Polygon<f64>) -> f64 {
        let geodesic = self.to_degrees.as_ref().and_then(|way| {
            let area = way.polygon(polygon).ok()?.geodesic_area_signed().abs();
            area.is_finite().then_some(area)
        });
        geodesic.unwrap_or_else(|| {
            let (x, y) = self.unit_m;
            polygon.map_coords(|c| geo::Coord { x: c.x * x, y: c.y * y }).unsigned_area()
        })
    }
}

/// What a unit along x and one along y of a CRS are on the ground at a place: metres along the former, and metres along and across it for
/// the latter (the axes of most projections are at right angles there, those of some are not).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitMetres {
    /// A unit along x.
    pub x: f64,
    /// A unit along y.
    pub y: (f64, f64),
}

impl UnitMetres {
    /// A way in units, in metres.
    pub fn of(&self, dx: f64, dy: f64) -> (f64, f64) {
        (self.x * dx + self.y.0 * dy, self.y.1 * dy)
    }

    /// Square metres of a square unit.
    pub fn area(&self) -> f64 {
        self.x * self.y.1
    }
}

impl AreaMeter {
    /// Over a rectangle of some metres; areas are those of [`AreaMeter::area_m2`].
    pub fn unit_metres(&self, rect: geo::Rect<f64>) -> UnitMetres {
        let (min, max) = (rect.min(), rect.max());
        let corners = [(min.x, min.y), (max.x, min.y), (max.x, max.y), (min.x, max.y)];
        let in_degrees = self.to_degrees.as_ref().and_then(|way| {
            let [a, b, c, d] = corners.map(|(x, y)| way.point(x, y));
            Some([a.ok()?, b.ok()?, c.ok()?, d.ok()?])
        });
        let of_place = in_degrees.and_then(|[a, b, c, d]| {
            let square = geo::Polygon::new([a, b, c, d].into_iter().collect(), Vec::new());
            let area = square.geodesic_area_signed().abs() / (rect.width() * rect.height());
            let mean = |p: (f64, f64), q: (f64, f64), length: f64| {
                ((p.0 + q.0) / (2.0 * length), (p.1 + q.1) / (2.0 * length))
            };
            let along_x = mean(short_m(a, b), short_m(d, c), rect.width());
            let along_y = mean(short_m(a, d), short_m(b, c), rect.height());
            let x = along_x.0.hypot(along_x.1);
            let along = (along_x.0 * along_y.0 + along_x.1 * along_y.1) / x;
            let across = (along_x.0 * along_y.1 - along_x.1 * along_y.0).abs() / x;
            // The area is known better than the lengths.
            let factor = (area / (x * across)).sqrt();
            let unit = UnitMetres { x: x * factor, y: (along * factor, across * factor) };
            let good = |metres: f64| metres.is_finite() && metres > 0.0;
            (good(unit.x) && good(unit.y.1) && along.is_finite()).then_some(unit)
        });
        of_place.unwrap_or(UnitMetres { x: self.unit_m.0, y: (0.0, self.unit_m.1) })
    }
}

/// WGS 84: half the larger axis, metres, and the square of the eccentricity.
const SEMI_MAJOR_M: f64 = 6_378_137.0;
const ECCENTRICITY_2: f64 = 0.006_694_379_990_14;

/// Metres to the east and north from one longitude and latitude to another some metres away.
fn short_m(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let latitude = f64::midpoint(a.1, b.1).to_radians();
    let w = 1.0 - ECCENTRICITY_2 * latitude.sin().powi(2);
    let turn = b.0 - a.0;
    let turn = turn - (turn / 360.0).round() * 360.0;
    let east_m = SEMI_MAJOR_M / w.sqrt() * latitude.cos() * turn.to_radians();
    let north_m = SEMI_MAJOR_M * (1.0 - ECCENTRICITY_2) / (w * w.sqrt()) * (b.1 - a.1).to_radians();
    (east_m, north_m)
}

/// Ground metres per unit of a CRS, place by place. Belongs to the thread that made it.
pub struct LocalScale {
    crs: Option<Crs>,
    /// Where it was measured last, and what it was there.
    last: Option<((f64, f64), (f64, f64))>,
}

/// Degrees within which a scale is taken as the same: it differs by less than a thousandth there.
const SAME_SCALE_DEGREES: f64 = 0.02;
/// The same in the units of projected coordinates.
const SAME_SCALE_UNITS: f64 = 2000.0;

impl LocalScale {
    /// For coordinates in `crs`; without one, a unit is taken as a metre.
    pub fn new(crs: Option<&Crs>) -> Self {
        Self { crs: crs.cloned(), last: None }
    }

    /// Metres per unit along (x, y) near a position.
    pub fn at(&mut self, x: f64, y: f64) -> (f64, f64) {
        let Some(crs) = &self.crs else { return (1.0, 1.0) };
        let same = if crs.is_geographic() { SAME_SCALE_DEGREES } else { SAME_SCALE_UNITS };
        if let Some(((last_x, last_y), scale)) = self.last
            && (x - last_x).abs() < same
            && (y - last_y).abs() < same
        {
            return scale;
        }
        let scale = crs.metres_per_unit(x, y).unwrap_or((1.0, 1.0));
        self.last = Some(((x, y), scale));
        scale
    }
}

/// The area of one polygon, m2. For many, keep an [`AreaMeter`].
pub fn area_m2(polygon: &geo::Polygon<f64>, crs: Option<&Crs>) -> f64 {
    let (x, y) = polygon.exterior().0.first().map_or((0.0, 0.0), |c| (c.x, c.y));
    AreaMeter::new(crs, x, y).area_m2(polygon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::polygon;

    #[test]
    fn the_scale_is_that_of_the_place() {
        let mut scale = LocalScale::new(Some(&Crs::from_epsg(3857).unwrap()));
        assert!((scale.at(0.0, 0.0).0 - 1.0).abs() < 1e-3);
        let (x, _) = scale.at(0.0, 8_399_738.0); // 60 N
        assert!((x - 0.5).abs() < 2e-3, "{x}");
        assert_eq!(LocalScale::new(None).at(5.0, 5.0), (1.0, 1.0));
    }

    #[test]
    fn metres_along_the_axes_are_geodesic() {
        use geo::{Distance, Geodesic, Point};
        for latitude in [-80.0, -16.5, 0.1, 45.0, 71.0] {
            let rect = geo::Rect::new((179.9999, latitude), (180.0003, latitude + 2e-4));
            let meter = AreaMeter::new(Crs::wgs84().ok().as_ref(), 0.0, 0.0);
            let UnitMetres { x, y: (along, y) } = meter.unit_metres(rect);
            assert!(along.abs() < 1e-3, "{along}");
            let at = |x: f64, y: f64| Point::new(x, y);
            let (low, high) = (at(179.9999, latitude), at(180.0003, latitude));
            let east_m = Geodesic.distance(low, high) / 4e-4;
            let north_m = Geodesic.distance(low, at(179.9999, latitude + 2e-4)) / 2e-4;
            assert!((x / east_m - 1.0).abs() < 1e-4, "{latitude}: {x} {east_m}");
            assert!((y / north_m - 1.0).abs() < 1e-4, "{latitude}: {y} {north_m}");
        }
    }

    #[test]
    fn ways_are_as_long_where_axes_are_not_at_right_angles() {
        use geo::{Distance, Geodesic, Point};
        // Lambert's azimuthal projection, far from its centre.
        let crs = Crs::from_epsg(3035).unwrap();
        let to = Reprojection::new(&Crs::wgs84().unwrap(), &crs).unwrap();
        let back = Reprojection::new(&crs, &Crs::wgs84().unwrap()).unwrap();
        let (x, y) = to.point(60.0, 20.0).unwrap();
        let rect = geo::Rect::new((x - 20.0, y - 20.0), (x + 20.0, y + 20.0));
        let unit = AreaMeter::new(Some(&crs), x, y).unit_metres(rect);
        for (dx, dy) in [(30.0, 0.0), (0.0, 30.0), (20.0, 20.0), (20.0, -20.0)] {
            let at = |x, y| back.point(x, y).map(|(x, y)| Point::new(x, y)).unwrap();
            let expected = Geodesic.distance(at(x, y), at(x + dx, y + dy));
            let (a, b) = unit.of(dx, dy);
            assert!((a.hypot(b) / expected - 1.0).abs() < 1e-3, "{dx} {dy}: {expected}");
        }
    }

    #[test]
    fn an_area_is_the_same_in_every_crs() {
        let utm = Crs::from_epsg(32645).unwrap();
        let square = polygon![
            (x: 500_000.0, y: 3_000_000.0), (x: 500_100.0, y: 3_000_000.0),
            (x: 500_100.0, y: 3_000_100.0), (x: 500_000.0, y: 3_000_100.0),
        ];
        let expected = 10_000.0 / (0.9996 * 0.9996);
        assert!((area_m2(&square, Some(&utm)) - expected).abs() < 1.0);
        for code in [4326, 3857] {
            let other = Crs::from_epsg(code).unwrap();
            let way = Reprojection::new(&utm, &other).unwrap();
            let moved = way.polygon(&square).unwrap();
            assert!((area_m2(&moved, Some(&other)) - expected).abs() < 1.0);
        }
    }
}
