//! Features into GeoJSON (RFC 7946), one a line: in a collection, or each for itself.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use geo::winding_order::{Winding, WindingOrder};
use geo::{CoordsIter, LineString, LinesIter, MapCoords, Validation};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::write::{FieldKind, Value};
use crate::error::{Error, Result};
use crate::geo::crs::Crs;
use crate::output::final_name;

/// Seven decimals of a degree are a centimetre; more would be noise.
const STEPS_A_DEGREE: f64 = 1e7;
/// For outlines finer than that, which rounded to a centimetre would cross themselves.
const FINE_STEPS_A_DEGREE: f64 = 1e10;
/// Degrees: only outlines with a shorter edge need a look whether rounding breaks them.
const SHORT_EDGE: f64 = 1e-6;
/// Outlines with more corners get fine coordinates without a look.
const MOST_CORNERS: usize = 500;

/// A file that grows feature by feature.
pub(super) struct GeoJson {
    out: BufWriter<File>,
    path: PathBuf,
    names: Vec<String>,
    in_degrees: bool,
    collection: bool,
    empty: bool,
}

impl GeoJson {
    /// Creates a file with a collection of features, named `layer_name`. `crs` is that of the coordinates; one other than
    /// WGS 84 is named as it was before RFC 7946.
    pub(super) fn create(
        path: &Path,
        layer_name: &str,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        let wgs84 = Crs::wgs84()?;
        let foreign = crs.filter(|crs| !crs.same_as(&wgs84));
        let mut file = Self::create_lines(path, crs, fields)?;
        file.collection = true;
        let name = json!(layer_name);
        let mut head = format!("{{\n\"type\": \"FeatureCollection\",\n\"name\": {name},\n");
        match (foreign, foreign.and_then(Crs::authority)) {
            (_, Some((organization, code))) => {
                let name = format!("urn:ogc:def:crs:{organization}::{code}");
                let crs = json!({ "type": "name", "properties": { "name": name } });
                head.push_str(&format!("\"crs\": {crs},\n"));
            }
            (Some(crs), None) => tracing::warn!(
                "{}: GeoJSON can only name a CRS that a register knows, not {}: readers will take its coordinates for \
                 degrees; choose another format, or --crs",
                final_name(path).display(),
                crs.label()
            ),
            (None, None) => {}
        }
        head.push_str("\"features\": [\n");
        file.out.write_all(head.as_bytes()).map_err(Error::io(path))?;
        Ok(file)
    }

    /// Creates a file of features without a collection around them.
    pub(super) fn create_lines(
        path: &Path,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        let out = File::create(path).map_err(Error::io(path))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, out),
            path: path.to_owned(),
            names: fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
            in_degrees: crs.is_some_and(Crs::is_geographic),
            collection: false,
            empty: true,
        })
    }

    pub(super) fn push(
        &mut self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> Result<()> {
        let separator: &[u8] = match (self.collection, self.empty) {
            (true, false) => b",\n",
            _ => b"",
        };
        let feature = Feature {
            properties: Properties { names: &self.names, values },
            shape: Shape { geometry, steps: self.in_degrees.then(|| steps_for(geometry)) },
        };
        self.empty = false;
        let written = self.out.write_all(separator).and_then(|()| {
            serde_json::to_writer(&mut self.out, &feature)?;
            if self.collection { Ok(()) } else { self.out.write_all(b"\n") }
        });
        written.map_err(Error::io(&self.path))
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        let end: &[u8] = match (self.collection, self.empty) {
            (true, false) => b"\n]\n}\n",
            (true, true) => b"]\n}\n",
            (false, _) => b"",
        };
        let written = self.out.write_all(end);
        let ended =
            written.and_then(|()| self.out.into_inner().map_err(IntoInnerError::into_error));
        ended.map(drop).map_err(Error::io(&self.path))
    }
}

struct Feature<'a> {
    properties: Properties<'a>,
    shape: Shape<'a>,
}

