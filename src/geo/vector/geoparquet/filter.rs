//! SQL conditions on attributes, judged by GDAL as those on other formats are.

use std::path::Path;

use gdal::errors::Result as GdalResult;
use gdal::vector::{Feature, FieldDefn, LayerAccess, LayerOptions, OGRFieldType};
use gdal::{Dataset, DriverManager};

use crate::error::{Error, Result};
use crate::geo::dataset;
use crate::geo::vector::features::{Attribute, wrong_filter};
use crate::geo::vector::write::FieldKind;

/// The rows of a batch for which a condition holds; `attributes` are given column by column, in the order of `fields`, and
/// rows are numbered from `first` on.
///
/// # Errors
/// It is no condition on these fields.
pub(super) fn holds(
    path: &Path,
    condition: &str,
    fields: &[(&str, FieldKind)],
    attributes: &[Vec<Attribute>],
    (first, rows): (u64, usize),
) -> Result<Vec<bool>> {
    dataset::init();
    let table = table(fields, attributes, (first, rows)).map_err(Error::gdal(path))?;
    let mut layer = table.layer(0).map_err(Error::gdal(path))?;
    layer
        .set_attribute_filter(condition)
        .map_err(|problem| wrong_filter(path, condition, dataset::reason(&problem)))?;
    let mut holds = vec![false; rows];
    for feature in layer.features() {
        let row = feature.fid().and_then(|fid| fid.checked_sub(first));
        if let Some(holds) = row.and_then(|row| holds.get_mut(row as usize)) {
            *holds = true;
        }
    }
    Ok(holds)
}

/// A layer in memory, without geometries.
fn table(
    fields: &[(&str, FieldKind)],
    attributes: &[Vec<Attribute>],
    (first, rows): (u64, usize),
) -> GdalResult<Dataset> {
    let mut dataset = DriverManager::get_driver_by_name("Memory")?.create_vector_only("")?;
    let layer = dataset.create_layer(LayerOptions {
        name: "rows",
        srs: None,
        ty: gdal_sys::OGRwkbGeometryType::wkbNone,
        options: None,
    })?;
    for (name, kind) in fields {
        let ogr = match kind {
            FieldKind::Int => OGRFieldType::OFTInteger64,
            FieldKind::Real => OGRFieldType::OFTReal,
            FieldKind::Text => OGRFieldType::OFTString,
        };
        FieldDefn::new(name, ogr)?.add_to_layer(&layer)?;
    }
    for row in 0..rows {
        let mut feature = Feature::new(layer.defn())?;
        for (index, column) in attributes.iter().enumerate() {
            match &column[row] {
                Attribute::Null => feature.set_field_null(index)?,
                Attribute::Int(value) => feature.set_field_integer64(index, *value)?,
                Attribute::Real(value) => feature.set_field_double(index, *value)?,
                Attribute::Text(text) => feature.set_field_string(index, text)?,
            }
        }
        // SAFETY: the feature is alive.
        unsafe { gdal_sys::OGR_F_SetFID(feature.c_feature(), (first + row as u64) as i64) };
        feature.create(&layer)?;
    }
    Ok(dataset)
}
