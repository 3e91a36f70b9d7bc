//! A network's tensors by name: reading, replacing, stable parameter ids.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::{Network, names::smp_name, noise::fnv1a};
use crate::kernels::Kernels;

/// Fields on the way to a tensor, without the enum that chooses the architecture.
#[derive(Default)]
struct Path(Vec<(String, bool)>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        let hidden = container.starts_with("Enum:") || container == "Struct:Network";
        self.0.push((name.to_owned(), hidden));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        let visible: Vec<String> =
            self.0.iter().filter(|part| !part.1).map(|part| part.0.clone()).collect();
        smp_name(&visible)
    }
}

struct Visit<'a, F> {
    path: Path,
    each: &'a mut F,
}

impl<B: Backend, F: FnMut(&str, bool, TensorData)> ModuleVisitor<B> for Visit<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let name = self.path.name();
        (self.each)(&name, is_trainable(&name), param.val().into_data());
    }
}

/// Whether a tensor of this name is learned by gradients (running statistics are not).
pub fn is_trainable(name: &str) -> bool {
    !name.ends_with(".running_mean") && !name.ends_with(".running_var")
}

/// Every tensor with its stable name, in the order of the network.
pub fn named_tensors<B: Kernels>(network: &Network<B>) -> Vec<(String, TensorData)> {
    let mut tensors = Vec::new();
    let mut each = |name: &str, _: bool, data: TensorData| tensors.push((name.to_owned(), data));
    network.visit(&mut Visit { path: Path::default(), each: &mut each });
    tensors
}

struct Ids(Path, Vec<(String, ParamId)>);

impl<B: Backend> ModuleVisitor<B> for Ids {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.1.push((self.0.name(), param.id));
    }
}

/// Every tensor's name and parameter id, in the order of the network: for optimizer records and gradients by name.
pub fn named_ids<B: Backend>(network: &Network<B>) -> Vec<(String, ParamId)> {
    let mut ids = Ids(Path::default(), Vec::new());
    network.visit(&mut ids);
    ids.1
}

struct Shapes(Path, Vec<(String, Vec<usize>)>);

impl<B: Backend> ModuleVisitor<B> for Shapes {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.1.push((self.0.name(), param.dims().to_vec()));
    }
}

/// Every tensor's name and shape, without its values.
pub fn named_shapes<B: Backend>(module: &impl Module<B>) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Shapes(Path::default(), Vec::new());
    module.visit(&mut shapes);
    shapes.1
}

/// Number of values learned by gradients.
pub fn trainable_values<B: Backend>(module: &impl Module<B>) -> usize {
    let shapes = named_shapes(module).into_iter();
    shapes
        .filter(|(name, _)| is_trainable(name))
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}

/// Why a tensor could not be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The network has a tensor that was not given.
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The given tensor has another shape.
    Shape {
        /// Its name.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The given shape.
        found: Vec<usize>,
    },
}

struct Replace<'a, F> {
    path: Path,
    value: &'a mut F,
}

impl<B: Backend, F> ModuleMapper<B> for Replace<'_, F>
where
    F: FnMut(&str, &[usize]) -> Option<TensorData>,
{
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.path.name();
        let (_, old, mapper) = param.consume();
        let id = ParamId::from(fnv1a(name.as_bytes()));
        let tensor = match (self.value)(&name, &old.dims()) {
            Some(data) => {
                let (device, tracked) = (old.device(), old.is_require_grad());
                Tensor::from_data(data.convert::<f32>(), &device).set_require_grad(tracked)
            }
            None => old,
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Replaces the tensors for which `value(name, shape)` gives data of that shape, and sets every parameter id to
/// the hash of its name.
pub fn map_tensors<B: Kernels>(
    network: Network<B>,
    mut value: impl FnMut(&str, &[usize]) -> Option<TensorData>,
) -> Network<B> {
    network.map(&mut Replace { path: Path::default(), value: &mut value })
}

/// Replaces all tensors by those of the same names. Names that the network does not have are left over silently.
///
/// # Errors
/// The first tensor that is missing or has another shape.
pub fn set_named_tensors<B: Kernels>(
    network: Network<B>,
    tensors: impl IntoIterator<Item = (String, TensorData)>,
) -> Result<Network<B>, Mismatch> {
    let mut given: BTreeMap<String, TensorData> = tensors.into_iter().collect();
    let mut wrong = None;
    let network = map_tensors(network, |name, shape| {
        let Some(data) = given.remove(name) else {
            wrong.get_or_insert(Mismatch::Missing { name: name.to_owned(), shape: shape.to_vec() });
            return None;
        };
        let found = data.shape.to_vec();
        if found == shape {
            return Some(data);
        }
        wrong.get_or_insert(Mismatch::Shape {
            name: name.to_owned(),
            expected: shape.to_vec(),
            found,
        });
        None
    });
    wrong.map_or(Ok(network), Err)
}
