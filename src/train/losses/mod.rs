//! What training minimises: a weighted sum of losses, all of them blind to ignored pixels.

mod boundary;
mod image;
mod lovasz;
mod overlap;
mod pixelwise;

use burn::tensor::{Tensor, backend::Backend};

pub use self::boundary::boundary;
pub use self::lovasz::lovasz_hinge;
pub use self::overlap::{soft_dice, tversky};
pub use self::pixelwise::{bce, focal, kl};
use crate::config::train::{Loss, LossSection};
use crate::model::Heads;

/// What the network should have said.
#[derive(Clone, Debug)]
pub struct Truth<B: Backend> {
    /// 1 where a pixel belongs to the class, else 0: `[n, classes, h, w]`; the probability that it does where `soft`.
    pub labels: Tensor<B, 4>,
    /// 1 where a pixel counts, 0 where it is ignored: `[n, 1, h, w]`.
    pub valid: Tensor<B, 4>,
    /// Labels are what other models said.
    pub soft: bool,
    /// Binary logarithm of the metres that a pixel's side covers, `[n, 1]`; `None` where unknown.
    pub scale: Option<Tensor<B, 2>>,
}

impl<B: Backend> Truth<B> {
    /// Labels by hand, of images of unknown scale.
    pub fn hard(labels: Tensor<B, 4>, valid: Tensor<B, 4>) -> Self {
        Self { labels, valid, soft: false, scale: None }
    }

    /// The same labels for their first class alone.
    fn first_class(&self) -> Self {
        Self { labels: self.labels.clone().narrow(1, 0, 1), ..self.clone() }
    }
}

impl Loss {
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
    /// Every loss with a weight above 0, unweighted, by its name in the logs: that of the loss, behind `second/` for
    /// the second head's; `class`, `scale` and `kl`.
    pub parts: Vec<(String, Tensor<B, 1>)>,
}

/// The losses of a network's `heads`. Soft labels ask for [`kl`] of the logits, and for nothing else.
pub fn losses<B: Backend>(section: &LossSection, heads: &Heads<B>, truth: &Truth<B>) -> Losses<B> {
    let weighted = if truth.soft {
        let divergence = kl(heads.logits.clone(), truth);
        vec![("kl".to_owned(), section.kl_weight, divergence)]
    } else {
        hard_losses(section, heads, truth)
    };
    let total = weighted
        .iter()
        .map(|(_, weight, value)| value.clone().mul_scalar(*weight))
        .reduce(|sum, value| sum + value)
        .unwrap_or_else(|| heads.logits.clone().sum().mul_scalar(0.0));
    Losses { total, parts: weighted.into_iter().map(|(name, _, value)| (name, value)).collect() }
}

