//! The operators of training, each alone on noise of its size: forward, and the gradients that a step asks for.

use burn::tensor::{Tensor, TensorData, ops::FloatTensor};

use super::Options;
use super::measure::median_ms;
use super::network::{noise, noise_images, wait};
use super::operators::Form;
use crate::error::Result;
use crate::kernels::trace::{Call, Operator, trace};
use crate::kernels::{
    Activation, ExciteWeights, Kernels, NormOver, NormState, plain, squeeze_excite_grad,
};
use crate::model::Network;

/// A form of an operator, timed.
pub struct Timed {
    pub form: Form,
    pub flops: usize,
    /// Every value that is read or written, once.
    pub bytes: usize,
    pub ms_median: f64,
}

/// The operators of a training step, distinct ones with how often each occurs, in the order of the network.
pub fn of_step<B: Kernels>(options: &Options, device: &B::Device) -> Result<Vec<(Call, usize)>> {
    let network = Network::<B>::seeded(&options.spec, 1, device)?;
    let images = noise_images::<B>(options, device);
    let mut distinct: Vec<(Call, usize)> = Vec::new();
    for call in trace(|| drop(network.forward_train(images, 1))) {
        match distinct.iter_mut().find(|(known, _)| *known == call) {
            Some((_, count)) => *count += 1,
            None => distinct.push((call, 1)),
        }
    }
    Ok(distinct)
}

/// What the tables call an operator.
pub fn name(operator: &Operator) -> String {
    let activated = |what: &str, activation: Activation| match activation {
        Activation::Identity => what.to_owned(),
        other => format!("{what}, {other:?}"),
    };
    match operator {
        Operator::Conv { kernel, sliding, .. } => match sliding.stride {
            1 => format!("{kernel}x{kernel}"),
            stride => format!("{kernel}x{kernel}/{stride}"),
        },
        Operator::Depthwise { kernel, sliding } => {
            format!("depthwise {kernel}x{kernel}/{}", sliding.stride)
        }
        Operator::Normalize(norm) => match norm.over {
            NormOver::Batch => activated("batch norm", norm.activation),
            NormOver::Groups(_) => activated("group norm", norm.activation),
        },
        Operator::Affine(activation) => activated("affine", *activation),
        Operator::Silu => "Silu".to_owned(),
        Operator::Bilinear { factor, .. } => format!("bilinear x{factor}"),
        Operator::Nearest { factor } => format!("nearest x{factor}"),
        Operator::PlaneScale => "plane scale".to_owned(),
        Operator::SqueezeExcite { .. } => "squeeze-excite".to_owned(),
    }
}

fn sample<B: Kernels, const D: usize>(shape: [usize; D], device: &B::Device) -> FloatTensor<B> {
    let data = TensorData::new(noise(shape.iter().product()), shape);
    Tensor::<B, D>::from_data(data, device).into_primitive().tensor()
}

/// An operator with its input and the gradient that arrives at its output.
struct Bench<'a, B: Kernels> {
    call: &'a Call,
    repeat: usize,
    device: &'a B::Device,
    x: FloatTensor<B>,
    grad: FloatTensor<B>,
    timed: Vec<Timed>,
}

/// Times the forms of an operator; `of_images`: its input has no gradient.
pub fn time<B: Kernels>(
    call: &Call,
    of_images: bool,
    repeat: usize,
    device: &B::Device,
) -> Result<Vec<Timed>> {
    let (x, grad) = (sample::<B, 4>(call.input, device), sample::<B, 4>(call.output(), device));
    let mut bench = Bench::<B> { call, repeat, device, x, grad, timed: Vec::new() };
    bench.all(of_images)?;
    Ok(bench.timed)
}

