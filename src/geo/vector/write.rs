//! Features out, in the format that the file's extension names.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use geo::BoundingRect;

use super::antimeridian;
use super::flatgeobuf::FlatGeobuf;
use super::format::Format;
use super::geojson::GeoJson;
use super::geoparquet::GeoParquet;
use super::ogr::OgrLayer;
use super::output_crs::OutputCrs;
use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// 64-bit integer.
    Int,
    /// Floating point.
    Real,
    /// Text.
    Text,
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Unknown, for any kind.
    Null,
    /// For [`FieldKind::Int`].
    Int(i64),
    /// For [`FieldKind::Real`].
    Real(f64),
    /// For [`FieldKind::Text`].
    Text(&'a str),
}

/// Writes polygons with attributes, as they come; memory does not grow with their number beyond what
/// the format's own index needs.
pub struct LayerWriter {
    sink: Sink,
    way: Option<Reprojection>,
    /// From the polygons' CRS to that of the file.
    ends: Option<(Crs, Crs)>,
    in_degrees: bool,
    in_web_tiles: bool,
    path: PathBuf,
}

/// More than any building measures, in the units of a projected CRS.
const WIDEST: f64 = 1e6;

/// Half the side of the world in web Mercator.
const WEB_MERCATOR_M: f64 = 20_037_508.35;

enum Sink {
    Ogr(OgrLayer),
    Parquet(Box<GeoParquet>),
    FlatGeobuf(Box<FlatGeobuf>),
    GeoJson(GeoJson),
}

impl LayerWriter {
    /// Creates the file (give it a staged path) with one layer of polygons in `crs`, in the CRS that
    /// the format has by default: see [`OutputCrs::Auto`].
    ///
    /// # Errors
    /// As [`LayerWriter::create_in`].
    pub fn create(
        path: &Path,
        layer_name: &str,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        Self::create_in(path, layer_name, crs, OutputCrs::Auto, fields)
    }

    /// As [`LayerWriter::create`]; the file is in `output_crs`, polygons are given in `crs`.
    ///
    /// Polygons in degrees are cut at the antimeridian. GeoJSON in WGS 84 follows RFC 7946 (right-hand
    /// rule, 7 decimals).
    ///
    /// # Errors
    /// Unknown extension, a CRS that the format cannot hold, or the file cannot be written.
    pub fn create_in(
        path: &Path,
        layer_name: &str,
        crs: Option<&Crs>,
        output_crs: OutputCrs,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        let format = Format::of(path)?;
        let target = output_crs.resolve(path, format, crs)?;
        let way = match (crs, &target) {
            (Some(from), Some(to)) if !from.same_as(to) => Some(Reprojection::new(from, to)?),
            _ => None,
        };
        let in_degrees = target.as_ref().is_some_and(Crs::is_geographic);
        let ends = crs.cloned().zip(target.clone());
        let crs = target.as_ref();
        let sink = match format {
            Format::GeoParquet => Sink::Parquet(Box::new(GeoParquet::create(path, crs, fields)?)),
            Format::FlatGeobuf => {
                Sink::FlatGeobuf(Box::new(FlatGeobuf::create(path, layer_name, crs, fields)?))
            }
            Format::GeoJson => Sink::GeoJson(GeoJson::create(path, layer_name, crs, fields)?),
            Format::GeoJsonLines => Sink::GeoJson(GeoJson::create_lines(path, crs, fields)?),
            _ => Sink::Ogr(OgrLayer::create(path, format, layer_name, crs, fields)?),
        };
        let in_web_tiles = format.is_tiles();
        Ok(Self { sink, way, ends, in_degrees, in_web_tiles, path: path.to_owned() })
    }

    /// A style of QGIS (QML) that travels with the features where the format has a place for it
    /// (GeoPackage).
    #[must_use]
    pub fn with_style(mut self, qml: String) -> Self {
        if let Sink::Ogr(layer) = &mut self.sink {
            layer.set_style(qml);
        }
        self
    }

