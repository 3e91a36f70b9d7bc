//! What training minimises: a weighted sum of losses, all of them blind to ignored pixels.

mod boundary;
mod lovasz;
mod overlap;
mod pixelwise;

use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

pub use self::boundary::boundary;
pub use self::lovasz::lovasz_hinge;
pub use self::overlap::{soft_dice, tversky};
pub use self::pixelwise::{bce, focal};
use crate::config::train::LossSection;

/// What the network should have said.
#[derive(Clone, Debug)]
pub struct Truth<B: Backend> {
    /// 1 where a pixel belongs to the class, else 0: `[n, classes, h, w]`.
    pub labels: Tensor<B, 4>,
    /// 1 where a pixel counts, 0 where it is ignored: `[n, 1, h, w]`.
    pub valid: Tensor<B, 4>,
}

/// A loss by its name in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// [`focal`].
    Focal,
    /// [`soft_dice`].
    Dice,
    /// [`bce`].
    Bce,
    /// [`boundary()`].
    Boundary,
    /// [`lovasz_hinge`].
    Lovasz,
    /// [`tversky`].
    Tversky,
}

impl Loss {
    /// All losses, in the order in which they are summed.
    pub const ALL: [Self; 6] =
        [Self::Focal, Self::Dice, Self::Bce, Self::Boundary, Self::Lovasz, Self::Tversky];

    /// The tag of its curve in TensorBoard.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Focal => "loss/focal",
            Self::Dice => "loss/dice",
            Self::Bce => "loss/bce",
            Self::Boundary => "loss/boundary",
            Self::Lovasz => "loss/lovasz",
            Self::Tversky => "loss/tversky",
        }
    }

    /// Its weight in `section`; 0 leaves it out.
    fn weight(self, section: &LossSection) -> f64 {
        match self {
            Self::Focal => section.focal_weight,
            Self::Dice => section.dice_weight,
            Self::Bce => section.bce_weight,
            Self::Boundary => section.boundary_weight,
            Self::Lovasz => section.lovasz_weight,
            Self::Tversky => section.tversky_weight,
        }
    }

    /// Its value for `logits`, `[n, classes, h, w]`.
    fn of<B: Backend>(
        self,
        section: &LossSection,
        logits: Tensor<B, 4>,
        truth: &Truth<B>,
    ) -> Tensor<B, 1> {
        let (hard, smooth) = (section.hard_fraction, section.dice_smooth);
        match self {
            Self::Focal => focal(logits, truth, section.focal_gamma, section.focal_alpha, hard),
            Self::Dice => soft_dice(logits, truth, smooth),
            Self::Bce => bce(logits, truth, hard),
            Self::Boundary => boundary(logits, truth),
            Self::Lovasz => lovasz_hinge(logits, truth),
            Self::Tversky => {
                tversky(logits, truth, section.tversky_alpha, section.tversky_beta, smooth)
            }
        }
    }
}

/// The weighted sum and its parts.
#[derive(Clone, Debug)]
pub struct Losses<B: Backend> {
    /// What is minimised.
    pub total: Tensor<B, 1>,
    /// Every loss with a weight above 0, unweighted.
    pub parts: Vec<(Loss, Tensor<B, 1>)>,
}

/// The losses of `logits`, `[n, classes, h, w]`.
pub fn losses<B: Backend>(
    section: &LossSection,
    logits: Tensor<B, 4>,
    truth: &Truth<B>,
) -> Losses<B> {
    let used = Loss::ALL.into_iter().filter(|loss| loss.weight(section) > 0.0);
    let parts: Vec<_> = used.map(|loss| (loss, loss.of(section, logits.clone(), truth))).collect();
    let total = parts
        .iter()
        .map(|(loss, value)| value.clone().mul_scalar(loss.weight(section)))
        .reduce(|sum, value| sum + value)
        .unwrap_or_else(|| logits.sum().mul_scalar(0.0));
    Losses { total, parts }
}

/// `[n, classes, h, w]` summed to `[classes]`.
fn sum_per_class<B: Backend>(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    let [n, classes, height, width] = pixels.dims();
    // Row by row, image by image: a float32 sum over a whole batch at once loses digits.
    let rows = pixels.reshape([n, classes, height * width]).sum_dim(2); // [n, classes, 1]
    rows.sum_dim(0).reshape([classes])
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
        LossSection {
            bce_weight: 0.5,
            focal_alpha: 0.25,
            boundary_weight: 0.7,
            lovasz_weight: 0.1,
            tversky_weight: 0.3,
            hard_fraction: 0.6,
            ..LossSection::default()
        }
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
        assert_eq!(all.parts.iter().map(|part| part.0).collect::<Vec<_>>(), Loss::ALL);
        let weights = [1.0, 1.0, 0.5, 0.7, 0.1, 0.3];
        let parts = all.parts.into_iter().map(|(_, value)| value.into_scalar());
        let sum: f32 = parts.zip(weights).map(|(value, weight)| value * weight).sum();
        assert!((all.total.into_scalar() - sum).abs() < 1e-6);
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
