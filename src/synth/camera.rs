//! The camera: soft optics, a colour cast, sensor noise.

use super::canvas::{Canvas, Frame};
use super::hash::point;
use super::roofs::shaded;
use super::style::Style;

/// Pixels of the neighbourhood that the optics mix into one pixel, on each side.
pub const HALO_PX: usize = 2;

/// Standard deviation of the blur, pixels: what a lens, a sensor and an orthorectification leave.
const BLUR_PX: f32 = 0.62;

/// Standard deviation of the sensor's noise, grey levels of 255.
const NOISE_LEVELS: f32 = 2.2;

/// Exposes the middle of a canvas (without its halo): pixels as 8-bit RGB, interleaved, row by row.
pub fn expose(canvas: &Canvas, style: &Style, seed: u64) -> Vec<u8> {
    let Frame { col, row, width, height } = canvas.frame;
    let lit: Vec<[f32; 3]> = canvas
        .rgb
        .iter()
        .zip(&canvas.shadow)
        .map(|(&colour, &shadow)| if shadow > 0.0 { shaded(colour, shadow) } else { colour })
        .collect();
    let kernel: [f32; 2 * HALO_PX + 1] = std::array::from_fn(|k| {
        let d = k as f32 - HALO_PX as f32;
        (-d * d / (2.0 * BLUR_PX * BLUR_PX)).exp()
    });
    let sum: f32 = kernel.iter().sum();
    let kernel = kernel.map(|k| k / sum);
    let (inner_w, inner_h) = (width - 2 * HALO_PX, height - 2 * HALO_PX);
    let mut across = vec![[0.0f32; 3]; inner_w * height];
    for y in 0..height {
        let line = &lit[y * width..(y + 1) * width];
        for (x, out) in across[y * inner_w..(y + 1) * inner_w].iter_mut().enumerate() {
            for (weight, pixel) in kernel.iter().zip(&line[x..]) {
                for (o, c) in out.iter_mut().zip(pixel) {
                    *o += weight * c;
                }
            }
        }
    }
    let mut rgb = vec![0u8; inner_w * inner_h * 3];
    for y in 0..inner_h {
        for x in 0..inner_w {
            let mut pixel = [0.0f32; 3];
            for (k, weight) in kernel.iter().enumerate() {
                let c = across[(y + k) * inner_w + x];
                for (o, c) in pixel.iter_mut().zip(c) {
                    *o += weight * c;
                }
            }
            let place = ((col + (x + HALO_PX) as i64) as i32, (row + (y + HALO_PX) as i64) as i32);
            let out = &mut rgb[(y * inner_w + x) * 3..][..3];
            let bits = point(place.0, place.1, seed as u32 ^ 0xCA3E);
            let grey = triangular(bits);
            for (channel, o) in out.iter_mut().enumerate() {
                let own = triangular(
                    bits.rotate_left(11 * (channel as u32 + 1)).wrapping_mul(0x9E37_79B1),
                );
                // Most of the noise is common to the channels; demosaicing leaves a little of each.
                let noise = NOISE_LEVELS * (0.8 * grey + 0.5 * own);
                let level = tone(pixel[channel] * style.cast[channel]) * 255.0 + noise;
                *o = (level + 0.5).clamp(1.0, 255.0) as u8;
            }
        }
    }
    rgb
}

/// The camera's tone curve: bright roofs roll off instead of clipping.
#[inline]
fn tone(x: f32) -> f32 {
    const KNEE: f32 = 0.80;
    if x < KNEE { x } else { KNEE + (1.0 - KNEE) * (1.0 - (-(x - KNEE) / (1.0 - KNEE)).exp()) }
}

/// Noise of unit variance from 32 random bits: the sum of two uniform numbers.
#[inline]
fn triangular(bits: u32) -> f32 {
    const UNIT_VARIANCE: f32 = 2.449_49;
    let (a, b) = ((bits & 0xFFFF) as f32, (bits >> 16) as f32);
    ((a + b) / 65_536.0 - 1.0) * UNIT_VARIANCE
}
