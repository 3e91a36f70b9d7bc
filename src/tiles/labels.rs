//! What the tiles of a scene or a photo are labelled with.

use std::path::{Path, PathBuf};

use super::split::PxRect;
use crate::error::{Error, Result};
use crate::geo::{Grid, Scene, SceneOptions, Window};
use crate::truth::{BUILDING, IGNORE, Mask, Truth, is_building};

/// Soft labels: `round(p * 254)`, as `geoseg label` and `geoseg infer` write scores; 255 is ignore.
pub const SOFT_SCALE: f32 = 254.0;

/// How far the corners of soft labels may lie from those of their scene, pixels of the scene.
const CORNER_PX: f64 = 0.5;

/// The labels of a scene or a photo. Shared between threads.
#[derive(Debug)]
pub enum LabelSource {
    /// Footprints to be burned.
    Footprints(Box<Truth>),
    /// A photo's mask, read when it is needed: thousands would not fit into memory.
    Mask {
        /// The file.
        file: PathBuf,
        /// Tells the photo's object from those of others.
        number: usize,
    },
    /// A raster of probabilities over the whole scene.
    Soft(PathBuf),
}

impl LabelSource {
    /// Soft labels for a scene with the pixels `native`.
    ///
    /// # Errors
    /// The file is no raster of 8-bit scores, or does not cover the scene as a whole.
    pub fn soft(path: &Path, image: &Path, native: &Grid) -> Result<Self> {
        let labels = open_soft(path)?;
        let fault = |expected: String, found: String| {
            let hint = "label the scene with `geoseg label`, which covers all of it";
            Err(Error::input(path, expected, found, hint))
        };
        if !labels.is_8_bit() {
            let expected = "probabilities as 8-bit values (p x 254, 255 is nodata)";
            return fault(expected.to_owned(), format!("{} values", labels.dtype()));
        }
        if labels.nodata() != Some(f64::from(IGNORE)) {
            let expected = "probabilities with 255 as nodata (p x 254)";
            let found = labels.nodata().map_or("no nodata".to_owned(), |v| format!("nodata {v}"));
            return fault(expected.to_owned(), found);
        }
        let crs = |grid: &Grid| grid.crs.as_ref().map_or("no CRS", |crs| crs.label()).to_owned();
        let same_crs = match (&labels.grid().crs, &native.crs) {
            (Some(a), Some(b)) => a.same_as(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        // Corner by corner, in pixels of the scene.
        let covers = native.transform.invert().is_some_and(|to_pixels| {
            let (grid, (width, height)) =
                (labels.grid(), (native.width as f64, native.height as f64));
            [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].into_iter().all(|(x, y)| {
                let at = grid.transform.apply(x * grid.width as f64, y * grid.height as f64);
                let (col, row) = to_pixels.apply(at.0, at.1);
                (col - x * width).abs() <= CORNER_PX && (row - y * height).abs() <= CORNER_PX
            })
        });
        if !same_crs || !covers {
            let describe = |grid: &Grid| {
                let [x0, y0, x1, y1] = grid.bounds();
                format!("x {x0:.6} to {x1:.6}, y {y0:.6} to {y1:.6} ({})", crs(grid))
            };
            return fault(
                format!("the extent of {}: {}", image.display(), describe(native)),
                describe(labels.grid()),
            );
        }
        Ok(Self::Soft(path.to_owned()))
    }

    /// Boxes around the footprints in pixels of the scene; none of other labels.
    pub fn boxes(&self) -> Vec<PxRect> {
        match self {
            Self::Footprints(truth) => truth.boxes(),
            Self::Mask { .. } | Self::Soft(_) => Vec::new(),
        }
    }

    /// Opened for one thread.
    ///
    /// # Errors
    /// The raster has gone.
    pub fn open(&self) -> Result<Labeller<'_>> {
        Ok(match self {
            Self::Footprints(truth) => Labeller::Footprints(truth),
            Self::Mask { file, number } => {
                Labeller::Mask { mask: Mask::read(file)?, number: *number }
            }
            Self::Soft(path) => Labeller::Soft(Box::new(open_soft(path)?)),
        })
    }
}

fn open_soft(path: &Path) -> Result<Scene> {
    let options = SceneOptions { bands: Some(vec![1]), ..SceneOptions::default() };
    Scene::open_with(path, &options)
}

/// Labels of windows, for one thread.
pub enum Labeller<'a> {
    /// Burned footprints.
    Footprints(&'a Truth),
    /// A mask, and the number of its object.
    Mask {
        /// The whole mask.
        mask: Mask,
        /// Its object.
        number: usize,
    },
    /// Pieces of a raster.
    Soft(Box<Scene>),
}

impl Labeller<'_> {
    /// Labels of a window of `grid`, `[row, col]`; ignore where not `valid`.
    ///
    /// # Errors
    /// The raster is damaged there.
    pub fn labels(&self, grid: &Grid, window: Window, valid: &[bool]) -> Result<Vec<u8>> {
        match self {
            Self::Footprints(truth) => truth.rasterize(grid, window, valid),
            Self::Mask { mask, .. } => {
                let labels = mask.labels((grid.width, grid.height), window);
                Ok(where_valid(labels, valid))
            }
            Self::Soft(scene) => {
                let soft = scene.read(grid, window)?;
                Ok(where_valid(where_valid(soft.data, &soft.valid), valid))
            }
        }
    }

    /// Whether a label says building: a soft one, that it is likelier than not.
    pub fn is_building(&self, label: u8) -> bool {
        match self {
            Self::Footprints(_) | Self::Mask { .. } => is_building(label),
            Self::Soft(_) => label != IGNORE && f32::from(label) >= SOFT_SCALE / 2.0,
        }
    }

    /// Numbers of what is to be found in a window with these `labels`: footprints, or the photo's one object.
    pub fn objects_in(&self, grid: &Grid, window: Window, labels: &[u8]) -> Vec<usize> {
        match self {
            Self::Footprints(truth) => truth.buildings_in(grid, window),
            Self::Mask { number, .. } if labels.contains(&BUILDING) => vec![*number],
            Self::Mask { .. } | Self::Soft(_) => Vec::new(),
        }
    }
}

/// Labels, ignore where not `valid`.
fn where_valid(mut labels: Vec<u8>, valid: &[bool]) -> Vec<u8> {
    for (label, valid) in labels.iter_mut().zip(valid) {
        if !valid {
            *label = IGNORE;
        }
    }
    labels
}
