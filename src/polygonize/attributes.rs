//! What a building's record says of its outline: size and direction on the ground, and a name from its place.

use std::cell::RefCell;

use geo::{Area, BoundingRect, Centroid, LinesIter};

use crate::geo::measure::AreaMeter;
use crate::geo::{Crs, Grid, Reprojection};

/// Side of the square whose ground area is measured: large against rounding, small against the Earth.
const SCALE_SQUARE_PX: f64 = 64.0;

/// Letters of an id: a cell of 0.04 m by 0.02 m at the equator.
const ID_LETTERS: usize = 12;

/// Measures of one outline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measures {
    /// Area on the ground; square pixels where the scores have no georeference.
    pub(super) area_m2: f64,
    /// Length of all rings on the ground.
    pub(super) perimeter_m: f64,
    /// Direction of the longer axis of the walls, degrees clockwise from grid north, 0..180.
    pub(super) orientation_deg: f64,
    /// See [`id_of`].
    pub(super) id: String,
}

/// Measures polygons on one grid. Costly to make; belongs to the thread that made it.
struct Meter {
    area: AreaMeter,
    to_degrees: Option<Reprojection>,
}

/// Measures a polygon in the CRS of `grid`.
///
/// The ground scale is that of the polygon's middle, geodesic; across a building it changes by less than 1e-6, and
/// one square costs far less than all vertices of an outline.
pub(super) fn measure(polygon: &geo::Polygon<f64>, grid: &Grid) -> Option<Measures> {
    thread_local! {
        static METER: RefCell<Option<(Option<Crs>, Meter)>> = const { RefCell::new(None) };
    }
    METER.with_borrow_mut(|meter| {
        let kept = meter.take().filter(|(of, _)| of == &grid.crs);
        let (of, made) = kept.unwrap_or_else(|| (grid.crs.clone(), Meter::new(grid)));
        let measures = made.measure(polygon, grid);
        *meter = Some((of, made));
        measures
    })
}

impl Meter {
    fn new(grid: &Grid) -> Self {
        let middle = (grid.width as f64 / 2.0, grid.height as f64 / 2.0);
        let (x, y) = grid.transform.apply(middle.0, middle.1);
        let to_degrees =
            grid.crs.as_ref().and_then(|crs| Reprojection::new(crs, &Crs::wgs84().ok()?).ok());
        Self { area: AreaMeter::new(grid.crs.as_ref(), x, y), to_degrees }
    }

    fn measure(&self, polygon: &geo::Polygon<f64>, grid: &Grid) -> Option<Measures> {
        let centre = polygon.bounding_rect()?.center();
        let g = &grid.transform.0;
        let half = |a: f64, b: f64| 0.5 * SCALE_SQUARE_PX * (a.abs() + b.abs());
        let (dx, dy) = (half(g[1], g[2]), half(g[4], g[5]));
        let corners = ((centre.x - dx, centre.y - dy), (centre.x + dx, centre.y + dy));
        // Along the axes of the CRS, whichever way the pixels lie.
        let unit = self.area.unit_metres(geo::Rect::new(corners.0, corners.1));
        let walls = polygon.lines_iter().map(|line| unit.of(line.dx(), line.dy()));
        let walls: Vec<(f64, f64)> = walls.collect();
        Some(Measures {
            area_m2: polygon.unsigned_area() * unit.area(),
            perimeter_m: walls.iter().map(|(x, y)| x.hypot(*y)).sum(),
            orientation_deg: orientation_deg(&walls),
            id: id_of(polygon, self.to_degrees.as_ref()),
        })
    }
}

/// The direction in which the walls, as vectors (east, north) in metres, are longest, degrees clockwise from north, 0..180.
///
/// Walls vote with their length for a cross of two directions (four times the angle makes the directions of a cross one), and of the
/// cross's arms the one with more wall along it wins.
fn orientation_deg(walls: &[(f64, f64)]) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for (east, north) in walls {
        let (length, angle) = (east.hypot(*north), 4.0 * north.atan2(*east));
        x += length * angle.cos();
        y += length * angle.sin();
    }
    let cross = y.atan2(x) / 4.0;
    let (cosine, sine) = (cross.cos(), cross.sin());
    let (mut along, mut across) = (0.0, 0.0);
    for (east, north) in walls {
        along += (east * cosine + north * sine).abs();
        across += (north * cosine - east * sine).abs();
    }
    let angle = if along >= across { cross } else { cross + std::f64::consts::FRAC_PI_2 };
    (90.0 - angle.to_degrees()).rem_euclid(180.0)
}

