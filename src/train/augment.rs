//! A random view of a tile: where it is cut, how it is turned, how its colours change.

use rand::Rng;

use super::bend::Bend;
use super::colour::{self, HsvChange};
use super::warp::{Affine, Crop, warp, warp_bent};
use crate::config::train::AugmentSection;
use crate::tiles::TilePixels;

/// What to cut from tiles.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// Random changes.
    pub section: &'a AugmentSection,
    /// Side of the crop, pixels.
    pub side_px: usize,
    /// Value, per band in 0..1, of pixels without data.
    pub fill: &'a [f32],
}

/// Cuts a random crop of `side_px` and changes it as `section` says. All randomness comes from `rng`, and
/// the same draws are made whatever their outcome, so that one probability does not shift the others.
///
/// A pixel of the tile is `gsd_m` metres wide (NaN where unknown).
pub fn augment(tile: &TilePixels, gsd_m: f64, cut: Cut<'_>, rng: &mut impl Rng) -> Crop {
    let Cut { section, side_px, fill } = cut;
    let mut affine = Affine::at(random_centre(tile, side_px, rng));
    if !section.enabled {
        return warp(tile, &affine, side_px, fill);
    }
    affine = shake(affine, section, side_px, rng);
    let bend = Bend::draw(section, rng);
    // The only change of scale then: what it shows has the reference's size.
    if chance(rng, section.reference_probability) && gsd_m.is_finite() {
        let factor = section.reference_gsd_m / (gsd_m * affine.scale());
        affine = affine.then([[factor, 0.0], [0.0, factor]]);
    }
    let mut crop = warp_bent(tile, &affine, &bend, side_px, fill);
    recolour(&mut crop, section, rng);
    drop_patches(&mut crop, section, fill, rng);
    crop
}

/// The centre of a crop that lies inside the tile, on whole pixels.
fn random_centre(tile: &TilePixels, side_px: usize, rng: &mut impl Rng) -> [f64; 2] {
    let half = side_px as f64 / 2.0;
    let mut along = |size: usize| rng.random_range(0..=size.saturating_sub(side_px)) as f64 + half;
    [along(tile.width), along(tile.height)]
}

/// Flip, turn, scale, rotation and shift.
fn shake(
    mut affine: Affine,
    section: &AugmentSection,
    side_px: usize,
    rng: &mut impl Rng,
) -> Affine {
    let shift_x = limited(rng, 1.0, section.shift_limit);
    let shift_y = limited(rng, 1.0, section.shift_limit);
    if chance(rng, section.shift_probability) {
        affine.centre[0] += shift_x * side_px as f64;
        affine.centre[1] += shift_y * side_px as f64;
    }
    let angle = limited(rng, section.rotation_probability, section.rotation_limit_deg).to_radians();
    if angle != 0.0 {
        let (sin, cos) = angle.sin_cos();
        affine = affine.then([[cos, -sin], [sin, cos]]);
    }
    let exponent = limited(rng, section.scale_probability, 1.0);
    if exponent != 0.0 {
        let factor = (1.0 + section.scale_limit).powf(exponent);
        affine = affine.then([[factor, 0.0], [0.0, factor]]);
    }
    let quarters = rng.random_range(1..=3);
    if chance(rng, section.turn_probability) {
        for _ in 0..quarters {
            affine = affine.then([[0.0, 1.0], [-1.0, 0.0]]);
        }
    }
    if chance(rng, section.flip_probability) {
        affine = affine.then([[-1.0, 0.0], [0.0, 1.0]]);
    }
    if chance(rng, section.transpose_probability) {
        affine = affine.then([[0.0, 1.0], [1.0, 0.0]]);
    }
    affine
}

