//! Batch and group normalisation, fused with the activation behind them.

use std::sync::{Mutex, PoisonError};

use burn::module::{
    AutodiffModule, Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor, Param, ParamId,
};
use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};

use super::{conv::zeros, noise::Mode, tap::tap};
use crate::kernels::{self, Activation, Kernels, Norm, NormOver};

/// A statistic that forward passes move: a parameter without gradient.
///
/// Unlike burn's own, clones do not share it: a copied network (an average of weights, say) stands on its own.
#[derive(Debug)]
pub struct Running<B: Backend> {
    id: ParamId,
    value: Mutex<Tensor<B, 1>>,
}

impl<B: Backend> Running<B> {
    fn new(id: ParamId, value: Tensor<B, 1>) -> Self {
        Self { id, value: Mutex::new(value) }
    }

    /// The value now, `[channels]`.
    pub fn get(&self) -> Tensor<B, 1> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    pub fn set(&self, value: Tensor<B, 1>) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Moves the value by `weight` towards `new`.
    fn blend(&self, new: Tensor<B, 1>, weight: f64) {
        self.set(if weight >= 1.0 { new } else { self.get() * (1.0 - weight) + new * weight });
    }

    fn param(&self) -> Param<Tensor<B, 1>> {
        Param::initialized(self.id, self.get())
    }
}

impl<B: Backend> Clone for Running<B> {
    fn clone(&self) -> Self {
        Self::new(self.id, self.get())
    }
}

impl<B: Backend> Module<B> for Running<B> {
    type Record = Param<Tensor<B, 1>>;

    fn collect_devices(&self, mut devices: Devices<B>) -> Devices<B> {
        let device = self.get().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn fork(self, device: &B::Device) -> Self {
        self.to_device(device)
    }

    fn to_device(self, device: &B::Device) -> Self {
        self.set(self.get().to_device(device));
        self
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        visitor.visit_float(&self.param());
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        let (id, value, _) = mapper.map_float(self.param()).consume();
        Self::new(id, value)
    }

    fn load_record(self, record: Self::Record) -> Self {
        let device = self.get().device();
        Self::new(record.id, record.val().to_device(&device))
    }

    fn into_record(self) -> Self::Record {
        self.param()
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for Running<B> {
    type InnerModule = Running<B::InnerBackend>;

    fn valid(&self) -> Self::InnerModule {
        Running::new(self.id, self.get().inner())
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        Self::new(module.id, Tensor::from_inner(module.get()))
    }
}

impl<B: Backend> ModuleDisplayDefault for Running<B> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"Running".to_owned()).optional()
    }
}

impl<B: Backend> ModuleDisplay for Running<B> {}

/// Batch normalisation of images, as `PyTorch` does it: batches are normalised by their biased variance, and the running
/// variance collects the unbiased one.
#[derive(Module, Debug)]
pub struct BatchNorm2d<B: Backend> {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<B, 1>>,
    /// Mean for evaluation, `[channels]`.
    pub running_mean: Running<B>,
    /// Variance for evaluation, `[channels]`.
    pub running_var: Running<B>,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    momentum: f64,
}

impl<B: Kernels> BatchNorm2d<B> {
    /// `momentum` is the weight of the new batch.
    pub fn new(channels: usize, eps: f64, momentum: f64, device: &B::Device) -> Self {
        Self {
            weight: zeros([channels], device),
            bias: zeros([channels], device),
            running_mean: Running::new(ParamId::new(), Tensor::zeros([channels], device)),
            running_var: Running::new(ParamId::new(), Tensor::ones([channels], device)),
            eps,
            momentum,
        }
    }

    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 4>, activation: Activation, mode: Mode) -> Tensor<B, 4> {
        let weight_of_batch = match mode {
            Mode::Eval => return self.settled(x, activation),
            Mode::Train { .. } => self.momentum,
            Mode::Recalibrate { seen } => 1.0 / (seen + 1) as f64,
        };
        let [n, _, h, w] = x.dims();
        let count = (n * h * w) as f64;
        let norm = Norm { over: NormOver::Batch, eps: self.eps, activation };
        let (out, mean, var) = kernels::normalize(x, self.weight.val(), self.bias.val(), norm);
        self.running_mean.blend(mean, weight_of_batch);
        // One value a channel has no unbiased variance.
        self.running_var.blend(var * (count / (count - 1.0).max(1.0)), weight_of_batch);
        out
    }

    /// By the running statistics: one multiplication and addition a pixel.
    fn settled(&self, x: Tensor<B, 4>, activation: Activation) -> Tensor<B, 4> {
        let (scale, shift) = self.settled_affine();
        tap(self, kernels::affine(x, scale, shift, activation))
    }

    /// Scale and shift a channel by the running statistics.
    pub(super) fn settled_affine(&self) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let scale = self.weight.val() / (self.running_var.get() + self.eps).sqrt();
        let shift = self.bias.val() - self.running_mean.get() * scale.clone();
        (scale, shift)
    }
}

/// Group normalisation of images.
#[derive(Module, Debug)]
pub struct GroupNorm<B: Backend> {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<B, 1>>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    eps: f64,
}

impl<B: Kernels> GroupNorm<B> {
    /// `channels` must be a multiple of `groups`.
    pub fn new(groups: usize, channels: usize, eps: f64, device: &B::Device) -> Self {
        Self { weight: zeros([channels], device), bias: zeros([channels], device), groups, eps }
    }

    /// Number of groups, and epsilon.
    pub(super) fn options(&self) -> (usize, f64) {
        (self.groups, self.eps)
    }

    /// `[n, c, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 4>, activation: Activation) -> Tensor<B, 4> {
        let norm = Norm { over: NormOver::Groups(self.groups), eps: self.eps, activation };
        tap(self, kernels::normalize(x, self.weight.val(), self.bias.val(), norm).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    fn image(values: [f32; 4]) -> Tensor<Flex, 4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 1, 2]), &Default::default())
    }

    fn of(running: &Running<Flex>) -> f32 {
        running.get().into_scalar()
    }

    #[test]
    fn recalibration_averages_batches_plainly_and_forgets_what_was_before() {
        let norm = BatchNorm2d::<Flex>::new(1, 1e-3, 0.01, &Default::default());
        norm.running_mean.set(Tensor::from_data([99.0], &Default::default()));
        for (seen, values) in
            [[0.0, 2.0, 4.0, 6.0], [1.0, 1.0, 1.0, 1.0], [2.0; 4]].into_iter().enumerate()
        {
            norm.forward(image(values), Activation::Identity, Mode::Recalibrate { seen });
        }
        assert!((of(&norm.running_mean) - 2.0).abs() < 1e-6);
        // Unbiased variance of the first batch is 20/3, of the others 0.
        assert!((of(&norm.running_var) - 20.0 / 9.0).abs() < 1e-5);
    }

    #[test]
    fn clones_have_statistics_of_their_own() {
        let norm = BatchNorm2d::<Flex>::new(1, 1e-3, 0.5, &Default::default());
        let copy = norm.clone();
        norm.forward(image([4.0; 4]), Activation::Identity, Mode::Train { seed: 0 });
        assert_eq!((of(&norm.running_mean), of(&copy.running_mean)), (2.0, 0.0));
    }
}
