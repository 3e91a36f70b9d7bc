//! A network as a scorer of batches.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Tensor, TensorData};

use super::strips::Batch;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::model::{ModelSpec, Network};

/// What scores a batch: probabilities `[n, row, col]` of a building.
pub type Scorer = Box<dyn FnMut(&Batch) -> Result<Vec<f32>>>;

/// The class whose probability is the score.
const SCORED_CLASS: &str = "building";

/// A scorer that runs `network`.
///
/// # Errors
/// The model has several classes and none of them is `building`.
pub fn network_scorer<B: Kernels>(
    spec: &ModelSpec,
    network: Network<B>,
    device: B::Device,
) -> Result<Scorer> {
    let class = match spec.classes.iter().position(|class| class == SCORED_CLASS) {
        Some(class) => class,
        None if spec.classes.len() == 1 => 0,
        None => {
            return Err(Error::config(
                "classes",
                format!("the model knows {}, but no `{SCORED_CLASS}`", spec.classes.join(", ")),
            ));
        }
    };
    let one_class = spec.classes.len() == 1;
    Ok(Box::new(move |batch: &Batch| {
        let (n, side) = (batch.positions.len(), batch.window_px);
        let shape = [n, batch.bands, side, side];
        let data = TensorData::new(batch.pixels.clone(), shape);
        let logits = network.forward(Tensor::<B, 4>::from_data(data, &device)); // [n, classes, h, w]
        let scores = if one_class {
            sigmoid(logits)
        } else {
            softmax(logits, 1).slice([0..n, class..class + 1])
        };
        scores.into_data().convert::<f32>().into_vec().map_err(|error| Error::Device {
            device: format!("{device:?}"),
            problem: format!("returned no scores ({error:?})"),
        })
    }))
}
