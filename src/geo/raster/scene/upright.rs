//! Which way up a photo is: cameras write rows as the sensor has them, and an EXIF tag that says how to turn them.

use std::path::Path;

use image::{ImageDecoder, ImageReader};

use super::Pixels;
use crate::geo::grid::{Grid, Window};

/// How a file's pixels lie: pixel `(x, y)` of the upright picture is `(y, x)` of the file where they are swapped, else
/// `(x, y)`, counted from the other end where mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    swapped: bool,
    columns_mirrored: bool,
    rows_mirrored: bool,
}

impl Turn {
    /// What the EXIF data of a JPEG or PNG say; other files and damaged data say nothing.
    pub fn of(path: &Path) -> Self {
        let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
        let decoder = reader.ok().and_then(|reader| reader.into_decoder().ok());
        let said = decoder.and_then(|mut decoder| decoder.orientation().ok());
        Self::from_exif(said.map_or(1, image::metadata::Orientation::to_exif))
    }

    /// EXIF's tag 0x0112: where the file's first row and column lie.
    fn from_exif(orientation: u8) -> Self {
        Self {
            swapped: matches!(orientation, 5..=8),
            columns_mirrored: matches!(orientation, 2 | 3 | 7 | 8),
            rows_mirrored: matches!(orientation, 3 | 4 | 6 | 7),
        }
    }

    /// An upright grid as the file has it, and back. Only its size: what has a place on Earth is not turned.
    pub fn grid(self, grid: &Grid) -> Grid {
        let (width, height) = self.size((grid.width, grid.height));
        Grid { width, height, ..grid.clone() }
    }

    fn size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.swapped { (height, width) } else { (width, height) }
    }

    /// Where a window of an upright picture of `size` (columns, rows) lies in the file.
    pub fn window(self, window: Window, size: (usize, usize)) -> Window {
        let (of_width, of_height) = self.size(size);
        let (col, row) = self.size((window.col, window.row));
        let (width, height) = self.size((window.width, window.height));
        Window {
            col: if self.columns_mirrored { of_width - col - width } else { col },
            row: if self.rows_mirrored { of_height - row - height } else { row },
            width,
            height,
        }
    }

    /// Pixels as the file has them, turned.
    pub fn pixels(self, lying: Pixels) -> Pixels {
        if self == Self::default() {
            return lying;
        }
        let data = lying.data.chunks_exact(lying.valid.len());
        let data = data.flat_map(|band| self.plane(band, lying.width)).collect();
        let valid = self.plane(&lying.valid, lying.width);
        let (width, height) = self.size((lying.width, lying.height));
        Pixels { width, height, bands: lying.bands, data, valid }
    }

    /// A plane of `width` columns, turned.
    fn plane<T: Copy>(self, lying: &[T], width: usize) -> Vec<T> {
        let height = lying.len() / width;
        let (upright_width, upright_height) = self.size((width, height));
        let mut upright = Vec::with_capacity(lying.len());
        for y in 0..upright_height {
            for x in 0..upright_width {
                let (col, row) = self.size((x, y));
                let col = if self.columns_mirrored { width - 1 - col } else { col };
                let row = if self.rows_mirrored { height - 1 - row } else { row };
                upright.push(lying[row * width + col]);
            }
        }
        upright
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;
    use image::{DynamicImage, GrayImage};
    use proptest::prelude::*;

    use super::*;

    /// A picture of different pixels in one band.
    fn picture(width: usize, height: usize) -> Pixels {
        let data: Vec<u8> = (0..width * height).map(|i| i as u8).collect();
        let valid = data.iter().map(|value| value % 3 > 0).collect();
        Pixels { width, height, bands: 1, data, valid }
    }

    fn cut(whole: &Pixels, window: Window) -> Pixels {
        let at = |y: usize, x: usize| (window.row + y) * whole.width + window.col + x;
        let places = (0..window.area()).map(|i| at(i / window.width, i % window.width));
        Pixels {
            width: window.width,
            height: window.height,
            bands: 1,
            data: places.clone().map(|at| whole.data[at]).collect(),
            valid: places.map(|at| whole.valid[at]).collect(),
        }
    }

    proptest! {
        #[test]
        fn windows_of_the_file_turned_are_those_of_the_upright_picture(
            width in 1_usize..15, height in 1_usize..15, exif in 1_u8..=8, at in any::<[u16; 4]>(),
        ) {
            let (lying, turn) = (picture(width, height), Turn::from_exif(exif));
            let upright = turn.pixels(lying.clone());
            // As another program turns it.
            let pixels = GrayImage::from_raw(width as u32, height as u32, lying.data.clone());
            let mut other = DynamicImage::ImageLuma8(pixels.unwrap());
            other.apply_orientation(Orientation::from_exif(exif).unwrap());
            prop_assert_eq!((other.width(), other.height()), (upright.width as u32, upright.height as u32));
            prop_assert_eq!(other.as_bytes(), &upright.data);

            let [col, row, w, h] = at.map(usize::from);
            let (col, row) = (col % upright.width, row % upright.height);
            let (width, height) = (1 + w % (upright.width - col), 1 + h % (upright.height - row));
            let window = Window { col, row, width, height };
            let in_file = turn.window(window, (upright.width, upright.height));
            prop_assert_eq!(turn.pixels(cut(&lying, in_file)), cut(&upright, window));
        }
    }
}
