//! The pass over the pixels of a scene: what its strips share, and what one strip adds.

use std::path::{Path, PathBuf};

use super::pixels::Confusion;
use super::region::points_inside;
use super::scanline::{PixelShape, burn};
use super::scene::{Vectors, open_scene};
use super::{EvalOptions, SceneInputs, Source};
use crate::error::{Error, Result};
use crate::geo::vector::Footprints;
use crate::geo::{Band, GeoTransform, Grid, Scene, SceneOptions, Window};
use crate::truth::is_building;
use crate::truth::{IGNORE, Truth, TruthOptions};

/// The value of 8-bit scores that means a probability of one.
const SCORE_ONE: f32 = 254.0;
/// The value of 8-bit scores and masks that means "not looked at".
const NOT_LOOKED_AT: u8 = 255;

/// Rows of a scene that are read at once for their validity alone.
const ROWS_AT_ONCE: usize = 128;

/// All that the strips of a scene share.
pub(super) struct Pass<'a> {
    inputs: &'a SceneInputs,
    threshold: f64,
    grid: &'a Grid,
    /// No building, only what is ignored.
    blank: Truth,
    /// True polygons, where predicted ones are given: both are rasterized by one rule.
    vector_truth: Option<Vec<PixelShape>>,
    /// Truth by the rule of the tile set that scores and masks were learned from.
    raster_truth: Option<Truth>,
    /// Predicted polygons, where vectors are given.
    found: Option<Vec<PixelShape>>,
    truth_points: Vec<(usize, usize, usize)>,
    found_points: Vec<(usize, usize, usize)>,
    /// The scene, where it is given and covers the grid.
    scene: Option<PathBuf>,
}

/// The files of one thread.
pub(super) struct Files {
    scene: Option<Scene>,
    scores: Option<Band>,
    mask: Option<Band>,
}

/// What one strip adds.
pub(super) struct Strip {
    /// In the order of [`Pass::sources`].
    pub counts: Vec<Confusion>,
    pub truth_on_nodata: Vec<usize>,
    pub found_on_nodata: Vec<usize>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        inputs: &'a SceneInputs,
        options: &EvalOptions,
        grid: &'a Grid,
        vectors: &Vectors,
    ) -> Result<Self> {
        let aoi = vectors.aoi.as_ref().map(|aoi| aoi.polygons.as_slice());
        let truth_options =
            TruthOptions { all_touched: options.all_touched, boundary_m: None, contact_m: None };
        let blank = Truth::prepare(&[], aoi, grid, &truth_options)?;
        let rasters = inputs.scores.is_some() || inputs.mask.is_some();
        let raster_truth = rasters
            .then(|| Truth::prepare(&vectors.truth.polygons, aoi, grid, &truth_options))
            .transpose()?;
        let to_pixels = grid.transform.invert().unwrap_or(GeoTransform::PIXEL);
        let shapes = |found: &Footprints| -> Vec<PixelShape> {
            found.polygons.iter().map(|shape| PixelShape::new(shape, &to_pixels)).collect()
        };
        let points = |found: &Footprints| points_inside(&found.polygons, grid);
        let scene = match &inputs.scene {
            Some(path) => {
                covers(&open_scene(path, &inputs.scene_options)?, grid).then(|| path.clone())
            }
            None => None,
        };
        Ok(Self {
            inputs,
            threshold: options.threshold,
            grid,
            blank,
            vector_truth: vectors.predicted.as_ref().map(|_| shapes(&vectors.truth)),
            raster_truth,
            found: vectors.predicted.as_ref().map(shapes),
            truth_points: points(&vectors.truth),
            found_points: vectors.predicted.as_ref().map(points).unwrap_or_default(),
            scene,
        })
    }

    pub(super) fn sources(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        sources.extend(self.found.as_ref().map(|_| Source::Vectors));
        sources.extend(self.inputs.scores.as_ref().map(|_| Source::Scores));
        sources.extend(self.inputs.mask.as_ref().map(|_| Source::Mask));
        sources
    }

    pub(super) fn open_files(&self) -> Result<Files> {
        let open = |path: &Option<PathBuf>| path.as_ref().map(|p| self.open_band(p)).transpose();
        let scene = self.scene.as_ref();
        Ok(Files {
            scene: scene.map(|p| open_scene(p, &self.inputs.scene_options)).transpose()?,
            scores: open(&self.inputs.scores)?,
            mask: open(&self.inputs.mask)?,
        })
    }

    fn open_band(&self, path: &Path) -> Result<Band> {
        let band = Band::open(path)?;
        if same_place(band.grid(), self.grid)
            && band.grid().width == self.grid.width
            && band.grid().height == self.grid.height
        {
            return Ok(band);
        }
        Err(Error::input(
            path,
            format!("a raster on the same grid as the others, {}", describe(self.grid)),
            describe(band.grid()),
            "evaluate rasters on different grids one at a time",
        ))
    }

    pub(super) fn strip(&self, files: &Files, window: Window) -> Result<Strip> {
        let scores =
            files.scores.as_ref().map(|band| self.read_scores(band, window)).transpose()?;
        let mask = files.mask.as_ref().map(|band| read_mask(band, window)).transpose()?;
        let valid = match (&files.scene, scores.as_ref().or(mask.as_ref())) {
            (Some(scene), _) => scene.read(self.grid, window)?.valid,
            (None, Some(raster)) => raster.looked_at.clone(),
            (None, None) => vec![true; window.area()],
        };
        let mut counts = Vec::new();
        if let (Some(found), Some(truth)) = (&self.found, &self.vector_truth) {
            let mut labels = self.blank.rasterize(self.grid, window, &valid)?;
            burn(&mut labels, truth, window);
            let mut predicted = vec![false; window.area()];
            for shape in found {
                shape.spans(window.width, window.row..window.bottom(), |row, columns| {
                    predicted[(row - window.row) * window.width..][columns].fill(true);
                });
            }
            counts.push(Confusion::of(&predicted, &labels));
        }
        if let Some(truth) = &self.raster_truth {
            let labels = truth.rasterize(self.grid, window, &valid)?;
            for raster in [scores, mask].iter().flatten() {
                counts.push(Confusion::of(&raster.building, &labels));
            }
        }
        let on_nodata = |points: &[(usize, usize, usize)]| -> Vec<usize> {
            let from = points.partition_point(|point| point.0 < window.row);
            let inside = points[from..].iter().take_while(|point| point.0 < window.bottom());
            inside
                .filter(|(row, col, _)| !valid[(row - window.row) * window.width + col])
                .map(|point| point.2)
                .collect()
        };
        Ok(Strip {
            counts,
            truth_on_nodata: on_nodata(&self.truth_points),
            found_on_nodata: on_nodata(&self.found_points),
        })
    }

    fn read_scores(&self, band: &Band, window: Window) -> Result<Prediction> {
        let nodata = band.nodata();
        let values = band.read_f32(window)?;
        // Bytes hold p x 254, floats p itself.
        let (one, absent) = if band.is_u8() {
            (SCORE_ONE, Some(nodata.unwrap_or(f64::from(NOT_LOOKED_AT))))
        } else {
            (1.0, nodata)
        };
        let least = self.threshold as f32 * one;
        let looked_at: Vec<bool> = values
            .iter()
            .map(|&value| {
                value.is_finite() && absent.is_none_or(|absent| f64::from(value) != absent)
            })
            .collect();
        let building =
            values.iter().zip(&looked_at).map(|(&value, &seen)| seen && value >= least).collect();
        Ok(Prediction { building, looked_at })
    }
}

