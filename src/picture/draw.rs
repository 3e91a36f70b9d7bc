//! Strokes and tints on an RGB picture.

use image::{Rgb, RgbImage};

/// Mixes `colour` into the pixel at (`x`, `y`) with `opacity` in 0..=1; outside the picture, nothing.
pub(super) fn blend(picture: &mut RgbImage, x: i64, y: i64, colour: [u8; 3], opacity: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if let Some(Rgb(old)) = picture.get_pixel_mut_checked(x, y) {
        let opacity = opacity.clamp(0.0, 1.0);
        for (old, new) in old.iter_mut().zip(colour) {
            *old = (f32::from(*old) * (1.0 - opacity) + f32::from(new) * opacity).round() as u8;
        }
    }
}

/// A filled rectangle, `width` by `height` pixels from (`x`, `y`).
pub(super) fn rectangle(
    picture: &mut RgbImage,
    (x, y): (i64, i64),
    (width, height): (usize, usize),
    colour: [u8; 3],
    opacity: f32,
) {
    for row in y..y + height as i64 {
        for column in x..x + width as i64 {
            blend(picture, column, row, colour, opacity);
        }
    }
}

/// How much of each pixel a set of strokes covers. Strokes of one colour are united here before they
/// are mixed into the picture, so that crossings and joints are not drawn twice.
pub(super) struct Strokes {
    width: usize,
    height: usize,
    coverage: Vec<u8>,
}

impl Strokes {
    /// Nothing covered yet, on a picture of this size in pixels.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, coverage: vec![0; width * height] }
    }

    /// A line of `stroke_px` with round ends. Coordinates are pixel corners: (0, 0) is the upper left
    /// corner of the first pixel, (0.5, 0.5) its centre. Non-finite coordinates draw nothing.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke_px: f64) {
        if ![from.0, from.1, to.0, to.1].iter().all(|v| v.is_finite()) {
            return;
        }
        let reach = stroke_px / 2.0 + 0.5;
        let (size_x, size_y) = (self.width as f64, self.height as f64);
        let rows = clipped(from.1.min(to.1) - reach, from.1.max(to.1) + reach, size_y);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length_squared = dx * dx + dy * dy;
        for row in rows {
            let y = row as f64 + 0.5;
            // Only the part of the line near this row can touch it.
            let (mut near, mut far) = (from.0.min(to.0), from.0.max(to.0));
            if dy.abs() > f64::EPSILON {
                let along = |edge: f64| ((edge - from.1) / dy).clamp(0.0, 1.0);
                let ends = (from.0 + along(y - reach) * dx, from.0 + along(y + reach) * dx);
                (near, far) = (ends.0.min(ends.1), ends.0.max(ends.1));
            }
            for column in clipped(near - reach, far + reach, size_x) {
                let x = column as f64 + 0.5;
                let along = if length_squared > 0.0 {
                    (((x - from.0) * dx + (y - from.1) * dy) / length_squared).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let distance = (x - from.0 - along * dx).hypot(y - from.1 - along * dy);
                let covered = ((reach - distance).clamp(0.0, 1.0) * 255.0).round() as u8;
                let cell = &mut self.coverage[row * self.width + column];
                *cell = (*cell).max(covered);
            }
        }
    }

    /// A closed ring; whether its last point repeats the first does not matter.
    pub(super) fn ring(&mut self, points: &[(f64, f64)], stroke_px: f64) {
        for pair in points.windows(2) {
            self.line(pair[0], pair[1], stroke_px);
        }
        if let (Some(&first), Some(&last)) = (points.first(), points.last())
            && first != last
        {
            self.line(last, first, stroke_px);
        }
    }

    /// Mixes the strokes into `picture`, which has the size given to [`Strokes::new`].
    pub(super) fn paint(&self, picture: &mut RgbImage, colour: [u8; 3], opacity: f32) {
        for (index, &covered) in self.coverage.iter().enumerate() {
            if covered > 0 {
                let (x, y) = (index % self.width, index / self.width);
                let covered = f32::from(covered) / 255.0;
                blend(picture, x as i64, y as i64, colour, covered * opacity);
            }
        }
    }
}

/// Whole pixels of `from..=to` that lie within 0..`size`.
fn clipped(from: f64, to: f64, size: f64) -> std::ops::Range<usize> {
    let start = from.floor().clamp(0.0, size) as usize;
    let end = to.ceil().clamp(0.0, size) as usize;
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertical_line_of_two_pixels_covers_exactly_two_columns() {
        let mut strokes = Strokes::new(6, 6);
        strokes.line((3.0, -5.0), (3.0, 11.0), 2.0);
        for row in strokes.coverage.chunks(6) {
            assert_eq!(row, [0, 0, 255, 255, 0, 0]);
        }
    }

    #[test]
    fn strokes_outside_or_without_coordinates_draw_nothing() {
        let mut strokes = Strokes::new(4, 4);
        strokes.line((-50.0, -50.0), (-40.0, 90.0), 2.0);
        strokes.line((f64::NAN, 0.0), (3.0, 3.0), 2.0);
        strokes.line((0.0, 0.0), (f64::INFINITY, 3.0), 2.0);
        strokes.ring(&[], 2.0);
        assert!(strokes.coverage.iter().all(|&c| c == 0));
    }

    #[test]
    fn a_slanted_line_has_no_gaps() {
        let mut strokes = Strokes::new(40, 10);
        strokes.line((1.0, 1.0), (39.0, 9.0), 2.0);
        for column in 2..38 {
            let sum: u32 = (0..10).map(|row| u32::from(strokes.coverage[row * 40 + column])).sum();
            assert!(sum > 300, "column {column} holds {sum}");
        }
    }
}
