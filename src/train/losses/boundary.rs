//! A loss that looks at outlines only.

use burn::tensor::activation::sigmoid;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::{Tensor, backend::Backend};

use super::{Truth, sum_per_class};

/// Side of the window in which an outline is found, pixels.
const THIN: usize = 3;
/// Side of the window over which an outline is spread before it is compared, pixels.
const WIDE: usize = 5;
/// Makes the share of no outline at all 1.
const EPSILON: f64 = 1e-7;

/// Boundary loss (Bokhovkin and Burnaev 2019, arXiv 1905.07852): `1 - BF1`, the harmonic mean of the share of
/// the predicted outline near the true one and the reverse, over the batch; mean over classes.
///
/// Outlines are spread by a mean, not a maximum, so that nearer is better; even a perfect prediction stays above 0.
pub fn boundary<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>) -> Tensor<B, 1> {
    // Ignored pixels are background on both sides: they must not reach their neighbours through the windows.
    let (thin, wide) = outline(sigmoid(logits) * truth.valid.clone());
    let (true_thin, true_wide) = outline(truth.labels.clone() * truth.valid.clone());
    let share = |thin: Tensor<B, 4>, wide| {
        (sum_per_class(thin.clone() * wide) + EPSILON) / (sum_per_class(thin) + EPSILON) // [classes]
    };
    let precision = share(thin, true_wide);
    let recall = share(true_thin, wide);
    let both = precision.clone() + recall.clone();
    (-(precision * recall * 2.0) / both + 1.0).mean()
}

/// The inner outline of `image`, `[n, classes, h, w]`, and the same spread over its surroundings.
fn outline<B: Backend>(image: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
    let outside = -image + 1.0;
    let same = |side| [side / 2; 2];
    let dilated = max_pool2d(outside.clone(), [THIN; 2], [1; 2], same(THIN), [1; 2], false);
    let thin = dilated - outside;
    let wide = avg_pool2d(thin.clone(), [WIDE; 2], [1; 2], same(WIDE), false, false);
    (thin, wide)
}
