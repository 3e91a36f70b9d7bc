//! A mask file: which pixels of a photo show the object.

use std::path::Path;

use super::{BACKGROUND, BUILDING};
use crate::error::Result;
use crate::geo::{Scene, SceneOptions, Window};

/// Brighter than this, of 255, is object.
const BRIGHT: u8 = 127;

/// Which pixels of a photo show the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[row][col]`.
    pub object: Vec<bool>,
}

impl Mask {
    /// Reads PNG, GIF or any other raster that GDAL opens. Object is what is brighter than 127 of 255, by the colours of its
    /// palette where it has one, and in a file of zeros and ones what is not 0.
    ///
    /// # Errors
    /// The file is missing, no raster, or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let scene = open(path)?;
        let grid = scene.grid();
        let (width, height) = (grid.width, grid.height);
        let pixels = scene.read(grid, Window::whole(width, height))?;
        let mut brightest = vec![0; width * height];
        for plane in pixels.data.chunks_exact(width * height) {
            for ((most, &value), &valid) in brightest.iter_mut().zip(plane).zip(&pixels.valid) {
                *most = value.max(*most) * u8::from(valid);
            }
        }
        let above = if brightest.iter().all(|&value| value <= 1) { 0 } else { BRIGHT };
        let object = brightest.into_iter().map(|value| value > above).collect();
        Ok(Self { width, height, object })
    }

    /// Columns and rows of a mask file.
    ///
    /// # Errors
    /// The file is missing or no raster.
    pub fn size(path: &Path) -> Result<(usize, usize)> {
        let scene = open(path)?;
        Ok((scene.grid().width, scene.grid().height))
    }

    /// Labels of a window of this mask, brought to `width` x `height` pixels, `[row][col]`: object where it covers more than half
    /// of a pixel. The window lies inside.
    pub fn labels(&self, (width, height): (usize, usize), window: Window) -> Vec<u8> {
        let whole = self.width as u64 * self.height as u64;
        let mut labels = Vec::with_capacity(window.area());
        for row in window.row..window.bottom() {
            for col in window.col..window.right() {
                let mut covered = 0;
                for (y, tall) in under(row, height, self.height) {
                    for (x, wide) in under(col, width, self.width) {
                        covered += tall * wide * u64::from(self.object[y * self.width + x]);
                    }
                }
                labels.push(if 2 * covered > whole { BUILDING } else { BACKGROUND });
            }
        }
        labels
    }
}

fn open(path: &Path) -> Result<Scene> {
    // Values of 16 bits are not stretched: those above 255 are bright, too.
    let options =
        SceneOptions { value_range: Some([0.0, 255.0]), upright: true, ..SceneOptions::default() };
    Scene::open_with(path, &options)
}

/// The pixels of an axis of `len` that lie under pixel `at` of the same axis in `count` pixels, each with its share: of `len`.
fn under(at: usize, count: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let (from, to) = (at * len, (at + 1) * len);
    (from / count..to.div_ceil(count))
        .map(move |i| (i, (to.min((i + 1) * count) - from.max(i * count)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_of_the_pixels_under_a_pixel_add_up(count in 1usize..50, len in 1usize..50) {
            for at in 0..count {
                prop_assert_eq!(under(at, count, len).map(|(_, share)| share).sum::<u64>(), len as u64);
                prop_assert!(under(at, count, len).all(|(i, share)| i < len && share > 0));
            }
        }

        #[test]
        fn a_mask_keeps_its_pixels_at_its_own_size_and_at_multiples(
            width in 1usize..12, height in 1usize..12, bits in any::<u64>(), times in 1usize..4,
        ) {
            let object = (0..width * height).map(|i| bits >> (i % 64) & 1 == 1).collect();
            let mask = Mask { width, height, object };
            let size = (width * times, height * times);
            let labels = mask.labels(size, Window::whole(size.0, size.1));
            for (i, label) in labels.iter().enumerate() {
                let (row, col) = (i / size.0 / times, i % size.0 / times);
                prop_assert_eq!(*label == BUILDING, mask.object[row * width + col]);
            }
        }
    }

    #[test]
    fn a_coarser_pixel_follows_the_larger_part_of_its_area() {
        let object = [1, 1, 0, 1, 0, 0].map(|value| value == 1).to_vec();
        let mask = Mask { width: 3, height: 2, object };
        // The middle column is halved: 1 + 1/2 + 1 and nothing of 3, and 1/2 of 3.
        assert_eq!(mask.labels((2, 1), Window::whole(2, 1)), [BUILDING, BACKGROUND]);
        assert_eq!(
            mask.labels((1, 1), Window::whole(1, 1)),
            [BACKGROUND],
            "half is not more than half"
        );
    }

    #[test]
    fn zeros_and_ones_are_a_mask_and_so_are_greys_and_colours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        let grey = |values: [u8; 3]| {
            image::GrayImage::from_raw(3, 1, values.to_vec()).unwrap().save(&path).unwrap();
            Mask::read(&path).unwrap().object
        };
        assert_eq!(grey([0, 1, 0]), [false, true, false]);
        assert_eq!(grey([1, 127, 128]), [false, false, true]);
        assert_eq!(grey([0, 0, 0]), [false; 3]);
        image::RgbImage::from_raw(2, 1, vec![0, 200, 0, 9, 9, 9]).unwrap().save(&path).unwrap();
        assert_eq!(Mask::read(&path).unwrap().object, [true, false]);
    }
    #[test]
    fn a_mask_with_an_orientation_of_its_own_is_turned_by_that() {
        use image::ImageEncoder as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        // One tag, 0x0112: a quarter turn clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let file = std::fs::File::create(&path).unwrap();
        let mut encoder = image::codecs::png::PngEncoder::new(file);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&[255, 0], 2, 1, image::ExtendedColorType::L8).unwrap();
        assert_eq!(Mask::size(&path).unwrap(), (1, 2));
        let mask = Mask::read(&path).unwrap();
        assert_eq!((mask.width, mask.height, mask.object), (1, 2, vec![true, false]));
    }
}
