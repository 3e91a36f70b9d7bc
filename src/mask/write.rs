//! Masks, cut-outs and tables on disk.

use std::path::Path;

use image::{GrayImage, Luma, Rgba, RgbaImage};

use super::save;
use crate::error::{Error, Result};
use crate::geo::Pixels;
use crate::output::write_whole;
use crate::truth::Mask;

/// 255 where the object is, 0 elsewhere.
pub(super) fn mask(path: &Path, mask: &Mask) -> Result<()> {
    let picture = GrayImage::from_fn(mask.width as u32, mask.height as u32, |x, y| {
        Luma([if mask.object[y as usize * mask.width + x as usize] { 255 } else { 0 }])
    });
    save(path, |path| picture.save(path))
}

/// The photo where the object is, transparent elsewhere.
pub(super) fn cutout(path: &Path, pixels: &Pixels, mask: &Mask) -> Result<()> {
    let picture = RgbaImage::from_fn(mask.width as u32, mask.height as u32, |x, y| {
        let at = y as usize * mask.width + x as usize;
        if !mask.object[at] {
            return Rgba([0; 4]);
        }
        let [red, green, blue] = rgb(pixels, at);
        Rgba([red, green, blue, 255])
    });
    save(path, |path| picture.save(path))
}

/// A pixel's first three bands, or its first as grey.
pub(super) fn rgb(pixels: &Pixels, at: usize) -> [u8; 3] {
    let area = pixels.width * pixels.height;
    [0, 1, 2].map(|band| pixels.data[if pixels.bands >= 3 { band } else { 0 } * area + at])
}

/// The table of run lengths, as Kaggle's Carvana challenge takes it.
pub(super) struct Table(csv::Writer<Vec<u8>>);

impl Table {
    pub fn new() -> Self {
        let mut table = Self(csv::Writer::from_writer(Vec::new()));
        table.row(["img", "rle_mask"]);
        table
    }

    pub fn push(&mut self, photo: &Path, runs: &str) {
        self.row([&*photo.file_name().unwrap_or_default().to_string_lossy(), runs]);
    }

    fn row(&mut self, row: [&str; 2]) {
        // Memory does not fail, and all rows have two columns.
        let _ = self.0.write_record(row);
    }

    pub fn write(self, path: &Path) -> Result<()> {
        let bytes = self.0.into_inner().map_err(|error| Error::io(path)(error.into_error()))?;
        write_whole(path, &bytes, true)
    }
}