/// Brightness, contrast, colour, gamma, grey, blur and noise.
fn recolour(crop: &mut Crop, section: &AugmentSection, rng: &mut impl Rng) {
    let area = crop.side_px * crop.side_px;
    let brightness = limited(rng, section.brightness_probability, section.brightness_limit);
    if brightness != 0.0 {
        colour::brighten(&mut crop.image, brightness as f32);
    }
    let contrast = limited(rng, section.contrast_probability, section.contrast_limit);
    if contrast != 0.0 {
        colour::stretch_contrast(&mut crop.image, area, 1.0 + contrast as f32);
    }
    let change = HsvChange {
        hue_deg: limited(rng, 1.0, section.hue_limit_deg) as f32,
        saturation: 1.0 + limited(rng, 1.0, section.saturation_limit) as f32,
        value: 1.0 + limited(rng, 1.0, section.value_limit) as f32,
    };
    if chance(rng, section.hsv_probability) && crop.image.len() >= 3 * area {
        colour::shift_hsv(&mut crop.image, area, change);
    }
    let exponent = limited(rng, section.gamma_probability, 1.0);
    if exponent != 0.0 {
        colour::gamma(&mut crop.image, (1.0 + section.gamma_limit).powf(exponent) as f32);
    }
    let shifts = [(); 3].map(|()| limited(rng, 1.0, section.rgb_limit) as f32);
    if chance(rng, section.rgb_probability) {
        colour::shift_bands(&mut crop.image, area, shifts);
    }
    if chance(rng, section.grey_probability) && crop.image.len() >= 3 * area {
        colour::to_grey(&mut crop.image, area);
    }
    let length_px =
        limited(rng, section.motion_blur_probability, section.motion_blur_limit_px).abs();
    let angle = rng.random::<f64>() * std::f64::consts::PI;
    if length_px > 1.0 {
        colour::motion_blur(&mut crop.image, crop.side_px, length_px as f32, angle as f32);
    }
    let sigma_px = limited(rng, section.blur_probability, section.blur_limit_px).abs() as f32;
    // A narrower Gaussian than this leaves a pixel 99 % of its weight.
    if sigma_px > 0.3 {
        colour::blur(&mut crop.image, crop.side_px, sigma_px);
    }
    let sigma = limited(rng, section.noise_probability, section.noise_limit).abs() as f32;
    if sigma > 0.0 {
        colour::add_noise(&mut crop.image, sigma, rng);
    }
}

/// Hides squares of the image from the network; their labels stay.
fn drop_patches(crop: &mut Crop, section: &AugmentSection, fill: &[f32], rng: &mut impl Rng) {
    let side = crop.side_px;
    let area = side * side;
    let dropped = chance(rng, section.dropout_probability);
    for _ in 0..section.dropout_patches {
        let size = rng.random::<f64>() * section.dropout_limit * side as f64;
        let [left, top] = [(); 2].map(|()| rng.random::<f64>() * (side as f64 - size));
        if !dropped {
            continue;
        }
        let (columns, rows) =
            (left as usize..(left + size) as usize, top as usize..(top + size) as usize);
        for row in rows {
            for at in row * side + columns.start..row * side + columns.end {
                crop.data[at] = false;
                for (band, &value) in fill.iter().enumerate() {
                    crop.image[band * area + at] = value;
                }
            }
        }
    }
}

