//! The Lovász hinge: a convex stand-in for 1 - IoU.

use std::cmp::Reverse;

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use rayon::prelude::*;

use super::Truth;

/// Lovász hinge (Berman et al. 2018, arXiv 1705.08790), mean over images and classes.
///
/// Hinge errors `1 - x` on the class and `1 + x` off it are sorted, the worst first, and each is weighed by what
/// the Jaccard loss (1 - IoU) gains when its pixel, too, is wrong. The weights are constants for the gradient.
pub fn lovasz_hinge<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>) -> Tensor<B, 1> {
    let [n, classes, height, width] = logits.dims();
    let errors = relu(-logits * (truth.labels.clone() * 2.0 - 1.0) + 1.0) * truth.valid.clone();
    let labels = truth.labels.clone() * truth.valid.clone();
    // On the host: its sums are exact, and the sorting would not be faster on a device.
    let read = |tensor: Tensor<B, 4>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
    let (host_errors, host_labels) = (read(errors.clone().detach()), read(labels));
    let plane = height * width;
    let mut weights = vec![0.0; host_errors.len()];
    weights
        .par_chunks_mut(plane)
        .zip(host_errors.par_chunks(plane).zip(host_labels.par_chunks(plane)))
        .for_each(|(weights, (errors, labels))| weigh(errors, labels, weights));
    let weights = TensorData::new(weights, [n, classes, height, width]);
    let weights = Tensor::from_data(weights, &errors.device());
    (errors * weights).sum() / (n * classes) as f64
}

/// The weight of each of a plane's errors. Errors of 0, ignored pixels among them, come last and need none.
fn weigh(errors: &[f32], labels: &[f32], weights: &mut [f32]) {
    let mut order: Vec<usize> = (0..errors.len()).filter(|&i| errors[i] > 0.0).collect();
    // Positive floats sort as their bits do; the index settles ties.
    order.sort_unstable_by_key(|&i| (Reverse(errors[i].to_bits()), i));
    let labelled = labels.iter().filter(|&&label| label > 0.0).count();
    let (mut hit, mut union) = (labelled, labelled);
    let mut before = 0.0;
    for i in order {
        if labels[i] > 0.0 {
            hit -= 1;
        } else {
            union += 1;
        }
        let loss = 1.0 - hit as f64 / union as f64;
        weights[i] = (loss - before) as f32;
        before = loss;
    }
}