/// A name from the place alone, the same in every run and however a scene is cut: the geohash of the centroid; columns and rows, in
/// hundredths, where there is no way to longitude and latitude.
fn id_of(polygon: &geo::Polygon<f64>, to_degrees: Option<&Reprojection>) -> String {
    let (x, y) = polygon.centroid().map_or((0.0, 0.0), |centre| (centre.x(), centre.y()));
    match to_degrees.and_then(|way| way.point(x, y).ok()) {
        Some((longitude, latitude)) => geohash(longitude, latitude),
        None => format!("x{:.0}y{:.0}", x * 100.0, y * 100.0),
    }
}

/// Bits of longitude and latitude in turn, five a letter. A place has one longitude, however far around the Earth it is counted.
fn geohash(longitude: f64, latitude: f64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let mut ranges = [(-180.0, 180.0), (-90.0, 90.0)];
    let position = [(longitude + 180.0).rem_euclid(360.0) - 180.0, latitude];
    let mut hash = String::with_capacity(ID_LETTERS);
    let mut axis = 0;
    for _ in 0..ID_LETTERS {
        let mut letter = 0;
        for _ in 0..5 {
            let (low, high) = ranges[axis];
            let middle = f64::midpoint(low, high);
            let upper = position[axis] >= middle;
            letter = 2 * letter + usize::from(upper);
            ranges[axis] = if upper { (middle, high) } else { (low, middle) };
            axis = 1 - axis;
        }
        hash.push(char::from(LETTERS[letter]));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geohash_is_the_known_one() {
        assert_eq!(geohash(10.40744, 57.64911), "u4pruydqqvj8");
        assert_eq!(geohash(0.0, 0.0), "s00000000000");
        assert_eq!(geohash(190.25, -17.5), geohash(-169.75, -17.5));
    }

    #[test]
    fn a_perimeter_is_that_of_the_place_whatever_was_measured_before() {
        let crs = Crs::wgs84().ok();
        let perimeter = |latitude: f64| {
            let transform = crate::geo::GeoTransform([10.0, 2e-6, 0.0, latitude, 0.0, -2e-6]);
            let (width, height, crs) = (100, 500_000, crs.clone());
            let grid = Grid { width, height, transform, crs, gsd_m: None };
            // Twice as long as high, in degrees; a degree of longitude is 111,320 m times the cosine of the latitude.
            let corners = ((10.0, latitude - 1e-4), (10.0 + 2e-4, latitude));
            let house = geo::Rect::new(corners.0, corners.1).to_polygon();
            let expected = 2.0 * (22.264 * latitude.to_radians().cos() + 11.1);
            (measure(&house, &grid).unwrap().perimeter_m, expected)
        };
        for latitude in [0.1, 60.0, 61.0, 0.1] {
            let (found, expected) = perimeter(latitude);
            assert!((found / expected - 1.0).abs() < 0.006, "{latitude}: {found} {expected}");
        }
    }

    #[test]
    fn a_long_house_points_along_its_walls() {
        for deg in [0.0_f64, 17.0, 45.0, 89.0, 90.0, 133.0, 179.0] {
            let (sine, cosine) = deg.to_radians().sin_cos();
            // Twenty metres along, eight across, (east, north).
            let walls = [(20.0 * sine, 20.0 * cosine), (8.0 * cosine, -8.0 * sine)];
            let walls: Vec<_> = walls.into_iter().flat_map(|(x, y)| [(x, y), (-x, -y)]).collect();
            let found = orientation_deg(&walls);
            let off = (found - deg).rem_euclid(180.0);
            assert!(off.min(180.0 - off) < 1e-6, "{deg}: {found}");
        }
    }
}
