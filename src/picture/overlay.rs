//! Outlines over a scene: truth and prediction at a glance.

use std::path::Path;

use geo::MultiPolygon;
use image::{Rgb, RgbImage};

use super::draw::{Strokes, rectangle};
use super::{save, text};
use crate::error::{Error, Result};
use crate::geo::vector::{VectorSource, read_footprints};
use crate::geo::{GeoTransform, Grid, Scene, Window};

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
const LEGEND_PX: usize = 17;

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

/// Writes a PNG (replaced if there) of a whole scene, its longest side at most `max_px` pixels, with true
/// and predicted outlines. Pixels without data are grey.
///
/// # Errors
/// A file cannot be read or written, or the vectors cannot be brought into the scene's CRS.
pub fn scene_overlay(
    out: &Path,
    scene: &Path,
    truth: Option<&VectorSource>,
    prediction: Option<&VectorSource>,
    max_px: usize,
) -> Result<()> {
    let scene = Scene::open(scene)?;
    let native = scene.grid();
    let shrink = (max_px.max(1) as f64 / native.width.max(native.height).max(1) as f64).min(1.0);
    let side = |px: usize| ((px as f64 * shrink).round() as usize).max(1);
    let grid = native.resized(side(native.width), side(native.height));
    let rgb = read_rgb(&scene, &grid)?;
    let to_pixels = grid.transform.invert().ok_or_else(|| {
        Error::input(
            scene.path(),
            "pixels with an area",
            "a degenerate geotransform",
            "georeference it again",
        )
    })?;
    let mut layers = Vec::new();
    for (source, colour, name) in [(truth, TRUTH, "truth"), (prediction, PREDICTION, "prediction")]
    {
        if let Some(source) = source {
            let found = read_footprints(source, grid.crs.as_ref())?;
            let rings = found.polygons.iter().flat_map(|p| rings(p, &to_pixels, &grid)).collect();
            layers.push(Outlines { rings, colour, label: name.into() });
        }
    }
    write(out, &rgb, &layers)
}

/// The first three bands, or the only one in grey.
fn read_rgb(scene: &Scene, grid: &Grid) -> Result<RgbImage> {
    const NO_DATA: [u8; 3] = [110, 112, 118];
    let pixels = scene.read(grid, Window::whole(grid.width, grid.height))?;
    let plane = grid.width * grid.height;
    let band = |wanted: usize| if pixels.bands >= 3 { wanted * plane } else { 0 };
    Ok(RgbImage::from_fn(grid.width as u32, grid.height as u32, |x, y| {
        let at = y as usize * grid.width + x as usize;
        Rgb(if pixels.valid[at] { [0, 1, 2].map(|c| pixels.data[band(c) + at]) } else { NO_DATA })
    }))
}

/// All rings of a polygon in the picture's pixels; none where it lies outside.
fn rings(shape: &MultiPolygon<f64>, to_pixels: &GeoTransform, grid: &Grid) -> Vec<Vec<(f64, f64)>> {
    let lines = shape.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
    lines
        .map(|line| line.0.iter().map(|c| to_pixels.apply(c.x, c.y)).collect::<Vec<_>>())
        .filter(|ring| {
            let inside = |values: fn(&(f64, f64)) -> f64, size: usize| {
                ring.iter().any(|p| values(p) > -SEAM_PX)
                    && ring.iter().any(|p| values(p) < size as f64 + SEAM_PX)
            };
            inside(|p| p.0, grid.width) && inside(|p| p.1, grid.height)
        })
        .collect()
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
