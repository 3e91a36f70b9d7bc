//! One window of a scene, as the sliding window would feed it to the network.

use super::input::Input;
use super::plan::Axis;
use super::strips::{self, Batch, Plan};
use crate::config::infer::InferenceConfig;
use crate::error::{Error, Result};

/// A window and what is known of its pixels.
#[derive(Clone, Debug)]
pub struct SingleWindow {
    /// The one window, normalised.
    pub batch: Batch,
    /// Pixels `[row, col]` that lie in the scene and have data.
    pub valid: Vec<bool>,
}

impl Input {
    /// The window of `config.window_px` around a place, moved where it would leave the scene; around the middle where none is
    /// given. A scene smaller than the window lies in its middle and is mirrored around. The place is a longitude and latitude
    /// (WGS 84), and a column and row in a scene without a coordinate reference system.
    ///
    /// The pixels are those of [`super::run`]; where they are resampled, but for GDAL's rounding: a few may differ by 1 of 255.
    ///
    /// # Errors
    /// The place lies outside the scene, the window holds no data, or the scene is damaged.
    pub fn single(&self, config: &InferenceConfig, at: Option<(f64, f64)>) -> Result<SingleWindow> {
        let grid = self.grid();
        let (col, row) = match at {
            Some(place) => self.pixel_at(place)?,
            None => (grid.width as f64 / 2.0, grid.height as f64 / 2.0),
        };
        let axis = |len: usize, middle: f64| {
            let window_px = config.window_px;
            let spare = len as isize - window_px as isize;
            let start = (middle - window_px as f64 / 2.0).round() as isize;
            let start = if spare < 0 { spare / 2 } else { start.clamp(0, spare) };
            Axis { starts: vec![start], window_px, from: 0, to: len, len }
        };
        let plan = Plan { cols: axis(grid.width, col), rows: axis(grid.height, row) };
        let (batch, valid) = strips::only(self, &plan)?;
        if valid.contains(&true) {
            return Ok(SingleWindow { batch, valid });
        }
        Err(Error::input(
            self.scene_path(),
            "a window with data",
            "nodata only",
            "choose another place with --at, or check the scene's nodata value and alpha band",
        ))
    }
}
