//! The optimizer, gradient norms and the moving average of weights.

mod rule;

use std::collections::{HashMap, HashSet};

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use self::rule::{Memory, Turn};
use crate::config::train::OptimizerSection;

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), or the rule that [`OptimizerSection::name`] says, as PyTorch does
/// it: weights without a gradient are left alone, decay included.
#[derive(Debug)]
pub struct Optimizer<B: Backend> {
    section: OptimizerSection,
    /// Parameters that follow `encoder_lr_factor`.
    encoder: HashSet<ParamId>,
    /// Steps done.
    steps: usize,
    memories: HashMap<ParamId, Memory<B>>,
}

impl<B: Backend> Optimizer<B> {
    /// Before the first step.
    pub fn new(section: &OptimizerSection) -> Self {
        Self {
            section: section.clone(),
            encoder: HashSet::new(),
            steps: 0,
            memories: HashMap::new(),
        }
    }

    /// The parameters of the encoder, which has a learning rate of its own.
    #[must_use]
    pub fn with_encoder(mut self, parameters: impl IntoIterator<Item = ParamId>) -> Self {
        self.encoder = parameters.into_iter().collect();
        self
    }

    /// One step at learning rate `rate`, with all gradients multiplied by `gradient_scale`.
    #[must_use]
    pub fn step<A, M>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        rate: f64,
        gradient_scale: f64,
    ) -> M
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: AutodiffModule<A>,
    {
        self.steps += 1;
        module.map(&mut Update { optimizer: self, gradients, rate, gradient_scale })
    }

    /// New weights from old ones, all flat.
    fn update(
        &mut self,
        id: ParamId,
        weights: Tensor<B, 1>,
        gradient: Tensor<B, 1>,
        rate: f64,
    ) -> Tensor<B, 1> {
        let factor = if self.encoder.contains(&id) { self.section.encoder_lr_factor } else { 1.0 };
        let rate = rate * factor;
        let memory = self.memories.remove(&id).unwrap_or(Memory { first: None, second: None });
        let turn = Turn { weights, gradient, memory, rate, steps: self.steps };
        let (weights, memory) = turn.take(&self.section);
        self.memories.insert(id, memory);
        weights
    }

    /// What is remembered of the gradients, under the names of their parameters (`names`), for [`Optimizer::load`].
    pub fn tensors(&self, names: &[(String, ParamId)]) -> Vec<(String, TensorData)> {
        let [first, second] = Memory::<B>::suffixes(self.section.name);
        let mut tensors = Vec::new();
        for (name, id) in names {
            if let Some(memory) = self.memories.get(id) {
                for (suffix, tensor) in [(first, &memory.first), (second, &memory.second)] {
                    tensors.extend(tensor.iter().map(|t| (format!("{name}{suffix}"), t.to_data())));
                }
            }
        }
        tensors
    }

    /// The state after `steps` steps that [`Optimizer::tensors`] described. Parameters without any in
    /// `tensors` never had a gradient.
    pub fn load(
        section: &OptimizerSection,
        steps: usize,
        names: &[(String, ParamId)],
        tensors: &HashMap<String, TensorData>,
        device: &B::Device,
    ) -> Self {
        let memories = names.iter().map(|(name, id)| {
            let [first, second] = Memory::<B>::suffixes(section.name).map(|suffix| {
                let data = tensors.get(&format!("{name}{suffix}"));
                data.map(|data| Tensor::from_data(data.clone(), device))
            });
            (*id, Memory { first, second })
        });
        let memories = memories.collect();
        Self { section: section.clone(), encoder: HashSet::new(), steps, memories }
    }
}

struct Update<'a, B: Backend> {
    optimizer: &'a mut Optimizer<B>,
    gradients: GradientsParams,
    rate: f64,
    gradient_scale: f64,
}

impl<A: AutodiffBackend> ModuleMapper<A> for Update<'_, A::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<A::InnerBackend, D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let shape = tensor.shape();
        let flat = [shape.num_elements()];
        let mut gradient = gradient.reshape(flat);
        if self.gradient_scale != 1.0 {
            gradient = gradient * self.gradient_scale;
        }
        let updated = self.optimizer.update(id, tensor.inner().reshape(flat), gradient, self.rate);
        let updated = Tensor::from_inner(updated.reshape(shape)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}

/// The Euclidean norm of all gradients together, `[1]`, still on the device.
pub fn gradient_norm<A: AutodiffBackend, M: Module<A>>(
    module: &M,
    gradients: &GradientsParams,
    device: &A::Device,
) -> Tensor<A::InnerBackend, 1> {
    let mut visitor = Norms::<A> { gradients, squares: Vec::new() };
    module.visit(&mut visitor);
    if visitor.squares.is_empty() {
        return Tensor::zeros([1], device);
    }
    Tensor::cat(visitor.squares, 0).sum().sqrt()
}

struct Norms<'a, A: AutodiffBackend> {
    gradients: &'a GradientsParams,
    squares: Vec<Tensor<A::InnerBackend, 1>>,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Norms<'_, A> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        if let Some(gradient) = self.gradients.get::<A::InnerBackend, D>(param.id) {
            self.squares.push(gradient.square().sum());
        }
    }
}

