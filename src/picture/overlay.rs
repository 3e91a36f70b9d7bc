//! Outlines over a scene: truth and prediction at a glance.

use std::path::Path;

use image::RgbImage;

use super::draw::{Strokes, rectangle};
use super::{save, text};
use crate::error::Result;

/// Rings of one kind, drawn in one colour.
#[derive(Clone, Debug, Default)]
pub struct Outlines {
    /// Rings in pixel coordinates: x right, y down, (0, 0) the upper left corner of the picture.
    pub rings: Vec<Vec<(f64, f64)>>,
    /// Red, green, blue.
    pub colour: [u8; 3],
    /// Name in the legend.
    pub label: String,
}

/// The colour of true outlines.
pub const TRUTH: [u8; 3] = [255, 214, 10];
/// The colour of predicted outlines.
pub const PREDICTION: [u8; 3] = [0, 229, 255];

const STROKE_PX: f64 = 2.0;
/// A dark seam under each line keeps it visible on bright roofs.
const SEAM_PX: f64 = 4.0;
const SEAM_OPACITY: f32 = 0.45;
const LEGEND_PX: usize = 15;

/// Writes a PNG (replaced if there): `rgb` under anti-aliased outlines, with a legend in a corner.
/// Later layers are drawn over earlier ones.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, rgb: &RgbImage, layers: &[Outlines]) -> Result<()> {
    let mut picture = rgb.clone();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    for layer in layers {
        for (stroke_px, colour, opacity) in
            [(SEAM_PX, [0; 3], SEAM_OPACITY), (STROKE_PX, layer.colour, 1.0)]
        {
            let mut strokes = Strokes::new(width, height);
            for ring in &layer.rings {
                strokes.ring(ring, stroke_px);
            }
            strokes.paint(&mut picture, colour, opacity);
        }
    }
    draw_legend(&mut picture, layers);
    save(path, &picture)
}

fn draw_legend(picture: &mut RgbImage, layers: &[Outlines]) {
    let named: Vec<&Outlines> = layers.iter().filter(|l| !l.label.is_empty()).collect();
    let Some(widest) = named.iter().map(|l| text::width_px(&l.label, LEGEND_PX)).max() else {
        return;
    };
    let (line, pad, swatch) = (text::line_height_px(LEGEND_PX) + 2, 10usize, 26usize);
    let size = (3 * pad + swatch + widest, 2 * pad + named.len() * line);
    rectangle(picture, (pad as i64, pad as i64), size, [12, 14, 18], 0.72);
    for (index, layer) in named.iter().enumerate() {
        let (x, y) = ((2 * pad) as i64, (2 * pad + index * line) as i64);
        let middle = y + line as i64 / 2 - 2;
        rectangle(picture, (x, middle), (swatch, 4), layer.colour, 1.0);
        let at = (x + (swatch + pad) as i64, y);
        text::draw(picture, at, LEGEND_PX, [240, 242, 246], &layer.label);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outlines_are_drawn_in_their_colour_and_clipped_to_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.png");
        let rgb = RgbImage::from_pixel(64, 48, image::Rgb([90, 90, 90]));
        let rings = vec![
            vec![(40.0, 30.0), (60.0, 30.0), (60.0, 45.0), (40.0, 45.0)],
            vec![(-1e9, 5.0), (1e9, 5.0), (f64::NAN, 2.0)],
        ];
        write(&path, &rgb, &[Outlines { rings, colour: TRUTH, label: String::new() }]).unwrap();
        let drawn = image::open(&path).unwrap().to_rgb8();
        assert_eq!(drawn.get_pixel(50, 30).0, TRUTH);
        assert_eq!(drawn.get_pixel(50, 37).0, [90, 90, 90]);
    }

    #[test]
    fn a_picture_smaller_than_its_legend_is_still_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.png");
        let layer = Outlines { rings: vec![], colour: PREDICTION, label: "predicted".into() };
        write(&path, &RgbImage::new(5, 3), &[layer]).unwrap();
        assert_eq!(image::image_dimensions(&path).unwrap(), (5, 3));
    }
}
