//! Scores -> foreground bits.
//!
//! A score is a `u8`: 0..=254 stands for 0..=1, [`NODATA`] for "not seen", which is background.

use crate::morphology::bits;

/// The score that means "no data here".
pub const NODATA: u8 = 255;

/// The score of probability 1.
pub const FULL: u8 = 254;

/// A probability as a score; not a number is no data.
pub fn score_of(probability: f32) -> u8 {
    if probability.is_nan() {
        return NODATA;
    }
    (probability.clamp(0.0, 1.0) * f32::from(FULL)).round() as u8
}

/// The lowest score that counts as building: `p >= threshold`, but never score 0 alone.
pub(super) fn lowest_score(threshold: f64) -> u8 {
    // The tolerance keeps a threshold that is itself a score (127/254) from rounding up past it.
    (threshold * f64::from(FULL) - 1e-9).ceil().clamp(1.0, f64::from(FULL)) as u8
}

/// Bits of the pixels with `lowest <= score <= FULL`.
pub(super) fn foreground(scores: &[u8], lowest: u8) -> Vec<u64> {
    pack(scores, |score| score >= lowest && score != NODATA)
}

/// The lowest score of a pixel that a closing may fill: no more than foreground needs, so that it never loses any.
pub(super) fn lowest_closing_score(closing_threshold: f64, threshold: f64) -> u8 {
    match closing_threshold {
        0.0 => 0,
        _ => lowest_score(closing_threshold.min(threshold)),
    }
}

/// Bits of the pixels that hold data and score at least `lowest`, or `None` where all do.
pub(super) fn fillable(scores: &[u8], lowest: u8) -> Option<Vec<u64>> {
    let is_set = |score: u8| score >= lowest && score != NODATA;
    (!scores.iter().all(|&score| is_set(score))).then(|| pack(scores, is_set))
}

fn pack(scores: &[u8], is_set: impl Fn(u8) -> bool) -> Vec<u64> {
    let mut words = Vec::with_capacity(bits::words_for(scores.len()));
    let (whole, rest) = scores.as_chunks::<64>();
    for chunk in whole {
        words.push(pack_64(chunk, &is_set));
    }
    if !rest.is_empty() {
        let mut chunk = [NODATA; 64];
        chunk[..rest.len()].copy_from_slice(rest);
        words.push(pack_64(&chunk, &is_set) & (u64::MAX >> (64 - rest.len())));
    }
    words
}

/// In two steps that compilers turn into vector code: bytes of 0 or 1, then eight bytes to eight bits.
#[inline]
fn pack_64(chunk: &[u8; 64], is_set: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0_u8; 64];
    for (flag, &score) in flags.iter_mut().zip(chunk) {
        *flag = u8::from(is_set(score));
    }
    let mut word = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // The product gathers bit 0 of byte k at bit 56 + k; no two terms meet on one bit.
        let byte = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= byte << (8 * i);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_say_which_scores_reach_the_threshold(
            scores in prop::collection::vec(any::<u8>(), 0..300),
            lowest in 1_u8..=254,
        ) {
            let words = foreground(&scores, lowest);
            prop_assert_eq!(words.len(), scores.len().div_ceil(64));
            for i in 0..words.len() * 64 {
                let set = words[i / 64] >> (i % 64) & 1 == 1;
                let expected = scores.get(i).is_some_and(|s| (lowest..=FULL).contains(s));
                prop_assert_eq!(set, expected, "column {}", i);
            }
        }
    }

    #[test]
    fn a_threshold_that_is_a_score_includes_that_score() {
        assert_eq!(lowest_score(0.5), 127);
        assert_eq!(lowest_score(0.0), 1);
        assert_eq!(lowest_score(1.0), 254);
        for score in 1..=254_u8 {
            assert_eq!(lowest_score(f64::from(score) / 254.0), score);
        }
    }

    #[test]
    fn probabilities_become_scores_and_nan_becomes_nodata() {
        assert_eq!([0.0, 0.5, 1.0, 7.0, f32::NAN].map(score_of), [0, 127, 254, 254, NODATA]);
    }
}
