//! Features of any vector format with their attributes, one after another.

use std::path::{Path, PathBuf};

use gdal::vector::{LayerAccess, OGRFieldType, OwnedLayer};
use geozero::ToGeo;
use geozero::wkb::Wkb;

use super::read::VectorSource;
use super::write::{FieldKind, Value};
use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};
use crate::geo::dataset;

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
    layer: OwnedLayer,
    source: VectorSource,
    crs: Option<Crs>,
    fields: Vec<(String, FieldKind)>,
}

impl FeatureReader {
    /// Opens a layer.
    ///
    /// # Errors
    /// The file, layer or filter is wrong.
    pub fn open(source: &VectorSource) -> Result<Self> {
        let path = &source.path;
        let dataset = dataset::open(path, true)?;
        let mut layer = match &source.layer {
            Some(name) => {
                let names: Vec<String> = dataset.layers().map(|layer| layer.name()).collect();
                dataset.into_layer_by_name(name).map_err(|_| {
                    let wanted = format!("a layer `{name}`");
                    Error::input(path, wanted, names.join(", "), "name one of these")
                })?
            }
            None => dataset.into_layer(0).map_err(|_| {
                Error::input(path, "a layer", "none", "check that the file holds features")
            })?,
        };
        if let Some(filter) = &source.filter {
            layer.set_attribute_filter(filter).map_err(|source| {
                Error::input(
                    path,
                    format!("a filter that fits the attributes: {filter}"),
                    dataset::reason(&source),
                    "write it as the WHERE part of an SQL query",
                )
            })?;
        }
        let crs = layer
            .spatial_ref()
            .filter(|reference| !reference.is_local())
            // GDAL's name for the CRS of a GeoPackage that has none.
            .filter(|reference| reference.name().is_none_or(|name| !name.starts_with("Undefined ")))
            .and_then(|reference| Crs::from_spatial_ref(&reference).ok());
        let fields = layer
            .defn()
            .fields()
            .map(|field| {
                let kind = match field.field_type() {
                    OGRFieldType::OFTInteger | OGRFieldType::OFTInteger64 => FieldKind::Int,
                    OGRFieldType::OFTReal => FieldKind::Real,
                    _ => FieldKind::Text,
                };
                (field.name(), kind)
            })
            .collect();
        Ok(Self { layer, source: source.clone(), crs, fields })
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
        self.layer.feature_count()
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
    pub fn each(&mut self, mut visit: impl FnMut(Feature) -> Result<()>) -> Result<()> {
        let fields = &self.fields;
        let path: PathBuf = self.source.path.clone();
        // SAFETY: resets this thread's error state only.
        unsafe { gdal_sys::CPLErrorReset() };
        for feature in self.layer.features() {
            // By index: the other way takes a missing geometry for one.
            let geometry = feature.geometry_by_index(0).ok();
            let wkb = geometry.filter(|geometry| !geometry.is_empty());
            let wkb = wkb.map(|geometry| geometry.wkb().map_err(Error::gdal(&path))).transpose()?;
            let mut attributes = Vec::with_capacity(fields.len());
            for (index, (_, kind)) in fields.iter().enumerate() {
                attributes.push(attribute(&feature, index, *kind).map_err(Error::gdal(&path))?);
            }
            visit(Feature {
                fid: feature.fid().unwrap_or_default(),
                geometry: wkb.and_then(|wkb| Wkb(wkb).to_geo().ok()),
                attributes,
            })?;
        }
        self.check_read()
    }

    /// A damaged file, or a filter that a database driver only looks at when it is asked for features,
    /// ends the features early; GDAL says so in its error state alone.
    fn check_read(&self) -> Result<()> {
        // SAFETY: reads this thread's error state; the message is copied at once.
        let (class, message) = unsafe {
            let message = std::ffi::CStr::from_ptr(gdal_sys::CPLGetLastErrorMsg());
            (gdal_sys::CPLGetLastErrorType(), message.to_string_lossy().into_owned())
        };
        if class < gdal_sys::CPLErr::CE_Failure {
            return Ok(());
        }
        let (expected, hint) = match &self.source.filter {
            Some(filter) => (
                format!("a filter that fits the attributes: {filter}"),
                "write it as the WHERE part of an SQL query",
            ),
            None => ("readable features".to_owned(), "check that the file is whole"),
        };
        let found = message.lines().next().unwrap_or("an error");
        Err(Error::input(&self.source.path, expected, found, hint))
    }
}

fn attribute(
    feature: &gdal::vector::Feature<'_>,
    index: usize,
    kind: FieldKind,
) -> gdal::errors::Result<Attribute> {
    // SAFETY: the feature is alive and `index` is one of its fields.
    let known =
        unsafe { gdal_sys::OGR_F_IsFieldSetAndNotNull(feature.c_feature(), index as i32) != 0 };
    if !known {
        return Ok(Attribute::Null);
    }
    Ok(match kind {
        FieldKind::Int => {
            feature.field_as_integer64(index)?.map_or(Attribute::Null, Attribute::Int)
        }
        FieldKind::Real => feature.field_as_double(index)?.map_or(Attribute::Null, Attribute::Real),
        FieldKind::Text => feature.field_as_string(index)?.map_or(Attribute::Null, Attribute::Text),
    })
}
