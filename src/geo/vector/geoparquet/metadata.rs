//! The metadata `geo`: which column holds the geometries, how, and in which CRS.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::geo::crs::Crs;

/// The key of the metadata in the file's footer.
pub(super) const KEY: &str = "geo";
const ENCODING: &str = "WKB";

/// The columns of a file that is written.
pub(super) const GEOMETRY: &str = "geometry";
pub(super) const BBOX: &str = "bbox";
pub(super) const CORNERS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

/// The text for a file of polygons: the CRS as PROJJSON, the kinds of geometries that are there, and the box over all
/// (finite where there is one).
pub(super) fn describe(crs: &Value, kinds: &BTreeSet<&str>, bounds: [f64; 4]) -> String {
    let covering: serde_json::Map<String, Value> =
        CORNERS.iter().map(|corner| ((*corner).to_owned(), json!([BBOX, corner]))).collect();
    let mut column = json!({
        "encoding": ENCODING,
        "geometry_types": kinds,
        "crs": crs,
        "covering": { BBOX: covering },
    });
    if bounds.iter().all(|bound| bound.is_finite()) {
        column["bbox"] = json!(bounds);
    }
    let metadata = json!({
        "version": "1.1.0",
        "primary_column": GEOMETRY,
        "columns": { GEOMETRY: column },
    });
    metadata.to_string()
}

/// What is said of the geometries of a file that is read.
pub(super) struct Geometries {
    /// The column that is read.
    pub(super) primary: String,
    /// All columns of geometries.
    pub(super) columns: Vec<String>,
    /// Of the coordinates; `None` where the file says that it is unknown.
    pub(super) crs: Option<Crs>,
}

impl Geometries {
    /// Reads the text.
    ///
    /// # Errors
    /// It is none, the geometries are not WKB, or PROJ does not understand the CRS.
    pub(super) fn read(path: &Path, text: &str) -> Result<Self> {
        let incomplete = |found: &str| {
            let hint = "write the file again with a program that follows geoparquet.org";
            Error::input(path, format!("the metadata `{KEY}` of GeoParquet"), found, hint)
        };
        let metadata: Value =
            serde_json::from_str(text).map_err(|problem| incomplete(&problem.to_string()))?;
        let primary =
            metadata["primary_column"].as_str().ok_or_else(|| incomplete("no `primary_column`"))?;
        let columns = metadata["columns"].as_object().ok_or_else(|| incomplete("no `columns`"))?;
        let column = columns
            .get(primary)
            .ok_or_else(|| incomplete(&format!("nothing about the column `{primary}`")))?;
        let encoding = column["encoding"].as_str().unwrap_or_default();
        if encoding != ENCODING {
            return Err(Error::input(
                path,
                format!("geometries as {ENCODING}"),
                format!("the encoding `{encoding}` in the column `{primary}`"),
                format!("write the file again with the encoding {ENCODING}"),
            ));
        }
        let crs = match column.get("crs") {
            None => Some(Crs::wgs84()?), // longitude and latitude, says the specification
            Some(Value::Null) => None,
            Some(projjson) => Crs::from_projjson(projjson).map_err(|problem| {
                let found = problem.to_string();
                Error::input(path, "a CRS as PROJJSON", found, "write the file again with another")
            })?,
        };
        Ok(Self { primary: primary.to_owned(), columns: columns.keys().cloned().collect(), crs })
    }
}
