//! Networks and their weights.

pub mod conv;
pub mod efficientnet;
pub mod fpn;
pub mod fused;
mod init;
pub mod mbconv;
pub mod names;
pub mod noise;
pub mod norm;
pub mod spec;
pub mod tensors;
pub mod weights;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend, ops::PadMode, s};

pub use fpn::Fpn;
pub use fused::FusedNetwork;
pub use noise::Mode;
pub use spec::ModelSpec;
pub use tensors::{Mismatch, is_trainable, named_ids, named_tensors, set_named_tensors};
pub use weights::{load, save};

use crate::{Result, kernels::Kernels};

/// Inputs are padded to a multiple of this, the encoder's largest stride, in pixels.
const STRIDE_PX: usize = 32;

/// The networks that a [`ModelSpec`] can name.
#[derive(Module, Debug)]
pub enum Architecture<B: Backend> {
    /// Feature pyramid network.
    Fpn(Fpn<B>),
}

/// A network built from a [`ModelSpec`].
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    /// The network.
    pub arch: Architecture<B>,
}

impl<B: Kernels> Network<B> {
    /// With first weights from seed 0. Every parameter's id is the hash of its name, so optimizer records survive reloads.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the spec is not valid.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        Self::seeded(spec, 0, device)
    }

    /// With first weights from `seed`: the same on every backend.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the spec is not valid.
    pub fn seeded(spec: &ModelSpec, seed: u64, device: &B::Device) -> Result<Self> {
        spec.validate()?;
        let arch = Architecture::Fpn(Fpn::new(spec, device)?);
        Ok(init::initialise(Self { arch }, seed))
    }

    /// Keeps the first `levels` levels of the encoder as they are (see [`efficientnet::EfficientNet::freeze`]).
    #[must_use]
    pub fn freeze_encoder(mut self, levels: usize) -> Self {
        self.arch = match self.arch {
            Architecture::Fpn(mut fpn) => {
                fpn.encoder = fpn.encoder.freeze(levels);
                Architecture::Fpn(fpn)
            }
        };
        self
    }

    /// Logits `[n, classes, h, w]` of normalised images `[n, bands, h, w]`, evaluated.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.forward_in(x, Mode::Eval)
    }

    /// The same in training: batch statistics move the running ones, dropout and drop connect draw from `seed`.
    pub fn forward_train(&self, x: Tensor<B, 4>, seed: u64) -> Tensor<B, 4> {
        self.forward_in(x, Mode::Train { seed })
    }

    /// Logits in any [`Mode`]. Images of other sizes are continued by their edge pixels to a multiple of 32, and the
    /// logits cropped.
    pub fn forward_in(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let [_, _, h, w] = x.dims();
        let missing = |size: usize| size.next_multiple_of(STRIDE_PX) - size;
        let (bottom, right) = (missing(h), missing(w));
        if bottom == 0 && right == 0 {
            return self.dispatch(x, mode);
        }
        // Half on each side: edges are equally far from invented pixels.
        let (top, left) = (bottom / 2, right / 2);
        let x = x.pad([(top, bottom - top), (left, right - left)], PadMode::Edge);
        self.dispatch(x, mode).slice(s![.., .., top..top + h, left..left + w])
    }

    fn dispatch(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        match &self.arch {
            Architecture::Fpn(fpn) => fpn.forward(x, mode),
        }
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        let count = |(name, data): &(String, burn::tensor::TensorData)| {
            if is_trainable(name) { data.shape.iter().product() } else { 0 }
        };
        named_tensors(self).iter().map(count).sum()
    }
}
