//! Where the scores of a raster come from: items of its metadata.

use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::config::ensemble::Mean;
use crate::config::tta::Symmetries;
use crate::error::{Error, Result};
use crate::geo;

/// Name of the metadata item: [`Provenance`] as JSON.
pub const ITEM: &str = "GEOSEG_PROVENANCE";

/// What made a scores raster.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Version of this program.
    pub geoseg: String,
    /// The scene's file, where models scored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene: Option<String>,
    /// When the scene was taken, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The kind of mean, where there are several parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Mean>,
    /// Whether the outlier rule applied, where there are several parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_outlier: Option<bool>,
    /// The models or files, in order.
    pub parts: Vec<Origin>,
}

/// One of the scores that became the raster's.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// Scored by a model.
    Model {
        /// Name of the model's file.
        file: String,
        /// SHA-256 of the file, hexadecimal.
        sha256: String,
        /// What it counts among the parts.
        weight: f64,
        /// Ground sample distance at which it was run, metres; `None` in scenes without georeference.
        gsd_m: Option<f64>,
        /// Side of its window, px.
        window_px: usize,
        /// Pixels that windows share.
        overlap_px: usize,
        /// Symmetries in which windows were scored.
        tta: Symmetries,
        /// Sizes at which they were.
        tta_scales: Vec<f64>,
        /// The mean of these views.
        tta_mean: Mean,
    },
    /// Read from a raster.
    Scores {
        /// Name of the raster's file.
        file: String,
        /// What it counts among the parts.
        weight: f64,
        /// What the raster says of itself.
        provenance: Option<serde_json::Value>,
    },
}

impl Provenance {
    /// Of `parts`, which `mean` and the outlier rule made one.
    pub fn new(scene: Option<String>, mean: Mean, drop_outlier: bool, parts: Vec<Origin>) -> Self {
        let several = parts.len() > 1;
        Self {
            geoseg: env!("CARGO_PKG_VERSION").to_owned(),
            scene,
            date: None,
            mean: several.then_some(mean),
            drop_outlier: several.then_some(drop_outlier),
            parts,
        }
    }

    /// The same of a scene taken at `date`.
    pub fn taken(self, date: Option<String>) -> Self {
        Self { date, ..self }
    }

    /// Writes it into a raster that is there (give it a staged path).
    ///
    /// # Errors
    /// GDAL cannot write there.
    pub fn write(&self, raster: &Path) -> Result<()> {
        let json = serde_json::to_string(self).map_err(std::io::Error::from);
        let json = json.map_err(Error::io(raster))?;
        geo::annotate(raster, &[(ITEM, json)])
    }
}

/// A file's name without its folder: paths mean nothing elsewhere.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(Error::io(path))?;
    Ok(format!("{:x}", hash.finalize()))
}
