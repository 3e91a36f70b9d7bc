//! The network alone, on noise in memory.

use burn::backend::{Flex, flex::FlexDevice};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use super::Options;
use super::measure::{Figure, measure};
use crate::config::Precision;
use crate::config::train::{LossSection, OptimizerSection};
use crate::device::{Device, number_format};
use crate::error::{Error, Result};
use crate::kernels::{Kernels, in_format};
use crate::model::{FusedNetwork, Heads, Mode, ModelSpec, Network, noise::splitmix64};
use crate::train::losses::{Truth, losses};
use crate::train::optimizer::Optimizer;

/// Calls before the clock runs: memory is mapped, kernels are compiled and tuned.
pub const WARM: usize = 2;

/// Side of the noise on which statistics settle: the deepest features have 8 by 8 pixels of it.
const SETTLING_PX: usize = 256;

/// Values between -1 and 1, each independent of the others.
pub fn noise(count: usize) -> Vec<f32> {
    let value = |i| (splitmix64(0, i) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..count as u64).map(value).collect()
}

/// Of the images, `[n, bands, h, w]`.
pub fn shape(options: &Options) -> [usize; 4] {
    [options.batch, options.spec.bands.len(), options.window_px, options.window_px]
}

/// Of all images.
pub fn pixels(options: &Options) -> usize {
    options.batch * options.window_px * options.window_px
}

/// What is done to how many images.
pub fn title(what: &str, options: &Options) -> String {
    let Options { batch, window_px, .. } = options;
    let format = match options.precision {
        Precision::Auto => String::new(),
        other => format!(", {}", other.name()),
    };
    format!("{what} {}, {batch} x {window_px} px{format}", options.spec.title())
}

/// Images of noise, `[n, bands, h, w]`.
pub fn noise_images<B: Backend>(options: &Options, device: &B::Device) -> Tensor<B, 4> {
    let shape = shape(options);
    Tensor::from_data(TensorData::new(noise(shape.iter().product()), shape), device)
}

/// A network with random weights whose statistics have settled on noise. With others, activations grow from layer to layer
/// until gates vanish, and arithmetic on denormal numbers takes many times as long: no trained network does that.
pub fn settled<B: Kernels>(spec: &ModelSpec, device: &B::Device) -> Result<Network<B>> {
    let network = Network::<B>::seeded(spec, 1, device)?;
    let shape = [2, spec.bands.len(), SETTLING_PX, SETTLING_PX];
    let sample = TensorData::new(noise(shape.iter().product()), shape);
    network.forward_in(Tensor::from_data(sample, device), Mode::Recalibrate { seen: 0 });
    Ok(network)
}

/// Windows from memory, logits back into memory.
pub fn infer(options: &Options) -> Result<Figure> {
    let (shape, title) = (shape(options), title("infer", options));
    let pixels = pixels(options);
    let images = noise(shape.iter().product());
    if options.device == Device::Cpu {
        number_format::<Flex>(options.precision, &FlexDevice)?;
        let mut network = FusedNetwork::new(&settled::<Flex>(&options.spec, &FlexDevice)?);
        return measure(title, pixels, WARM, options, || {
            std::hint::black_box(network.forward(&images, shape));
            Ok(())
        });
    }
    crate::with_backend!(&options.device, |B, device| {
        let format = number_format::<B>(options.precision, &device)?;
        let network = settled::<B>(&options.spec, &device)?;
        measure(title, pixels, WARM, options, || {
            let data = TensorData::new(images.clone(), shape);
            let images = in_format(Tensor::<B, 4>::from_data(data, &device), format); // [n, bands, h, w]
            std::hint::black_box(network.forward(images).into_data());
            Ok(())
        })
    })
}

/// Forward, backward, AdamW.
pub fn train(options: &Options) -> Result<Figure> {
    crate::with_autodiff_backend!(&options.device, |B, device| steps::<B>(options, &device))
}

fn steps<B: AutodiffBackend + Kernels>(options: &Options, device: &B::Device) -> Result<Figure> {
    let [n, _, h, w] = shape(options);
    let mut network = Some(Network::<B>::seeded(&options.spec, 1, device)?);
    let mut optimizer = Optimizer::new(&OptimizerSection::default());
    let format = number_format::<B>(options.precision, device)?;
    let images = in_format(noise_images::<B>(options, device), format); // [n, bands, h, w]
    let labels: Vec<f32> =
        noise(n * h * w).into_iter().map(|v| f32::from(u8::from(v > 0.2))).collect();
    let labels = Tensor::<B, 4>::from_data(TensorData::new(labels, [n, 1, h, w]), device);
    let truth = Truth::hard(labels.clone(), labels.ones_like());
    let mut seed = 0;
    measure(title("train", options), n * h * w, WARM, options, || {
        seed += 1;
        let Some(live) = network.take() else { return Ok(()) };
        let logits = live.forward_train(images.clone(), seed); // [n, classes, h, w]
        let loss = losses(&LossSection::default(), &Heads::of(logits), &truth).total;
        // Reading the loss waits for the forward pass, as training does.
        std::hint::black_box(loss.clone().into_data());
        let gradients = GradientsParams::from_grads(loss.backward(), &live);
        let moved = optimizer.step(live, gradients, 1e-4, 1.0);
        wait::<B>(device)?;
        network = Some(moved);
        Ok(())
    })
}

/// Until the device has done what it was given.
pub fn wait<B: Backend>(device: &B::Device) -> Result<()> {
    B::sync(device).map_err(|error| Error::Device {
        device: format!("{device:?}"),
        problem: format!("stopped working ({error:?})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Architecture;

    #[test]
    fn made_up_networks_stay_in_the_range_of_trained_ones() {
        let spec = ModelSpec::default();
        let network = settled::<Flex>(&spec, &FlexDevice).unwrap();
        let Architecture::Fpn(fpn) = &network.arch else { panic!("the default is an FPN") };
        for side in [64, 384] {
            let options = Options::standard(&spec.encoder, side, 1, 1);
            let images = noise_images::<Flex>(&options, &FlexDevice);
            let features = fpn.encoder.forward(images, Mode::Eval);
            let largest = features.map(|x| x.abs().max().into_scalar());
            let largest = largest.into_iter().fold(0.0, f32::max);
            assert!(largest < 100.0, "{largest} at {side} px");
        }
    }
}
