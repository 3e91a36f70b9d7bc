//! Features into the formats of GDAL's drivers.

use std::path::{Path, PathBuf};

use gdal::Dataset;
use gdal::errors::GdalError;
use gdal::raster::{GdalType, RasterCreationOptions};
use gdal::vector::{Defn, Feature, FieldDefn, LayerAccess, LayerOptions, OGRFieldType};
use geozero::{CoordDimensions, ToWkb};

use crate::error::{Error, Result};
use crate::geo::crs::Crs;
use crate::geo::dataset::{close_checked, init};
use crate::geo::vector::format::Format;
use crate::geo::vector::write::{FieldKind, Value, distinct};
use crate::geo::written;
use crate::output::final_name;

/// From a district on one screen to single buildings; tiles beyond are scaled up by whoever shows them.
const TILE_ZOOMS: [&str; 2] = ["MINZOOM=11", "MAXZOOM=16"];

/// Names of attributes are cut to this many characters in a Shapefile.
const SHAPEFILE_NAME: usize = 10;

/// Longer texts are cut to this many bytes in a Shapefile.
const SHAPEFILE_TEXT: usize = 254;

/// Names that would be cut to something that nobody understands.
const SHORT_NAMES: [(&str, &str); 5] = [
    ("confidence_min", "conf_min"),
    ("perimeter_m", "perim_m"),
    ("orientation_deg", "orient_deg"),
    ("reference_id", "ref_id"),
    ("reference_area_m2", "ref_area_m"),
];

/// A file of features has no pixels, and some drivers look whether one has.
struct NoPixels;

impl GdalType for NoPixels {
    fn gdal_ordinal() -> gdal_sys::GDALDataType::Type {
        gdal_sys::GDALDataType::GDT_Unknown
    }
}

/// A new layer and its dataset; drivers of tiles do not give a layer a second time.
struct OpenLayer {
    handle: gdal_sys::OGRLayerH,
    defn: Defn,
    dataset: Dataset,
}

impl LayerAccess for OpenLayer {
    unsafe fn c_layer(&self) -> gdal_sys::OGRLayerH {
        self.handle
    }

    fn defn(&self) -> &Defn {
        &self.defn
    }
}

/// One layer of a new file.
pub(in crate::geo::vector) struct OgrLayer {
    layer: OpenLayer,
    layer_name: String,
    path: PathBuf,
    transaction: bool,
    format: Format,
    /// Texts that the format cuts.
    texts_cut: usize,
    style: Option<String>,
}

