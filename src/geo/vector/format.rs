//! Vector formats that are written, by the file name's extension.

use std::path::Path;

use crate::error::{Error, Result};
use crate::geo::dataset::init;

/// The extensions as help texts name them.
pub const NAMES: &str = ".geojson, .geojsonl, .gpkg, .fgb, .parquet, .shp, .mbtiles or .pmtiles";

/// A vector format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 7946, or with a CRS of its own the older form that names it.
    GeoJson,
    /// A feature a line, RFC 8142 without its separators.
    GeoJsonLines,
    /// A database with a spatial index and a style.
    GeoPackage,
    /// Packed features behind a spatial index.
    FlatGeobuf,
    /// Columns with bounding boxes beside the geometry, version 1.1.
    GeoParquet,
    /// Four files with names of ten characters.
    Shapefile,
    /// Vector tiles in a database.
    MbTiles,
    /// Vector tiles in one file for HTTP range requests.
    PmTiles,
}

const EXTENSIONS: [(&str, Format); 9] = [
    ("geojson", Format::GeoJson),
    ("json", Format::GeoJson),
    ("geojsonl", Format::GeoJsonLines),
    ("gpkg", Format::GeoPackage),
    ("fgb", Format::FlatGeobuf),
    ("parquet", Format::GeoParquet),
    ("shp", Format::Shapefile),
    ("mbtiles", Format::MbTiles),
    ("pmtiles", Format::PmTiles),
];

impl Format {
    /// The format that a file name asks for.
    ///
    /// # Errors
    /// The extension is none of those that geoseg writes, or GDAL lacks the driver for it.
    pub fn of(path: &Path) -> Result<Self> {
        let extension =
            path.extension().map(|text| text.to_string_lossy().to_lowercase()).unwrap_or_default();
        let known = EXTENSIONS.iter().find(|(known, _)| *known == extension);
        let Some(&(_, format)) = known else {
            return Err(Error::input(
                path,
                format!("a name that ends in {NAMES}"),
                if extension.is_empty() { "no extension".into() } else { format!(".{extension}") },
                "choose the format by the extension",
            ));
        };
        format.check_driver(path)?;
        Ok(format)
    }

    /// GDAL's driver; none for formats that are written without it.
    pub(super) fn driver(self) -> Option<&'static str> {
        match self {
            Self::GeoPackage => Some("GPKG"),
            Self::GeoJson | Self::GeoJsonLines | Self::FlatGeobuf | Self::GeoParquet => None,
            Self::Shapefile => Some("ESRI Shapefile"),
            Self::MbTiles => Some("MVT"),
            Self::PmTiles => Some("PMTiles"),
        }
    }

    /// Whether the format is a pyramid of tiles, simplified for looking at: not for reading back.
    pub fn is_tiles(self) -> bool {
        matches!(self, Self::MbTiles | Self::PmTiles)
    }

    fn check_driver(self, path: &Path) -> Result<()> {
        init();
        let Some(name) = self.driver() else { return Ok(()) };
        let driver = gdal::DriverManager::get_driver_by_name(name).ok();
        // Some builds of GDAL read tiles, but cannot write them.
        let writes = driver.is_some_and(|driver| {
            use gdal::Metadata;
            driver.metadata_item("DCAP_CREATE", "").is_some_and(|value| value == "YES")
        });
        if writes {
            return Ok(());
        }
        let hint = match self {
            Self::PmTiles => {
                "write .mbtiles and convert it (`pmtiles convert`), or use GDAL 3.8 or newer"
            }
            _ => "use a GDAL that was built with this driver, or choose another format",
        };
        Err(Error::input(
            path,
            format!("a GDAL that writes this format (driver {name})"),
            format!("GDAL {} without it", gdal::version::VersionInfo::release_name()),
            hint,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_chooses_whatever_its_case() {
        assert_eq!(Format::of(Path::new("a/b.GPKG")).unwrap(), Format::GeoPackage);
        assert_eq!(Format::of(Path::new("b.parquet")).unwrap(), Format::GeoParquet);
        for name in ["b", "b.dwg", "gpkg"] {
            let error = Format::of(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(".parquet"), "{error}");
        }
    }

    #[test]
    fn every_extension_is_named_in_help_texts() {
        for (extension, _) in EXTENSIONS.iter().filter(|(extension, _)| *extension != "json") {
            assert!(NAMES.contains(&format!(".{extension}")), "{extension}");
        }
    }
}
