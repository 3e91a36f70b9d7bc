//! Numbers as colours: from dark to bright, so that order survives print and colour blindness.

/// From 0 to 1, evenly spaced: night blue, violet, red, orange, pale yellow.
const STOPS: [[f32; 3]; 5] = [
    [13.0, 13.0, 38.0],
    [92.0, 27.0, 117.0],
    [196.0, 52.0, 83.0],
    [250.0, 142.0, 36.0],
    [252.0, 246.0, 178.0],
];

/// The colour of a value in 0..=1; what lies beyond takes the colour of the nearer end.
pub fn colour(value: f32) -> [u8; 3] {
    // A value that is no number is drawn as 0.
    let at = value.clamp(0.0, 1.0).max(0.0) * (STOPS.len() - 1) as f32;
    let below = (at as usize).min(STOPS.len() - 2);
    let share = at - below as f32;
    let [low, high] = [STOPS[below], STOPS[below + 1]];
    std::array::from_fn(|band| (low[band] * (1.0 - share) + high[band] * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_get_brighter_and_ends_hold() {
        let luminance = |value: f32| {
            let [r, g, b] = colour(value).map(f32::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let steps: Vec<f32> = (0..=50).map(|i| luminance(i as f32 / 50.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!((colour(-3.0), colour(f32::NAN)), (colour(0.0), colour(0.0)));
        assert_eq!(colour(7.0), colour(1.0));
    }
}
