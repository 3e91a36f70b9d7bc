//! The network that the CPU infers with, whatever its architecture.

use burn::backend::{Flex, flex::FlexDevice};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::super::{Architecture, Network};
use super::{FusedFpn, Layer, values};
use crate::kernels::nhwc::Pool;

/// What runs.
#[derive(Debug)]
enum Form {
    /// With the memory of each image of a batch, one at least.
    Fpn(FusedFpn, Vec<Pool>),
    /// The network itself, where there is nothing faster.
    Unfused(Network<Flex>),
}

/// A network for inference on the CPU: fused where there is a fused form of it, else as it was trained.
#[derive(Debug)]
pub struct FusedNetwork {
    form: Form,
    multiple_px: usize,
}

impl FusedNetwork {
    /// From a trained network. Later changes of its weights do not reach this one.
    pub fn new(network: &Network<Flex>) -> Self {
        let form = match &network.arch {
            Architecture::Fpn(fpn) => Form::Fpn(FusedFpn::new(fpn), vec![Pool::default()]),
            _ => Form::Unfused(network.clone()),
        };
        Self { form, multiple_px: network.arch.multiple_px() }
    }

    /// [`FusedNetwork::forward`] of one image after another, and what every layer did and took; no layers of a network
    /// without a fused form.
    pub fn record(&mut self, images: &[f32], shape: [usize; 4]) -> (Vec<f32>, Vec<Layer>) {
        let [_, bands, h, w] = shape;
        if let Form::Fpn(_, pools) = &mut self.form {
            pools[0].record();
        }
        let of_images = images.chunks_exact(bands * h * w);
        let logits = of_images.flat_map(|image| self.forward(image, [1, bands, h, w])).collect();
        let layers = match &mut self.form {
            Form::Fpn(_, pools) => pools[0].recorded(),
            Form::Unfused(_) => Vec::new(),
        };
        (logits, layers)
    }

    /// Logits `[n, classes, h, w]` of normalised images `[n, bands, h, w]`. Sizes are padded and cropped as by
    /// [`Network::forward_in`]. As many images as there are threads are worked on at once, each in memory of its own: where one
    /// leaves a core idle between two layers, another one does not.
    pub fn forward(&mut self, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
        let [n, bands, h, w] = shape;
        assert_eq!(images.len(), shape.iter().product::<usize>(), "images of the given shape");
        let (fpn, pools) = match &mut self.form {
            Form::Fpn(fpn, pools) => (fpn, pools),
            Form::Unfused(network) => {
                let data = TensorData::new(images.to_vec(), shape);
                return values(network.forward(Tensor::from_data(data, &FlexDevice)));
            }
        };
        let at_once = n.clamp(1, rayon::current_num_threads());
        if pools.len() < at_once {
            pools.resize_with(at_once, Pool::default);
        }
        let multiple_px = self.multiple_px;
        let (height, width) = (h.next_multiple_of(multiple_px), w.next_multiple_of(multiple_px));
        let (top, left) = ((height - h) / 2, (width - w) / 2);
        let of_image = |(planes, pool): (&[f32], &mut Pool)| {
            if (h, w) == (height, width) {
                return fpn.forward(planes, h, w, pool);
            }
            let padded = resized(planes, (h, w), (height, width), |y, x| {
                (y.saturating_sub(top).min(h - 1), x.saturating_sub(left).min(w - 1))
            });
            let whole = fpn.forward(&padded, height, width, pool);
            let crop = |y, x| (top + y, left + x);
            resized(&whole, (height, width), (h, w), crop)
        };
        let len = bands * h * w;
        let groups = images.chunks(at_once * len);
        let logits = groups.flat_map(|images| {
            let images = images.par_chunks_exact(len).zip(&mut *pools);
            images.map(of_image).collect::<Vec<_>>()
        });
        logits.collect::<Vec<_>>().concat()
    }
}

/// Planes of another size, each pixel taken from where `from` says.
fn resized(
    planes: &[f32],
    (h, w): (usize, usize),
    (height, width): (usize, usize),
    from: impl Fn(usize, usize) -> (usize, usize),
) -> Vec<f32> {
    let mut out = Vec::with_capacity(planes.len() / (h * w) * height * width);
    for plane in planes.chunks_exact(h * w) {
        for y in 0..height {
            out.extend((0..width).map(|x| {
                let (y, x) = from(y, x);
                plane[y * w + x]
            }));
        }
    }
    out
}
