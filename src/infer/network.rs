//! A network as a scorer of batches.

use std::path::Path;

use burn::backend::{Flex, flex::FlexDevice};
use burn::tensor::{Tensor, TensorData};

use super::strips::Batch;
use crate::config::Precision;
use crate::device::{Device, number_format};
use crate::error::{Error, Result};
use crate::import;
use crate::kernels::in_format;
use crate::model::{self, FusedNetwork, ModelSpec};

/// What scores a batch: probabilities `[n, row, col]` of a building.
pub type Scorer = Box<dyn FnMut(&Batch) -> Result<Vec<f32>>>;

/// The class whose probability is the score.
const SCORED_CLASS: &str = "building";

/// The model of a file, and a scorer that runs it on `device`: fused on the CPU, as trained elsewhere.
///
/// # Errors
/// The device cannot compute in that precision, the file is no model, or it has several classes and none of them is `building`.
pub fn load_scorer(
    file: &Path,
    device: &Device,
    precision: Precision,
) -> Result<(ModelSpec, Scorer)> {
    import::refuse_untrained(file)?;
    if *device == Device::Cpu {
        number_format::<Flex>(precision, &FlexDevice)?;
        let (spec, network) = model::load::<Flex>(file, &FlexDevice)?;
        let (class, read) = (scored_class(&spec)?, spec.clone());
        let mut network = FusedNetwork::new(&network);
        let scorer = move |batch: &Batch| {
            Ok(probabilities(&network.forward(&batch.pixels, shape(batch)), batch, class, &read))
        };
        return Ok((spec, Box::new(scorer)));
    }
    crate::with_backend!(device, |B, handle| {
        let format = number_format::<B>(precision, &handle)?;
        let (spec, network) = model::load::<B>(file, &handle)?;
        let (class, read) = (scored_class(&spec)?, spec.clone());
        let scorer = move |batch: &Batch| {
            let data = TensorData::new(batch.pixels.clone(), shape(batch));
            let images = in_format(Tensor::<B, 4>::from_data(data, &handle), format); // [n, bands, h, w]
            let logits = network.forward(images); // [n, classes, h, w]
            let logits = logits.into_data().convert::<f32>().into_vec().map_err(|error| {
                let problem = format!("returned no scores ({error:?})");
                Error::Device { device: format!("{handle:?}"), problem }
            })?;
            Ok(probabilities(&logits, batch, class, &read))
        };
        Ok((spec, Box::new(scorer) as Scorer))
    })
}

fn shape(batch: &Batch) -> [usize; 4] {
    [batch.positions.len(), batch.bands, batch.window_px, batch.window_px]
}

/// The index of the class that is scored.
///
/// # Errors
/// The model has several classes, and none of them is `building`.
pub fn scored_class(spec: &ModelSpec) -> Result<usize> {
    match spec.classes.iter().position(|class| class == SCORED_CLASS) {
        Some(class) => Ok(class),
        None if spec.classes.len() == 1 => Ok(0),
        None => Err(Error::config(
            "classes",
            format!("the model knows {}, but no `{SCORED_CLASS}`", spec.classes.join(", ")),
        )),
    }
}

/// Logits `[n, classes, row, col]` of a network to probabilities of one class: a softmax of classes that exclude each other
/// ([`ModelSpec::is_exclusive`]), else a sigmoid of its own logit.
pub fn probabilities(logits: &[f32], batch: &Batch, class: usize, spec: &ModelSpec) -> Vec<f32> {
    let (classes, exclusive) = (spec.classes.len(), spec.is_exclusive());
    let px = batch.window_px * batch.window_px;
    let mut scores = Vec::with_capacity(batch.positions.len() * px);
    for image in logits.chunks_exact(classes * px) {
        let of = |class: usize, i: usize| image[class * px + i];
        // 1 / (1 + sum of exp(other - scored)), the sum being exp(-logit) for a class of its own.
        scores.extend((0..px).map(|i| {
            let others: f32 = if exclusive && classes > 1 {
                let others = (0..classes).filter(|other| *other != class);
                others.map(|other| (of(other, i) - of(class, i)).exp()).sum()
            } else {
                (-of(class, i)).exp()
            };
            1.0 / (1.0 + others)
        }));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_without_a_trained_decoder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("start.safetensors");
        let spec =
            ModelSpec { pyramid_channels: 8, segmentation_channels: 32, ..ModelSpec::default() };
        let network = model::Network::<Flex>::new(&spec, &FlexDevice).unwrap();
        for (part, fine) in [("encoder", false), ("all", true)] {
            let origin = format!("{{\"part\": \"{part}\"}}");
            let provenance =
                model::weights::Provenance::from([(import::IMPORTED.to_owned(), origin)]);
            model::save(&path, &spec, &network, &provenance).unwrap();
            assert_eq!(load_scorer(&path, &Device::Cpu, Precision::Auto).is_ok(), fine);
        }
    }

    #[test]
    fn probabilities_are_a_sigmoid_or_a_softmax() {
        let batch = Batch { positions: vec![(0, 0)], bands: 1, window_px: 1, pixels: vec![0.0] };
        let spec = |classes: &[&str]| ModelSpec {
            classes: classes.iter().map(ToString::to_string).collect(),
            ..ModelSpec::default()
        };
        let building = spec(&["building"]);
        let sigmoid = |z: f32| 1.0 / (1.0 + (-z).exp());
        let one = probabilities(&[0.4], &batch, 0, &building)[0];
        assert!((one - sigmoid(0.4)).abs() < 1e-6);
        // What is not even near a building is none, however much less it is a boundary.
        let two = spec(&["building", "boundary"]);
        let own = probabilities(&[-3.0, -9.0], &batch, 0, &two)[0];
        assert!((own - sigmoid(-3.0)).abs() < 1e-6);
        let three = spec(&["background", "building", "boundary"]);
        let of_three = probabilities(&[0.1, 0.7, -2.0], &batch, 1, &three)[0];
        let sum: f32 = [0.1f32, 0.7, -2.0].iter().map(|z| z.exp()).sum();
        assert!((of_three - 0.7f32.exp() / sum).abs() < 1e-6);
        // Far beyond what exp can hold, either way.
        assert_eq!(probabilities(&[-200.0], &batch, 0, &building), [0.0]);
        assert_eq!(
            probabilities(&[200.0, -200.0], &batch, 0, &spec(&["background", "building"])),
            [1.0]
        );
    }
}
