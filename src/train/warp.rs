//! One resampling for flips, turns, scale, rotation, shift and crop: image and mask move together.

use super::bend::Bend;
use crate::tiles::TilePixels;
use crate::truth::IGNORE;

/// Where an output pixel lies in the source: `source = centre + linear * (output - output's centre)`.
///
/// Coordinates are (x, y) in pixels, pixel (0, 0) covering 0..1 by 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Source pixels per output pixel: `[[dx/dx', dx/dy'], [dy/dx', dy/dy']]`.
    pub linear: [[f64; 2]; 2],
    /// The source point under the output's centre.
    pub centre: [f64; 2],
}

impl Affine {
    /// A plain crop around `centre`.
    pub fn at(centre: [f64; 2]) -> Self {
        Self { linear: [[1.0, 0.0], [0.0, 1.0]], centre }
    }

    /// The same crop, turned and stretched by `other` first: `linear * other`.
    #[must_use]
    pub fn then(self, other: [[f64; 2]; 2]) -> Self {
        let [[a, b], [c, d]] = self.linear;
        let [[e, f], [g, h]] = other;
        let linear = [[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]];
        Self { linear, ..self }
    }

    /// Source pixels along the side of an output pixel.
    pub fn scale(&self) -> f64 {
        let [[a, b], [c, d]] = self.linear;
        (a * d - b * c).abs().sqrt()
    }

    /// The source point under the centre of output pixel (`col`, `row`) of `side` by `side`, bent first.
    fn source(&self, bend: &Bend, col: usize, row: usize, side: usize) -> (f64, f64) {
        let half = side as f64 / 2.0;
        let (mut dx, mut dy) = (col as f64 + 0.5 - half, row as f64 + 0.5 - half);
        if *bend != Bend::NONE {
            [dx, dy] = bend.apply([dx / half, dy / half]).map(|offset| offset * half);
        }
        let [[a, b], [c, d]] = self.linear;
        (self.centre[0] + a * dx + b * dy, self.centre[1] + c * dx + d * dy)
    }
}

/// A square piece of a tile as the network will see it, before normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Crop {
    /// Columns and rows.
    pub side_px: usize,
    /// Pixels in 0..1, `[band][row][col]`; anything where there is no data.
    pub image: Vec<f32>,
    /// Where the source has data, `[row][col]`.
    pub data: Vec<bool>,
    /// Labels, `[row][col]`; ignore outside the tile.
    pub mask: Vec<u8>,
    /// Pixels of the tile that a pixel's side covers.
    pub scale: f64,
}

/// Resamples `tile` to `side_px` squared: pixels bilinearly, labels by the nearest.
///
/// `fill` is the value, per band in 0..1, of pixels without data or outside the tile.
pub fn warp(tile: &TilePixels, affine: &Affine, side_px: usize, fill: &[f32]) -> Crop {
    warp_bent(tile, affine, &Bend::NONE, side_px, fill)
}

/// The same with a change of shape before all others.
pub fn warp_bent(
    tile: &TilePixels,
    affine: &Affine,
    bend: &Bend,
    side_px: usize,
    fill: &[f32],
) -> Crop {
    let area = side_px * side_px;
    let tile_area = tile.width * tile.height;
    let has_data = tile.valid();
    let mut crop = Crop {
        side_px,
        image: vec![0.0; tile.bands * area],
        data: vec![false; area],
        mask: vec![IGNORE; area],
        scale: affine.scale(),
    };
    for row in 0..side_px {
        for col in 0..side_px {
            let to = row * side_px + col;
            let (x, y) = affine.source(bend, col, row, side_px);
            let inside = x >= 0.0 && y >= 0.0 && x < tile.width as f64 && y < tile.height as f64;
            let nearest = if inside { y as usize * tile.width + x as usize } else { 0 };
            if !inside || !has_data[nearest] {
                for (band, &value) in fill.iter().enumerate() {
                    crop.image[band * area + to] = value;
                }
                continue;
            }
            crop.data[to] = true;
            crop.mask[to] = tile.mask[nearest];
            let neighbours = neighbours(tile, &has_data, x, y);
            for band in 0..tile.bands {
                let plane = &tile.image[band * tile_area..(band + 1) * tile_area];
                let sum: f32 =
                    neighbours.iter().map(|&(i, weight)| f32::from(plane[i]) * weight).sum();
                crop.image[band * area + to] = sum / 255.0;
            }
        }
    }
    crop
}

