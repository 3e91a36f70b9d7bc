//! Features of any format that GDAL opens.

use std::path::{Path, PathBuf};

use gdal::vector::{LayerAccess, OGRFieldType, OwnedLayer};

use crate::error::{Error, Result};
use crate::geo::crs::Crs;
use crate::geo::dataset;
use crate::geo::vector::features::{Attribute, Feature, no_layer, plain, wrong_filter};
use crate::geo::vector::read::VectorSource;
use crate::geo::vector::write::FieldKind;

/// Longitudes across the antimeridian go on beyond 180 degrees, but not for another turn.
const MOST_LONGITUDE: f64 = 540.0;

/// A layer, read as often as wanted.
pub(in crate::geo::vector) struct OgrReader {
    layer: OwnedLayer,
    path: PathBuf,
    filter: Option<String>,
}

impl OgrReader {
    /// Opens a layer.
    pub(in crate::geo::vector) fn open(source: &VectorSource) -> Result<Self> {
        let path = &source.path;
        let dataset = dataset::open(path, true)?;
        let mut layer = match &source.layer {
            Some(name) => {
                let names: Vec<String> = dataset.layers().map(|layer| layer.name()).collect();
                dataset
                    .into_layer_by_name(name)
                    .map_err(|_| no_layer(path, name, &names.join(", ")))?
            }
            None => dataset.into_layer(0).map_err(|_| {
                Error::input(path, "a layer", "none", "check that the file holds features")
            })?,
        };
        if let Some(filter) = &source.filter {
            layer
                .set_attribute_filter(filter)
                .map_err(|source| wrong_filter(path, filter, dataset::reason(&source)))?;
        }
        Ok(Self { layer, path: path.clone(), filter: source.filter.clone() })
    }

    /// The coordinates' CRS; `None` where the file names none.
    pub(in crate::geo::vector) fn crs(&self) -> Option<Crs> {
        let crs = self.layer.spatial_ref().and_then(|reference| Crs::on_earth(&reference))?;
        // GeoJSON has degrees unless it says otherwise; where a scene lies nowhere, it cannot.
        let is_json = self.path.extension().is_some_and(|e| e == "geojson" || e == "json");
        let beyond = |e: gdal::vector::Envelope| {
            e.MinY < -90.0 || e.MaxY > 90.0 || e.MinX < -MOST_LONGITUDE || e.MaxX > MOST_LONGITUDE
        };
        if is_json && crs.is_geographic() && self.layer.get_extent().is_ok_and(beyond) {
            tracing::warn!(
                "{}: coordinates beyond all degrees; taken for those of no CRS",
                self.path.display()
            );
            return None;
        }
        Some(crs)
    }

    /// Names and kinds of the attributes.
    pub(in crate::geo::vector) fn fields(&self) -> Vec<(String, FieldKind)> {
        self.layer
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
            .collect()
    }

    /// How many features there are, as far as the file says.
    pub(in crate::geo::vector) fn count(&self) -> u64 {
        self.layer.feature_count()
    }

    /// Hands every feature to `visit`, in file order, with its first attributes: those of `fields`.
    pub(in crate::geo::vector) fn each(
        &mut self,
        fields: &[(String, FieldKind)],
        mut visit: impl FnMut(Feature) -> Result<()>,
    ) -> Result<()> {
        let (path, filter) = (&self.path, self.filter.as_deref());
        let mut features = self.layer.features();
        loop {
            // SAFETY: resets this thread's error state only.
            unsafe { gdal_sys::CPLErrorReset() };
            let next = features.next();
            check_read(path, filter)?;
            let Some(feature) = next else { return Ok(()) };
            let mut attributes = Vec::with_capacity(fields.len());
            for (index, (_, kind)) in fields.iter().enumerate() {
                attributes.push(attribute(&feature, index, *kind).map_err(Error::gdal(path))?);
            }
            visit(Feature {
                fid: feature.fid().unwrap_or_default(),
                // By index: the other way takes a missing geometry for one.
                geometry: feature.geometry_by_index(0).ok().and_then(plain),
                attributes,
            })?;
        }
    }
}

/// A damaged file, or a filter that a database driver only looks at when it is asked for features,
/// ends the features early, or leaves one without its geometry; GDAL says so in its error state alone.
fn check_read(path: &Path, filter: Option<&str>) -> Result<()> {
    // SAFETY: reads this thread's error state; the message is copied at once.
    let (class, message) = unsafe {
        let message = std::ffi::CStr::from_ptr(gdal_sys::CPLGetLastErrorMsg());
        (gdal_sys::CPLGetLastErrorType(), message.to_string_lossy().into_owned())
    };
    if class < gdal_sys::CPLErr::CE_Failure {
        return Ok(());
    }
    let found = message.lines().next().unwrap_or("an error");
    if let Some(filter) = filter {
        return Err(wrong_filter(path, filter, found));
    }
    let hint = "check that the file is whole";
    Err(Error::input(path, "readable features", found, hint))
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
