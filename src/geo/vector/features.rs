//! Features of any vector format with their attributes, one after another.

use std::path::Path;

use geozero::ToGeo;
use geozero::wkb::Wkb;

use super::geoparquet::GeoParquetReader;
use super::ogr::OgrReader;
use super::read::VectorSource;
use super::write::{FieldKind, Value};
use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};

/// An attribute's value that outlives its feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Unknown.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text; dates and lists, too, as GDAL writes them.
    Text(String),
}

impl Attribute {
    /// For [`super::LayerWriter::push`].
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(value) => Value::Int(*value),
            Self::Real(value) => Value::Real(*value),
            Self::Text(text) => Value::Text(text),
        }
    }

    /// As text; empty where unknown.
    pub fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Int(value) => value.to_string(),
            Self::Real(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// As a number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Real(value) => Some(*value).filter(|value| value.is_finite()),
            Self::Null | Self::Text(_) => None,
        }
    }
}

/// A feature as it stands in its file.
#[derive(Clone, Debug)]
pub struct Feature {
    /// The file's own number of it.
    pub fid: u64,
    /// Neither mended nor reprojected; heights are dropped. `None` where there is none, or none that can
    /// be read.
    pub geometry: Option<geo::Geometry<f64>>,
    /// In the order of [`FeatureReader::fields`].
    pub attributes: Vec<Attribute>,
}

/// Reads features in file order, as often as wanted.
pub struct FeatureReader {
    origin: Origin,
    source: VectorSource,
    crs: Option<Crs>,
    fields: Vec<(String, FieldKind)>,
}

enum Origin {
    Ogr(OgrReader),
    Parquet(Box<GeoParquetReader>),
    /// Lines of GeoJSON without a line: a scene without buildings, which GDAL takes for no format at all.
    NoLines,
}

impl FeatureReader {
    /// Opens a layer.
    ///
    /// # Errors
    /// The file, layer or filter is wrong.
    pub fn open(source: &VectorSource) -> Result<Self> {
        let (origin, crs, fields) = if GeoParquetReader::is_for(&source.path) {
            let file = GeoParquetReader::open(source)?;
            let (crs, fields) = (file.crs().cloned(), file.fields());
            (Origin::Parquet(Box::new(file)), crs, fields)
        } else if has_no_lines(&source.path) {
            (Origin::NoLines, Some(Crs::wgs84()?), Vec::new())
        } else {
            let layer = OgrReader::open(source)?;
            let (crs, fields) = (layer.crs(), layer.fields());
            (Origin::Ogr(layer), crs, fields)
        };
        Ok(Self { origin, source: source.clone(), crs, fields })
    }

    /// The way of the coordinates to `to`; `None` where they stay as they are.
    ///
    /// # Errors
    /// The file has no CRS but `to` is given, or PROJ knows no way.
    pub fn way_to(&self, to: Option<&Crs>) -> Result<Option<Reprojection>> {
        match (&self.crs, to) {
            (Some(from), Some(to)) => Reprojection::new(from, to).map(Some),
            (None, Some(to)) => Err(Error::input(
                &self.source.path,
                "footprints with a coordinate reference system",
                "none",
                format!("assign it first, for example `ogr2ogr -a_srs {} ...`", to.label()),
            )),
            (_, None) => Ok(None),
        }
    }

    /// Leaves attributes unread, which is faster.
    #[must_use]
    pub fn without_attributes(mut self) -> Self {
        self.fields.clear();
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The coordinates' CRS; `None` where the file names none.
    pub fn crs(&self) -> Option<&Crs> {
        self.crs.as_ref()
    }

    /// How many features there are, as far as the file says.
    pub fn count(&self) -> u64 {
        match &self.origin {
            Origin::Ogr(layer) => layer.count(),
            Origin::Parquet(file) => file.count(),
            Origin::NoLines => 0,
        }
    }

    /// Names and kinds of the attributes.
    pub fn fields(&self) -> &[(String, FieldKind)] {
        &self.fields
    }

    /// The place of an attribute.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|(known, _)| known == name)
    }

    /// Hands every feature to `visit`, in file order.
    ///
    /// # Errors
    /// The file is damaged, or `visit` fails.
    pub fn each(&mut self, visit: impl FnMut(Feature) -> Result<()>) -> Result<()> {
        match &mut self.origin {
            Origin::Ogr(layer) => layer.each(&self.fields, visit),
            Origin::Parquet(file) => file.each(!self.fields.is_empty(), visit),
            Origin::NoLines => Ok(()),
        }
    }
}

fn has_no_lines(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "geojsonl")
        && std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// GDAL's geometry without heights; `None` where it is empty, or of a kind that is not read.
pub(super) fn plain(geometry: &gdal::vector::Geometry) -> Option<geo::Geometry<f64>> {
    if geometry.is_empty() {
        return None;
    }
    let simple = Wkb(geometry.iso_wkb().ok()?).to_geo().ok();
    simple.or_else(|| {
        // Curves become chains of short edges, surfaces and triangles polygons.
        // SAFETY: the first call makes a geometry of its own, the second takes it and gives one back, which is destroyed
        // when its bytes are written; there is room for as many as it has.
        let wkb = unsafe {
            let linear =
                gdal_sys::OGR_G_GetLinearGeometry(geometry.c_geometry(), 0.0, std::ptr::null_mut());
            let flat = gdal_sys::OGR_G_ForceToMultiPolygon(linear);
            let mut wkb = vec![0; gdal_sys::OGR_G_WkbSize(flat) as usize];
            let order = gdal_sys::OGRwkbByteOrder::wkbNDR;
            let code = gdal_sys::OGR_G_ExportToIsoWkb(flat, order, wkb.as_mut_ptr());
            gdal_sys::OGR_G_DestroyGeometry(flat);
            (code == gdal_sys::OGRErr::OGRERR_NONE).then_some(wkb)
        };
        Wkb(wkb?).to_geo().ok()
    })
}

/// The error of a layer that is not there.
pub(super) fn no_layer(path: &Path, wanted: &str, found: &str) -> Error {
    Error::input(path, format!("a layer `{wanted}`"), found, "name one of these")
}

/// The error of an attribute filter that GDAL does not take.
pub(super) fn wrong_filter(path: &Path, filter: &str, found: impl Into<String>) -> Error {
    let expected = format!("a filter that fits the attributes: {filter}");
    Error::input(path, expected, found, "write it as the WHERE part of an SQL query")
}
