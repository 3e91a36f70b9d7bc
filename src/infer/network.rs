//! A network as a scorer of batches.

use std::path::Path;

use burn::backend::{Flex, flex::FlexDevice};
use burn::tensor::{Tensor, TensorData};

use super::classes::ScoredClasses;
use super::strips::Batch;
use crate::config::Precision;
use crate::device::{Device, number_format};
use crate::error::{Error, Result};
use crate::import;
use crate::kernels::in_format;
use crate::model::{self, FusedNetwork, ModelSpec};

/// What scores a batch: probabilities `[n, band, row, col]`, the bands being those of the model's [`ScoredClasses`].
pub type Scorer = Box<dyn FnMut(&Batch) -> Result<Vec<f32>>>;

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
        let (scored, read) = (ScoredClasses::of(&spec)?, spec.clone());
        let mut network = FusedNetwork::new(&network);
        let scorer = move |batch: &Batch| {
            let logits = network.forward(&batch.pixels, shape(batch));
            Ok(scored.probabilities(&logits, batch.window_px.pow(2), &read))
        };
        return Ok((spec, Box::new(scorer)));
    }
    crate::with_backend!(device, |B, handle| {
        let format = number_format::<B>(precision, &handle)?;
        let (spec, network) = model::load::<B>(file, &handle)?;
        let (scored, read) = (ScoredClasses::of(&spec)?, spec.clone());
        let scorer = move |batch: &Batch| {
            let data = TensorData::new(batch.pixels.clone(), shape(batch));
            let images = in_format(Tensor::<B, 4>::from_data(data, &handle), format); // [n, bands, h, w]
            let logits = network.forward(images); // [n, classes, h, w]
            let logits = logits.into_data().convert::<f32>().into_vec().map_err(|error| {
                let problem = format!("returned no scores ({error:?})");
                Error::Device { device: format!("{handle:?}"), problem }
            })?;
            Ok(scored.probabilities(&logits, batch.window_px.pow(2), &read))
        };
        Ok((spec, Box::new(scorer) as Scorer))
    })
}

fn shape(batch: &Batch) -> [usize; 4] {
    [batch.positions.len(), batch.bands, batch.window_px, batch.window_px]
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
}
