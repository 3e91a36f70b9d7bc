//! The CRS that a file of features is written in.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::format::Format;
use crate::error::{Error, Result};
use crate::geo::crs::{Crs, Reprojection};
use crate::output::final_name;

/// Which CRS a file gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OutputCrs {
    /// WGS 84 for GeoJSON, the features' own for all others.
    #[default]
    Auto,
    /// The features' own.
    Native,
    /// By its EPSG code.
    Epsg(u32),
}

impl FromStr for OutputCrs {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            _ => {
                let code = text.strip_prefix("EPSG:").or_else(|| text.strip_prefix("epsg:"));
                code.and_then(|code| code.parse().ok())
                    .map(Self::Epsg)
                    .ok_or_else(|| format!("expected auto, native or EPSG:n, found `{text}`"))
            }
        }
    }
}

impl TryFrom<String> for OutputCrs {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<OutputCrs> for String {
    fn from(crs: OutputCrs) -> Self {
        crs.to_string()
    }
}

impl fmt::Display for OutputCrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Native => f.write_str("native"),
            Self::Epsg(code) => write!(f, "EPSG:{code}"),
        }
    }
}

impl OutputCrs {
    /// The CRS of the file, for features in `native`; `None` where these have none.
    ///
    /// # Errors
    /// The format cannot hold this CRS, the code is unknown, or there is no CRS to come from.
    pub(super) fn resolve(
        self,
        path: &Path,
        format: Format,
        native: Option<&Crs>,
    ) -> Result<Option<Crs>> {
        let fixed = match format {
            Format::GeoJsonLines => Some("WGS 84"),
            Format::MbTiles | Format::PmTiles => Some("Web Mercator"),
            _ => None,
        };
        if let (Some(fixed), true) = (fixed, self != Self::Auto) {
            return Err(Error::input(
                path,
                format!("a format that holds coordinates in {self}"),
                format!("one that is always in {fixed}"),
                "leave --crs out, or choose .geojson, .gpkg, .fgb, .parquet or .shp",
            ));
        }
        let Some(native) = native else {
            return match self {
                Self::Epsg(_) => Err(Error::input(
                    path,
                    format!("features that can be brought to {self}"),
                    "coordinates without a CRS",
                    "assign one to the scene, or leave --crs out",
                )),
                Self::Auto | Self::Native => Ok(None),
            };
        };
        match self {
            Self::Epsg(code) => {
                let crs = Crs::from_epsg(code)?;
                if crs.is_horizontal() {
                    return Ok(Some(crs));
                }
                let hint = "choose a projected CRS, or one of longitude and latitude";
                Err(Error::input(path, "a CRS of places on a map", format!("EPSG:{code}"), hint))
            }
            Self::Auto if matches!(format, Format::GeoJson | Format::GeoJsonLines) => {
                let wgs84 = Crs::wgs84()?;
                if Reprojection::new(native, &wgs84).is_ok() {
                    return Ok(Some(wgs84));
                }
                tracing::warn!(
                    "{}: {} is not tied to WGS 84; its own coordinates are written",
                    final_name(path).display(),
                    native.label()
                );
                Ok(Some(native.clone()))
            }
            Self::Auto if format.is_tiles() => Crs::from_epsg(3857).map(Some),
            Self::Auto | Self::Native => Ok(Some(native.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back() {
        for text in ["auto", "native", "EPSG:3857"] {
            assert_eq!(text.parse::<OutputCrs>().unwrap().to_string(), text);
        }
        assert_eq!("epsg:4326".parse(), Ok(OutputCrs::Epsg(4326)));
        for wrong in ["", "4326", "EPSG:", "EPSG:x", "wgs84"] {
            assert!(wrong.parse::<OutputCrs>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn geojson_is_wgs_84_unless_told_otherwise_and_others_keep_theirs() {
        let utm = Crs::from_epsg(32645).unwrap();
        let resolve = |crs: OutputCrs, format| {
            let found = crs.resolve(Path::new("x"), format, Some(&utm));
            found.map(|crs| crs.unwrap().label().to_owned())
        };
        let auto = OutputCrs::Auto;
        assert_eq!(resolve(auto, Format::GeoJson).unwrap(), "EPSG:4326");
        assert_eq!(resolve(auto, Format::GeoParquet).unwrap(), "EPSG:32645");
        assert_eq!(resolve(OutputCrs::Native, Format::GeoJson).unwrap(), "EPSG:32645");
        assert_eq!(resolve(OutputCrs::Epsg(3857), Format::Shapefile).unwrap(), "EPSG:3857");
        assert!(resolve(OutputCrs::Epsg(3857), Format::GeoJsonLines).is_err());
        assert!(OutputCrs::Epsg(3857).resolve(Path::new("x"), Format::GeoPackage, None).is_err());
    }
}
