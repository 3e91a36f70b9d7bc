//! Coordinate reference systems and the way from one to another.
//!
//! Coordinates are always (easting, northing) or (longitude, latitude), whatever axis order the
//! authority prescribes.

use crate::error::{Error, Result};
use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};

/// A coordinate reference system. Holds its text, so it is cheap to send between threads.
#[derive(Clone, Debug)]
pub struct Crs {
    wkt: String,
    label: String,
    geographic: bool,
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl Crs {
    /// By EPSG code.
    ///
    /// # Errors
    /// PROJ's database does not know the code.
    pub fn from_epsg(code: u32) -> Result<Self> {
        super::init();
        let reference = SpatialRef::from_epsg(code).map_err(|source| {
            Error::config(
                "epsg",
                format!("EPSG:{code} is unknown to PROJ ({})", super::dataset::reason(&source)),
            )
        })?;
        Self::from_spatial_ref(&reference)
    }

    /// Longitude and latitude on WGS 84 (EPSG:4326).
    ///
    /// # Errors
    /// PROJ has no database; `geoseg doctor` says where it looks.
    pub fn wgs84() -> Result<Self> {
        Self::from_epsg(4326)
    }

    /// By well-known text.
    ///
    /// # Errors
    /// The text is none.
    pub fn from_wkt(wkt: &str) -> Result<Self> {
        super::init();
        let reference = SpatialRef::from_wkt(wkt).map_err(Error::gdal(wkt))?;
        Self::from_spatial_ref(&reference)
    }

    pub(super) fn from_spatial_ref(reference: &SpatialRef) -> Result<Self> {
        let wkt = reference.to_wkt().map_err(Error::gdal("CRS"))?;
        let label = reference
            .authority()
            .ok()
            .or_else(|| reference.name())
            .unwrap_or_else(|| "unnamed CRS".to_owned());
        Ok(Self { geographic: reference.is_geographic(), label, wkt })
    }

    /// By PROJJSON; `None` for local ones, which lie nowhere.
    ///
    /// # Errors
    /// PROJ cannot read it.
    pub fn from_projjson(json: &serde_json::Value) -> Result<Option<Self>> {
        super::init();
        let reference =
            SpatialRef::from_definition(&json.to_string()).map_err(Error::gdal("PROJJSON"))?;
        // The same coordinates as EPSG:4326, which are never given in that order here.
        if reference.authority().is_ok_and(|authority| authority == "OGC:CRS84") {
            return Self::wgs84().map(Some);
        }
        Ok(Self::on_earth(&reference))
    }

    /// A file's CRS; `None` for local ones, which lie nowhere, and for GDAL's name of none.
    pub(super) fn on_earth(reference: &SpatialRef) -> Option<Self> {
        // So GeoPackages say that they have none.
        let undefined = reference.name().is_some_and(|name| name.starts_with("Undefined "));
        if reference.is_local() || undefined {
            return None;
        }
        Self::from_spatial_ref(reference).ok()
    }

    pub(super) fn spatial_ref(&self) -> Result<SpatialRef> {
        let mut reference = SpatialRef::from_wkt(&self.wkt).map_err(Error::gdal(&self.label))?;
        reference.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        Ok(reference)
    }

    /// Well-known text.
    pub fn wkt(&self) -> &str {
        &self.wkt
    }

    /// As PROJJSON, for formats that keep it so.
    ///
    /// # Errors
    /// PROJ cannot write it.
    pub fn projjson(&self) -> Result<serde_json::Value> {
        let text = self.spatial_ref()?.to_projjson().map_err(Error::gdal(&self.label))?;
        serde_json::from_str(&text).map_err(|problem| Error::io(&self.label)(problem.into()))
    }

    /// What to call it: `EPSG:32736`, or its name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The register that knows it, and what it is called there (`EPSG`, `32736`); `None` where none does.
    pub fn authority(&self) -> Option<(&str, &str)> {
        let (organization, code) = self.label.split_once(':')?;
        let is_word = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        (is_word(organization) && is_word(code)).then_some((organization, code))
    }

    /// Whether coordinates are degrees or lengths on a plane: neither from the Earth's centre, nor heights.
    pub fn is_horizontal(&self) -> bool {
        self.geographic || self.spatial_ref().is_ok_and(|reference| reference.is_projected())
    }

    /// Whether coordinates are degrees.
    pub fn is_geographic(&self) -> bool {
        self.geographic
    }

    /// Whether coordinates can be taken over as they are.
    pub fn same_as(&self, other: &Self) -> bool {
        if self.wkt == other.wkt {
            return true;
        }
        match (SpatialRef::from_wkt(&self.wkt), SpatialRef::from_wkt(&other.wkt)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
    }

    /// Ground metres per unit of the CRS along (x, y) at a point; `None` where it cannot be told.
    ///
    /// Measured on the ellipsoid: Web Mercator's metres shrink with the cosine of the latitude.
    pub fn metres_per_unit(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let reference = self.spatial_ref().ok()?;
        let step = if self.geographic { 1e-4 } else { 10.0 };
        if let Some(measured) = self.measured_on_ellipsoid(x, y, step) {
            return Some(measured);
        }
        // Not on Earth, or outside the projection's domain: what the CRS itself says of its units.
        if self.geographic {
            let metres = reference.semi_major().ok()? * reference.angular_units();
            Some((metres * (y.to_radians()).cos().abs().max(1e-6), metres))
        } else {
            let metres = reference.linear_units();
            (metres > 0.0).then_some((metres, metres))
        }
    }

    fn measured_on_ellipsoid(&self, x: f64, y: f64, step: f64) -> Option<(f64, f64)> {
        use geo::{Distance, Geodesic, Point};
        let to_degrees = Reprojection::new(self, &Self::wgs84().ok()?).ok()?;
        let at = |x, y| {
            let (lon, lat) = to_degrees.point(x, y).ok()?;
            (lon.is_finite() && lat.abs() <= 90.0).then(|| Point::new(lon, lat))
        };
        let centre = at(x, y)?;
        let along_x = Geodesic.distance(centre, at(x + step, y)?) / step;
        let along_y = Geodesic.distance(centre, at(x, y + step)?) / step;
        let sane = |metres: f64| metres.is_finite() && metres > 0.0;
        (sane(along_x) && sane(along_y)).then_some((along_x, along_y))
    }
}

/// The way from one CRS to another. Belongs to the thread that made it.
pub struct Reprojection {
    transform: Option<CoordTransform>,
    name: String,
    /// Edges of areas may be so long before they bend, in units of the first CRS: about a kilometre.
    straight: f64,
}

/// Of areas of any size: points on an edge across all of one.
const BENDS: f64 = 1000.0;

impl Reprojection {
    /// Prepares the way; equal systems cost nothing.
    ///
    /// # Errors
    /// PROJ knows no way between them.
    pub fn new(from: &Crs, to: &Crs) -> Result<Self> {
        let name = format!("{} to {}", from.label(), to.label());
        let straight = if from.is_geographic() { 0.01 } else { 1000.0 };
        if from.same_as(to) {
            return Ok(Self { transform: None, name, straight });
        }
        let transform = CoordTransform::new(&from.spatial_ref()?, &to.spatial_ref()?)
            .map_err(Error::gdal(&name))?;
        Ok(Self { transform: Some(transform), name, straight })
    }

    /// One position.
    ///
    /// # Errors
    /// It lies outside the target's domain.
    pub fn point(&self, x: f64, y: f64) -> Result<(f64, f64)> {
        let mut at = [(x, y)];
        self.points(&mut at)?;
        Ok(at[0])
    }

    /// Many positions, in place.
    ///
    /// # Errors
    /// One lies outside the target's domain.
    pub fn points(&self, points: &mut [(f64, f64)]) -> Result<()> {
        let Some(transform) = &self.transform else { return Ok(()) };
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        transform.transform_coords(&mut xs, &mut ys, &mut []).map_err(Error::gdal(&self.name))?;
        for (point, (x, y)) in points.iter_mut().zip(xs.into_iter().zip(ys)) {
            if !x.is_finite() || !y.is_finite() {
                return Err(Error::input(
                    &self.name,
                    "coordinates inside the target's area of use",
                    format!("({}, {})", point.0, point.1),
                    "check the CRS of the data",
                ));
            }
            *point = (x, y);
        }
        Ok(())
    }

    /// A polygon, vertex by vertex.
    ///
    /// # Errors
    /// A vertex lies outside the target's domain.
    pub fn polygon(&self, polygon: &geo::Polygon<f64>) -> Result<geo::Polygon<f64>> {
        use geo::CoordsIter;
        if self.transform.is_none() {
            return Ok(polygon.clone());
        }
        let mut points: Vec<(f64, f64)> = polygon.coords_iter().map(|c| (c.x, c.y)).collect();
        self.points(&mut points)?;
        // Rebuilt in the order in which the coordinates were taken: exterior, then interiors.
        let mut next = points.into_iter();
        let mut ring = |line: &geo::LineString<f64>| -> geo::LineString<f64> {
            next.by_ref().take(line.0.len()).collect()
        };
        let exterior = ring(polygon.exterior());
        Ok(geo::Polygon::new(exterior, polygon.interiors().iter().map(ring).collect()))
    }

    /// Polygons, vertex by vertex; edges so long that they bend on the way get more.
    ///
    /// # Errors
    /// A vertex lies outside the target's domain.
    pub fn multi_polygon(
        &self,
        geometry: &geo::MultiPolygon<f64>,
    ) -> Result<geo::MultiPolygon<f64>> {
        use geo::{BoundingRect, Densify, Euclidean};
        let extent = geometry.bounding_rect().map_or(0.0, |b| b.width().max(b.height()));
        if self.transform.is_none() || extent <= self.straight {
            return geometry.iter().map(|polygon| self.polygon(polygon)).collect();
        }
        let bent = Euclidean.densify(geometry, self.straight.max(extent / BENDS));
        bent.iter().map(|polygon| self.polygon(polygon)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::{CoordsIter, polygon};

    #[test]
    fn web_mercator_metres_shrink_with_latitude() {
        let crs = Crs::from_epsg(3857).unwrap();
        let (x, y) = crs.metres_per_unit(9_500_000.0, 3_200_000.0).unwrap(); // Nepal, 27.6 N
        assert!((x - 0.886).abs() < 0.003 && (y - 0.886).abs() < 0.006, "{x} {y}");
        let (x, y) =
            Crs::from_epsg(32645).unwrap().metres_per_unit(500_000.0, 3_000_000.0).unwrap();
        assert!((x - 0.9996).abs() < 1e-3 && (y - 0.9996).abs() < 1e-3);
        let (x, y) = Crs::wgs84().unwrap().metres_per_unit(10.0, 60.0).unwrap();
        assert!((x / y - 0.5).abs() < 0.01 && (y - 111_400.0).abs() < 300.0);
    }

    #[test]
    fn long_edges_bend() {
        let (wgs, utm) = (Crs::wgs84().unwrap(), Crs::from_epsg(32651).unwrap());
        let way = Reprojection::new(&wgs, &utm).unwrap();
        let area = polygon![(x: 116.0, y: 14.5), (x: 127.0, y: 14.5), (x: 127.0, y: 20.0), (x: 116.0, y: 20.0)];
        let there = way.multi_polygon(&geo::MultiPolygon(vec![area])).unwrap();
        // On the parallel, not kilometres beside it.
        let lowest = |line: geo::Line<f64>| {
            let middle = (line.start + line.end) / 2.0;
            let (x, y) = Reprojection::new(&utm, &wgs).unwrap().point(middle.x, middle.y).unwrap();
            (y < 14.51 && x > 116.5 && x < 126.5).then_some((y - 14.5).abs())
        };
        let gaps: Vec<f64> = there.0[0].exterior().lines().filter_map(lowest).collect();
        assert!(gaps.len() > 500 && gaps.iter().all(|gap| *gap < 1e-5), "{}", gaps.len());
    }

    #[test]
    fn there_and_back_keeps_rings_in_order() {
        let shape = geo::MultiPolygon(vec![polygon![
            exterior: [(x: 10.0, y: 50.0), (x: 10.008, y: 50.0), (x: 10.008, y: 50.008), (x: 10.0, y: 50.0)],
            interiors: [[(x: 10.005, y: 50.002), (x: 10.006, y: 50.002), (x: 10.006, y: 50.003), (x: 10.005, y: 50.002)]],
        ]]);
        let (wgs, utm) = (Crs::wgs84().unwrap(), Crs::from_epsg(32632).unwrap());
        let there = Reprojection::new(&wgs, &utm).unwrap().multi_polygon(&shape).unwrap();
        assert!(there.0[0].exterior().0[0].x > 500_000.0);
        let back = Reprojection::new(&utm, &wgs).unwrap().multi_polygon(&there).unwrap();
        for (a, b) in shape.coords_iter().zip(back.coords_iter()) {
            assert!((a.x - b.x).abs() < 1e-9 && (a.y - b.y).abs() < 1e-9);
        }
    }

    #[test]
    fn a_polygon_outside_the_targets_domain_is_refused() {
        let way = Reprojection::new(&Crs::wgs84().unwrap(), &Crs::from_epsg(3857).unwrap());
        let way = way.unwrap();
        let at = |y: f64| polygon![(x: 10.0, y: y), (x: 11.0, y: y), (x: 11.0, y: y + 1.0)];
        assert!(way.polygon(&at(50.0)).is_ok());
        assert!(way.polygon(&at(91.0)).is_err());
    }
}
