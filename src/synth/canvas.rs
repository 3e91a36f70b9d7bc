//! The picture being painted: colour, and how deep each pixel lies in shadow.

use super::shape::{Bounds, Point, at};
use super::style::{Rgb, blend};

/// A window of the scene's pixel grid. It may reach beyond the scene: the town goes on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// First column.
    pub col: i64,
    /// First row.
    pub row: i64,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// A window being painted, from the ground up.
#[derive(Debug)]
pub struct Canvas {
    /// Which pixels.
    pub frame: Frame,
    /// Metres a pixel.
    pub gsd_m: f64,
    /// Colour, row by row.
    pub rgb: Vec<Rgb>,
    /// 0 in the sun, 1 in full shadow, row by row.
    pub shadow: Vec<f32>,
}

impl Canvas {
    /// A black window in full sun.
    pub fn new(frame: Frame, gsd_m: f64) -> Self {
        let size = frame.width * frame.height;
        Self { frame, gsd_m, rgb: vec![[0.0; 3]; size], shadow: vec![0.0; size] }
    }

    /// The window in ground metres.
    pub fn bounds(&self) -> Bounds {
        let f = self.frame;
        Bounds {
            min: at(f.col as f64 * self.gsd_m, f.row as f64 * self.gsd_m),
            max: at(
                (f.col + f.width as i64) as f64 * self.gsd_m,
                (f.row + f.height as i64) as f64 * self.gsd_m,
            ),
        }
    }

    /// Calls `paint` with the index and the centre of every pixel that `bounds` may touch.
    ///
    /// The centre is computed from the pixel's place in the scene, never from the window's, so every
    /// window sees the same bits.
    #[inline]
    pub fn each(&mut self, bounds: &Bounds, mut paint: impl FnMut(&mut Self, usize, Point)) {
        let (f, gsd) = (self.frame, self.gsd_m);
        let clip = |low: f64, high: f64, first: i64, count: usize| {
            let a = ((low / gsd).floor() as i64 - 1 - first).clamp(0, count as i64);
            let b = ((high / gsd).ceil() as i64 + 1 - first).clamp(a, count as i64);
            (a, b)
        };
        let (col0, col1) = clip(bounds.min.x, bounds.max.x, f.col, f.width);
        let (row0, row1) = clip(bounds.min.y, bounds.max.y, f.row, f.height);
        for row in row0..row1 {
            let y = ((row + f.row) as f64 + 0.5) * gsd;
            for col in col0..col1 {
                let x = ((col + f.col) as f64 + 0.5) * gsd;
                paint(self, row as usize * f.width + col as usize, at(x, y));
            }
        }
    }

    /// How much of a pixel lies inside a border at signed `distance_m` (negative inside).
    #[inline]
    pub fn coverage(&self, distance_m: f64) -> f32 {
        (0.5 - distance_m / self.gsd_m).clamp(0.0, 1.0) as f32
    }

    /// Paints something opaque over `cover` of a pixel; what it covers comes out of the shadow.
    #[inline]
    pub fn paint(&mut self, index: usize, colour: Rgb, cover: f32) {
        self.rgb[index] = blend(self.rgb[index], colour, cover);
        self.shadow[index] *= 1.0 - cover;
    }

    /// Paints on the ground, where no shadow has fallen yet.
    #[inline]
    pub fn stain(&mut self, index: usize, colour: Rgb, cover: f32) {
        self.rgb[index] = blend(self.rgb[index], colour, cover);
    }

    /// Lets a shadow fall on a pixel.
    #[inline]
    pub fn shade(&mut self, index: usize, depth: f32) {
        let shadow = &mut self.shadow[index];
        *shadow = shadow.max(depth);
    }
}
