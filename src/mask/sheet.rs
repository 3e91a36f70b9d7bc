//! A picture of some photos with their masks and cut-outs, to look at.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::write::rgb;
use crate::error::Result;
use crate::geo::Pixels;
use crate::picture::grid::{self, Cell};
use crate::truth::Mask;

/// Photos on the sheet, the first ones.
const MOST: usize = 6;
/// Width of a picture on it.
const SIDE_PX: u32 = 320;
/// Behind a cut-out: a colour that photos seldom have.
const BEHIND: [u8; 3] = [58, 110, 96];

/// The rows so far.
#[derive(Default)]
pub(super) struct Sheet {
    cells: Vec<Cell>,
    rows: usize,
}

impl Sheet {
    /// Adds a photo, as long as there is room.
    pub fn add(
        &mut self,
        name: &str,
        pixels: &Pixels,
        truth: Option<&Mask>,
        mask: &Mask,
        dice: Option<f64>,
    ) {
        if self.rows == MOST {
            return;
        }
        self.rows += 1;
        let (width, height) = (mask.width as u32, mask.height as u32);
        let mut cell = |caption: String, colour: &dyn Fn(usize) -> [u8; 3]| {
            let rgb = RgbImage::from_fn(width, height, |x, y| {
                Rgb(colour(y as usize * mask.width + x as usize))
            });
            self.cells.push(Cell { rgb, caption });
        };
        let grey = |object: bool| [if object { 255 } else { 0 }; 3];
        cell(name.to_owned(), &|at| rgb(pixels, at));
        if let Some(truth) = truth {
            cell("truth".to_owned(), &|at| grey(truth.object[at]));
        }
        let caption = dice.map_or("mask".to_owned(), |dice| format!("mask, Dice {dice:.4}"));
        cell(caption, &|at| grey(mask.object[at]));
        cell("cut-out".to_owned(), &|at| if mask.object[at] { rgb(pixels, at) } else { BEHIND });
    }

    /// Draws it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let columns = self.cells.len() / self.rows.max(1);
        let note = format!("{} photos, each with its mask and cut-out", self.rows);
        grid::write(path, ("masks", &note), &self.cells, columns, SIDE_PX)
    }
}
