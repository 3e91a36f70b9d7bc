//! Gradients of the operators, once for every backend: what the forward pass keeps, and which gradient method gives what.

use burn::backend::{
    Autodiff,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, unary},
    },
};
use burn::tensor::{DType, TensorMetadata, backend::AutodiffBackend, ops::FloatTensor};

use super::{
    Activation, ExciteWeights, Kernels, Norm, NormState, Sliding, activate, in_format, plain,
    primitive, tensor,
};

fn dims<T: TensorMetadata>(x: &T) -> [usize; 4] {
    x.shape().dims()
}

#[derive(Debug)]
struct Conv {
    depthwise: bool,
}

/// Shape of the input, its kernel size, and the tensors that the parents' gradients need.
#[derive(Debug, Clone)]
struct ConvState<B: Kernels> {
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    shape: [usize; 4],
    kernel: usize,
    sliding: Sliding,
}

impl<B: Kernels> Backward<B, 3> for Conv {
    type State = ConvState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let ConvState { x, weight, shape, kernel, sliding } = ops.state;
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, plain::bias_grad::<B>(grad.clone()));
        }
        if let (Some(node), Some(x)) = (weight_node, x) {
            let by_weight = if self.depthwise {
                B::depthwise_grad_weight(grad.clone(), x, kernel, sliding)
            } else {
                B::conv_grad_weight(grad.clone(), x, kernel, sliding)
            };
            grads.register::<B>(node.id, by_weight);
        }
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let by_x = if self.depthwise {
                B::depthwise_grad_x(grad, weight, shape, sliding)
            } else {
                B::conv_grad_x(grad, weight, shape, sliding)
            };
            grads.register::<B>(node.id, by_x);
        }
    }
}

#[derive(Debug)]
struct Silu;

impl<B: Kernels> Backward<B, 1> for Silu {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::silu_grad(x, grad));
    }
}

#[derive(Debug)]
struct Mish;

impl<B: Kernels> Backward<B, 1> for Mish {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::mish_grad(x, grad));
    }
}

#[derive(Debug)]
struct Dense;

impl<B: Kernels> Backward<B, 2> for Dense {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let turned = |matrix| B::float_swap_dims(matrix, 0, 1);
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::dense(grad.clone(), turned(weight)));
        }
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::dense(turned(grad), turned(x)));
        }
    }
}

#[derive(Debug)]
struct Normalize(Norm);

impl<B: Kernels> Backward<B, 3> for Normalize {
    type State = NormState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (by_x, by_gamma, by_beta) = B::normalize_grad(ops.state, grad, self.0);
        for (parent, grad) in ops.parents.into_iter().zip([by_x, by_gamma, by_beta]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct Bilinear {
    factor: usize,
    align_corners: bool,
}

impl<B: Kernels> Backward<B, 1> for Bilinear {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::bilinear_grad(grad, self.factor, self.align_corners)
        });
    }
}

#[derive(Debug)]
struct Nearest(usize);

impl<B: Kernels> Backward<B, 1> for Nearest {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::nearest_grad(grad, self.0));
    }
}

#[derive(Debug)]
struct PlaneAffine;

impl<B: Kernels> Backward<B, 3> for PlaneAffine {
    type State = (Option<FloatTensor<B>>, FloatTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, scale_node, shift_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, scale, plane_px) = ops.state;
        if let Some(node) = shift_node {
            let sum = B::float_mul_scalar(B::plane_mean(grad.clone()), (plane_px as f64).into());
            grads.register::<B>(node.id, sum);
        }
        if let (Some(node), Some(x)) = (scale_node, x) {
            grads.register::<B>(node.id, B::plane_dot(grad.clone(), x));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::plane_affine(grad, scale, None));
        }
    }
}

#[derive(Debug)]
struct SqueezeExcite;

/// The input, its means, the gate and the weights.
type ExciteState<B> = (FloatTensor<B>, FloatTensor<B>, plain::Gate<B>, ExciteWeights<B>);

/// Gradients of `y = x * gate(mean(x))` by x, where it is `wanted`, and by the weights. The one by x has a part through the
/// product and one through the mean, written in one pass over the image.
pub fn squeeze_excite_grad<B: Kernels>(
    state: ExciteState<B>,
    grad: FloatTensor<B>,
    wanted: bool,
) -> (Option<FloatTensor<B>>, ExciteWeights<B>) {
    let (x, mean, state, weights) = state;
    let [_, _, h, w] = dims(&x);
    let gate = state.gate.clone();
    let by_gate = B::plane_dot(grad.clone(), x);
    let (by_mean, by_weights) = plain::gate_grad::<B>(by_gate, mean, state, weights);
    let by_x = wanted.then(|| {
        let shift = B::float_div_scalar(by_mean, ((h * w) as f64).into());
        B::plane_affine(grad, gate, Some(shift))
    });
    (by_x, by_weights)
}