/// The factor that brings gradients of norm `norm` down to `limit`; 1 without a limit.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 && norm > limit { limit / norm } else { 1.0 }
}

/// Moves `average` towards `live`: `average = decay * average + (1 - decay) * live`. Early on the decay is
/// smaller, so that the first, random weights are soon forgotten: `(1 + steps) / (10 + steps)`.
pub fn move_average<B, M>(average: M, live: &M, decay: f64, steps: usize) -> M
where
    B: Backend,
    M: Module<B>,
{
    let decay = decay.min((1.0 + steps as f64) / (10.0 + steps as f64));
    let mut values = Collect { values: HashMap::new() };
    live.visit(&mut values);
    average.map(&mut Blend { values: values.values, decay })
}

struct Collect<B: Backend> {
    values: HashMap<ParamId, Tensor<B, 1>>,
}

impl<B: Backend> ModuleVisitor<B> for Collect<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let value = param.val();
        let flat = [value.shape().num_elements()];
        self.values.insert(param.id, value.reshape(flat));
    }
}

struct Blend<B: Backend> {
    values: HashMap<ParamId, Tensor<B, 1>>,
    decay: f64,
}

impl<B: Backend> ModuleMapper<B> for Blend<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let blended = match self.values.remove(&id) {
            Some(live) => {
                let live = live.reshape(tensor.shape());
                tensor * self.decay + live * (1.0 - self.decay)
            }
            None => tensor,
        };
        Param::from_mapped_value(id, blended, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::OptimizerName;
    use burn::backend::{Autodiff, Flex};
    use burn::optim::{AdamWConfig, Optimizer as _};

    type Diff = Autodiff<Flex>;

    #[derive(Module, Debug)]
    struct Two<B: Backend> {
        used: Param<Tensor<B, 2>>,
        unused: Param<Tensor<B, 1>>,
    }

    fn two() -> Two<Diff> {
        let device = Default::default();
        Two {
            used: Param::from_data([[0.5, -1.0, 2.0], [3.0, 0.0, -0.25]], &device),
            unused: Param::from_data([1.0, -1.0], &device),
        }
    }

    fn gradients(module: &Two<Diff>, scale: f32) -> GradientsParams {
        let x = module.used.val();
        let loss = (x.clone() * x * scale).sum() + module.used.val().exp().sum();
        GradientsParams::from_grads(loss.backward(), module)
    }

    fn values(module: &Two<Diff>) -> Vec<f32> {
        module.used.val().into_data().to_vec().unwrap()
    }

    #[test]
    fn steps_equal_those_of_burn_and_leave_weights_without_a_gradient_alone() {
        let section = OptimizerSection { weight_decay: 0.1, ..OptimizerSection::default() };
        let (mut ours, mut theirs) = (two(), two());
        let mut optimizer = Optimizer::new(&section);
        let mut reference = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).init();
        for step in 0..5 {
            let scale = 0.3 + step as f32;
            let gradient = gradients(&ours, scale);
            ours = optimizer.step(ours, gradient, 0.01, 1.0);
            let gradient = gradients(&theirs, scale);
            theirs = reference.step(0.01, theirs, gradient);
        }
        for (a, b) in values(&ours).iter().zip(values(&theirs)) {
            assert!((a - b).abs() < 2e-6, "{a} {b}");
        }
        assert_eq!(ours.unused.val().into_data().to_vec::<f32>().unwrap(), [1.0, -1.0]);
    }

    #[test]
    fn a_reloaded_optimizer_goes_on_exactly() {
        for (name, momentum, stored) in [
            (OptimizerName::Adamw, 0.9, 2),
            (OptimizerName::Adam, 0.9, 2),
            (OptimizerName::Rmsprop, 0.9, 2),
            (OptimizerName::Rmsprop, 0.0, 1),
            (OptimizerName::Sgd, 0.9, 1),
            (OptimizerName::Sgd, 0.0, 0),
        ] {
            let section = OptimizerSection { name, momentum, ..OptimizerSection::default() };
            let mut module = two();
            let names =
                [("used".to_owned(), module.used.id), ("unused".to_owned(), module.unused.id)];
            let mut optimizer = Optimizer::new(&section);
            let gradient = gradients(&module, 1.0);
            module = optimizer.step(module, gradient, 0.01, 1.0);
            let tensors: HashMap<_, _> = optimizer.tensors(&names).into_iter().collect();
            assert_eq!(tensors.len(), stored, "{name:?}");
            let device = Default::default();
            let mut reloaded = Optimizer::<Flex>::load(&section, 1, &names, &tensors, &device);
            let unbroken = optimizer.step(module.clone(), gradients(&module, 2.0), 0.01, 1.0);
            let resumed = reloaded.step(module.clone(), gradients(&module, 2.0), 0.01, 1.0);
            assert_eq!(values(&unbroken), values(&resumed), "{name:?}");
        }
    }

    /// Five steps under `section`, for comparison with those of another optimizer.
    fn five_steps(section: &OptimizerSection) -> Vec<f32> {
        let mut optimizer = Optimizer::new(section);
        let steps = 0..5;
        values(&steps.fold(two(), |module, step| {
            let gradient = gradients(&module, 0.3 + step as f32);
            optimizer.step(module, gradient, 0.01, 1.0)
        }))
    }

    /// Nesterov's lookahead and the decay that is added to the gradient, written out for one weight at a time.
    #[test]
    fn nesterov_steps_along_the_gradient_and_the_next_momentum() {
        let section = OptimizerSection {
            name: OptimizerName::Sgd,
            nesterov: true,
            weight_decay: 0.1,
            ..OptimizerSection::default()
        };
        for (got, start) in five_steps(&section).into_iter().zip(values(&two())) {
            let (mut weight, mut momentum) = (f64::from(start), 0.0);
            for step in 0..5 {
                let slope = 2.0 * weight * (0.3 + f64::from(step)) + weight.exp();
                let gradient = slope + 0.1 * weight;
                momentum = 0.9 * momentum + gradient;
                weight -= 0.01 * (gradient + 0.9 * momentum);
            }
            assert!((f64::from(got) - weight).abs() < 1e-5, "{got} {weight}");
        }
    }

    #[test]
    fn adam_adds_the_decay_to_the_gradient_and_adamw_does_not() {
        let section = |name, weight_decay| OptimizerSection {
            name,
            weight_decay,
            ..OptimizerSection::default()
        };
        let [adam, adamw] = [OptimizerName::Adam, OptimizerName::Adamw];
        assert_eq!(five_steps(&section(adam, 0.0)), five_steps(&section(adamw, 0.0)));
        // A first step of Adam has the size of the rate, whatever the gradient: decay only turns its sign.
        let mut optimizer = Optimizer::new(&section(adam, 10.0));
        let module = two();
        let stepped = values(&optimizer.step(module.clone(), gradients(&module, 1.0), 0.01, 1.0));
        for (after, before) in stepped.into_iter().zip(values(&module)) {
            let slope = 2.0 * before + before.exp() + 10.0 * before;
            assert!((after - (before - 0.01 * slope.signum())).abs() < 1e-6, "{after} {before}");
        }
    }

    #[test]
    fn rmsprop_carries_momentum_after_the_division() {
        let section = OptimizerSection {
            name: OptimizerName::Rmsprop,
            weight_decay: 0.0,
            ..OptimizerSection::default()
        };
        for (got, start) in five_steps(&section).into_iter().zip(values(&two())) {
            let (mut weight, mut momentum, mut square) = (f64::from(start), 0.0, 0.0);
            for step in 0..5 {
                let gradient = 2.0 * weight * (0.3 + f64::from(step)) + weight.exp();
                square = 0.99 * square + 0.01 * gradient * gradient;
                momentum = 0.9 * momentum + gradient / (square.sqrt() + 1e-8);
                weight -= 0.01 * momentum;
            }
            assert!((f64::from(got) - weight).abs() < 1e-5, "{got} {weight}");
        }
    }

    #[test]
    fn the_encoder_learns_at_its_own_rate() {
        let section = OptimizerSection { encoder_lr_factor: 0.1, ..OptimizerSection::default() };
        let module = two();
        let step = |rate, encoder: Option<ParamId>| {
            let mut optimizer = Optimizer::<Flex>::new(&section).with_encoder(encoder);
            values(&optimizer.step(module.clone(), gradients(&module, 1.0), rate, 1.0))
        };
        assert_eq!(step(0.1, Some(module.used.id)), step(0.1 * 0.1, None));
        assert_ne!(step(0.1, Some(module.used.id)), step(0.1, None));
    }

    #[test]
    fn clipping_scales_all_gradients_to_the_limit_together() {
        let module = two();
        let gradient = gradients(&module, 1.0);
        let norm = gradient_norm::<Diff, _>(&module, &gradient, &Default::default()).into_scalar();
        let expected: f32 =
            values(&two()).iter().map(|x| (2.0 * x + x.exp()).powi(2)).sum::<f32>().sqrt();
        assert!((norm - expected).abs() < 1e-4, "{norm} {expected}");
        assert_eq!(clip_factor(10.0, 5.0), 0.5);
        assert_eq!(clip_factor(3.0, 5.0), 1.0);
        assert_eq!(clip_factor(3.0, 0.0), 1.0);
    }

    #[test]
    fn the_average_follows_the_weights_slowly() {
        let live = two().valid();
        let mut average = two().valid();
        average.unused = Param::initialized(average.unused.id, average.unused.val() * 0.0);
        let mut live_ids = live.clone();
        live_ids.unused = Param::initialized(average.unused.id, live.unused.val());
        live_ids.used = Param::initialized(average.used.id, live.used.val());
        let moved = move_average::<Flex, _>(average, &live_ids, 0.9, 1_000_000);
        let values = moved.unused.val().into_data().to_vec::<f32>().unwrap();
        assert!((values[0] - 0.1).abs() < 1e-6 && (values[1] + 0.1).abs() < 1e-6);
    }
}
