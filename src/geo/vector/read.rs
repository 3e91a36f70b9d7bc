//! Footprints from any vector format, repaired and reprojected.

use std::path::PathBuf;

use geo::{Area, MakeValid, Validation, unary_union};
use serde::{Deserialize, Serialize};

use super::antimeridian::{Beyond, cut_all};
use super::features::FeatureReader;
use crate::error::Result;
use crate::geo::crs::{Crs, Reprojection};
use crate::geo::grid::Grid;

/// Where polygons come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSource {
    /// GeoParquet, or any file or connection that GDAL opens.
    pub path: PathBuf,
    /// The layer's name; the first one where absent. That of GeoParquet is the file's, without its extension.
    #[serde(default)]
    pub layer: Option<String>,
    /// An attribute filter, the WHERE part of an SQL query.
    #[serde(default)]
    pub filter: Option<String>,
}

impl VectorSource {
    /// The first layer of a file, unfiltered.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), layer: None, filter: None }
    }
}

/// Polygons read from a vector source.
#[derive(Clone, Debug, Default)]
pub struct Footprints {
    /// One entry a feature, in file order; valid.
    pub polygons: Vec<geo::MultiPolygon<f64>>,
    /// The coordinates' CRS; `None` where neither the file nor the caller names one.
    pub crs: Option<Crs>,
    /// Features whose rings crossed themselves or each other and were mended.
    pub repaired: usize,
    /// Features without an area: points, lines, empty or beyond repair.
    pub dropped: usize,
}

impl Footprints {
    /// As `grid` counts, if it goes on beyond the antimeridian.
    #[must_use]
    pub fn beside(self, grid: &Grid) -> Self {
        self.moved(Beyond::of(grid))
    }

    /// As a raster or other polygons count beyond the antimeridian.
    #[must_use]
    pub fn moved(mut self, beyond: Option<Beyond>) -> Self {
        if let Some(beyond) = beyond {
            self.polygons = self.polygons.into_iter().map(|shape| beyond.polygons(shape)).collect();
        }
        self
    }
}

/// Reads polygons, in `to`'s coordinates where given.
///
/// # Errors
/// The file, layer or filter is wrong; the file has no CRS but `to` is given; a coordinate cannot be
/// reprojected.
pub fn read_footprints(source: &VectorSource, to: Option<&Crs>) -> Result<Footprints> {
    let mut reader = FeatureReader::open(source)?.without_attributes();
    let way = reader.way_to(to)?;
    let from = reader.crs().cloned();
    let in_degrees = to.is_some_and(Crs::is_geographic);
    let mut footprints = Footprints { crs: to.cloned().or(from), ..Footprints::default() };
    reader.each(|feature| {
        let Some(shape) = feature.geometry.and_then(polygons_of) else {
            footprints.dropped += 1;
            return Ok(());
        };
        let is_valid = shape.is_valid();
        footprints.repaired += usize::from(!is_valid);
        let shape = if is_valid { with_area(shape) } else { mend(&shape) };
        let Some(shape) = shape else {
            footprints.dropped += 1;
            return Ok(());
        };
        footprints.polygons.push(brought(shape, way.as_ref(), in_degrees)?);
        Ok(())
    })?;
    Ok(footprints)
}

/// Polygons in other coordinates; in degrees, cut at the antimeridian.
///
/// # Errors
/// A coordinate cannot be reprojected.
pub fn brought(
    polygons: geo::MultiPolygon<f64>,
    way: Option<&Reprojection>,
    in_degrees: bool,
) -> Result<geo::MultiPolygon<f64>> {
    let polygons = match way {
        Some(way) => way.multi_polygon(&polygons)?,
        None => polygons,
    };
    Ok(if in_degrees { cut_all(polygons) } else { polygons })
}

/// Polygons without crossing rings; the ground that any part covers. `None` where no area is left.
pub fn mended(polygons: geo::MultiPolygon<f64>) -> Option<geo::MultiPolygon<f64>> {
    if polygons.is_valid() { with_area(polygons) } else { mend(&polygons) }
}

fn with_area(polygons: geo::MultiPolygon<f64>) -> Option<geo::MultiPolygon<f64>> {
    (polygons.unsigned_area() > 0.0).then_some(polygons)
}

fn mend(polygons: &geo::MultiPolygon<f64>) -> Option<geo::MultiPolygon<f64>> {
    let parts = polygons.iter().filter_map(|polygon| {
        if polygon.is_valid() { Some(polygon.clone().into()) } else { polygon.make_valid().ok() }
    });
    let parts: Vec<geo::Polygon<f64>> = parts.flatten().collect();
    let mut valid = geo::MultiPolygon(parts);
    if !valid.is_valid() {
        valid = unary_union(&valid);
    }
    with_area(valid)
}

/// The areal part of a geometry that is worth mending.
pub fn polygons_of(geometry: geo::Geometry<f64>) -> Option<geo::MultiPolygon<f64>> {
    let polygons = flatten(geometry);
    let finite = |polygon: &geo::Polygon<f64>| {
        use geo::CoordsIter;
        polygon.coords_iter().all(|c| c.x.is_finite() && c.y.is_finite())
    };
    let polygons: Vec<_> = polygons
        .into_iter()
        .filter(|polygon| polygon.exterior().0.len() >= 4 && finite(polygon))
        .collect();
    (!polygons.is_empty()).then_some(geo::MultiPolygon(polygons))
}

fn flatten(geometry: geo::Geometry<f64>) -> Vec<geo::Polygon<f64>> {
    match geometry {
        geo::Geometry::Polygon(polygon) => vec![polygon],
        geo::Geometry::MultiPolygon(polygons) => polygons.0,
        geo::Geometry::GeometryCollection(parts) => parts.0.into_iter().flat_map(flatten).collect(),
        _ => Vec::new(),
    }
}
