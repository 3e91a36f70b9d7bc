//! A picture beside the same picture under a heat map, both with an outline, and the key to the colours.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};

use super::draw::{blend, rectangle};
use super::grid::{FAINT_INK, INK, PAPER, draw_head, head_px};
use super::overlay::PREDICTION;
use super::{ramp, save, text};
use crate::error::Result;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct HeatMap<'a> {
    /// What lies below.
    pub rgb: &'a RgbImage,
    /// From 0, where nothing is drawn, to 1, a value a pixel.
    pub heat: &'a [f32],
    /// Pixels whose edge is outlined, in both pictures.
    pub outlined: &'a [bool],
    /// Above both.
    pub title: &'a str,
    /// Below the title.
    pub note: &'a str,
    /// What the outline is.
    pub outline_label: &'a str,
    /// What the colours are.
    pub heat_label: &'a str,
}

const GAP_PX: u32 = 10;
const KEY_PX: usize = 14;
/// Panels are enlarged by a whole factor up to this side, pixels.
const SIDE_PX: u32 = 512;
const BAR_PX: (u32, u32) = (220, 12);
/// Where the heat is greatest; the picture below stays visible.
const MOST_OPACITY: f32 = 0.85;

/// Writes a PNG (replaced if there).
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, map: &HeatMap<'_>) -> Result<()> {
    let (width, height) = map.rgb.dimensions();
    let factor = (SIDE_PX / width.max(height).max(1)).max(1);
    let enlarge = |picture: &RgbImage| {
        let (w, h) = (width * factor, height * factor);
        let mut large = imageops::resize(picture, w, h, imageops::FilterType::Nearest);
        outline(&mut large, map.outlined, width as usize, factor);
        large
    };
    let panels = [enlarge(map.rgb), enlarge(&heated(map.rgb, map.heat))];
    let (w, h) = panels[0].dimensions();
    let key = text::line_height_px(KEY_PX) as u32 + GAP_PX;
    let size = (GAP_PX + 2 * (w + GAP_PX), head_px() + h + GAP_PX + key);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, Rgb(PAPER));
    draw_head(&mut sheet, map.title, map.note);
    for (index, panel) in (0..).zip(&panels) {
        let at = (GAP_PX + index * (w + GAP_PX), head_px());
        imageops::replace(&mut sheet, panel, i64::from(at.0), i64::from(at.1));
    }
    let below = i64::from(head_px() + h + GAP_PX);
    draw_outline_key(&mut sheet, (i64::from(GAP_PX), below), map.outline_label);
    draw_bar(&mut sheet, (i64::from(2 * GAP_PX + w), below), map.heat_label);
    save(path, &sheet)
}

/// The picture in grey and darker, with the heat's colours over it.
fn heated(rgb: &RgbImage, heat: &[f32]) -> RgbImage {
    let mut picture = rgb.clone();
    for (pixel, heat) in picture.pixels_mut().zip(heat) {
        let [r, g, b] = pixel.0.map(f32::from);
        // Rec. 709: as bright as it looks.
        let grey = 0.7 * (0.2126 * r + 0.7152 * g + 0.0722 * b);
        let (colour, share) = (ramp::colour(*heat), MOST_OPACITY * heat.clamp(0.0, 1.0).sqrt());
        pixel.0 = colour.map(|c| (grey * (1.0 - share) + f32::from(c) * share).round() as u8);
    }
    picture
}

/// Marks the pixels of `picture` that lie in an outlined pixel and beside one that is not. `picture` has `factor` by `factor`
/// pixels for each.
fn outline(picture: &mut RgbImage, outlined: &[bool], width: usize, factor: u32) {
    let height = outlined.len() / width.max(1);
    let inside = |x: i64, y: i64| {
        let factor = i64::from(factor);
        let (x, y) = (x.div_euclid(factor), y.div_euclid(factor));
        let within = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
        // Beyond the picture nothing is known: no edge there.
        within.then(|| outlined[y as usize * width + x as usize])
    };
    let edge = |x: i64, y: i64| {
        let around = [(1, 0), (-1, 0), (0, 1), (0, -1)];
        inside(x, y) == Some(true)
            && around.iter().any(|(dx, dy)| inside(x + dx, y + dy) == Some(false))
    };
    let (w, h) = picture.dimensions();
    for y in 0..i64::from(h) {
        for x in 0..i64::from(w) {
            if edge(x, y) {
                blend(picture, x, y, PREDICTION, 1.0);
            }
        }
    }
}

fn draw_outline_key(sheet: &mut RgbImage, (x, y): (i64, i64), label: &str) {
    let middle = y + text::line_height_px(KEY_PX) as i64 / 2;
    rectangle(sheet, (x, middle - 1), (26, 2), PREDICTION, 1.0);
    text::draw(sheet, (x + 34, y), KEY_PX, INK, label);
}

fn draw_bar(sheet: &mut RgbImage, (x, y): (i64, i64), label: &str) {
    text::draw(sheet, (x, y), KEY_PX, FAINT_INK, "0");
    let left = x + text::width_px("0", KEY_PX) as i64 + 8;
    let top = y + (text::line_height_px(KEY_PX) as i64 - i64::from(BAR_PX.1)) / 2;
    for column in 0..BAR_PX.0 {
        let value = column as f32 / (BAR_PX.0 - 1) as f32;
        let at = (left + i64::from(column), top);
        rectangle(sheet, at, (1, BAR_PX.1 as usize), ramp::colour(value), 1.0);
    }
    text::draw(sheet, (left + i64::from(BAR_PX.0) + 8, y), KEY_PX, INK, label);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_and_outline_lie_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heat.png");
        let rgb = RgbImage::from_pixel(64, 32, Rgb([100, 100, 100]));
        let at = |i: usize| (i % 64, i / 64);
        let heat: Vec<f32> = (0..64 * 32).map(|i| f32::from(u8::from(at(i).0 >= 32))).collect();
        let outlined: Vec<bool> = (0..64 * 32).map(|i| at(i).1 >= 16).collect();
        let map = HeatMap {
            rgb: &rgb,
            heat: &heat,
            outlined: &outlined,
            title: "title",
            note: "",
            outline_label: "predicted",
            heat_label: "largest",
        };
        write(&path, &map).unwrap();
        let drawn = image::open(&path).unwrap().to_rgb8();
        let (factor, top) = (SIDE_PX / 64, head_px());
        // In the middle of a pixel of the left and of the right picture.
        let left = |x, y| drawn.get_pixel(GAP_PX + x * factor + 4, top + y * factor + 4).0;
        let right = |x, y| left(x + (GAP_PX + 64 * factor) / factor, y);
        assert_eq!(left(5, 5), [100; 3]);
        assert_eq!(right(5, 5), [70; 3]);
        assert_eq!(
            right(40, 5),
            ramp::colour(1.0).map(|c| (f32::from(c) * 0.85 + 10.5).round() as u8)
        );
        let edge = drawn.get_pixel(GAP_PX + 30, top + 16 * factor).0;
        assert_eq!(edge, PREDICTION);
        // No line along the picture's own edge.
        assert_eq!(drawn.get_pixel(GAP_PX + 30, top + 32 * factor - 1).0, [100; 3]);
    }
}