impl OgrLayer {
    /// Creates the file with one layer of polygons; `crs` is that of the coordinates and of the file.
    pub(in crate::geo::vector) fn create(
        path: &Path,
        format: Format,
        layer_name: &str,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        init();
        let driver = gdal::DriverManager::get_driver_by_name(format.driver().unwrap_or_default())
            .map_err(Error::gdal(path))?;
        let creation: &[&str] = if format.is_tiles() { &TILE_ZOOMS } else { &[] };
        let creation: RasterCreationOptions = creation.iter().copied().collect();
        let mut dataset = driver
            .create_with_band_type_with_options::<NoPixels, _>(path, 0, 0, 0, &creation)
            .map_err(Error::gdal(path))?;
        let srs = crs.map(Crs::spatial_ref).transpose()?;
        let options: &[&str] = match format {
            Format::Shapefile => &["ENCODING=UTF-8"],
            _ => &[],
        };
        let created = dataset
            .create_layer(LayerOptions {
                name: layer_name,
                srs: srs.as_ref(),
                ty: gdal_sys::OGRwkbGeometryType::wkbUnknown,
                options: Some(options),
            })
            .map_err(Error::gdal(path))?;
        // SAFETY: the handle is used while the dataset that owns the layer is open.
        let handle = unsafe { created.c_layer() };
        let layer = OpenLayer { handle, defn: Defn::from_layer(&created), dataset };
        // GeoPackage commits every feature to disk unless told to wait; others cannot and need not.
        // SAFETY: the handle is open; the result says whether a transaction is under way.
        let transaction = unsafe {
            gdal_sys::GDALDatasetStartTransaction(layer.dataset.c_dataset(), 0)
                == gdal_sys::OGRErr::OGRERR_NONE
        };
        let names = match format {
            Format::Shapefile => short_names(fields.iter().map(|(name, _)| *name)),
            Format::GeoPackage => distinct(fields.iter().map(|(name, _)| *name), &["fid", "geom"]),
            _ => fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        for (name, (_, kind)) in names.iter().zip(fields) {
            let ogr = match kind {
                FieldKind::Int => OGRFieldType::OFTInteger64,
                FieldKind::Real => OGRFieldType::OFTReal,
                FieldKind::Text => OGRFieldType::OFTString,
            };
            let definition = FieldDefn::new(name, ogr).map_err(Error::gdal(path))?;
            definition.add_to_layer(&layer).map_err(Error::gdal(path))?;
        }
        Ok(Self {
            layer,
            layer_name: layer_name.to_owned(),
            path: path.to_owned(),
            transaction,
            format,
            texts_cut: 0,
            style: None,
        })
    }

    pub(in crate::geo::vector) fn set_style(&mut self, qml: String) {
        self.style = (self.format == Format::GeoPackage).then_some(qml);
    }

    pub(in crate::geo::vector) fn push(
        &mut self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> Result<()> {
        if self.format == Format::Shapefile {
            let too_long =
                |value: &&Value| matches!(value, Value::Text(text) if text.len() > SHAPEFILE_TEXT);
            self.texts_cut += values.iter().filter(too_long).count();
        }
        written(&self.path, || self.push_gdal(geometry, values))
    }

    fn push_gdal(
        &self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> gdal::errors::Result<()> {
        let wkb = geometry
            .to_wkb(CoordDimensions::xy())
            .map_err(|error| GdalError::BadArgument(error.to_string()))?;
        let mut feature = Feature::new(self.layer.defn())?;
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::Null => feature.set_field_null(index)?,
                Value::Int(value) => feature.set_field_integer64(index, *value)?,
                Value::Real(value) => feature.set_field_double(index, *value)?,
                Value::Text(value) => feature.set_field_string(index, value)?,
            }
        }
        feature.set_geometry(gdal::vector::Geometry::from_wkb(&wkb)?)?;
        feature.create(&self.layer)
    }

    /// Writes what is left and closes the file.
    pub(in crate::geo::vector) fn finish(self) -> Result<()> {
        if self.texts_cut > 0 {
            let (path, count) = (final_name(&self.path), self.texts_cut);
            let path = path.display();
            tracing::warn!(
                "{path}: {count} texts cut to {SHAPEFILE_TEXT} bytes, the most that a Shapefile holds"
            );
        }
        let mut dataset = self.layer.dataset;
        if self.transaction {
            written(&self.path, || {
                // SAFETY: ends the transaction that `create` began on this handle.
                let code = unsafe { gdal_sys::GDALDatasetCommitTransaction(dataset.c_dataset()) };
                if code == gdal_sys::OGRErr::OGRERR_NONE {
                    return Ok(());
                }
                let method_name = "GDALDatasetCommitTransaction";
                Err(GdalError::OgrError { err: code, method_name })
            })?;
        }
        if let Some(qml) = &self.style {
            written(&self.path, || store_style(&mut dataset, &self.layer_name, qml))?;
        }
        close_checked(dataset, &self.path)
    }
}

/// The table in which QGIS looks for the styles of a GeoPackage's layers.
fn store_style(dataset: &mut Dataset, layer_name: &str, qml: &str) -> gdal::errors::Result<()> {
    // Columns as QGIS itself makes them: without one of them it takes the table for another one.
    const COLUMNS: [&str; 11] = [
        "f_table_catalog",
        "f_table_schema",
        "f_table_name",
        "f_geometry_column",
        "styleName",
        "styleQML",
        "styleSLD",
        "useAsDefault",
        "description",
        "owner",
        "ui",
    ];
    let table = dataset.create_layer(LayerOptions {
        name: "layer_styles",
        srs: None,
        ty: gdal_sys::OGRwkbGeometryType::wkbNone,
        options: Some(&["FID=id"]),
    })?;
    for name in COLUMNS {
        let kind =
            if name == "useAsDefault" { OGRFieldType::OFTInteger } else { OGRFieldType::OFTString };
        FieldDefn::new(name, kind)?.add_to_layer(&table)?;
    }
    FieldDefn::new("update_time", OGRFieldType::OFTDateTime)?.add_to_layer(&table)?;
    let mut row = Feature::new(table.defn())?;
    for (index, name) in COLUMNS.iter().enumerate() {
        match *name {
            "f_table_name" => row.set_field_string(index, layer_name)?,
            "f_geometry_column" => row.set_field_string(index, "geom")?,
            "styleName" => row.set_field_string(index, "geoseg")?,
            "styleQML" => row.set_field_string(index, qml)?,
            "useAsDefault" => row.set_field_integer(index, 1)?,
            _ => row.set_field_string(index, "")?,
        }
    }
    row.create(&table)
}

/// Names of at most ten characters, all different.
fn short_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let known = SHORT_NAMES.iter().find(|(long, _)| *long == name);
        let wanted = known.map_or(name, |(_, short)| short);
        let cut = |most: usize| -> String { wanted.chars().take(most).collect() };
        let mut short = cut(SHAPEFILE_NAME);
        let mut number = 1;
        while taken.iter().any(|other| other.eq_ignore_ascii_case(&short)) {
            number += 1;
            let suffix = format!("_{number}");
            short = cut(SHAPEFILE_NAME - suffix.len()) + &suffix;
        }
        taken.push(short);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapefile_names_stay_different_and_readable() {
        let names = ["id", "confidence", "confidence_min", "n_vertices", "confidence_max"];
        let short = short_names(names.into_iter());
        assert_eq!(short, ["id", "confidence", "conf_min", "n_vertices", "confiden_2"]);
        for (_, short) in SHORT_NAMES {
            assert!(short.len() <= SHAPEFILE_NAME, "{short}");
        }
    }
}
