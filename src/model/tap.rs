//! Looking at what a network computes on its way, layer by layer, under the names of the model file.
//!
//! Every convolution and normalisation of an image hands what it puts out to `tap`; what computes more than its layers one
//! by one (a residual sum, a level of a pyramid) hands it to `tap_block`. Networks know nothing of it: a new one is looked at
//! without a line of its own. Names come from the ids of the parameters ([`named_ids`]).
//!
//! A recording belongs to the thread that runs the network. Nobody records in training and inference: there a call costs a look
//! at a flag of its thread, and the tensor goes on as it came.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, backend::Backend};
use serde::Serialize;

use super::{Network, named_ids};
use crate::kernels::Kernels;

/// The name under which every network's result is recorded.
pub const LOGITS: &str = "logits";

/// A layer that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// A convolution, normalisation or block as the model file names it, or [`LOGITS`]. What comes out of a normalisation
    /// includes the activation behind it.
    pub name: String,
    /// Of what came out, `[n, channels, height, width]`.
    pub shape: [usize; 4],
}

/// What a recording holds.
#[derive(Debug)]
pub struct Recording<B: Backend> {
    /// All layers, in the order in which they ran.
    pub layers: Vec<Layer>,
    /// What came out of the wanted one, `[n, channels, height, width]`; `None` where no layer has its name.
    ///
    /// With gradients it is a leaf of the graph from which the network went on: its gradient is the layer's, and none reaches
    /// the layers before it.
    pub wanted: Option<Tensor<B, 4>>,
}

struct Recorder<B: Backend> {
    names: HashMap<ParamId, String>,
    wanted: Option<String>,
    recording: Recording<B>,
}

thread_local! {
    /// A `Recorder` of the backend that runs.
    static RECORDER: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Logits `[n, classes, h, w]` of normalised images `[n, bands, h, w]`, evaluated, and what the layers put out on the way.
pub fn record<B: Kernels>(
    network: &Network<B>,
    x: Tensor<B, 4>,
    wanted: Option<&str>,
) -> (Tensor<B, 4>, Recording<B>) {
    let recorder = Recorder::<B> {
        names: named_ids(network).into_iter().map(|(name, id)| (id, name)).collect(),
        wanted: wanted.map(str::to_owned),
        recording: Recording { layers: Vec::new(), wanted: None },
    };
    RECORDER.set(Some(Box::new(recorder)));
    let logits = network.forward(x);
    let recorder = RECORDER.take().and_then(|recorder| recorder.downcast::<Recorder<B>>().ok());
    let empty = Recording { layers: Vec::new(), wanted: None };
    (logits, recorder.map_or(empty, |recorder| recorder.recording))
}

/// Shows `x`, the output of a layer with parameters of its own, to whoever records. Go on with what it returns.
pub(super) fn tap<B: Kernels>(layer: &impl Module<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    show(x, |names| name_of(layer, names, 1))
}

/// The same for a module made of layers.
pub(super) fn tap_block<B: Kernels>(block: &impl Module<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    show(x, |names| name_of(block, names, 2))
}

/// The same for the result of a network.
pub(super) fn tap_logits<B: Kernels>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    show(x, |_| LOGITS.to_owned())
}

fn show<B: Kernels>(
    x: Tensor<B, 4>,
    name: impl FnOnce(&HashMap<ParamId, String>) -> String,
) -> Tensor<B, 4> {
    RECORDER.with_borrow_mut(|recorder| {
        let recorder = recorder.as_mut().and_then(|any| any.downcast_mut::<Recorder<B>>());
        let Some(Recorder { names, wanted, recording }) = recorder else { return x };
        let layer = Layer { name: name(names), shape: x.dims() };
        let is_wanted = wanted.as_ref() == Some(&layer.name);
        recording.layers.push(layer);
        if !is_wanted {
            return x;
        }
        let leaf = x.detach().require_grad();
        recording.wanted = Some(leaf.clone());
        leaf
    })
}

/// What the names of a module's tensors have in common, without their last `levels` parts: 1 for a layer (`p5.weight`), 2 for a
/// block of layers (`p4.skip_conv.weight`).
fn name_of<B: Backend>(
    module: &impl Module<B>,
    names: &HashMap<ParamId, String>,
    levels: usize,
) -> String {
    let mut ids = Ids::default();
    module.visit(&mut ids);
    let parts = |id: &ParamId| -> Option<Vec<&str>> {
        let mut parts: Vec<&str> = names.get(id)?.split('.').collect();
        parts.truncate(parts.len().saturating_sub(levels));
        Some(parts)
    };
    let shared = ids.0.iter().filter_map(parts).reduce(|shared, other| {
        shared.into_iter().zip(other).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    });
    shared.unwrap_or_default().join(".")
}

#[derive(Default)]
struct Ids(Vec<ParamId>);

impl<B: Backend> ModuleVisitor<B> for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push(param.id);
    }
}
