//! Networks and their weights.
#![expect(clippy::large_enum_variant, reason = "networks differ in size, and a process holds few")]

pub mod aspp;
pub mod average;
pub mod carvana;
pub mod context;
pub mod conv;
pub mod efficient_fpn;
pub mod efficientnet;
pub mod fpn;
pub mod fused;
pub mod graph;
pub mod heads;
mod init;
pub mod linear;
pub mod mbconv;
pub mod mean_mask;
pub mod names;
pub mod noise;
pub mod norm;
pub mod registry;
pub mod spec;
pub mod survey;
pub mod tap;
pub mod tensors;
pub mod unet;
pub mod unet_expand;
pub mod weights;

use burn::module::Module;
use burn::tensor::{DType, Tensor, backend::Backend, ops::PadMode, s};

pub use carvana::{CarvanaCnn, CarvanaUnet};
pub use efficient_fpn::EfficientFpn;
pub use fpn::Fpn;
pub use fused::FusedNetwork;
pub use graph::Graph;
pub use heads::{Heads, ImageHeads};
pub use mean_mask::MeanMask;
pub use noise::Mode;
pub use registry::Listed;
pub use spec::ModelSpec;
pub use tensors::{Mismatch, is_trainable, named_ids, named_tensors, set_named_tensors};
pub use unet::Unet;
pub use unet_expand::UnetExpand;
pub use weights::{load, save};

use crate::{Result, kernels, kernels::Kernels};
use graph::Image;
use registry::architectures;
use survey::{Row, Survey};

// A new network: its file, and a line here; `registry` says what stands in a line.
architectures! {
    Fpn = "fpn", 32, encoder, "feature pyramid network of segmentation_models_pytorch; fastest on the CPU";
    EfficientFpn = "efficient-fpn", 32, encoder, "pyramid with atrous pooling of Open Cities' third place; one class, outputs for several losses";
    Unet = "unet", 32, encoder, "U-Net of segmentation_models_pytorch: skips from five strides, nearest upsampling";
    UnetExpand = "unet-expand", 32, encoder, "U-Net with the encoder's expanded images as skips, dropout and bilinear upsampling";
    CarvanaUnet = "carvana-unet", 8, no_encoder, "U-Net for tiles of 128 px: max-pooling, 64 to 512 filters, no encoder to load";
    CarvanaCnn = "carvana-cnn", 1, no_encoder, "baseline: three convolutions that see 9 pixels";
    MeanMask = "mean-mask", 1, no_encoder, "baseline: one learnt mask for every image, whatever it shows";
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
        let arch = Architecture::new(spec, device)?;
        Ok(init::initialise(Self { arch }, seed))
    }

    /// Keeps the first `levels` levels of the encoder as they are (see [`efficientnet::EfficientNet::freeze`]).
    #[must_use]
    pub fn freeze_encoder(mut self, levels: usize) -> Self {
        if let Some(encoder) = self.arch.encoder_mut() {
            encoder.freeze(levels);
        }
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

    /// Logits in any [`Mode`], in single precision; the network computes in the format of `x`, with its weights and
    /// statistics in single precision. Images of sizes that the network cannot halve as often as it must are continued by
    /// their edge pixels to the next that it can, and the logits cropped.
    pub fn forward_in(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.continued(x, |x| Heads::of(self.arch.forward(x, mode))).logits
    }

    /// All that the network says, in any [`Mode`]; otherwise as [`Network::forward_in`].
    pub fn heads(&self, x: Tensor<B, 4>, mode: Mode) -> Heads<B> {
        self.continued(x, |x| match &self.arch {
            Architecture::EfficientFpn(network) => network.heads(x, mode),
            other => Heads::of(other.forward(x, mode)),
        })
    }

    /// Whether [`Network::heads`] says more than logits.
    pub fn has_more_heads(&self) -> bool {
        matches!(self.arch, Architecture::EfficientFpn(_))
    }

    fn continued(&self, x: Tensor<B, 4>, heads: impl Fn(Tensor<B, 4>) -> Heads<B>) -> Heads<B> {
        let [_, _, h, w] = x.dims();
        let multiple_px = self.arch.multiple_px();
        let missing = |size: usize| size.next_multiple_of(multiple_px) - size;
        let (bottom, right) = (missing(h), missing(w));
        let run = |x| {
            let heads = heads(x).map_pixels(|pixels| kernels::in_format(pixels, DType::F32));
            Heads { logits: tap::tap_logits(heads.logits), ..heads }
        };
        if bottom == 0 && right == 0 {
            return run(x);
        }
        // Half on each side: edges are equally far from invented pixels.
        let (top, left) = (bottom / 2, right / 2);
        let x = x.pad([(top, bottom - top), (left, right - left)], PadMode::Edge);
        run(x).map_pixels(|pixels| pixels.slice(s![.., .., top..top + h, left..left + w]))
    }

    /// The operators that compute logits, as [`Network::forward`] does of images that need not be continued: their height and
    /// width are multiples of [`Listed::multiple_px`].
    pub fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::new();
        self.arch.graph(input, &mut graph);
        graph
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        tensors::trainable_values(&self.arch)
    }

    /// Its name, as in [`ModelSpec::arch`].
    pub fn name(&self) -> &'static str {
        self.arch.name()
    }
}
