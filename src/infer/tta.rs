//! Test-time augmentation: a scorer that looks at every window in several views.

use super::network::Scorer;
use super::strips::Batch;
use super::views::Resampler;
use crate::config::infer::{InferenceConfig, scaled_px};
use crate::config::tta::Symmetries;
use crate::scores::mean::{FLOAT_STEP, Means};

/// A scorer that scores each window in every view of `config` (each of its scales in each of its symmetries), brings the scores back and takes
/// their mean; `scorer` itself where the only view is the window as it is.
///
/// Views are computed one after another: beside the window there is one view of it in memory, and a running mean.
pub fn with_views(mut scorer: Scorer, config: &InferenceConfig) -> Scorer {
    let (symmetries, scales) = (config.tta.clone(), config.tta_scales.clone());
    let mean = config.tta_mean;
    if symmetries == Symmetries::default() && scales == [1.0] {
        return scorer;
    }
    Box::new(move |batch: &Batch| {
        let side = batch.window_px;
        let mut means: Option<Means> = None;
        for scale in &scales {
            let side_px = scaled_px(side, *scale);
            let resized = Resampler::new(side, side_px).apply(&batch.pixels);
            let back = Resampler::new(side_px, side);
            for symmetry in symmetries.list() {
                let view = Batch {
                    positions: batch.positions.clone(),
                    bands: batch.bands,
                    window_px: side_px,
                    pixels: symmetry.apply(&resized, side_px),
                };
                let scores = symmetry.inverse().apply(&scorer(&view)?, side_px);
                let scores = back.apply(&scores);
                let means = means.get_or_insert_with(|| Means::new(mean, scores.len()));
                means.add(&scores, 1.0, FLOAT_STEP);
            }
        }
        Ok(means.map_or_else(Vec::new, |means| means.finish()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ensemble::Mean;
    use proptest::prelude::*;

    fn config(tta: &str, scales: &[f64], mean: Mean) -> InferenceConfig {
        let tta = tta.parse().unwrap();
        InferenceConfig { tta, tta_scales: scales.to_vec(), tta_mean: mean, ..Default::default() }
    }

    fn batch(n: usize, side: usize, value: impl Fn(usize) -> f32) -> Batch {
        let pixels = (0..n * side * side).map(value).collect();
        Batch { positions: vec![(0, 0); n], bands: 1, window_px: side, pixels }
    }

    /// The score of a pixel is its own value: it turns with the image.
    fn pointwise() -> Scorer {
        Box::new(|batch| Ok(batch.pixels.clone()))
    }

    proptest! {
        #[test]
        fn views_change_nothing_where_the_network_turns_with_the_image(n in 1usize..3, side in 2usize..12, seed in 0usize..1000) {
            let value = |i: usize| ((i * 7919 + seed) % 1009) as f32 / 1009.0;
            let batch = batch(n, side, value);
            for tta in ["flips", "turns", "d4", "transpose", "turn-90,flip-vertical,anti-transpose"] {
                let scores = with_views(pointwise(), &config(tta, &[1.0], Mean::Arithmetic))(&batch).unwrap();
                prop_assert_eq!(&scores, &batch.pixels, "{}", tta);
            }
            for mean in [Mean::Geometric, Mean::Logit] {
                let scores = with_views(pointwise(), &config("d4", &[1.0], mean))(&batch).unwrap();
                prop_assert!(scores.iter().zip(&batch.pixels).all(|(a, b)| (a - b).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn a_view_of_another_size_is_scored_at_that_size_and_comes_back_in_place() {
        let side = 40;
        let ramp = |i: usize| ((i % side) as f32 + 2.0 * (i / side) as f32) / (3 * side) as f32;
        let batch = batch(2, side, |i| ramp(i % (side * side)));
        let (note, sides) = std::sync::mpsc::channel();
        let scorer: Scorer = Box::new(move |batch| {
            note.send(batch.window_px).unwrap();
            Ok(batch.pixels.clone())
        });
        let mut scorer = with_views(scorer, &config("flips", &[0.8, 1.25], Mean::Arithmetic));
        let scores = scorer(&batch).unwrap();
        drop(scorer);
        assert_eq!(sides.iter().collect::<Vec<_>>(), [32, 32, 32, 32, 50, 50, 50, 50]);
        for (i, (found, expected)) in scores.iter().zip(&batch.pixels).enumerate() {
            let (row, col) = (i / side % side, i % side);
            let edge = row.min(col).min(side - 1 - row).min(side - 1 - col) < 2;
            let tolerance = if edge { 0.02 } else { 1e-3 };
            assert!((found - expected).abs() < tolerance, "({col}, {row}): {found} {expected}");
        }
    }

    #[test]
    fn one_view_is_the_scorer_itself() {
        // Its mean would keep away from 0 and 1.
        let batch = batch(1, 2, |i| [0.0, 1.0, -2.0, f32::NAN][i]);
        let mut scorer = with_views(pointwise(), &config("none", &[1.0], Mean::Logit));
        let scores = scorer(&batch).unwrap();
        assert_eq!(scores[..3], [0.0, 1.0, -2.0]);
        assert!(scores[3].is_nan());
    }
}
