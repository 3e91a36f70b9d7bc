//! Pictures for people: charts, contact sheets, overlays, grids of small pictures, heat maps.

pub mod chart;
pub mod contact_sheet;
pub mod grid;
pub mod heat;
pub mod overlay;
pub mod ramp;

mod axis;
mod draw;
mod legend;
mod text;

use std::path::Path;

use crate::error::{Error, Result};
use crate::output::Staged;

/// Writes `picture` as PNG under its final name once it is whole, replacing what was there.
fn save(path: &Path, picture: &image::RgbImage) -> Result<()> {
    let staged = Staged::new(path, true)?;
    picture
        .save_with_format(staged.path(), image::ImageFormat::Png)
        .map_err(|e| failed(path, &e))?;
    staged.commit()
}

/// An error of the drawing libraries, which know no paths.
fn failed(path: &Path, problem: &dyn std::fmt::Display) -> Error {
    Error::io(path)(std::io::Error::other(format!("the picture could not be drawn: {problem}")))
}