    /// Appends a feature; `values` in the order of the fields.
    ///
    /// # Errors
    /// It is no polygon, the CRS of the file does not reach it, or the disk is full.
    pub fn push(&mut self, geometry: &geo::Geometry<f64>, values: &[Value<'_>]) -> Result<()> {
        let geometry = self.placed(geometry)?;
        match &mut self.sink {
            Sink::Ogr(layer) => layer.push(&geometry, values),
            Sink::Parquet(file) => file.push(&geometry, values),
            Sink::FlatGeobuf(file) => file.push(&geometry, values),
            Sink::GeoJson(file) => file.push(&geometry, values),
        }
    }

    /// The polygon in the coordinates of the file.
    fn placed<'g>(&self, geometry: &'g geo::Geometry<f64>) -> Result<Cow<'g, geo::Geometry<f64>>> {
        let polygons: &[geo::Polygon<f64>] = match geometry {
            geo::Geometry::Polygon(polygon) => std::slice::from_ref(polygon),
            geo::Geometry::MultiPolygon(polygons) => &polygons.0,
            _ => {
                let hint = "only polygons are written";
                return Err(Error::input(&self.path, "polygons", "another geometry", hint));
            }
        };
        let is_one_in_many =
            matches!(geometry, geo::Geometry::MultiPolygon(_)) && polygons.len() == 1;
        if self.way.is_none() && !self.in_degrees && !self.in_web_tiles && !is_one_in_many {
            return Ok(Cow::Borrowed(geometry));
        }
        let mut placed = Vec::with_capacity(polygons.len());
        for original in polygons {
            let polygon = match &self.way {
                Some(way) => way.polygon(original).map_err(|problem| self.undefined(&problem))?,
                None => original.clone(),
            };
            self.check_in_web_tiles(&polygon)?;
            let jumps = || {
                let bounds = polygon.bounding_rect();
                bounds.is_some_and(|bounds| bounds.width() > WIDEST || self.leaves_tiles(&bounds))
            };
            let parts = match &self.ends {
                // No building is that wide: it jumps from one end of the world to the other.
                Some((from, to)) if !self.in_degrees && jumps() => {
                    halves(original, from, to).map_err(|problem| self.undefined(&problem))?
                }
                _ => match self.in_degrees.then(|| antimeridian::cut(&polygon)).flatten() {
                    Some(parts) => parts.0,
                    None => vec![polygon],
                },
            };
            placed.extend(parts);
        }
        Ok(Cow::Owned(match <[_; 1]>::try_from(placed) {
            Ok([polygon]) => polygon.into(),
            Err(polygons) => geo::MultiPolygon(polygons).into(),
        }))
    }

    /// Whether a polygon goes on beyond the antimeridian, where there are no tiles.
    fn leaves_tiles(&self, bounds: &geo::Rect<f64>) -> bool {
        let most = bounds.min().x.abs().max(bounds.max().x.abs());
        self.in_web_tiles && most > WEB_MERCATOR_M
    }

    fn check_in_web_tiles(&self, polygon: &geo::Polygon<f64>) -> Result<()> {
        let beyond = |c: &geo::Coord<f64>| c.y.is_nan() || c.y.abs() > WEB_MERCATOR_M;
        if !self.in_web_tiles || !polygon.exterior().0.iter().any(beyond) {
            return Ok(());
        }
        Err(Error::input(
            &self.path,
            "buildings from 85 degrees south to 85 north, which is all that web maps show",
            "one beyond",
            "choose another format, such as .gpkg",
        ))
    }

    fn undefined(&self, problem: &Error) -> Error {
        let (expected, hint) =
            ("buildings where its CRS is defined", "choose another one with --crs");
        Error::input(&self.path, expected, problem.to_string(), hint)
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        match self.sink {
            Sink::Ogr(layer) => layer.finish(),
            Sink::Parquet(file) => file.finish(),
            Sink::FlatGeobuf(file) => file.finish(),
            Sink::GeoJson(file) => file.finish(),
        }
    }
}

/// The parts of a polygon on both sides of the antimeridian, which is where the CRS `to` ends.
fn halves(polygon: &geo::Polygon<f64>, from: &Crs, to: &Crs) -> Result<Vec<geo::Polygon<f64>>> {
    let wgs84 = Crs::wgs84()?;
    let in_degrees = Reprojection::new(from, &wgs84)?.polygon(polygon)?;
    let parts = antimeridian::cut(&in_degrees).map_or_else(|| vec![in_degrees], |parts| parts.0);
    let way = Reprojection::new(&wgs84, to)?;
    parts.iter().map(|part| way.polygon(part)).collect()
}

/// Names that differ from each other and from `taken`, whatever their case: with a number behind where need be.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>, taken: &[&str]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        let is_free = |wanted: &str| {
            let mut others = taken.iter().copied().chain(distinct.iter().map(String::as_str));
            !others.any(|other| other.eq_ignore_ascii_case(wanted))
        };
        let mut numbered = (1..).map(|number| match number {
            1 => name.to_owned(),
            _ => format!("{name}_{number}"),
        });
        let free = numbered.find(|wanted| is_free(wanted));
        distinct.extend(free);
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_whatever_their_case() {
        let names = distinct(["id", "FID", "ID", "id_2", "height"].into_iter(), &["fid", "geom"]);
        assert_eq!(names, ["id", "FID_2", "ID_2", "id_2_2", "height"]);
    }
}
