//! Losses of what a network says of an image as a whole.

use burn::tensor::{Tensor, backend::Backend};

use super::{Truth, focal};

/// Focal loss of there being a building: `logits` is `[n, 1]`, `truth` of one class. Images without a valid pixel
/// count for nothing.
pub(super) fn class<B: Backend>(
    logits: Tensor<B, 2>,
    truth: &Truth<B>,
    gamma: f64,
) -> Tensor<B, 1> {
    let [n, _, height, width] = truth.labels.dims();
    let any =
        |pixels: Tensor<B, 4>| pixels.reshape([n, height * width]).max_dim(1).reshape([n, 1, 1, 1]);
    let images =
        Truth::hard(any(truth.labels.clone() * truth.valid.clone()), any(truth.valid.clone()));
    focal(logits.reshape([n, 1, 1, 1]), &images, gamma, -1.0, 1.0)
}

/// Mean squared error of the scale: both are binary logarithms, `[n, 1]`.
pub(super) fn scale<B: Backend>(said: Tensor<B, 2>, truth: Tensor<B, 2>) -> Tensor<B, 1> {
    let miss = said - truth;
    (miss.clone() * miss).mean()
}
