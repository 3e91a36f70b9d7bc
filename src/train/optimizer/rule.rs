//! How each optimizer makes new weights from old ones, as PyTorch does it.

use burn::tensor::{Tensor, backend::Backend};

use crate::config::train::{OptimizerName, OptimizerSection};

/// What is remembered of one parameter's gradients, flat; a rule that needs only one leaves the other out.
#[derive(Clone, Debug)]
pub(super) struct Memory<B: Backend> {
    /// Running mean of the gradient, or the momentum.
    pub first: Option<Tensor<B, 1>>,
    /// Running mean of its square.
    pub second: Option<Tensor<B, 1>>,
}

impl<B: Backend> Memory<B> {
    /// Suffixes of the names of `first` and `second` on disk: PyTorch's.
    pub fn suffixes(name: OptimizerName) -> [&'static str; 2] {
        match name {
            OptimizerName::Adamw | OptimizerName::Adam => [".exp_avg", ".exp_avg_sq"],
            OptimizerName::Rmsprop => [".momentum_buffer", ".square_avg"],
            OptimizerName::Sgd => [".momentum_buffer", ".none"],
        }
    }
}

/// One parameter at one step.
pub(super) struct Turn<B: Backend> {
    /// The weights, flat.
    pub weights: Tensor<B, 1>,
    /// Their gradient.
    pub gradient: Tensor<B, 1>,
    /// What is remembered of earlier ones.
    pub memory: Memory<B>,
    /// The learning rate.
    pub rate: f64,
    /// Steps done, this one included.
    pub steps: usize,
}

impl<B: Backend> Turn<B> {
    /// The new weights and what to remember.
    pub fn take(mut self, section: &OptimizerSection) -> (Tensor<B, 1>, Memory<B>) {
        let decay = section.weight_decay;
        if section.name == OptimizerName::Adamw {
            let decayed = self.weights.clone() * (1.0 - self.rate * decay);
            let (step, memory) = self.adam(section);
            return (decayed - step, memory);
        }
        if decay > 0.0 {
            self.gradient = self.gradient + self.weights.clone() * decay;
        }
        let weights = self.weights.clone();
        let (step, memory) = match section.name {
            OptimizerName::Adamw | OptimizerName::Adam => self.adam(section),
            OptimizerName::Rmsprop => self.rmsprop(section),
            OptimizerName::Sgd => self.sgd(section),
        };
        (weights - step, memory)
    }

    /// Kingma and Ba 2015, arXiv 1412.6980.
    fn adam(self, section: &OptimizerSection) -> (Tensor<B, 1>, Memory<B>) {
        let [beta1, beta2] = section.betas;
        let first = mean(self.memory.first, self.gradient.clone(), beta1);
        let second = mean(self.memory.second, self.gradient.square(), beta2);
        let steps = self.steps as f64;
        let (bias1, bias2) = (1.0 - beta1.powf(steps), 1.0 - beta2.powf(steps));
        let root = second.clone().sqrt() / bias2.sqrt() + section.epsilon;
        let step = first.clone() / root * (self.rate / bias1);
        (step, Memory { first: Some(first), second: Some(second) })
    }

    /// Tieleman and Hinton 2012, with the momentum after the division.
    fn rmsprop(self, section: &OptimizerSection) -> (Tensor<B, 1>, Memory<B>) {
        let second = mean(self.memory.second, self.gradient.clone().square(), section.alpha);
        let scaled = self.gradient / (second.clone().sqrt() + section.epsilon);
        let (step, first) = with_momentum(self.memory.first, scaled, section.momentum);
        (step * self.rate, Memory { first, second: Some(second) })
    }

    /// Stochastic gradient descent with momentum, plain or Nesterov's.
    fn sgd(self, section: &OptimizerSection) -> (Tensor<B, 1>, Memory<B>) {
        let gradient = self.gradient;
        let (mut step, first) =
            with_momentum(self.memory.first, gradient.clone(), section.momentum);
        if section.nesterov {
            step = gradient + step * section.momentum;
        }
        (step * self.rate, Memory { first, second: None })
    }
}

/// A running mean that starts at 0.
fn mean<B: Backend>(old: Option<Tensor<B, 1>>, new: Tensor<B, 1>, decay: f64) -> Tensor<B, 1> {
    let new = new * (1.0 - decay);
    match old {
        Some(old) => old * decay + new,
        None => new,
    }
}

/// `step` and what is left of the ones before it, twice: to use and to remember. Nothing to remember without `momentum`.
fn with_momentum<B: Backend>(
    old: Option<Tensor<B, 1>>,
    step: Tensor<B, 1>,
    momentum: f64,
) -> (Tensor<B, 1>, Option<Tensor<B, 1>>) {
    if momentum == 0.0 {
        return (step, None);
    }
    let step = match old {
        Some(old) => old * momentum + step,
        None => step,
    };
    (step.clone(), Some(step))
}
