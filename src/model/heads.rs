//! Everything that a network says of a batch.

use burn::tensor::{Tensor, backend::Backend};

/// The outputs for `n` images of `h` by `w` pixels, in single precision. Most networks have logits only.
#[derive(Debug, Clone)]
pub struct Heads<B: Backend> {
    /// Logits of every pixel, `[n, classes, h, w]`: what inference uses.
    pub logits: Tensor<B, 4>,
    /// A second opinion on the first class, for losses of its own: logits `[n, 1, h, w]`.
    pub second: Option<Tensor<B, 4>>,
    /// What is said of images as a whole.
    pub image: Option<ImageHeads<B>>,
}

/// What is said of each image as a whole.
#[derive(Debug, Clone)]
pub struct ImageHeads<B: Backend> {
    /// Logit of there being a building, `[n, 1]`.
    pub class: Tensor<B, 2>,
    /// Binary logarithm of the metres that a pixel's side covers, `[n, 1]`.
    pub scale: Tensor<B, 2>,
}

impl<B: Backend> Heads<B> {
    /// Logits alone.
    pub fn of(logits: Tensor<B, 4>) -> Self {
        Self { logits, second: None, image: None }
    }

    /// With everything that lies over pixels changed by `change`.
    #[must_use]
    pub fn map_pixels(self, change: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>) -> Self {
        Self { logits: change(self.logits), second: self.second.map(change), image: self.image }
    }
}