/// The four pixels around (x, y) and their bilinear weights, which sum to 1; pixels without data weigh
/// nothing (the nearest one has data), pixels past the border are those on it.
fn neighbours(tile: &TilePixels, has_data: &[bool], x: f64, y: f64) -> [(usize, f32); 4] {
    let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
    let (right_share, bottom_share) = ((x - 0.5 - left) as f32, (y - 0.5 - top) as f32);
    let clamp = |value: f64, size: usize| (value.max(0.0) as usize).min(size - 1);
    let cols = [clamp(left, tile.width), clamp(left + 1.0, tile.width)];
    let rows = [clamp(top, tile.height), clamp(top + 1.0, tile.height)];
    let at = |row: usize, col: usize| rows[row] * tile.width + cols[col];
    let mut all = [
        (at(0, 0), (1.0 - right_share) * (1.0 - bottom_share)),
        (at(0, 1), right_share * (1.0 - bottom_share)),
        (at(1, 0), (1.0 - right_share) * bottom_share),
        (at(1, 1), right_share * bottom_share),
    ];
    if all.iter().any(|&(i, _)| !has_data[i]) {
        let known: f32 = all.iter().filter(|&&(i, _)| has_data[i]).map(|&(_, weight)| weight).sum();
        for (i, weight) in &mut all {
            *weight = if has_data[*i] { *weight / known } else { 0.0 };
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tile whose only band is 255 on buildings and 1 elsewhere, with a wedge without data.
    fn tile(side: usize) -> TilePixels {
        let mut mask = vec![0; side * side];
        let mut image = vec![1; side * side];
        for row in 0..side {
            for col in 0..side {
                let i = row * side + col;
                if (row / 5 + col / 7) % 2 == 1 {
                    (mask[i], image[i]) = (1, 255);
                }
                if row + col < side / 3 {
                    (mask[i], image[i]) = (IGNORE, 0);
                }
            }
        }
        TilePixels { width: side, height: side, bands: 1, image, mask }
    }

    #[test]
    fn a_centred_crop_without_a_change_copies_the_pixels() {
        let tile = tile(16);
        let crop = warp(&tile, &Affine::at([8.0, 8.0]), 16, &[0.5]);
        assert_eq!(crop.mask, tile.mask);
        for (i, &value) in crop.image.iter().enumerate() {
            let expected = if crop.data[i] { f32::from(tile.image[i]) / 255.0 } else { 0.5 };
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn a_quarter_turn_moves_pixels_exactly() {
        let tile = tile(16);
        let crop = warp(&tile, &Affine::at([8.0, 8.0]).then([[0.0, 1.0], [-1.0, 0.0]]), 16, &[0.0]);
        for row in 0..16 {
            for col in 0..16 {
                // (x, y) = (row, 15 - col).
                assert_eq!(crop.mask[row * 16 + col], tile.mask[(15 - col) * 16 + row]);
            }
        }
    }

    #[test]
    fn outside_the_tile_is_ignored_and_filled() {
        let crop = warp(&tile(16), &Affine::at([16.0, 8.0]), 8, &[0.25]);
        for row in 0..8 {
            for col in 4..8 {
                let i = row * 8 + col;
                assert_eq!((crop.mask[i], crop.data[i], crop.image[i]), (IGNORE, false, 0.25));
            }
        }
    }

    proptest! {
        #[test]
        fn image_and_mask_move_together(
            angle in 0f64..std::f64::consts::TAU, scale in 0.6f64..1.6, x in 0f64..48.0, y in 0f64..48.0
        ) {
            let (sin, cos) = angle.sin_cos();
            let affine = Affine::at([x, y])
                .then([[cos * scale, -sin * scale], [sin * scale, cos * scale]]);
            let crop = warp(&tile(48), &affine, 24, &[0.5]);
            for i in 0..24 * 24 {
                match crop.mask[i] {
                    // The nearest of four pixels weighs at least a quarter.
                    1 => prop_assert!(crop.image[i] > 0.25 - 1e-4),
                    0 => prop_assert!(crop.image[i] < 0.76),
                    _ => prop_assert!(!crop.data[i] && crop.image[i] == 0.5),
                }
            }
        }
    }
}
