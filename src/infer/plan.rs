//! Where windows lie along an axis, and how much each counts at a pixel.

/// Where windows start along one axis, in pixels of the grid. Positions before 0 or past the end are
/// mirrored pixels.
///
/// Every pixel of `from..to` lies at least `margin` = half the overlap inside some window, so that
/// none is scored from a window's edge only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// First pixel of each window, ascending.
    pub starts: Vec<isize>,
    /// Length of a window, px.
    pub window_px: usize,
    /// Pixels to score.
    pub from: usize,
    /// One past the last of them.
    pub to: usize,
    /// Length of the grid, px.
    pub len: usize,
}

impl Axis {
    /// Plans windows of `window_px` that overlap by `overlap_px` over `from..to` of a grid of `len`.
    pub fn new(len: usize, from: usize, to: usize, window_px: usize, overlap_px: usize) -> Self {
        let (window, stride) = (window_px as isize, (window_px - overlap_px).max(1) as isize);
        let margin = (overlap_px / 2) as isize;
        // A window is never more than `margin` past the grid's end: beyond it there are only mirrored
        // pixels, and those that it mirrors must be inside the same window.
        let latest = (len as isize + margin - window).max(-margin);
        let first = (from as isize - margin).clamp(-margin, latest);
        let last = (to as isize + margin - window).clamp(first, latest);
        let mut starts = vec![first];
        let mut start = first;
        while start < last {
            start = (start + stride).min(last);
            starts.push(start);
        }
        Self { starts, window_px, from, to, len }
    }

    /// Pixels of the grid under window `index`, half-open.
    pub fn inside(&self, index: usize) -> (usize, usize) {
        let start = self.starts[index];
        let end = start + self.window_px as isize;
        (start.max(0) as usize, (end.max(0) as usize).min(self.len))
    }

    /// Pixels from the first to the last that any window sees, half-open.
    pub fn extent(&self) -> (usize, usize) {
        (self.inside(0).0, self.inside(self.starts.len() - 1).1)
    }

    /// The sum of all windows' weights at each pixel of `from..to`.
    pub fn weight_sums(&self, weights: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; self.to - self.from];
        for start in &self.starts {
            for (offset, weight) in weights.iter().enumerate() {
                let at = start + offset as isize - self.from as isize;
                if let Some(sum) = usize::try_from(at).ok().and_then(|at| sums.get_mut(at)) {
                    *sum += weight;
                }
            }
        }
        sums
    }
}

/// The pixel that a position outside `0..len` mirrors; the edge pixel itself is repeated.
pub fn mirror(position: isize, len: usize) -> usize {
    let period = 2 * len as isize;
    let folded = position.rem_euclid(period);
    if folded < len as isize { folded as usize } else { (period - 1 - folded) as usize }
}

/// Hann weights of a window: `sin^2(pi (i + 1/2) / n)`, which is nowhere 0.
pub fn hann(window_px: usize) -> Vec<f32> {
    (0..window_px)
        .map(|i| {
            let position = (i as f64 + 0.5) / window_px as f64;
            (std::f64::consts::PI * position).sin().powi(2) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_pixel_lies_inside_a_window_by_the_margin(
            len in 1usize..3000, a in 0.0..1.0f64, b in 0.0..1.0f64,
            window_px in 32usize..600, share in 0.0..0.7f64,
        ) {
            let (a, b) = if a < b { (a, b) } else { (b, a) };
            let from = ((len as f64 * a) as usize).min(len - 1);
            let to = ((len as f64 * b) as usize).clamp(from + 1, len);
            let overlap_px = (window_px as f64 * share) as usize;
            let axis = Axis::new(len, from, to, window_px, overlap_px);
            let margin = (overlap_px / 2) as isize;
            for pixel in from..to {
                let pixel = pixel as isize;
                prop_assert!(axis.starts.iter().any(|s| {
                    pixel >= s + margin && pixel < s + window_px as isize - margin
                }), "pixel {} of {:?}", pixel, axis);
            }
            prop_assert!(axis.starts.windows(2).all(|w| w[0] < w[1]));
            // What a window mirrors, it also holds.
            for (index, &start) in axis.starts.iter().enumerate() {
                let (inside_from, inside_to) = axis.inside(index);
                for offset in 0..window_px as isize {
                    let source = mirror(start + offset, len);
                    prop_assert!(source >= inside_from && source < inside_to);
                }
            }
            prop_assert!(axis.weight_sums(&hann(window_px)).iter().all(|sum| *sum > 0.0));
        }
    }

    #[test]
    fn mirrored_pixels_repeat_the_edge() {
        let mirrored: Vec<usize> = (-4..7).map(|i| mirror(i, 3)).collect();
        assert_eq!(mirrored, [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
    }
}
