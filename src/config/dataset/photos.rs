//! `[[photos]]`: pictures without a place on Earth.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SplitChoice;
use crate::error::{Error, Result};

/// Photos of something, and masks of it. Relative paths start at the folder of the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhotosEntry {
    /// Name of the photos' folder in the tile set; that of the folder that they lie in where absent.
    pub name: Option<String>,
    /// A folder of photos (JPEG, PNG, TIFF), or a pattern.
    pub images: PathBuf,
    /// A folder of masks (PNG, GIF, TIFF, BMP): as large as the photo, object where brighter than 127 of 255.
    pub masks: PathBuf,
    /// What a mask's name has behind that of its photo.
    pub mask_suffix: String,
    /// A photo becomes one tile, resized to `tile_px` x `tile_px`; otherwise it is cut into tiles as a scene is.
    pub resize: bool,
    /// What the photos are for; under `auto` every photo is drawn for itself.
    pub split: SplitChoice,
}

impl Default for PhotosEntry {
    fn default() -> Self {
        Self {
            name: None,
            images: PathBuf::new(),
            masks: PathBuf::new(),
            mask_suffix: String::new(),
            resize: true,
            split: SplitChoice::Auto,
        }
    }
}

impl PhotosEntry {
    /// Looks at what can be judged without opening a file; `at` is the entry's place in the list.
    pub(super) fn validate(&self, at: usize) -> Result<()> {
        for (key, path) in [("images", &self.images), ("masks", &self.masks)] {
            if path.as_os_str().is_empty() {
                return Err(Error::config(format!("photos.{at}.{key}"), "a path is needed"));
            }
        }
        if self.mask_suffix.contains(['/', '\\']) {
            return Err(Error::config(
                format!("photos.{at}.mask_suffix"),
                format!("expected the end of a file name, found `{}`", self.mask_suffix),
            ));
        }
        Ok(())
    }
}
