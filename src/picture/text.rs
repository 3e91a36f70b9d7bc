//! Text without the system's fonts: a typeface travels in the binary.

use std::sync::Once;

use image::RgbImage;
use plotters::style::{FontDesc, FontFamily, FontStyle, IntoFont, register_font};

use super::draw::blend;

/// The name under which plotters finds the embedded typeface.
pub(super) const FAMILY: &str = "geoseg";

/// Text is drawn this many times larger and averaged: plotters puts glyphs on whole pixels, which at
/// caption sizes spaces letters unevenly.
const OVERSAMPLING: usize = 4;

/// Makes [`FAMILY`] known to plotters; later calls do nothing.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The bytes are a constant of a published crate; were they no font, drawing would say so.
        let _ = register_font(FAMILY, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

/// Height in pixels of a line of text of size `size_px`.
pub(super) fn line_height_px(size_px: usize) -> usize {
    size_px + size_px / 3
}

/// Width in pixels of `text`.
pub(super) fn width_px(text: &str, size_px: usize) -> usize {
    let (width, _) = font(size_px * OVERSAMPLING).box_size(text).unwrap_or((0, 0));
    (width as usize).div_ceil(OVERSAMPLING)
}

/// `text`, cut with an ellipsis where it would be wider than `limit_px`.
pub(super) fn fitted(text: &str, size_px: usize, limit_px: usize) -> String {
    if width_px(text, size_px) <= limit_px {
        return text.to_owned();
    }
    let mut kept: String = text.to_owned();
    while kept.pop().is_some() {
        let candidate = format!("{}…", kept.trim_end());
        if width_px(&candidate, size_px) <= limit_px {
            return candidate;
        }
    }
    String::new()
}

/// Draws a line of text whose box has its upper left corner at (`x`, `y`); what lies outside the
/// picture is clipped.
pub(super) fn draw(
    picture: &mut RgbImage,
    (x, y): (i64, i64),
    size_px: usize,
    colour: [u8; 3],
    text: &str,
) {
    let (width, height) = (width_px(text, size_px) + size_px, line_height_px(size_px));
    let fine_width = width * OVERSAMPLING;
    let mut fine = vec![0f32; fine_width * height * OVERSAMPLING];
    let drawn = font(size_px * OVERSAMPLING).draw(text, (0, 0), |column, row, coverage| {
        // plotters centres text of half its size above the baseline; the shift puts the caps inside.
        let row = row + (size_px * OVERSAMPLING / 3) as i32;
        if let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row))
            && column < fine_width
            && let Some(cell) = fine.get_mut(row * fine_width + column)
        {
            *cell = cell.max(coverage);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    if drawn.is_err() {
        return;
    }
    let samples = (OVERSAMPLING * OVERSAMPLING) as f32;
    for row in 0..height {
        for column in 0..width {
            let mut sum = 0.0;
            for fine_row in row * OVERSAMPLING..(row + 1) * OVERSAMPLING {
                let start = fine_row * fine_width + column * OVERSAMPLING;
                sum += fine[start..start + OVERSAMPLING].iter().sum::<f32>();
            }
            blend(picture, x + column as i64, y + row as i64, colour, sum / samples);
        }
    }
}

fn font(size_px: usize) -> FontDesc<'static> {
    register();
    (FontFamily::Name(FAMILY), size_px as f64).into_font()
}
