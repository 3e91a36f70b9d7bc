//! Losses that are a mean over pixels.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Tensor, backend::Backend};

use super::{Truth, sum_per_class};

/// Focal loss (Lin et al. 2017, arXiv 1708.02002), mean over valid pixels: `(1 - pt)^gamma * -log(pt)`,
/// times `alpha` on the class and `1 - alpha` off it; a negative `alpha` weighs both by 1. `hard_fraction`
/// below 1 takes the mean over that share of the pixels only, those with the highest loss.
pub fn focal<B: Backend>(
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
    gamma: f64,
    alpha: f64,
    hard_fraction: f64,
) -> Tensor<B, 1> {
    // pt = sigmoid(z) with z = x on the class and -x off it: no rounding where pt is close to 1.
    let z = logits * (truth.labels.clone() * 2.0 - 1.0);
    let mut pixels = -log_sigmoid(z.clone());
    if gamma > 0.0 {
        let one_minus_pt = sigmoid(-z);
        let factor = if gamma == 2.0 {
            one_minus_pt.clone() * one_minus_pt
        } else if gamma == 1.0 {
            one_minus_pt
        } else {
            one_minus_pt.powf_scalar(gamma)
        };
        pixels = pixels * factor;
    }
    if alpha >= 0.0 {
        pixels = pixels * (truth.labels.clone() * (2.0 * alpha - 1.0) + (1.0 - alpha));
    }
    mean_over_valid(pixels, &truth.valid, hard_fraction)
}

/// Binary cross-entropy, mean over valid pixels; `hard_fraction` as for [`focal`].
pub fn bce<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>, hard_fraction: f64) -> Tensor<B, 1> {
    let z = logits * (truth.labels.clone() * 2.0 - 1.0);
    mean_over_valid(-log_sigmoid(z), &truth.valid, hard_fraction)
}

/// Kullback-Leibler divergence of the probabilities `sigmoid(logits)` from soft labels, mean over valid pixels;
/// 0 where they agree.
pub fn kl<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>) -> Tensor<B, 1> {
    let label = truth.labels.clone();
    let other = -label.clone() + 1.0;
    // 0 times the logarithm of 0 is 0 here.
    let entropy = |share: Tensor<B, 4>| share.clone() * share.clamp_min(f32::MIN_POSITIVE).log();
    let certainty = entropy(label.clone()) + entropy(other.clone());
    let likelihood = label * log_sigmoid(logits.clone()) + other * log_sigmoid(-logits);
    mean_over_valid(certainty - likelihood, &truth.valid, 1.0)
}

/// The mean of `pixels` (`[n, classes, h, w]`, none below 0) over the hardest `hard_fraction` of the valid
/// ones; 0 where none is valid.
fn mean_over_valid<B: Backend>(
    pixels: Tensor<B, 4>,
    valid: &Tensor<B, 4>,
    hard_fraction: f64,
) -> Tensor<B, 1> {
    let classes = pixels.dims()[1];
    if hard_fraction < 1.0 {
        let bound = hard_bound(pixels.clone().detach(), valid, hard_fraction);
        let hard = pixels.clone().detach().greater_equal_elem(bound).float() * valid.clone();
        let count = hard.clone().sum().clamp_min(1.0);
        return sum_per_class(pixels * hard).sum() / count;
    }
    let count = valid.clone().sum().mul_scalar(classes as f64).clamp_min(1.0);
    sum_per_class(pixels * valid.clone()).sum() / count
}

/// Online hard example mining (Shrivastava et al. 2016, arXiv 1604.03540): the loss from which a pixel is
/// among the hardest `fraction` of the batch's valid ones. Found on the host: no device sorts as fast.
fn hard_bound<B: Backend>(pixels: Tensor<B, 4>, valid: &Tensor<B, 4>, fraction: f64) -> f32 {
    let marked = pixels * valid.clone() + (valid.clone() - 1.0); // -1 where ignored
    let mut counted: Vec<f32> =
        marked.into_data().iter::<f32>().filter(|&loss| loss >= 0.0).collect();
    let hard = (fraction * counted.len() as f64).ceil() as usize;
    let Some(last) = counted.len().checked_sub(hard.max(1)) else { return 0.0 };
    *counted.select_nth_unstable_by(last, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::TensorData;

    type Diff = Autodiff<Flex>;

    fn row(values: [f32; 5]) -> Tensor<Diff, 4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 1, 5]), &Default::default())
    }

    #[test]
    fn mining_takes_the_mean_of_the_hardest_valid_pixels_and_pulls_on_no_other() {
        let pixels = row([3.0, 1.0, 9.0, 2.0, 0.5]).require_grad();
        let valid = row([1.0, 1.0, 0.0, 1.0, 1.0]);
        for (fraction, mean, pulled) in [
            (0.5, 2.5, [0.5, 0.0, 0.0, 0.5, 0.0]),
            (0.51, 2.0, [1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]),
            (0.01, 3.0, [1.0, 0.0, 0.0, 0.0, 0.0]),
            (1.0, 1.625, [0.25, 0.25, 0.0, 0.25, 0.25]),
        ] {
            let loss = mean_over_valid(pixels.clone(), &valid, fraction);
            let gradient = pixels.grad(&loss.backward()).unwrap().into_data();
            assert!((loss.into_scalar() - mean).abs() < 1e-6, "{fraction}");
            for (got, wanted) in gradient.iter::<f32>().zip(pulled) {
                assert!((got - wanted).abs() < 1e-6, "{fraction}: {gradient}");
            }
        }
        let nothing = mean_over_valid(pixels, &row([0.0; 5]), 0.5);
        assert_eq!(nothing.into_scalar(), 0.0);
    }
}
