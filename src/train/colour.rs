//! Changes to the pixels of a crop that leave every pixel where it is. Values are in 0..1.

use rand::Rng;

/// Adds `amount` to all bands.
pub fn brighten(image: &mut [f32], amount: f32) {
    for value in image {
        *value = (*value + amount).clamp(0.0, 1.0);
    }
}

/// Moves every band (of `area` pixels) away from its mean (`factor` > 1) or towards it.
pub fn stretch_contrast(image: &mut [f32], area: usize, factor: f32) {
    for plane in image.chunks_exact_mut(area) {
        let mean = (plane.iter().map(|&v| f64::from(v)).sum::<f64>() / area as f64) as f32;
        for value in plane {
            *value = (mean + (*value - mean) * factor).clamp(0.0, 1.0);
        }
    }
}

/// Raises all values to a power: above 1 darkens what is neither black nor white.
pub fn gamma(image: &mut [f32], exponent: f32) {
    for value in image {
        *value = value.powf(exponent);
    }
}

/// Adds an amount of its own to each of the first three bands (of `area` pixels each).
pub fn shift_bands(image: &mut [f32], area: usize, amounts: [f32; 3]) {
    for (plane, amount) in image.chunks_exact_mut(area).zip(amounts) {
        brighten(plane, amount);
    }
}

/// Makes the first three bands (of `area` pixels each), taken as red, green, blue, one grey (luma of ITU-R BT.601).
pub fn to_grey(image: &mut [f32], area: usize) {
    let (red, rest) = image.split_at_mut(area);
    let (green, rest) = rest.split_at_mut(area);
    for ((r, g), b) in red.iter_mut().zip(green).zip(&mut rest[..area]) {
        let grey = 0.299 * *r + 0.587 * *g + 0.114 * *b;
        (*r, *g, *b) = (grey, grey, grey);
    }
}

/// A change of colour in the HSV cone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HsvChange {
    /// Added to the hue, degrees.
    pub hue_deg: f32,
    /// Factor of the saturation.
    pub saturation: f32,
    /// Factor of the value.
    pub value: f32,
}

/// Changes the colour of the first three bands (of `area` pixels each), taken as red, green, blue.
pub fn shift_hsv(image: &mut [f32], area: usize, change: HsvChange) {
    let (red, rest) = image.split_at_mut(area);
    let (green, rest) = rest.split_at_mut(area);
    let blue = &mut rest[..area];
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let (hue, saturation, value) = to_hsv(*r, *g, *b);
        let saturation = (saturation * change.saturation).min(1.0);
        let value = (value * change.value).min(1.0);
        let hue = (hue + change.hue_deg).rem_euclid(360.0);
        (*r, *g, *b) = from_hsv(hue, saturation, value);
    }
}

