//! Footprints from any vector format, repaired and reprojected.

use std::path::PathBuf;

use gdal::vector::LayerAccess;
use geo::{Area, MakeValid, Validation};
use geozero::ToGeo;
use geozero::wkb::Wkb;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};
use crate::geo::dataset;

/// Where polygons come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSource {
    /// Any file or connection that OGR opens.
    pub path: PathBuf,
    /// The layer's name; the first one where absent.
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

/// Reads polygons, in `to`'s coordinates where given.
///
/// # Errors
/// The file, layer or filter is wrong; the file has no CRS but `to` is given; a coordinate cannot be
/// reprojected.
pub fn read_footprints(source: &VectorSource, to: Option<&Crs>) -> Result<Footprints> {
    let path = &source.path;
    let dataset = dataset::open(path, true)?;
    let mut layer = match &source.layer {
        Some(name) => dataset.layer_by_name(name).map_err(|_| {
            let names: Vec<String> = dataset.layers().map(|layer| layer.name()).collect();
            Error::input(path, format!("a layer `{name}`"), names.join(", "), "name one of these")
        })?,
        None => dataset.layer(0).map_err(|_| {
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
    let from = layer
        .spatial_ref()
        .filter(|reference| !reference.is_local())
        // GDAL's name for the CRS of a GeoPackage that has none.
        .filter(|reference| reference.name().is_none_or(|name| !name.starts_with("Undefined ")))
        .and_then(|reference| Crs::from_spatial_ref(&reference).ok());
    let way = match (&from, to) {
        (Some(from), Some(to)) => Some(Reprojection::new(from, to)?),
        (None, Some(to)) => {
            return Err(Error::input(
                path,
                "footprints with a coordinate reference system",
                "none",
                format!("assign it first, for example `ogr2ogr -a_srs {} ...`", to.label()),
            ));
        }
        _ => None,
    };
    let mut footprints = Footprints { crs: to.cloned().or(from), ..Footprints::default() };
    // SAFETY: resets this thread's error state only.
    unsafe { gdal_sys::CPLErrorReset() };
    for feature in layer.features() {
        let Some(geometry) = feature.geometry() else {
            footprints.dropped += 1;
            continue;
        };
        let wkb = geometry.wkb().map_err(Error::gdal(path))?;
        let Some(shape) = polygons_of(wkb) else {
            footprints.dropped += 1;
            continue;
        };
        let shape = if shape.is_valid() {
            shape
        } else {
            footprints.repaired += 1;
            match shape.make_valid() {
                Ok(mended) => mended,
                Err(_) => geo::MultiPolygon(Vec::new()),
            }
        };
        if shape.unsigned_area() <= 0.0 {
            footprints.dropped += 1;
            continue;
        }
        let shape = match &way {
            Some(way) => way.multi_polygon(&shape)?,
            None => shape,
        };
        footprints.polygons.push(shape);
    }
    check_read(source)?;
    Ok(footprints)
}

/// A damaged file, or a filter that a database driver only looks at when it is asked for features,
/// ends the features early; GDAL says so in its error state alone.
fn check_read(source: &VectorSource) -> Result<()> {
    // SAFETY: reads this thread's error state; the message is copied at once.
    let (class, message) = unsafe {
        let message = std::ffi::CStr::from_ptr(gdal_sys::CPLGetLastErrorMsg());
        (gdal_sys::CPLGetLastErrorType(), message.to_string_lossy().into_owned())
    };
    if class < gdal_sys::CPLErr::CE_Failure {
        return Ok(());
    }
    let (expected, hint) = match &source.filter {
        Some(filter) => (
            format!("a filter that fits the attributes: {filter}"),
            "write it as the WHERE part of an SQL query",
        ),
        None => ("readable features".to_owned(), "check that the file is whole"),
    };
    Err(Error::input(&source.path, expected, message.lines().next().unwrap_or("an error"), hint))
}

/// The areal part of a WKB geometry; heights and measures are dropped.
fn polygons_of(wkb: Vec<u8>) -> Option<geo::MultiPolygon<f64>> {
    let polygons = flatten(Wkb(wkb).to_geo().ok()?);
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