/// True with `probability`.
fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// With `probability` a number from `-limit` to `limit`, else 0.
fn limited(rng: &mut impl Rng, probability: f64, limit: f64) -> f64 {
    let amount = (2.0 * rng.random::<f64>() - 1.0) * limit;
    if chance(rng, probability) { amount } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::IGNORE;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Red where there is a building, blue elsewhere; the right margin has no data.
    fn tile(side: usize) -> TilePixels {
        let area = side * side;
        let mut mask = vec![0; area];
        let mut image = vec![10; 3 * area];
        for i in 0..area {
            let (row, col) = (i / side, i % side);
            if (row / 9 + col / 11) % 2 == 1 {
                mask[i] = 1;
                image[i] = 250;
            } else {
                image[2 * area + i] = 250;
            }
            if col >= side - 4 {
                mask[i] = IGNORE;
                (0..3).for_each(|band| image[band * area + i] = 0);
            }
        }
        TilePixels { width: side, height: side, bands: 3, image, mask }
    }

    fn cut(section: &AugmentSection, side_px: usize) -> Cut<'_> {
        Cut { section, side_px, fill: &[0.5; 3] }
    }

    #[test]
    fn a_reference_distance_overrides_every_other_scale() {
        let section = AugmentSection {
            reference_probability: 1.0,
            reference_gsd_m: 0.15,
            scale_probability: 1.0,
            ..AugmentSection::default()
        };
        for seed in 0..8 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let crop = augment(&tile(64), 0.3, cut(&section, 32), &mut rng);
            assert!((crop.scale - 0.5).abs() < 1e-9, "{}", crop.scale);
        }
    }

    #[test]
    fn dropped_patches_hide_pixels_and_keep_their_labels() {
        let section = AugmentSection {
            enabled: true,
            dropout_probability: 1.0,
            dropout_patches: 6,
            dropout_limit: 0.4,
            noise_probability: 0.0,
            shift_probability: 0.0,
            rotation_probability: 0.0,
            scale_probability: 0.0,
            ..AugmentSection::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        // No margin without data: only patches are hidden.
        let whole = TilePixels { mask: vec![1; 64 * 64], ..tile(64) };
        let crop = augment(&whole, 0.3, cut(&section, 32), &mut rng);
        let hidden = crop.data.iter().filter(|data| !**data).count();
        assert!(hidden > 10 && hidden < 900, "{hidden}");
        assert!(crop.mask.iter().all(|label| *label == 1));
        assert!((0..32 * 32).all(|i| crop.data[i] || crop.image[i] == 0.5));
    }

    #[test]
    fn the_same_seed_gives_the_same_view_and_another_seed_another() {
        let tile = tile(64);
        let view = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            augment(&tile, 0.3, cut(&AugmentSection::default(), 32), &mut rng)
        };
        assert_eq!(view(3), view(3));
        assert_ne!(view(3), view(4));
    }

    #[test]
    fn without_augmentation_a_crop_holds_the_tile_as_it_is() {
        let tile = tile(32);
        let off = AugmentSection { enabled: false, ..AugmentSection::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let black = Cut { fill: &[0.0; 3], ..cut(&off, 32) };
        let crop = augment(&tile, 0.3, black, &mut rng);
        assert_eq!(crop.mask, tile.mask);
        assert!(crop.image.iter().zip(&tile.image).all(|(a, &b)| *a == f32::from(b) / 255.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn labels_follow_the_pixels_through_every_change(seed in any::<u64>()) {
            // Colour changes small enough that red stays red.
            let section = AugmentSection {
                shift_probability: 1.0, rotation_probability: 1.0, scale_probability: 1.0,
                transpose_probability: 0.5, grid_probability: 0.5, optical_probability: 0.5,
                gamma_probability: 0.5, rgb_probability: 0.5, rgb_limit: 0.05,
                blur_probability: 0.0, noise_limit: 0.01, ..AugmentSection::default()
            };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let crop = augment(&tile(64), 0.3, cut(&section, 40), &mut rng);
            let area = 40 * 40;
            let (mut labelled, mut agreeing) = (0, 0);
            for i in 0..area {
                let (red, blue) = (crop.image[i], crop.image[2 * area + i]);
                prop_assert!((0.0..=1.0).contains(&red));
                prop_assert_eq!(crop.data[i], crop.mask[i] != IGNORE);
                if crop.data[i] {
                    labelled += 1;
                    agreeing += usize::from((red > blue) == (crop.mask[i] == 1));
                }
            }
            // They may differ only where bilinear pixels straddle an edge.
            prop_assert!(agreeing as f64 >= 0.93 * labelled as f64, "{agreeing} of {labelled}");
        }
    }
}
