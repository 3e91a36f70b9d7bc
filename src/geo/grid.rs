//! Windows, geotransforms and pixel grids: pure arithmetic.
//!
//! Axes: pixels are `(col, row)` with row 0 at the top of the file, world coordinates `(x, y)` with
//! x easting or longitude. Windows are half-open.

use serde::{Deserialize, Serialize};

use super::crs::Crs;

/// A rectangle of pixels: columns `col..col + width`, rows `row..row + height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// Leftmost column.
    pub col: usize,
    /// Topmost row.
    pub row: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// The window of a whole raster.
    pub fn whole(width: usize, height: usize) -> Self {
        Self { col: 0, row: 0, width, height }
    }

    /// Pixels inside.
    pub fn area(&self) -> usize {
        self.width * self.height
    }

    /// One past the rightmost column.
    pub fn right(&self) -> usize {
        self.col + self.width
    }

    /// One past the lowest row.
    pub fn bottom(&self) -> usize {
        self.row + self.height
    }

    /// What two windows share, if anything.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (col, row) = (self.col.max(other.col), self.row.max(other.row));
        let (right, bottom) = (self.right().min(other.right()), self.bottom().min(other.bottom()));
        (col < right && row < bottom).then(|| Self {
            col,
            row,
            width: right - col,
            height: bottom - row,
        })
    }
}

/// An affine map from pixel corners to the world, in GDAL's order:
/// `x = g0 + col g1 + row g2`, `y = g3 + col g4 + row g5`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoTransform(pub [f64; 6]);

impl GeoTransform {
    /// World coordinates are pixel coordinates.
    pub const PIXEL: Self = Self([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// The world position of a pixel corner; fractions are positions inside a pixel.
    pub fn apply(&self, col: f64, row: f64) -> (f64, f64) {
        let g = &self.0;
        (g[0] + col * g[1] + row * g[2], g[3] + col * g[4] + row * g[5])
    }

    /// The map from the world to pixels; `None` where pixels have no area.
    pub fn invert(&self) -> Option<Self> {
        let [x0, a, b, y0, c, d] = self.0;
        let det = a * d - b * c;
        // Relative to the pixel's own size: geographic pixels are 1e-6 degrees wide and fine.
        let size = a.abs().max(b.abs()) * c.abs().max(d.abs());
        if !det.is_finite() || det.abs() <= 1e-12 * size || det == 0.0 {
            return None;
        }
        let (ia, ib, ic, id) = (d / det, -b / det, -c / det, a / det);
        Some(Self([-(x0 * ia + y0 * ib), ia, ib, -(x0 * ic + y0 * id), ic, id]))
    }

    /// The same map with its origin at pixel `(col, row)`.
    pub fn shifted(&self, col: f64, row: f64) -> Self {
        let (x, y) = self.apply(col, row);
        let g = &self.0;
        Self([x, g[1], g[2], y, g[4], g[5]])
    }

    /// The same map for pixels that are each `sx` by `sy` of the old ones.
    pub fn scaled(&self, sx: f64, sy: f64) -> Self {
        let g = &self.0;
        Self([g[0], g[1] * sx, g[2] * sy, g[3], g[4] * sx, g[5] * sy])
    }
}

/// A pixel grid in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Pixels to world.
    pub transform: GeoTransform,
    /// The world's coordinate reference system; `None` where the raster has none.
    pub crs: Option<Crs>,
    /// Ground sample distance at the centre along (columns, rows), metres; `None` where unknown.
    pub gsd_m: Option<(f64, f64)>,
}

impl Grid {
    /// The grid of a window of this one.
    pub fn window(&self, window: Window) -> Self {
        Self {
            width: window.width,
            height: window.height,
            transform: self.transform.shifted(window.col as f64, window.row as f64),
            crs: self.crs.clone(),
            gsd_m: self.gsd_m,
        }
    }

    /// The same extent in `width` x `height` pixels.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        let (sx, sy) = (self.width as f64 / width as f64, self.height as f64 / height as f64);
        Self {
            width,
            height,
            transform: self.transform.scaled(sx, sy),
            crs: self.crs.clone(),
            gsd_m: self.gsd_m.map(|(x, y)| (x * sx, y * sy)),
        }
    }