impl Serialize for Feature<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut feature = serializer.serialize_struct("Feature", 3)?;
        feature.serialize_field("type", "Feature")?;
        feature.serialize_field("properties", &self.properties)?;
        feature.serialize_field("geometry", &self.shape)?;
        feature.end()
    }
}

/// In the order of the fields; numbers that are none are null.
struct Properties<'a> {
    names: &'a [String],
    values: &'a [Value<'a>],
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut properties = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(self.values) {
            match value {
                Value::Null => properties.serialize_entry(name, &()),
                Value::Int(value) => properties.serialize_entry(name, value),
                Value::Real(value) => properties.serialize_entry(name, value),
                Value::Text(value) => properties.serialize_entry(name, value),
            }?;
        }
        properties.end()
    }
}

/// How finely coordinates in degrees are written.
fn steps_for(geometry: &geo::Geometry<f64>) -> f64 {
    let is_short = |line: geo::Line<f64>| line.dx().abs().max(line.dy().abs()) < SHORT_EDGE;
    let has_short_edge = match geometry {
        geo::Geometry::Polygon(polygon) => polygon.lines_iter().any(is_short),
        geo::Geometry::MultiPolygon(polygons) => polygons.lines_iter().any(is_short),
        _ => false,
    };
    if !has_short_edge {
        return STEPS_A_DEGREE;
    }
    // To look costs the square of the holes.
    if geometry.coords_count() > MOST_CORNERS {
        return FINE_STEPS_A_DEGREE;
    }
    let coarse = geometry.map_coords(|c| rounded(c, STEPS_A_DEGREE).into());
    if coarse.is_valid() || !geometry.is_valid() { STEPS_A_DEGREE } else { FINE_STEPS_A_DEGREE }
}

fn rounded(corner: geo::Coord<f64>, steps: f64) -> [f64; 2] {
    // No negative zero.
    [corner.x, corner.y].map(|degrees| (degrees * steps).round() / steps + 0.0)
}

struct Shape<'a> {
    geometry: &'a geo::Geometry<f64>,
    /// To a degree; coordinates are written as they are where there are none.
    steps: Option<f64>,
}

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rings = |polygon| Rings { polygon, steps: self.steps };
        let mut shape = serializer.serialize_struct("Geometry", 2)?;
        match self.geometry {
            geo::Geometry::Polygon(polygon) => {
                shape.serialize_field("type", "Polygon")?;
                shape.serialize_field("coordinates", &rings(polygon))?;
            }
            geo::Geometry::MultiPolygon(polygons) => {
                shape.serialize_field("type", "MultiPolygon")?;
                let parts: Vec<_> = polygons.iter().map(rings).collect();
                shape.serialize_field("coordinates", &parts)?;
            }
            _ => return Err(serde::ser::Error::custom("only polygons are written")),
        }
        shape.end()
    }
}

/// Outer ring anticlockwise, holes clockwise.
struct Rings<'a> {
    polygon: &'a geo::Polygon<f64>,
    steps: Option<f64>,
}

impl Serialize for Rings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outer = std::iter::once((self.polygon.exterior(), WindingOrder::CounterClockwise));
        let holes = self.polygon.interiors().iter().map(|ring| (ring, WindingOrder::Clockwise));
        serializer.collect_seq(outer.chain(holes).map(|(ring, order)| Ring {
            corners: ring,
            reversed: ring.winding_order().is_some_and(|found| found != order),
            steps: self.steps,
        }))
    }
}

struct Ring<'a> {
    corners: &'a LineString<f64>,
    reversed: bool,
    steps: Option<f64>,
}

impl Serialize for Ring<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = |corner: &geo::Coord<f64>| match self.steps {
            Some(steps) => rounded(*corner, steps),
            None => [corner.x, corner.y],
        };
        if self.reversed {
            serializer.collect_seq(self.corners.0.iter().rev().map(place))
        } else {
            serializer.collect_seq(self.corners.0.iter().map(place))
        }
    }
}
