//! Loss and pixel metrics over batches.

use burn::tensor::{Tensor, backend::Backend};

use super::batches::Batch;
use super::losses::{Losses, Truth, losses};
use super::metrics::Confusion;
use crate::config::train::LossSection;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::model::{Heads, Network};

/// Numbers of one batch, read from the device together.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What is minimised.
    pub loss: f64,
    /// Every loss that is used, unweighted.
    pub parts: Vec<(String, f64)>,
    /// Counts of the first class.
    pub pixels: Confusion,
    /// Pixels that count.
    pub valid_pixels: u64,
    /// The extra number passed to [`measure`].
    pub extra: f64,
}

/// Reads the losses, the counts of the first class at probability `threshold`, and `extra` (`[1]`) in one
/// transfer. `logits` is `[n, classes, h, w]`.
pub fn measure<B: Backend>(
    losses: Losses<B>,
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
    threshold: f64,
    extra: Tensor<B, 1>,
) -> Measured {
    let [n, _, height, width] = logits.dims();
    let first = |tensor: Tensor<B, 4>| tensor.slice([0..n, 0..1, 0..height, 0..width]);
    let logit = (threshold / (1.0 - threshold)).ln();
    let predicted = first(logits).greater_elem(logit).float() * truth.valid.clone();
    let building = first(truth.labels.clone());
    let building = if truth.soft { building.greater_elem(threshold).float() } else { building };
    let labels = building * truth.valid.clone();
    // Pixel counts of a batch are below 2^24, up to which float32 counts exactly, image by image.
    let count = |pixels: Tensor<B, 4>| pixels.sum();
    let (used, parts): (Vec<String>, Vec<_>) = losses.parts.into_iter().unzip();
    let mut all = vec![
        losses.total,
        extra,
        count(predicted.clone() * labels.clone()),
        count(predicted),
        count(labels),
        count(truth.valid.clone()),
    ];
    let first_part = all.len();
    all.extend(parts);
    let numbers: Vec<f64> = Tensor::cat(all, 0).into_data().iter::<f64>().collect();
    let [both, predicted, labelled, valid_pixels] = [2, 3, 4, 5].map(|i| numbers[i] as u64);
    Measured {
        loss: numbers[0],
        parts: used.into_iter().zip(numbers[first_part..].iter().copied()).collect(),
        pixels: Confusion {
            true_positive: both,
            false_positive: predicted.saturating_sub(both),
            false_negative: labelled.saturating_sub(both),
        },
        valid_pixels,
        extra: numbers[1],
    }
}

/// Loss and counts over all of `batches`; `None` when `stop` asked to give up in between.
///
/// # Errors
/// A batch cannot be read.
pub fn validate<B: Kernels>(
    network: &Network<B>,
    batches: impl Iterator<Item = Result<Batch>>,
    section: &LossSection,
    threshold: f64,
    device: &B::Device,
    stop: impl Fn() -> bool,
) -> Result<Option<(f64, Confusion)>> {
    let (mut pixels, mut loss_sum, mut valid_pixels) = (Confusion::default(), 0.0, 0);
    for batch in batches {
        if stop() {
            return Ok(None);
        }
        let (image, truth) = batch?.to_device::<B>(device);
        let logits = network.forward(image);
        let losses = losses(section, &Heads::of(logits.clone()), &truth);
        let nothing = Tensor::zeros([1], device);
        let measured = measure(losses, logits, &truth, threshold, nothing);
        pixels.add(measured.pixels);
        loss_sum += measured.loss * measured.valid_pixels as f64;
        valid_pixels += measured.valid_pixels;
    }
    Ok(Some((loss_sum / (valid_pixels as f64).max(1.0), pixels)))
}
