//! Many tiles with their masks on one picture, for a look at what a model will be shown.

use std::path::Path;

use image::{GrayImage, RgbImage, imageops};

use super::draw::{blend, rectangle};
use super::{save, text};
use crate::error::Result;

/// One tile of the sheet.
#[derive(Clone, Debug, Default)]
pub struct Thumb {
    /// The picture.
    pub rgb: RgbImage,
    /// Labels of the same size: 0 background, 1 building, 2 boundary, 3 contact, 255 ignore.
    pub mask: Option<GrayImage>,
    /// A line below it; cut where it does not fit.
    pub caption: String,
}

/// Thumbs are shrunk (never enlarged) to at most this size, pixels.
const LARGEST_PX: u32 = 320;
const GAP_PX: usize = 10;
const CAPTION_PX: usize = 15;
const PAPER: [u8; 3] = [24, 26, 30];
const INK: [u8; 3] = [222, 226, 232];

const BUILDING: [u8; 3] = [255, 196, 0];
const BOUNDARY: [u8; 3] = [0, 190, 255];
const CONTACT: [u8; 3] = [255, 60, 160];
const IGNORE: [u8; 3] = [120, 124, 132];
const LABEL_IGNORE: u8 = 255;

/// Writes a PNG (replaced if there) of `tiles` in rows of `columns`: buildings tinted and outlined,
/// boundary and contact in colours of their own, ignored pixels hatched, and a key below.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, tiles: &[Thumb], columns: usize) -> Result<()> {
    let columns = columns.clamp(1, tiles.len().max(1));
    let drawn: Vec<RgbImage> = tiles.iter().map(thumb).collect();
    let cell_width = drawn.iter().map(|t| t.width() as usize).max().unwrap_or(240).max(120);
    let cell_height = drawn.iter().map(|t| t.height() as usize).max().unwrap_or(0);
    let caption = text::line_height_px(CAPTION_PX) + 4;
    let rows = drawn.len().div_ceil(columns);
    let width = GAP_PX + columns * (cell_width + GAP_PX);
    let key_height = text::line_height_px(CAPTION_PX) + GAP_PX;
    let height = GAP_PX + rows * (cell_height + caption + GAP_PX) + key_height;
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, image::Rgb(PAPER));
    for (index, (tile, picture)) in tiles.iter().zip(&drawn).enumerate() {
        let x = (GAP_PX + index % columns * (cell_width + GAP_PX)) as i64;
        let y = (GAP_PX + index / columns * (cell_height + caption + GAP_PX)) as i64;
        imageops::replace(&mut sheet, picture, x, y);
        let line = text::fitted(&tile.caption, CAPTION_PX, cell_width);
        let below = y + i64::from(picture.height()) + 3;
        text::draw(&mut sheet, (x, below), CAPTION_PX, INK, &line);
    }
    draw_key(&mut sheet, (height - key_height) as i64);
    save(path, &sheet)
}

/// The thumb at its size on the sheet, with the mask drawn over it.
fn thumb(tile: &Thumb) -> RgbImage {
    let (width, height) = tile.rgb.dimensions();
    let longest = width.max(height);
    let (mut picture, mask) = if longest > LARGEST_PX {
        let shrink = |side: u32| (side * LARGEST_PX / longest).max(1);
        let (w, h) = (shrink(width), shrink(height));
        let mask = tile.mask.as_ref();
        // Labels are names, not amounts: nearest neighbour.
        let mask = mask.map(|m| imageops::resize(m, w, h, imageops::FilterType::Nearest));
        (imageops::thumbnail(&tile.rgb, w, h), mask)
    } else {
        (tile.rgb.clone(), tile.mask.clone())
    };
    if let Some(mask) = mask {
        draw_mask(&mut picture, &mask);
    }
    picture
}

fn draw_mask(picture: &mut RgbImage, mask: &GrayImage) {
    let label = |x: i64, y: i64| {
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        mask.get_pixel_checked(x, y).map(|p| p.0[0])
    };
    for y in 0..i64::from(picture.height()) {
        for x in 0..i64::from(picture.width()) {
            let (colour, opacity) = match label(x, y) {
                Some(1) => {
                    let edge = [(1, 0), (-1, 0), (0, 1), (0, -1)]
                        .iter()
                        .any(|(dx, dy)| label(x + dx, y + dy).is_some_and(|l| l != 1));
                    (BUILDING, if edge { 1.0 } else { 0.22 })
                }
                Some(2) => (BOUNDARY, 0.6),
                Some(3) => (CONTACT, 0.75),
                Some(LABEL_IGNORE) => (IGNORE, if hatched(x, y) { 0.9 } else { 0.6 }),
                _ => continue,
            };
            blend(picture, x, y, colour, opacity);
        }
    }
}

/// Diagonal stripes, two pixels in eight.
fn hatched(x: i64, y: i64) -> bool {
    (x + y).rem_euclid(8) < 2
}

fn draw_key(sheet: &mut RgbImage, y: i64) {
    let mut x = GAP_PX as i64;
    let keys =
        [("building", BUILDING), ("boundary", BOUNDARY), ("contact", CONTACT), ("ignored", IGNORE)];
    for (name, colour) in keys {
        rectangle(sheet, (x, y + 3), (CAPTION_PX, CAPTION_PX), colour, 1.0);
        x += CAPTION_PX as i64 + 6;
        text::draw(sheet, (x, y), CAPTION_PX, INK, name);
        x += text::width_px(name, CAPTION_PX) as i64 + 18;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_of_nothing_and_of_tiles_of_all_sizes_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        write(&path, &[], 4).unwrap();
        let tile = |w: u32, h: u32| Thumb {
            rgb: RgbImage::new(w, h),
            mask: Some(GrayImage::from_pixel(w, h, image::Luma([1]))),
            caption: "scene/1/0_0 with a caption far too long for its tile".into(),
        };
        write(&path, &[tile(0, 0), tile(1, 1), tile(256, 64), tile(1024, 512)], 3).unwrap();
        assert!(image::open(&path).unwrap().width() > 3 * 256);
    }

    #[test]
    fn ignored_pixels_are_hatched_and_background_is_untouched() {
        let mask = GrayImage::from_fn(16, 16, |x, _| image::Luma([if x < 8 { 255 } else { 0 }]));
        let rgb = RgbImage::from_pixel(16, 16, image::Rgb([200, 10, 10]));
        let drawn = thumb(&Thumb { rgb, mask: Some(mask), caption: String::new() });
        assert_ne!(drawn.get_pixel(0, 0), drawn.get_pixel(4, 0));
        assert_eq!(drawn.get_pixel(12, 5).0, [200, 10, 10]);
    }
}
