//! Losses that compare areas: soft Dice and Tversky.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, backend::Backend};

use super::{Truth, sum_per_class};

/// Soft Dice loss: `1 - (2 TP + smooth) / (2 TP + FN + FP + smooth)` with probabilities summed over the
/// batch's valid pixels, mean over classes.
pub fn soft_dice<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>, smooth: f64) -> Tensor<B, 1> {
    let Areas { overlap, predicted, labelled } = Areas::of(logits, truth);
    let dice = (overlap * 2.0 + smooth) / (predicted + labelled + smooth);
    (-dice + 1.0).mean()
}

/// Tversky loss (Salehi et al. 2017, arXiv 1706.05721): `1 - (TP + smooth) / (TP + alpha FP + beta FN +
/// smooth)`, summed as in [`soft_dice`]. `beta` above `alpha` makes a missed pixel cost more than a false one.
pub fn tversky<B: Backend>(
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
    alpha: f64,
    beta: f64,
    smooth: f64,
) -> Tensor<B, 1> {
    let Areas { overlap, predicted, labelled } = Areas::of(logits, truth);
    let false_positive = predicted - overlap.clone();
    let false_negative = labelled - overlap.clone();
    let all = overlap.clone() + false_positive * alpha + false_negative * beta;
    (-(overlap + smooth) / (all + smooth) + 1.0).mean()
}

/// Sums over the batch's valid pixels, `[classes]`.
struct Areas<B: Backend> {
    /// Probability on the class: TP.
    overlap: Tensor<B, 1>,
    /// Probability everywhere: TP + FP.
    predicted: Tensor<B, 1>,
    /// Pixels of the class: TP + FN.
    labelled: Tensor<B, 1>,
}

impl<B: Backend> Areas<B> {
    fn of(logits: Tensor<B, 4>, truth: &Truth<B>) -> Self {
        let labels = truth.labels.clone() * truth.valid.clone(); // [n, classes, h, w]
        Self {
            overlap: sum_per_class(sigmoid(logits.clone()) * labels.clone()),
            predicted: sum_per_class(sigmoid(logits) * truth.valid.clone()),
            labelled: sum_per_class(labels),
        }
    }
}
