//! What training minimises: focal loss, soft Dice and cross-entropy, blind to ignored pixels.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Tensor, backend::Backend};

use crate::config::train::LossSection;

/// What the network should have said.
#[derive(Clone, Debug)]
pub struct Truth<B: Backend> {
    /// 1 where a pixel belongs to the class, else 0: `[n, classes, h, w]`.
    pub labels: Tensor<B, 4>,
    /// 1 where a pixel counts, 0 where it is ignored: `[n, 1, h, w]`.
    pub valid: Tensor<B, 4>,
}

/// The weighted sum and its parts; a part with weight 0 is `None`.
#[derive(Clone, Debug)]
pub struct Losses<B: Backend> {
    /// What is minimised.
    pub total: Tensor<B, 1>,
    /// Focal loss, unweighted.
    pub focal: Option<Tensor<B, 1>>,
    /// Soft Dice loss, unweighted.
    pub dice: Option<Tensor<B, 1>>,
    /// Binary cross-entropy, unweighted.
    pub bce: Option<Tensor<B, 1>>,
}

/// The losses of `logits`, `[n, classes, h, w]`.
pub fn losses<B: Backend>(
    section: &LossSection,
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
) -> Losses<B> {
    let focal = (section.focal_weight > 0.0)
        .then(|| focal(logits.clone(), truth, section.focal_gamma, section.focal_alpha));
    let dice =
        (section.dice_weight > 0.0).then(|| soft_dice(logits.clone(), truth, section.dice_smooth));
    let bce = (section.bce_weight > 0.0).then(|| bce(logits.clone(), truth));
    let weighted =
        [(&focal, section.focal_weight), (&dice, section.dice_weight), (&bce, section.bce_weight)];
    let total = weighted
        .into_iter()
        .filter_map(|(loss, weight)| loss.clone().map(|loss| loss.mul_scalar(weight)))
        .reduce(|sum, loss| sum + loss)
        .unwrap_or_else(|| logits.sum().mul_scalar(0.0));
    Losses { total, focal, dice, bce }
}

/// Focal loss (Lin et al. 2017, arXiv 1708.02002), mean over valid pixels: `(1 - pt)^gamma * -log(pt)`,
/// times `alpha` on the class and `1 - alpha` off it; a negative `alpha` weighs both by 1.
pub fn focal<B: Backend>(
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
    gamma: f64,
    alpha: f64,
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
    mean_over_valid(pixels, &truth.valid)
}

/// Binary cross-entropy, mean over valid pixels.
pub fn bce<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>) -> Tensor<B, 1> {
    let z = logits * (truth.labels.clone() * 2.0 - 1.0);
    mean_over_valid(-log_sigmoid(z), &truth.valid)
}

/// Soft Dice loss: `1 - (2 TP + smooth) / (2 TP + FN + FP + smooth)` with probabilities summed over the
/// batch's valid pixels, mean over classes.
pub fn soft_dice<B: Backend>(logits: Tensor<B, 4>, truth: &Truth<B>, smooth: f64) -> Tensor<B, 1> {
    let labels = truth.labels.clone() * truth.valid.clone(); // [n, classes, h, w]
    let overlap = sum_per_class(sigmoid(logits.clone()) * labels.clone()); // [classes]
    let both = sum_per_class(sigmoid(logits) * truth.valid.clone()) + sum_per_class(labels);
    let dice = (overlap * 2.0 + smooth) / (both + smooth);
    (-dice + 1.0).mean()
}

/// `[n, classes, h, w]` summed to `[classes]`.
fn sum_per_class<B: Backend>(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    let [n, classes, height, width] = pixels.dims();
    // Row by row, image by image: a float32 sum over a whole batch at once loses digits.
    let rows = pixels.reshape([n, classes, height * width]).sum_dim(2); // [n, classes, 1]
    rows.sum_dim(0).reshape([classes])
}

/// The mean of `pixels` (`[n, classes, h, w]`) over valid ones; 0 where none is.
fn mean_over_valid<B: Backend>(pixels: Tensor<B, 4>, valid: &Tensor<B, 4>) -> Tensor<B, 1> {
    let classes = pixels.dims()[1];
    let count = valid.clone().sum().mul_scalar(classes as f64).clamp_min(1.0);
    sum_per_class(pixels * valid.clone()).sum() / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::TensorData;
    use proptest::prelude::*;

    type Diff = Autodiff<Flex>;

    fn tensor(values: Vec<f32>, channels: usize) -> Tensor<Diff, 4> {
        let side = values.len() / channels;
        let device = Default::default();
        Tensor::from_data(TensorData::new(values, [1, channels, 1, side]), &device)
    }

    fn section() -> LossSection {
        LossSection { bce_weight: 0.5, focal_alpha: 0.25, ..LossSection::default() }
    }

    /// The total loss and its gradient.
    fn evaluate(logits: Vec<f32>, labels: Vec<f32>, valid: Vec<f32>) -> (f32, Vec<f32>) {
        let logits = tensor(logits, 1).require_grad();
        let truth = Truth { labels: tensor(labels, 1), valid: tensor(valid, 1) };
        let total = losses(&section(), logits.clone(), &truth).total;
        let gradients = total.backward();
        let gradient = logits.grad(&gradients).unwrap().into_data().to_vec::<f32>().unwrap();
        (total.into_scalar(), gradient)
    }

    #[test]
    fn a_batch_of_ignored_pixels_costs_nothing_and_pulls_nowhere() {
        let (loss, gradient) = evaluate(vec![3.0, -80.0], vec![0.0, 1.0], vec![0.0, 0.0]);
        assert_eq!(loss, 0.0);
        assert!(gradient.iter().all(|&g| g == 0.0), "{gradient:?}");
    }

    #[test]
    fn the_total_is_the_weighted_sum_of_its_parts() {
        let logits = tensor(vec![0.3, -1.2, 2.0], 1);
        let truth =
            Truth { labels: tensor(vec![1.0, 0.0, 1.0], 1), valid: tensor(vec![1.0; 3], 1) };
        let all = losses(&section(), logits, &truth);
        let [focal, dice, bce] = [all.focal, all.dice, all.bce].map(|l| l.unwrap().into_scalar());
        assert!((all.total.into_scalar() - (focal + dice + 0.5 * bce)).abs() < 1e-6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn ignored_pixels_never_change_the_loss_and_get_no_gradient(
            pixels in prop::collection::vec(
                (-90f32..90.0, any::<bool>(), any::<bool>(), -90f32..90.0, any::<bool>()), 1..40)
        ) {
            let float = |b: bool| f32::from(u8::from(b));
            let valid: Vec<f32> = pixels.iter().map(|p| float(p.2)).collect();
            let here = evaluate(
                pixels.iter().map(|p| p.0).collect(),
                pixels.iter().map(|p| float(p.1)).collect(),
                valid.clone(),
            );
            let there = evaluate(
                pixels.iter().map(|p| if p.2 { p.0 } else { p.3 }).collect(),
                pixels.iter().map(|p| float(if p.2 { p.1 } else { p.4 })).collect(),
                valid.clone(),
            );
            prop_assert_eq!(here.0, there.0);
            prop_assert_eq!(&here.1, &there.1);
            for (gradient, valid) in here.1.iter().zip(valid) {
                prop_assert!(valid == 1.0 || *gradient == 0.0);
            }
        }
    }
}
