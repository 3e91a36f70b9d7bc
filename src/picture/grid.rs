//! Small pictures in rows, each with a line below it, under a title.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};

use super::{save, text};
use crate::error::Result;

/// One picture of the grid.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The picture.
    pub rgb: RgbImage,
    /// A line below it; cut where it does not fit.
    pub caption: String,
}

const GAP_PX: u32 = 10;
const CAPTION_PX: usize = 13;
const TITLE_PX: usize = 19;
const NOTE_PX: usize = 14;
pub(super) const PAPER: [u8; 3] = [24, 26, 30];
pub(super) const INK: [u8; 3] = [222, 226, 232];
pub(super) const FAINT_INK: [u8; 3] = [160, 166, 176];

/// Writes a PNG (replaced if there): `cells` in rows of `columns`, each brought to `side_px` or a little less, under a title
/// and a line that explains it.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    path: &Path,
    (title, note): (&str, &str),
    cells: &[Cell],
    columns: usize,
    side_px: u32,
) -> Result<()> {
    let columns = columns.clamp(1, cells.len().max(1)) as u32;
    let drawn: Vec<RgbImage> = cells.iter().map(|cell| fitted(&cell.rgb, side_px)).collect();
    let cell_width = drawn.iter().map(RgbImage::width).max().unwrap_or(side_px);
    let cell_height = drawn.iter().map(RgbImage::height).max().unwrap_or(0);
    let caption = (text::line_height_px(CAPTION_PX) + 4) as u32;
    let rows = (cells.len() as u32).div_ceil(columns);
    let head = head_px();
    // Never narrower than the lines above.
    let widest = text::width_px(title, TITLE_PX).max(text::width_px(note, NOTE_PX)) as u32;
    let width = (columns * (cell_width + GAP_PX) + GAP_PX).max(widest + 3 * GAP_PX);
    let height = head + rows * (cell_height + caption + GAP_PX);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(PAPER));
    draw_head(&mut sheet, title, note);
    for (index, (cell, picture)) in (0..).zip(cells.iter().zip(&drawn)) {
        let x = i64::from(GAP_PX + index % columns * (cell_width + GAP_PX));
        let y = i64::from(head + index / columns * (cell_height + caption + GAP_PX));
        imageops::replace(&mut sheet, picture, x, y);
        let line = text::fitted(&cell.caption, CAPTION_PX, cell_width as usize);
        let below = y + i64::from(picture.height()) + 2;
        text::draw(&mut sheet, (x, below), CAPTION_PX, FAINT_INK, &line);
    }
    save(path, &sheet)
}

/// From 6 to 11 columns: those that leave the fewest places of the last row empty.
pub fn columns(cells: usize) -> usize {
    let empty = |columns: &usize| cells.next_multiple_of(*columns) - cells;
    (6..=11).rev().min_by_key(empty).unwrap_or(8)
}

/// Height of [`draw_head`], pixels.
pub(super) fn head_px() -> u32 {
    GAP_PX + (text::line_height_px(TITLE_PX) + text::line_height_px(NOTE_PX)) as u32 + GAP_PX
}

/// A title and a line that explains it, at the top of a picture.
pub(super) fn draw_head(sheet: &mut RgbImage, title: &str, note: &str) {
    let (x, y) = (i64::from(GAP_PX), i64::from(GAP_PX));
    text::draw(sheet, (x, y), TITLE_PX, INK, title);
    let below = y + text::line_height_px(TITLE_PX) as i64;
    text::draw(sheet, (x, below), NOTE_PX, FAINT_INK, note);
}

/// A picture with its longer side at most `side_px`: averaged if it is larger; if it is smaller, every pixel becomes as many
/// as fit.
pub(super) fn fitted(rgb: &RgbImage, side_px: u32) -> RgbImage {
    let (width, height) = rgb.dimensions();
    let longest = width.max(height).max(1);
    if longest > side_px {
        let shrink = |side: u32| (side * side_px / longest).max(1);
        return imageops::thumbnail(rgb, shrink(width), shrink(height));
    }
    let factor = side_px / longest;
    imageops::resize(rgb, width * factor, height * factor, imageops::FilterType::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_grow_by_whole_pixels_and_large_ones_shrink() {
        let picture = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 7]));
        let large = fitted(&picture, 64);
        assert_eq!(large.dimensions(), (63, 42));
        assert!(large.enumerate_pixels().all(|(x, y, p)| p == picture.get_pixel(x / 21, y / 21)));
        assert_eq!(fitted(&RgbImage::new(300, 100), 60).dimensions(), (60, 20));
    }

    #[test]
    fn rows_are_as_full_as_can_be() {
        for (cells, expected) in [(65, 11), (17, 9), (33, 11), (64, 8), (0, 11)] {
            assert_eq!(columns(cells), expected, "{cells}");
        }
    }

    #[test]
    fn a_grid_of_nothing_and_of_pictures_of_all_sizes_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        write(&path, ("nothing", ""), &[], 4, 64).unwrap();
        let cell = |w, h| Cell { rgb: RgbImage::new(w, h), caption: "a long caption".into() };
        write(&path, ("all", "sizes"), &[cell(0, 0), cell(1, 1), cell(900, 30)], 2, 64).unwrap();
        assert!(image::image_dimensions(&path).unwrap().0 >= 2 * 64);
    }
}