/// Hue in degrees, saturation and value in 0..1.
fn to_hsv(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    if chroma <= 0.0 {
        return (0.0, 0.0, value);
    }
    let sixth = if value == r {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if value == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    (60.0 * sixth, chroma / value, value)
}

fn from_hsv(hue_deg: f32, saturation: f32, value: f32) -> (f32, f32, f32) {
    let channel = |offset: f32| {
        let k = (offset + hue_deg / 60.0).rem_euclid(6.0);
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    (channel(5.0), channel(3.0), channel(1.0))
}

/// Gaussian blur of every band with standard deviation `sigma_px`; the border is repeated.
pub fn blur(image: &mut [f32], side_px: usize, sigma_px: f32) {
    // Beyond three standard deviations a Gaussian weighs less than one grey level.
    let radius = (3.0 * sigma_px).ceil() as usize;
    let mut kernel: Vec<f32> = (0..=2 * radius)
        .map(|i| {
            let x = (i as f32 - radius as f32) / sigma_px;
            (-x * x / 2.0).exp()
        })
        .collect();
    let sum: f32 = kernel.iter().sum();
    for weight in &mut kernel {
        *weight /= sum;
    }
    let mut line = vec![0.0; side_px];
    for plane in image.chunks_exact_mut(side_px * side_px) {
        for row in plane.chunks_exact_mut(side_px) {
            line.copy_from_slice(row);
            for (col, value) in row.iter_mut().enumerate() {
                *value = convolve(&line, &kernel, radius, col);
            }
        }
        for col in 0..side_px {
            for row in 0..side_px {
                line[row] = plane[row * side_px + col];
            }
            for row in 0..side_px {
                plane[row * side_px + col] = convolve(&line, &kernel, radius, row);
            }
        }
    }
}

/// The mean along a line of `length_px` at `angle` (radians from the columns' direction) around every pixel of every band:
/// what a camera in motion sees. The border is repeated.
pub fn motion_blur(image: &mut [f32], side_px: usize, length_px: f32, angle: f32) {
    let (sin, cos) = angle.sin_cos();
    let last = side_px as isize - 1;
    let reach = length_px / 2.0;
    let steps = length_px.ceil() as usize;
    let offsets: Vec<(isize, isize)> = (0..=steps)
        .map(|i| {
            let along = (i as f32 / steps as f32 * 2.0 - 1.0) * reach;
            ((along * cos).round() as isize, (along * sin).round() as isize)
        })
        .collect();
    let share = 1.0 / offsets.len() as f32;
    for plane in image.chunks_exact_mut(side_px * side_px) {
        let sharp = plane.to_vec();
        for (at, value) in plane.iter_mut().enumerate() {
            let (row, col) = ((at / side_px) as isize, (at % side_px) as isize);
            let pixel = |(dx, dy): &(isize, isize)| {
                let (row, col) = ((row + dy).clamp(0, last), (col + dx).clamp(0, last));
                sharp[row as usize * side_px + col as usize]
            };
            *value = offsets.iter().map(pixel).sum::<f32>() * share;
        }
    }
}

fn convolve(line: &[f32], kernel: &[f32], radius: usize, centre: usize) -> f32 {
    let last = line.len() - 1;
    kernel
        .iter()
        .enumerate()
        .map(|(k, weight)| weight * line[(centre + k).saturating_sub(radius).min(last)])
        .sum()
}

/// Adds independent Gaussian noise with standard deviation `sigma` to every value.
pub fn add_noise(image: &mut [f32], sigma: f32, rng: &mut impl Rng) {
    for pair in image.chunks_mut(2) {
        // Box and Muller 1958: two uniform numbers make two normal ones.
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt() * sigma;
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        for (value, noise) in pair.iter_mut().zip([radius * cos, radius * sin]) {
            *value = (*value + noise).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_hue_shift_of_a_third_turns_red_into_green() {
        let mut pixel = [1.0, 0.25, 0.25];
        shift_hsv(&mut pixel, 1, HsvChange { hue_deg: 120.0, saturation: 1.0, value: 1.0 });
        assert_eq!(pixel, [0.25, 1.0, 0.25]);
    }

    #[test]
    fn blur_keeps_a_flat_image_and_spreads_a_point_evenly() {
        let mut flat = vec![0.5; 64];
        blur(&mut flat, 8, 1.0);
        assert!(flat.iter().all(|v| (v - 0.5).abs() < 1e-6));
        let mut point = vec![0.0; 15 * 15];
        point[7 * 15 + 7] = 1.0;
        blur(&mut point, 15, 1.0);
        assert!((point.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((point[7 * 15 + 5] - point[9 * 15 + 7]).abs() < 1e-7);
    }

    #[test]
    fn motion_blur_spreads_a_point_along_its_line() {
        let mut point = vec![0.0; 15 * 15];
        point[7 * 15 + 7] = 1.0;
        motion_blur(&mut point, 15, 4.0, 0.0);
        let row = &point[7 * 15..8 * 15];
        assert!(row[5..10].iter().all(|v| (v - 0.2).abs() < 1e-6), "{row:?}");
        assert!((point.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn grey_has_one_value_and_a_power_keeps_black_and_white() {
        let mut pixel = [1.0, 0.5, 0.0];
        to_grey(&mut pixel, 1);
        assert!((pixel[0] - 0.5925).abs() < 1e-6 && pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        let mut values = [0.0, 0.5, 1.0];
        gamma(&mut values, 2.0);
        assert_eq!(values, [0.0, 0.25, 1.0]);
    }

    #[test]
    fn noise_has_the_standard_deviation_asked_for() {
        let mut image = vec![0.5; 20_000];
        add_noise(&mut image, 0.05, &mut ChaCha8Rng::seed_from_u64(1));
        let variance = image.iter().map(|v| (v - 0.5).powi(2)).sum::<f32>() / 20_000.0;
        assert!((variance.sqrt() - 0.05).abs() < 0.002, "{variance}");
    }

    proptest! {
        #[test]
        fn hsv_and_back_is_the_same_colour(r in 0f32..=1.0, g in 0f32..=1.0, b in 0f32..=1.0) {
            let mut pixel = [r, g, b];
            shift_hsv(&mut pixel, 1, HsvChange { hue_deg: 0.0, saturation: 1.0, value: 1.0 });
            for (got, wanted) in pixel.iter().zip([r, g, b]) {
                prop_assert!((got - wanted).abs() < 2e-6);
            }
        }
    }
}
