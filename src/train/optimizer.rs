//! AdamW, gradient norms and the moving average of weights.

use std::collections::{HashMap, HashSet};

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use crate::config::train::OptimizerSection;

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) as PyTorch does it: weights without a gradient are
/// left alone, decay included.
#[derive(Debug)]
pub struct AdamW<B: Backend> {
    section: OptimizerSection,
    /// Parameters that follow `encoder_lr_factor`.
    encoder: HashSet<ParamId>,
    /// Steps done.
    steps: usize,
    moments: HashMap<ParamId, Moments<B>>,
}

/// Running means of one parameter's gradient and of its square, flat.
#[derive(Clone, Debug)]
struct Moments<B: Backend> {
    first: Tensor<B, 1>,
    second: Tensor<B, 1>,
}

/// Suffixes of the two moments' names on disk.
const FIRST: &str = ".exp_avg";
const SECOND: &str = ".exp_avg_sq";

impl<B: Backend> AdamW<B> {
    /// Before the first step.
    pub fn new(section: &OptimizerSection) -> Self {
        Self {
            section: section.clone(),
            encoder: HashSet::new(),
            steps: 0,
            moments: HashMap::new(),
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
        let [beta1, beta2] = self.section.betas;
        let first_step = gradient.clone() * (1.0 - beta1);
        let second_step = gradient.square() * (1.0 - beta2);
        let moments = match self.moments.remove(&id) {
            Some(old) => Moments {
                first: old.first * beta1 + first_step,
                second: old.second * beta2 + second_step,
            },
            None => Moments { first: first_step, second: second_step },
        };
        let steps = self.steps as f64;
        let (bias1, bias2) = (1.0 - beta1.powf(steps), 1.0 - beta2.powf(steps));
        let root = moments.second.clone().sqrt() / bias2.sqrt() + self.section.epsilon;
        let step = moments.first.clone() / root * (rate / bias1);
        self.moments.insert(id, moments);
        weights * (1.0 - rate * self.section.weight_decay) - step
    }

    /// The moments under the names of their parameters (`names`), for [`AdamW::load`].
    pub fn tensors(&self, names: &[(String, ParamId)]) -> Vec<(String, TensorData)> {
        let mut tensors = Vec::new();
        for (name, id) in names {
            if let Some(moments) = self.moments.get(id) {
                tensors.push((format!("{name}{FIRST}"), moments.first.to_data()));
                tensors.push((format!("{name}{SECOND}"), moments.second.to_data()));
            }
        }
        tensors
    }

    /// The state after `steps` steps that [`AdamW::tensors`] described. Parameters without moments in
    /// `tensors` never had a gradient.
    pub fn load(
        section: &OptimizerSection,
        steps: usize,
        names: &[(String, ParamId)],
        tensors: &HashMap<String, TensorData>,
        device: &B::Device,
    ) -> Self {
        let mut moments = HashMap::new();
        for (name, id) in names {
            let get = |suffix| tensors.get(&format!("{name}{suffix}"));
            if let (Some(first), Some(second)) = (get(FIRST), get(SECOND)) {
                let tensor = |data: &TensorData| Tensor::from_data(data.clone(), device);
                moments.insert(*id, Moments { first: tensor(first), second: tensor(second) });
            }
        }
        Self { section: section.clone(), encoder: HashSet::new(), steps, moments }
    }
}

struct Update<'a, B: Backend> {
    optimizer: &'a mut AdamW<B>,
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
    use burn::backend::{Autodiff, Flex};
    use burn::optim::{AdamWConfig, Optimizer};

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
        let mut optimizer = AdamW::new(&section);
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
        let section = OptimizerSection::default();
        let mut module = two();
        let names = [("used".to_owned(), module.used.id), ("unused".to_owned(), module.unused.id)];
        let mut optimizer = AdamW::new(&section);
        let gradient = gradients(&module, 1.0);
        module = optimizer.step(module, gradient, 0.01, 1.0);
        let tensors: HashMap<_, _> = optimizer.tensors(&names).into_iter().collect();
        assert_eq!(tensors.len(), 2);
        let mut reloaded = AdamW::<Flex>::load(&section, 1, &names, &tensors, &Default::default());
        let unbroken = optimizer.step(module.clone(), gradients(&module, 2.0), 0.01, 1.0);
        let resumed = reloaded.step(module.clone(), gradients(&module, 2.0), 0.01, 1.0);
        assert_eq!(values(&unbroken), values(&resumed));
    }

    #[test]
    fn the_encoder_learns_at_its_own_rate() {
        let section = OptimizerSection { encoder_lr_factor: 0.1, ..OptimizerSection::default() };
        let module = two();
        let step = |rate, encoder: Option<ParamId>| {
            let mut optimizer = AdamW::<Flex>::new(&section).with_encoder(encoder);
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