/// A raster prediction: where it found a building, and where it looked for one.
struct Prediction {
    building: Vec<bool>,
    looked_at: Vec<bool>,
}

fn read_mask(band: &Band, window: Window) -> Result<Prediction> {
    let labels = band.read_u8(window)?;
    let nodata = band.nodata().filter(|nodata| *nodata != 0.0);
    let absent = |label: u8| label == IGNORE || nodata == Some(f64::from(label));
    Ok(Prediction {
        building: labels.iter().map(|&label| is_building(label) && !absent(label)).collect(),
        looked_at: labels.iter().map(|&label| !absent(label)).collect(),
    })
}

/// Which pixels of `grid` have data in a scene, row by row; `None` where the scene does not span it.
pub(super) fn validity(
    path: &Path,
    options: &SceneOptions,
    grid: &Grid,
) -> Result<Option<Vec<bool>>> {
    let scene = open_scene(path, options)?;
    if !covers(&scene, grid) {
        return Ok(None);
    }
    let mut valid = Vec::with_capacity(grid.width * grid.height);
    for row in (0..grid.height).step_by(ROWS_AT_ONCE) {
        let height = ROWS_AT_ONCE.min(grid.height - row);
        valid.extend(scene.read(grid, Window { col: 0, row, width: grid.width, height })?.valid);
    }
    Ok(Some(valid))
}

/// Whether a scene spans the extent of `grid`, so that it can be read on it.
fn covers(scene: &Scene, grid: &Grid) -> bool {
    same_place(scene.grid(), grid)
}

/// Whether two grids span the same extent: corners within half a pixel.
fn same_place(a: &Grid, b: &Grid) -> bool {
    let same_crs = match (&a.crs, &b.crs) {
        (Some(a), Some(b)) => a.same_as(b),
        (None, None) => true,
        _ => false,
    };
    let Some(to_pixels) = b.transform.invert() else { return false };
    let own = b.window(Window::whole(b.width, b.height)).corners();
    same_crs
        && a.corners().iter().zip(own).all(|(&(x, y), (u, v))| {
            let (p, q) = (to_pixels.apply(x, y), to_pixels.apply(u, v));
            (p.0 - q.0).abs() < 0.5 && (p.1 - q.1).abs() < 0.5
        })
}

fn describe(grid: &Grid) -> String {
    let (x, y) = grid.transform.apply(0.0, 0.0);
    format!("{} x {} pixels from ({x}, {y})", grid.width, grid.height)
}
