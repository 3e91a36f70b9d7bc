//! A picture of some tiles with their labels, to look at before training.

use image::{GrayImage, Rgb, RgbImage};

use crate::error::Result;
use crate::picture::contact_sheet::{self, Thumb};
use crate::truth::IGNORE;

use super::labels::SOFT_SCALE;
use super::set::{CONTACT_SHEET_FILE, Labels, TilePixels, TileRecord, TileSet};

/// Thumbs on the sheet.
const MOST: usize = 24;
const COLUMNS: usize = 6;

/// Writes the contact sheet of a set.
pub(super) fn write(set: &TileSet) -> Result<()> {
    let thumbs: Vec<Thumb> = choose(&set.tiles)
        .into_iter()
        .map(|tile| {
            let mut pixels = set.read(tile)?;
            if set.info.labels == Labels::Soft {
                let likely = |label: u8| u8::from(f32::from(label) >= SOFT_SCALE / 2.0);
                let hard =
                    pixels.mask.iter().map(|&p| if p == IGNORE { IGNORE } else { likely(p) });
                pixels.mask = hard.collect();
            }
            Ok(thumb(tile, &pixels))
        })
        .collect::<Result<_>>()?;
    contact_sheet::write(&set.root.join(CONTACT_SHEET_FILE), &thumbs, COLUMNS)
}

/// Evenly spaced tiles, four fifths of them with buildings where there are enough.
fn choose(tiles: &[TileRecord]) -> Vec<&TileRecord> {
    let (with, without): (Vec<_>, Vec<_>) =
        (0..tiles.len()).partition(|&i| tiles[i].building_fraction > 0.0);
    let empty = without.len().min((MOST / 5).max(MOST.saturating_sub(with.len())));
    let mut chosen = spread(&with, MOST - empty);
    chosen.extend(spread(&without, empty));
    chosen.sort_unstable();
    chosen.into_iter().map(|i| &tiles[i]).collect()
}

fn spread(from: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(from.len());
    (0..count).map(|i| from[(2 * i + 1) * from.len() / (2 * count)]).collect()
}

/// The first three bands, or the first one as grey.
fn thumb(tile: &TileRecord, pixels: &TilePixels) -> Thumb {
    let (width, area) = (pixels.width, pixels.width * pixels.height);
    let band = |band: usize| if pixels.bands >= 3 { band } else { 0 };
    let rgb = RgbImage::from_fn(width as u32, pixels.height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        Rgb([0, 1, 2].map(|i| pixels.image[band(i) * area + at]))
    });
    Thumb {
        rgb,
        mask: GrayImage::from_raw(width as u32, pixels.height as u32, pixels.mask.clone()),
        caption: format!("{} {} {}", tile.split, tile.scene, tile.scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_takes_all_of_few_and_even_steps_of_many() {
        assert_eq!(spread(&[4, 5], 9), [4, 5]);
        assert_eq!(spread(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 2), [2, 7]);
        assert!(spread(&[], 3).is_empty());
    }
}