/// Name, weight and value of every loss in use.
fn hard_losses<B: Backend>(
    section: &LossSection,
    heads: &Heads<B>,
    truth: &Truth<B>,
) -> Vec<(String, f64, Tensor<B, 1>)> {
    let used = |weight: f64| weight > 0.0;
    let mut all = Vec::new();
    for loss in Loss::ALL {
        let weight = section.weight(loss);
        if used(weight) {
            let value = loss.of(section, heads.logits.clone(), truth);
            all.push((loss.name().to_owned(), weight, value));
        }
    }
    if let Some(second) = &heads.second {
        let truth = truth.first_class();
        for (&loss, &weight) in section.second_head.iter().filter(|(_, weight)| used(**weight)) {
            let value = loss.of(section, second.clone(), &truth);
            all.push((format!("second/{}", loss.name()), weight, value));
        }
    }
    if let Some(image) = &heads.image {
        if used(section.class_weight) {
            let value =
                image::class(image.class.clone(), &truth.first_class(), section.focal_gamma);
            all.push(("class".to_owned(), section.class_weight, value));
        }
        if let (true, Some(scale)) = (used(section.scale_weight), &truth.scale) {
            let value = image::scale(image.scale.clone(), scale.clone());
            all.push(("scale".to_owned(), section.scale_weight, value));
        }
    }
    all
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
    use crate::model::ImageHeads;
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
        let truth = Truth::hard(tensor(labels, 1), tensor(valid, 1));
        let total = losses(&section(), &Heads::of(logits.clone()), &truth).total;
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
        let truth = Truth::hard(tensor(vec![1.0, 0.0, 1.0], 1), tensor(vec![1.0; 3], 1));
        let all = losses(&section(), &Heads::of(logits), &truth);
        let names: Vec<_> = all.parts.iter().map(|part| part.0.as_str()).collect();
        assert_eq!(names, ["focal", "dice", "bce", "boundary", "lovasz", "tversky"]);
        let weights = [1.0, 1.0, 0.5, 0.7, 0.1, 0.3];
        let parts = all.parts.into_iter().map(|(_, value)| value.into_scalar());
        let sum: f32 = parts.zip(weights).map(|(value, weight)| value * weight).sum();
        assert!((all.total.into_scalar() - sum).abs() < 1e-6);
    }

    /// All heads of two images of one row, of which the first shows a building.
    fn heads() -> (Heads<Diff>, Truth<Diff>) {
        let device = Default::default();
        let pixels = |values: [f32; 4]| {
            Tensor::from_data(TensorData::new(values.into(), [2, 1, 1, 2]), &device)
        };
        let images =
            |values: [f32; 2]| Tensor::from_data(TensorData::new(values.into(), [2, 1]), &device);
        let heads = Heads {
            logits: pixels([0.5, -1.0, 0.2, 0.1]),
            second: Some(pixels([2.0, -2.0, -3.0, -4.0])),
            image: Some(ImageHeads { class: images([1.0, 3.0]), scale: images([-2.0, -1.0]) }),
        };
        let truth = Truth {
            scale: Some(images([-1.0, -1.0])),
            ..Truth::hard(pixels([1.0, 0.0, 0.0, 0.0]), pixels([1.0; 4]))
        };
        (heads, truth)
    }

    #[test]
    fn every_head_has_losses_of_its_own() {
        let (heads, truth) = heads();
        let section = LossSection {
            dice_weight: 0.0,
            second_head: [(Loss::Dice, 0.1)].into(),
            class_weight: 2.0,
            scale_weight: 0.5,
            ..LossSection::default()
        };
        let all = losses(&section, &heads, &truth);
        let values: Vec<(&str, f32)> = all
            .parts
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone().into_scalar()))
            .collect();
        let names: Vec<_> = values.iter().map(|value| value.0).collect();
        assert_eq!(names, ["focal", "second/dice", "class", "scale"]);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        // The first image has a building, the second none: -ln p and -ln (1 - p), each times the square of its miss.
        let (one, none) = (sigmoid(1.0), sigmoid(3.0));
        let class = (-(1.0 - one).powi(2) * one.ln() - none.powi(2) * (1.0 - none).ln()) / 2.0;
        assert!((values[2].1 - class).abs() < 1e-6, "{values:?} {class}");
        assert!((values[3].1 - 0.5).abs() < 1e-6, "{values:?}");
        let dice = soft_dice(heads.second.unwrap(), &truth, section.dice_smooth).into_scalar();
        assert_eq!(values[1].1, dice);
        let total = values[0].1 + 0.1 * dice + 2.0 * class + 0.5 * 0.5;
        assert!((all.total.into_scalar() - total).abs() < 1e-5);
    }

    #[test]
    fn an_image_of_ignored_pixels_is_of_no_class() {
        let (heads, truth) = heads();
        let section = LossSection { class_weight: 1.0, ..LossSection::default() };
        let class = |truth: &Truth<Diff>| {
            let all = losses(&section, &heads, truth).parts;
            all.into_iter().find(|part| part.0 == "class").unwrap().1.into_scalar()
        };
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let valid = TensorData::new(vec![1f32, 1.0, 0.0, 0.0], [2, 1, 1, 2]);
        let half = Truth { valid: Tensor::from_data(valid, &Default::default()), ..truth };
        let one = sigmoid(1.0);
        assert!((class(&half) + (1.0 - one).powi(2) * one.ln()).abs() < 1e-6);
    }

    #[test]
    fn soft_labels_ask_for_the_divergence_alone() {
        let (heads, truth) = heads();
        let truth = Truth { soft: true, ..truth };
        let section = LossSection { kl_weight: 3.0, class_weight: 1.0, ..LossSection::default() };
        let all = losses(&section, &heads, &truth);
        assert_eq!(all.parts.len(), 1);
        let divergence = kl(heads.logits, &truth).into_scalar();
        assert!((all.total.into_scalar() - 3.0 * divergence).abs() < 1e-6);
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