impl<B: Kernels> Backward<B, 5> for SqueezeExcite {
    type State = ExciteState<B>;

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (by_x, by_weights) =
            squeeze_excite_grad::<B>(ops.state, grad, ops.parents[0].is_some());
        let [x_node, reduce, reduce_bias, expand, expand_bias] = ops.parents;
        if let (Some(node), Some(grad)) = (x_node, by_x) {
            grads.register::<B>(node.id, grad);
        }
        for (node, grad) in [
            (reduce, by_weights.reduce),
            (reduce_bias, by_weights.reduce_bias),
            (expand, by_weights.expand),
            (expand_bias, by_weights.expand_bias),
        ] {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

/// Both convolutions: `depthwise` tells them apart.
fn convolve<B: Kernels, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    sliding: Sliding,
    depthwise: bool,
) -> FloatTensor<Autodiff<B, C>> {
    let forward = |x, weight, bias| {
        if depthwise { B::depthwise(x, weight, sliding) } else { B::conv(x, weight, bias, sliding) }
    };
    let (shape, kernel) = (dims(&x), dims(&weight)[2]);
    let (x_tracked, weight_tracked) = (x.is_tracked(), weight.is_tracked());
    // Without a bias its place is taken by an untracked node: the weight's gradient is what it would get.
    let bias_node = match &bias {
        Some(bias) => bias.node.clone(),
        None => Autodiff::<B, C>::from_inner(weight.primitive.clone()).node,
    };
    let bias = bias.map(|bias| bias.primitive);
    match (Conv { depthwise })
        .prepare::<C>([x.node, weight.node, bias_node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let state = ConvState {
                x: weight_tracked.then(|| x.primitive.clone()),
                weight: x_tracked.then(|| weight.primitive.clone()),
                shape,
                kernel,
                sliding,
            };
            prep.finish(state, forward(x.primitive, weight.primitive, bias))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(x.primitive, weight.primitive, bias)),
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn computes_in(device: &Self::Device, format: DType) -> bool {
        B::computes_in(device, format)
    }

    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        convolve::<B, C>(x, weight, bias, sliding, false)
    }

    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        convolve::<B, C>(x, weight, None, sliding, true)
    }

    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Silu.prepare::<C>([x.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.primitive.clone(), B::silu(x.primitive)),
            OpsKind::UnTracked(prep) => prep.finish(B::silu(x.primitive)),
        }
    }

    fn mish(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Mish.prepare::<C>([x.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.primitive.clone(), B::mish(x.primitive)),
            OpsKind::UnTracked(prep) => prep.finish(B::mish(x.primitive)),
        }
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (out, mean, var) = B::normalize(
            x.primitive.clone(),
            gamma.primitive.clone(),
            beta.primitive.clone(),
            norm,
        );
        let nodes = [x.node, gamma.node, beta.node];
        let tracked = match Normalize(norm).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = NormState {
                    x: x.primitive,
                    gamma: gamma.primitive,
                    beta: beta.primitive,
                    mean: mean.clone(),
                    var: var.clone(),
                };
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (tracked, Self::from_inner(mean), Self::from_inner(var))
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        if !(x.is_tracked() || scale.is_tracked() || shift.is_tracked()) {
            return Self::from_inner(B::affine(
                x.primitive,
                scale.primitive,
                shift.primitive,
                activation,
            ));
        }
        let format = x.dtype();
        let in_format = |values| primitive(in_format(tensor::<Self, 1>(values), format));
        activate::<Self>(plain::affine::<Self>(x, in_format(scale), in_format(shift)), activation)
    }

    fn bilinear(x: FloatTensor<Self>, factor: usize, align_corners: bool) -> FloatTensor<Self> {
        Bilinear { factor, align_corners }
            .prepare::<C>([x.node])
            .compute_bound()
            .stateless(B::bilinear(x.primitive, factor, align_corners))
    }

    fn nearest(x: FloatTensor<Self>, factor: usize) -> FloatTensor<Self> {
        Nearest(factor)
            .prepare::<C>([x.node])
            .compute_bound()
            .stateless(B::nearest(x.primitive, factor))
    }

    fn plane_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let [_, _, h, w] = dims(&x);
        let scale_tracked = scale.is_tracked();
        let shift_node = match &shift {
            Some(shift) => shift.node.clone(),
            None => Self::from_inner(scale.primitive.clone()).node,
        };
        let shift = shift.map(|shift| shift.primitive);
        match PlaneAffine.prepare::<C>([x.node, scale.node, shift_node]).compute_bound().stateful()
        {
            OpsKind::Tracked(prep) => {
                let kept = scale_tracked.then(|| x.primitive.clone());
                prep.finish(
                    (kept, scale.primitive.clone(), h * w),
                    B::plane_affine(x.primitive, scale.primitive, shift),
                )
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::plane_affine(x.primitive, scale.primitive, shift))
            }
        }
    }

    fn dense(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let out = B::dense(x.primitive.clone(), weight.primitive.clone());
        match Dense.prepare::<C>([x.node, weight.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.primitive, weight.primitive), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn squeeze_excite(x: FloatTensor<Self>, weights: ExciteWeights<Self>) -> FloatTensor<Self> {
        let nodes = [
            x.node,
            weights.reduce.node,
            weights.reduce_bias.node,
            weights.expand.node,
            weights.expand_bias.node,
        ];
        let weights = ExciteWeights::<B> {
            reduce: weights.reduce.primitive,
            reduce_bias: weights.reduce_bias.primitive,
            expand: weights.expand.primitive,
            expand_bias: weights.expand_bias.primitive,
        };
        let mean = B::plane_mean(x.primitive.clone());
        let state = plain::gate::<B>(mean.clone(), &weights);
        let out = B::plane_affine(x.primitive.clone(), state.gate.clone(), None);
        match SqueezeExcite.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.primitive, mean, state, weights), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
