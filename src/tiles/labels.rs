//! Where labels come from: a scene's footprints, or a photo's mask.

use std::path::PathBuf;

use crate::error::Result;
use crate::geo::{Grid, Window};
use crate::truth::{BUILDING, IGNORE, Mask, Truth};

use super::split::PxRect;

/// The labels of a scene or of a photo.
pub enum Labels {
    /// Footprints, burned.
    Footprints(Box<Truth>),
    /// A mask file, read when it is needed: thousands would not fit into memory.
    Mask {
        /// The file.
        file: PathBuf,
        /// Tells the photo's object from those of others.
        number: usize,
    },
}

impl Labels {
    /// Boxes of the footprints, in pixels of the scene.
    pub fn boxes(&self) -> Vec<PxRect> {
        match self {
            Self::Footprints(truth) => truth.boxes(),
            Self::Mask { .. } => Vec::new(),
        }
    }

    /// Labels of `window` of `grid`, `[row][col]`; ignore where not `valid`.
    ///
    /// # Errors
    /// The mask is damaged, or GDAL cannot burn the footprints.
    pub fn rasterize(&self, grid: &Grid, window: Window, valid: &[bool]) -> Result<Vec<u8>> {
        match self {
            Self::Footprints(truth) => truth.rasterize(grid, window, valid),
            Self::Mask { file, .. } => {
                let mut labels = Mask::read(file)?.labels((grid.width, grid.height), window);
                for (label, valid) in labels.iter_mut().zip(valid) {
                    if !valid {
                        *label = IGNORE;
                    }
                }
                Ok(labels)
            }
        }
    }

    /// Numbers of what is to be found in a window with these `labels`: footprints, or the photo's one object.
    pub fn objects_in(&self, grid: &Grid, window: Window, labels: &[u8]) -> Vec<usize> {
        match self {
            Self::Footprints(truth) => truth.buildings_in(grid, window),
            Self::Mask { number, .. } if labels.contains(&BUILDING) => vec![*number],
            Self::Mask { .. } => Vec::new(),
        }
    }
}