impl<B: Kernels> Bench<'_, B> {
    /// Times a form. Backward forms of one step read the input beside the gradient if it `keeps` it.
    fn run(&mut self, form: Form, keeps: bool, work: impl Fn(&Self)) -> Result<()> {
        let device = self.device;
        let ms_median = median_ms(self.repeat, || {
            work(self);
            wait::<B>(device)
        })?;
        let count = |shape: [usize; 4]| shape.iter().product::<usize>();
        let (inside, outside) = (count(self.call.input), count(self.call.output()));
        let values = inside * (1 + usize::from(keeps)) + outside + self.call.weights();
        let bytes = values * size_of::<f32>();
        self.timed.push(Timed { form, flops: self.call.flops(), bytes, ms_median });
        Ok(())
    }

    fn all(&mut self, of_images: bool) -> Result<()> {
        let (shape, device) = (self.call.input, self.device);
        let channels = shape[1];
        match self.call.operator {
            Operator::Conv { outputs, kernel, bias, sliding } => {
                let weight = sample::<B, 4>([outputs, channels, kernel, kernel], device);
                let bias = bias.then(|| sample::<B, 1>([outputs], device));
                self.run(Form::Forward, false, |b| {
                    drop(B::conv(b.x.clone(), weight.clone(), bias.clone(), sliding));
                })?;
                if !of_images {
                    self.run(Form::ByInput, false, |b| {
                        drop(B::conv_grad_x(b.grad.clone(), weight.clone(), shape, sliding));
                    })?;
                }
                self.run(Form::ByWeight, false, |b| {
                    drop(B::conv_grad_weight(b.grad.clone(), b.x.clone(), kernel, sliding));
                })
            }
            Operator::Depthwise { kernel, sliding } => {
                let weight = sample::<B, 4>([channels, 1, kernel, kernel], device);
                self.run(Form::Forward, false, |b| {
                    drop(B::depthwise(b.x.clone(), weight.clone(), sliding));
                })?;
                self.run(Form::ByInput, false, |b| {
                    drop(B::depthwise_grad_x(b.grad.clone(), weight.clone(), shape, sliding));
                })?;
                self.run(Form::ByWeight, false, |b| {
                    drop(B::depthwise_grad_weight(b.grad.clone(), b.x.clone(), kernel, sliding));
                })
            }
            Operator::Normalize(norm) => {
                let gamma = sample::<B, 1>([channels], device);
                let (_, mean, var) =
                    B::normalize(self.x.clone(), gamma.clone(), gamma.clone(), norm);
                let beta = gamma.clone();
                let state = NormState::<B> { x: self.x.clone(), gamma, beta, mean, var };
                self.run(Form::Forward, false, |b| {
                    let (gamma, beta) = (state.gamma.clone(), state.beta.clone());
                    drop(B::normalize(b.x.clone(), gamma, beta, norm));
                })?;
                self.run(Form::Backward, true, |b| {
                    drop(B::normalize_grad(state.clone(), b.grad.clone(), norm));
                })
            }
            Operator::Affine(activation) => {
                let scale = sample::<B, 1>([channels], device);
                self.run(Form::Forward, false, |b| {
                    drop(B::affine(b.x.clone(), scale.clone(), scale.clone(), activation));
                })
            }
            Operator::Silu => {
                self.run(Form::Forward, false, |b| drop(B::silu(b.x.clone())))?;
                self.run(Form::Backward, true, |b| {
                    drop(B::silu_grad(b.x.clone(), b.grad.clone()));
                })
            }
            Operator::Bilinear { factor, align_corners } => {
                self.run(Form::Forward, false, |b| {
                    drop(B::bilinear(b.x.clone(), factor, align_corners));
                })?;
                self.run(Form::Backward, false, |b| {
                    drop(B::bilinear_grad(b.grad.clone(), factor, align_corners));
                })
            }
            Operator::Nearest { factor } => {
                self.run(Form::Forward, false, |b| drop(B::nearest(b.x.clone(), factor)))?;
                self.run(Form::Backward, false, |b| {
                    drop(B::nearest_grad(b.grad.clone(), factor));
                })
            }
            Operator::PlaneScale => {
                let scale = sample::<B, 2>([shape[0], channels], device);
                self.run(Form::Forward, false, |b| {
                    drop(B::plane_affine(b.x.clone(), scale.clone(), None));
                })?;
                self.run(Form::Backward, false, |b| {
                    drop(B::plane_affine(b.grad.clone(), scale.clone(), None));
                })
            }
            Operator::SqueezeExcite { squeezed } => {
                let weights = ExciteWeights::<B> {
                    reduce: sample::<B, 2>([squeezed, channels], device),
                    reduce_bias: sample::<B, 1>([squeezed], device),
                    expand: sample::<B, 2>([channels, squeezed], device),
                    expand_bias: sample::<B, 1>([channels], device),
                };
                let mean = B::plane_mean(self.x.clone());
                let gate = plain::gate::<B>(mean.clone(), &weights);
                self.run(Form::Forward, false, |b| {
                    drop(B::squeeze_excite(b.x.clone(), weights.clone()));
                })?;
                self.run(Form::Backward, true, |b| {
                    let state = (b.x.clone(), mean.clone(), gate.clone(), weights.clone());
                    drop(squeeze_excite_grad::<B>(state, b.grad.clone(), true));
                })
            }
        }
    }
}