    /// The same extent in square pixels of `gsd_m` metres, as near as whole pixels allow;
    /// unchanged where this grid's own ground sample distance is unknown.
    pub fn at_gsd(&self, gsd_m: f64) -> Self {
        match self.gsd_m {
            None => self.clone(),
            Some((x, y)) => {
                let columns = (self.width as f64 * x / gsd_m).round().max(1.0);
                let rows = (self.height as f64 * y / gsd_m).round().max(1.0);
                self.resized(columns as usize, rows as usize)
            }
        }
    }

    /// One number for the ground sample distance: the geometric mean of both axes, metres.
    pub fn mean_gsd_m(&self) -> Option<f64> {
        self.gsd_m.map(|(x, y)| (x * y).sqrt())
    }

    /// World corners in order: upper left, upper right, lower right, lower left.
    pub fn corners(&self) -> [(f64, f64); 4] {
        let (w, h) = (self.width as f64, self.height as f64);
        [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)].map(|(c, r)| self.transform.apply(c, r))
    }

    /// World bounds `[min x, min y, max x, max y]`.
    pub fn bounds(&self) -> [f64; 4] {
        let corners = self.corners();
        let fold = |pick: fn(&(f64, f64)) -> f64, best: fn(f64, f64) -> f64, start: f64| {
            corners.iter().map(pick).fold(start, best)
        };
        [
            fold(|c| c.0, f64::min, f64::INFINITY),
            fold(|c| c.1, f64::min, f64::INFINITY),
            fold(|c| c.0, f64::max, f64::NEG_INFINITY),
            fold(|c| c.1, f64::max, f64::NEG_INFINITY),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inverse_brings_any_pixel_back(
            x0 in -1e7..1e7f64, y0 in -1e7..1e7f64,
            size in 1e-6..100f64, angle in 0.0..std::f64::consts::TAU,
            flip in proptest::bool::ANY, col in 0.0..1e5f64, row in 0.0..1e5f64,
        ) {
            let (s, c) = (size * angle.sin(), size * angle.cos());
            let f = if flip { 1.0 } else { -1.0 };
            let map = GeoTransform([x0, c, -s * f, y0, s, c * f]);
            let (x, y) = map.apply(col, row);
            let (col2, row2) = map.invert().unwrap().apply(x, y);
            // The world's own rounding: 1e7 in f64 has steps of 2e-9.
            let tolerance = 1e-7 + 1e-8 / size;
            prop_assert!((col - col2).abs() < tolerance && (row - row2).abs() < tolerance);
        }

        #[test]
        fn a_windows_grid_agrees_with_the_whole(col in 0usize..1000, row in 0usize..1000, c in 0.0..10f64) {
            let map = GeoTransform([500_000.0, 0.3, 0.1, 4_000_000.0, 0.1, -0.3]);
            let grid = Grid { width: 2000, height: 2000, transform: map, crs: None, gsd_m: None };
            let window = grid.window(Window { col, row, width: 10, height: 10 });
            let (a, b) = (window.transform.apply(c, c), map.apply(col as f64 + c, row as f64 + c));
            prop_assert!((a.0 - b.0).abs() < 1e-6 && (a.1 - b.1).abs() < 1e-6);
        }
    }

    #[test]
    fn pixels_without_area_have_no_inverse() {
        assert!(GeoTransform([0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).invert().is_none());
        assert!(GeoTransform([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]).invert().is_none());
    }

    #[test]
    fn resampling_keeps_the_extent() {
        let grid = Grid {
            width: 1001,
            height: 777,
            transform: GeoTransform([10.0, 0.15, 0.0, 50.0, 0.0, -0.15]),
            crs: None,
            gsd_m: Some((0.15, 0.15)),
        };
        let coarse = grid.at_gsd(0.3);
        assert_eq!((coarse.width, coarse.height), (501, 389));
        let (a, b) = (grid.bounds(), coarse.bounds());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
