//! A photo as one window: all of it, resized, and its probabilities brought back to its own size.

use std::path::Path;

use super::Scorer;
use super::input::check_bands;
use super::strips::{Batch, Normalise};
use crate::error::Result;
use crate::geo::{Pixels, Scene, SceneOptions, Window};
use crate::model::ModelSpec;

/// A photo, scored.
#[derive(Clone, Debug)]
pub struct ScoredPhoto {
    /// The photo at its own size, upright, 8 bits.
    pub pixels: Pixels,
    /// Probabilities at its own size, `[row][col]`; 0 where it has no data.
    pub probabilities: Vec<f32>,
}

/// Scores a photo, resized as a whole to `side_px` x `side_px` pixels, and brings the probabilities back to its own size
/// (bilinear).
///
/// # Errors
/// The photo is damaged or has other bands than the model, or the network fails.
pub fn score_photo(
    path: &Path,
    spec: &ModelSpec,
    side_px: usize,
    scorer: &mut Scorer,
) -> Result<ScoredPhoto> {
    let options = SceneOptions {
        value_range: Some(spec.value_range),
        upright: true,
        ..SceneOptions::default()
    };
    let scene = Scene::open_with(path, &options)?;
    check_bands(&scene, spec)?;
    let native = scene.grid();
    let pixels = scene.read(native, Window::whole(native.width, native.height))?;
    let grid = native.resized(side_px, side_px);
    let small = scene.read(&grid, Window::whole(side_px, side_px))?;
    let normalise = Normalise::new(spec);
    let normalised = (0..small.data.len()).map(|i| {
        let (band, at) = (i / small.valid.len(), i % small.valid.len());
        if small.valid[at] { normalise.value(band, small.data[i]) } else { 0.0 }
    });
    let batch = Batch {
        positions: vec![(0, 0)],
        bands: small.bands,
        window_px: side_px,
        pixels: normalised.collect(),
    };
    let scores = scorer(&batch)?;
    // The first band: a photo's walls are nobody's business.
    let mut probabilities =
        stretched(&scores[..side_px * side_px], side_px, (pixels.width, pixels.height));
    for (probability, valid) in probabilities.iter_mut().zip(&pixels.valid) {
        if !valid {
            *probability = 0.0;
        }
    }
    Ok(ScoredPhoto { pixels, probabilities })
}

/// A square of values as `width` x `height`, bilinear between pixel centres; edges go on as they are.
fn stretched(values: &[f32], side: usize, (width, height): (usize, usize)) -> Vec<f32> {
    let (columns, rows) = (between(side, width), between(side, height));
    let mut stretched = Vec::with_capacity(width * height);
    for &(top, down) in &rows {
        let line = |row: usize| &values[row * side..(row + 1) * side];
        let (above, below) = (line(top), line((top + 1).min(side - 1)));
        for &(left, across) in &columns {
            let right = (left + 1).min(side - 1);
            let upper = above[left] + (above[right] - above[left]) * across;
            let lower = below[left] + (below[right] - below[left]) * across;
            stretched.push(upper + (lower - upper) * down);
        }
    }
    stretched
}

/// For every of `to` pixels the one of `from` before its centre, and how far it lies towards the next.
fn between(from: usize, to: usize) -> Vec<(usize, f32)> {
    let place = |i: usize| {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        (at as usize, at.fract() as f32)
    };
    (0..to).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_at_their_own_size_and_lie_between_their_neighbours_at_others() {
        let values = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(stretched(&values, 2, (2, 2)), values);
        let wide = stretched(&values, 2, (4, 2));
        assert_eq!(wide, [0.0, 0.25, 0.75, 1.0, 2.0, 2.25, 2.75, 3.0]);
        assert_eq!(stretched(&values, 2, (1, 1)), [1.5]);
        assert_eq!(stretched(&[0.5], 1, (3, 2)), [0.5; 6]);
    }
}
