//! Batch norm's statistics, measured afresh.

use crate::error::Result;
use crate::kernels::Kernels;
use crate::model::{Mode, Network};

use super::batches::Batch;

/// Replaces the running statistics by plain averages over `batches`. They move by 1 % a step in training:
/// after a few hundred steps they still remember the first weights, and validation would measure that.
///
/// # Errors
/// A batch cannot be read.
pub fn recalibrate<B: Kernels>(
    network: &Network<B>,
    batches: impl Iterator<Item = Result<Batch>>,
    device: &B::Device,
) -> Result<()> {
    for (seen, batch) in batches.enumerate() {
        let (image, _) = batch?.to_device::<B>(device);
        network.forward_in(image, Mode::Recalibrate { seen });
    }
    Ok(())
}
