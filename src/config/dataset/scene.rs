//! `[[scene]]`: an image and its labels.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One image and its buildings. Relative paths start at the folder of the configuration
/// file; absolute paths, URLs and `/vsi...` paths are taken as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneEntry {
    /// Name of the scene's folder in the tile set; the image's file name (or, where two images share
    /// it, the name of its folder) where absent.
    pub name: Option<String>,
    /// The image: anything that GDAL opens.
    pub image: PathBuf,
    /// The buildings: GeoParquet, or anything that GDAL opens.
    pub footprints: PathBuf,
    /// Instead of buildings, what models said: a raster of `geoseg label`. All scenes of a set have it, or none.
    pub soft: Option<PathBuf>,
    /// The footprints' layer; the first one where absent.
    pub layer: Option<String>,
    /// An attribute filter on the footprints, the WHERE part of an SQL query.
    pub filter: Option<String>,
    /// Polygons inside which all buildings are labelled; outside them labels are unknown.
    pub aoi: Option<PathBuf>,
    /// What the scene's tiles are for.
    pub split: SplitChoice,
}

/// A scene's split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitChoice {
    /// All tiles are for learning.
    Train,
    /// All tiles are for validation.
    Val,
    /// All tiles are for the last test.
    Test,
    /// `[split]` decides.
    #[default]
    Auto,
}

impl SceneEntry {
    /// Whether entry `at` names its labels, as a set of soft labels or of others needs them.
    pub(super) fn validate(&self, at: usize, soft_set: bool) -> Result<()> {
        let key = |name| format!("scene.{at}.{name}");
        let given = |path: &Path| !path.as_os_str().is_empty();
        if !given(&self.image) {
            return Err(Error::config(key("image"), "a path is needed"));
        }
        match (soft_set, &self.soft, given(&self.footprints)) {
            (false, _, true) | (true, Some(_), false) => {}
            (false, _, false) => {
                return Err(Error::config(key("footprints"), "a path is needed"));
            }
            (true, None, _) => {
                let problem =
                    "is needed, as other scenes have it: labels of both kinds need two tile sets";
                return Err(Error::config(key("soft"), problem));
            }
            (true, Some(_), true) => {
                let problem = "stands beside `soft`: labels are either footprints or soft";
                return Err(Error::config(key("footprints"), problem));
            }
        }
        if let (Some(_), Some(_)) = (&self.soft, &self.aoi) {
            let problem = "stands beside `soft`, which knows itself where it has labels";
            return Err(Error::config(key("aoi"), problem));
        }
        Ok(())
    }
}
