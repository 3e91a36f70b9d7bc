//! Features out, in the format that the file's extension names.

use std::path::{Path, PathBuf};

use gdal::Dataset;
use gdal::vector::{Feature, FieldDefn, LayerAccess, LayerOptions, OGRFieldType, OwnedLayer};
use geozero::{CoordDimensions, ToWkb};

use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};
use crate::geo::dataset::{close_checked, init};

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
    /// For [`FieldKind::Int`].
    Int(i64),
    /// For [`FieldKind::Real`].
    Real(f64),
    /// For [`FieldKind::Text`].
    Text(&'a str),
}

/// Extension, driver, and whether the format is WGS 84 only.
const FORMATS: [(&str, &str); 6] = [
    ("geojson", "GeoJSON"),
    ("json", "GeoJSON"),
    ("geojsonl", "GeoJSONSeq"),
    ("gpkg", "GPKG"),
    ("fgb", "FlatGeobuf"),
    ("shp", "ESRI Shapefile"),
];

/// Writes polygons with attributes.
pub struct LayerWriter {
    layer: OwnedLayer,
    path: PathBuf,
    transaction: bool,
}

impl LayerWriter {
    /// The driver for a file name.
    ///
    /// # Errors
    /// The extension is none of those that geoseg writes.
    pub fn driver_for(path: &Path) -> Result<&'static str> {
        let extension =
            path.extension().map(|text| text.to_string_lossy().to_lowercase()).unwrap_or_default();
        FORMATS.iter().find(|(known, _)| *known == extension).map(|(_, driver)| *driver).ok_or_else(
            || {
                Error::input(
                    path,
                    "a name that ends in .geojson, .geojsonl, .gpkg, .fgb or .shp",
                    if extension.is_empty() {
                        "no extension".into()
                    } else {
                        format!(".{extension}")
                    },
                    "choose the format by the extension",
                )
            },
        )
    }

    /// Creates the file (give it a staged path) with one layer of polygons in `crs`.
    ///
    /// GeoJSON follows RFC 7946 (WGS 84, right-hand rule, 7 decimals) wherever `crs` leads
    /// there; elsewhere (pixels, Mars) it holds the coordinates as they are.
    ///
    /// # Errors
    /// Unknown extension, or GDAL cannot write there.
    pub fn create(
        path: &Path,
        layer_name: &str,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        init();
        let driver_name = Self::driver_for(path)?;
        let driver =
            gdal::DriverManager::get_driver_by_name(driver_name).map_err(Error::gdal(path))?;
        let mut dataset = driver.create_vector_only(path).map_err(Error::gdal(path))?;
        let srs = crs.map(Crs::spatial_ref).transpose()?;
        let options: &[&str] = match (driver_name, crs) {
            ("GeoJSON", Some(crs)) if Reprojection::new(crs, &Crs::wgs84()?).is_ok() => {
                &["RFC7946=YES"]
            }
            ("GeoJSON", Some(crs)) => {
                tracing::warn!(
                    "{}: {} is not tied to WGS 84; its own coordinates are written",
                    path.display(),
                    crs.label()
                );
                &[]
            }
            _ => &[],
        };
        dataset
            .create_layer(LayerOptions {
                name: layer_name,
                srs: srs.as_ref(),
                ty: gdal_sys::OGRwkbGeometryType::wkbUnknown,
                options: Some(options),
            })
            .map_err(Error::gdal(path))?;
        // GeoPackage commits every feature to disk unless told to wait; others cannot and need not.
        // SAFETY: the handle is open; the result says whether a transaction is under way.
        let transaction = unsafe {
            gdal_sys::GDALDatasetStartTransaction(dataset.c_dataset(), 0)
                == gdal_sys::OGRErr::OGRERR_NONE
        };
        let layer = dataset.into_layer(0).map_err(Error::gdal(path))?;
        for (name, kind) in fields {
            let ogr = match kind {
                FieldKind::Int => OGRFieldType::OFTInteger64,
                FieldKind::Real => OGRFieldType::OFTReal,
                FieldKind::Text => OGRFieldType::OFTString,
            };
            let definition = FieldDefn::new(name, ogr).map_err(Error::gdal(path))?;
            definition.add_to_layer(&layer).map_err(Error::gdal(path))?;
        }
        Ok(Self { layer, path: path.to_owned(), transaction })
    }

    /// Appends a feature; `values` in the order of the fields.
    ///
    /// # Errors
    /// GDAL cannot take it, or the disk is full.
    pub fn push(&mut self, geometry: &geo::Geometry<f64>, values: &[Value<'_>]) -> Result<()> {
        self.push_gdal(geometry, values).map_err(Error::gdal(&self.path))
    }

    fn push_gdal(
        &self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> gdal::errors::Result<()> {
        let wkb = geometry
            .to_wkb(CoordDimensions::xy())
            .map_err(|error| gdal::errors::GdalError::BadArgument(error.to_string()))?;
        let mut feature = Feature::new(self.layer.defn())?;
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::Int(value) => feature.set_field_integer64(index, *value)?,
                Value::Real(value) => feature.set_field_double(index, *value)?,
                Value::Text(value) => feature.set_field_string(index, value)?,
            }
        }
        feature.set_geometry(gdal::vector::Geometry::from_wkb(&wkb)?)?;
        feature.create(&self.layer)
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        let dataset: Dataset = self.layer.into_dataset();
        if self.transaction {
            // SAFETY: ends the transaction that `create` began on this handle.
            let code = unsafe { gdal_sys::GDALDatasetCommitTransaction(dataset.c_dataset()) };
            if code != gdal_sys::OGRErr::OGRERR_NONE {
                return Err(Error::input(
                    &self.path,
                    "the features to be stored",
                    format!("OGR error {code}"),
                    "look at the free space of the disk",
                ));
            }
        }
        close_checked(dataset, &self.path)
    }
}
