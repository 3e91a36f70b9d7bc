//! Every operator of [`Kernels`] and its gradients in burn's own tensor operations: the reference for the others, and the
//! form that runs where a backend has nothing better.
//!
//! Two of burn's own gradients are avoided: bilinear interpolation has none on `CubeCL` backends, and the gradient of a
//! grouped convolution by its weight launches one convolution a group.

use burn::tensor::{
    Tensor, TensorData, TensorMetadata, activation,
    backend::Backend,
    ops::{ConvOptions, FloatTensor},
    s,
};

use super::{
    Activation, ExciteWeights, Kernels, Norm, NormOver, NormState, Padding, Sliding, primitive,
    tensor,
};

/// Zeros around an image. burn's own padding makes them in single precision whatever the image holds.
fn pad<B: Backend>(x: Tensor<B, 4>, p: Padding) -> Tensor<B, 4> {
    if p == Padding::default() {
        return x;
    }
    let [n, c, h, w] = x.dims();
    let shape = [n, c, h + p.top + p.bottom, w + p.left + p.right];
    let zeros = Tensor::<B, 4>::zeros(shape, (&x.device(), x.dtype()));
    zeros.slice_assign(s![.., .., p.top..p.top + h, p.left..p.left + w], x)
}

/// burn's options for a convolution, and whether it can pad by itself (it pads both sides alike).
fn options(sliding: Sliding, groups: usize) -> (ConvOptions<2>, bool) {
    let p = sliding.padding;
    let even = p.top == p.bottom && p.left == p.right;
    let padding = if even { [p.top, p.left] } else { [0, 0] };
    let options = ConvOptions::new([sliding.stride; 2], padding, [sliding.dilation; 2], groups);
    (options, even)
}

/// Convolution by `[out, in / groups, k, k]`.
pub fn conv<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    sliding: Sliding,
    groups: usize,
) -> FloatTensor<B> {
    let (options, even) = options(sliding, groups);
    let x = if even { x } else { primitive(pad::<B>(tensor(x), sliding.padding)) };
    B::conv2d(x, weight, bias, options)
}

/// Gradient of [`conv`] by its input of shape `shape`.
pub fn conv_grad_x<B: Backend>(
    grad: FloatTensor<B>,
    weight: FloatTensor<B>,
    shape: [usize; 4],
    sliding: Sliding,
    groups: usize,
) -> FloatTensor<B> {
    let (options, even) = options(sliding, groups);
    let device = B::float_device(&grad);
    let p = sliding.padding;
    let [n, c, h, w] = shape;
    let padded = if even { shape } else { [n, c, h + p.top + p.bottom, w + p.left + p.right] };
    // burn reads only the shape of this one.
    let x = primitive(Tensor::<B, 4>::empty(padded, &device));
    let grad_x = B::conv2d_x_backward(x, weight, grad, options);
    if even {
        return grad_x;
    }
    primitive(tensor::<B, 4>(grad_x).slice(s![.., .., p.top..p.top + h, p.left..p.left + w]))
}

/// Gradient of [`conv`] by its weight, groups = 1.
pub fn conv_grad_weight<B: Backend>(
    grad: FloatTensor<B>,
    x: FloatTensor<B>,
    kernel: usize,
    sliding: Sliding,
) -> FloatTensor<B> {
    let (options, even) = options(sliding, 1);
    let device = B::float_device(&grad);
    let (grad, x) = (tensor::<B, 4>(grad), tensor::<B, 4>(x));
    let (out, channels) = (grad.dims()[1], x.dims()[1]);
    let x = if even { x } else { pad(x, sliding.padding) };
    // burn reads only the shape of this one.
    let weight = Tensor::<B, 4>::empty([out, channels, kernel, kernel], &device);
    B::conv2d_weight_backward(primitive(x), primitive(weight), primitive(grad), options)
}

/// Gradient of a bias, one a channel: the sum over samples and pixels.
pub fn bias_grad<B: Kernels>(grad: FloatTensor<B>) -> FloatTensor<B> {
    let [_, c, h, w] = grad.shape().dims();
    let mean = tensor::<B, 2>(B::plane_mean(grad));
    primitive(mean.sum_dim(0).reshape([c]) * (h * w) as f64)
}

/// Convolution of every channel by its own kernel.
pub fn depthwise<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    sliding: Sliding,
) -> FloatTensor<B> {
    let x = tensor::<B, 4>(x);
    let channels = x.dims()[1];
    conv::<B>(primitive(x), weight, None, sliding, channels)
}

/// Gradient of [`depthwise`] by its input of shape `shape`.
pub fn depthwise_grad_x<B: Backend>(
    grad: FloatTensor<B>,
    weight: FloatTensor<B>,
    shape: [usize; 4],
    sliding: Sliding,
) -> FloatTensor<B> {
    conv_grad_x::<B>(grad, weight, shape, sliding, shape[1])
}

/// Gradient of [`depthwise`] by its weight: tap by tap, the sum of the gradient times the pixels that the tap reads.
pub fn depthwise_grad_weight<B: Backend>(
    grad: FloatTensor<B>,
    x: FloatTensor<B>,
    kernel: usize,
    sliding: Sliding,
) -> FloatTensor<B> {
    let grad = tensor::<B, 4>(grad);
    let [_, channels, out_h, out_w] = grad.dims();
    let x = pad::<B>(tensor(x), sliding.padding);
    let step = sliding.stride;
    let mut taps = Vec::with_capacity(kernel * kernel);
    for ky in 0..kernel {
        for kx in 0..kernel {
            let rows = ky..ky + (out_h - 1) * step + 1;
            let cols = kx..kx + (out_w - 1) * step + 1;
            let seen = x.clone().slice(s![.., .., rows; step as isize, cols; step as isize]);
            let tap = (seen * grad.clone()).sum_dim(3).sum_dim(2).sum_dim(0);
            taps.push(tap.reshape([channels, 1]));
        }
    }
    primitive(Tensor::cat(taps, 1).reshape([channels, 1, kernel, kernel]))
}

/// `x * sigmoid(x)`.
pub fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), B::sigmoid(x))
}

/// Gradient of [`silu`].
pub fn silu_grad<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    // The rank is not known here, and elementwise operations do not need it.
    let gate = B::sigmoid(x.clone());
    let slope = B::float_add_scalar(B::float_neg(gate.clone()), 1.0f32.into());
    let slope = B::float_add_scalar(B::float_mul(x, slope), 1.0f32.into());
    B::float_mul(grad, B::float_mul(gate, slope))
}

/// `tanh(softplus(x))`: of the softplus `ln(1 + e^x)` in the form that overflows nowhere.
fn mish_gate<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let small = B::float_log1p(B::float_exp(B::float_neg(B::float_abs(x.clone()))));
    B::float_tanh(B::float_add(B::relu(x), small))
}

/// `x * tanh(softplus(x))`.
pub fn mish<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), mish_gate::<B>(x))
}

/// Gradient of [`mish`]: `gate + x * (1 - gate^2) * sigmoid(x)`.
pub fn mish_grad<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let gate = mish_gate::<B>(x.clone());
    let square = B::float_mul(gate.clone(), gate.clone());
    let rest = B::float_add_scalar(B::float_neg(square), 1.0f32.into());
    let rest = B::float_mul(B::float_mul(x.clone(), B::sigmoid(x)), rest);
    B::float_mul(grad, B::float_add(gate, rest))
}

/// An activation.
pub fn activate<B: Backend>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => B::relu(x),
        Activation::Silu => silu::<B>(x),
        Activation::Mish => mish::<B>(x),
    }
}

/// The view of an image in which dimension 1 runs over the sets of a normalisation.
fn by_set<B: Backend>(x: Tensor<B, 4>, over: NormOver) -> Tensor<B, 3> {
    let [n, c, h, w] = x.dims();
    match over {
        NormOver::Batch => x.reshape([n, c, h * w]),
        NormOver::Groups(groups) => x.reshape([n, groups, c / groups * h * w]),
    }
}

/// Mean of every set, `[1 or n, sets, 1]`.
fn set_mean<B: Backend>(x: Tensor<B, 3>, over: NormOver) -> Tensor<B, 3> {
    let mean = x.mean_dim(2);
    match over {
        NormOver::Batch => mean.mean_dim(0),
        NormOver::Groups(_) => mean,
    }
}

fn per_channel<B: Backend>(values: FloatTensor<B>) -> Tensor<B, 4> {
    let values = tensor::<B, 1>(values);
    let c = values.dims()[0];
    values.reshape([1, c, 1, 1])
}

/// Normalisation by the statistics of `x`; output, means, biased variances.
pub fn normalize<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    norm: Norm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let x = tensor::<B, 4>(x);
    let [n, c, h, w] = x.dims();
    let sets = norm.over.sets(n, c);
    let x = by_set(x, norm.over);
    let mean = set_mean(x.clone(), norm.over);
    let centred = x - mean.clone();
    let var = set_mean(centred.clone().square(), norm.over);
    let unit = (centred / (var.clone() + norm.eps).sqrt()).reshape([n, c, h, w]);
    let z = unit * per_channel::<B>(gamma) + per_channel::<B>(beta);
    let out = activate::<B>(primitive(z), norm.activation);
    (out, primitive(mean.reshape([sets])), primitive(var.reshape([sets])))
}

/// Gradients of [`normalize`] by `x`, `gamma`, `beta`.
pub fn normalize_grad<B: Backend>(
    state: NormState<B>,
    grad: FloatTensor<B>,
    norm: Norm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let x = tensor::<B, 4>(state.x);
    let [n, c, h, w] = x.dims();
    let sets = match norm.over {
        NormOver::Batch => [1, c, 1],
        NormOver::Groups(groups) => [n, groups, 1],
    };
    let mean = tensor::<B, 1>(state.mean).reshape(sets);
    let std = (tensor::<B, 1>(state.var).reshape(sets) + norm.eps).sqrt();
    let unit = (by_set(x, norm.over) - mean) / std.clone();
    let unit_image = unit.clone().reshape([n, c, h, w]);
    let gamma = per_channel::<B>(state.gamma);
    let z = || unit_image.clone() * gamma.clone() + per_channel::<B>(state.beta.clone());
    let grad = match norm.activation {
        Activation::Identity => tensor::<B, 4>(grad),
        Activation::Relu => tensor::<B, 4>(grad).mask_fill(z().lower_equal_elem(0.0), 0.0),
        Activation::Silu => tensor::<B, 4>(silu_grad::<B>(primitive(z()), grad)),
        Activation::Mish => tensor::<B, 4>(mish_grad::<B>(primitive(z()), grad)),
    };
    let sum = |t: Tensor<B, 4>| primitive(t.sum_dim(3).sum_dim(2).sum_dim(0).reshape([c]));
    let grad_gamma = sum(grad.clone() * unit_image);
    let grad_beta = sum(grad.clone());
    let grad_unit = by_set(grad * gamma, norm.over);
    let along = set_mean(grad_unit.clone() * unit.clone(), norm.over);
    let grad_x = (grad_unit.clone() - set_mean(grad_unit, norm.over) - unit * along) / std;
    (primitive(grad_x.reshape([n, c, h, w])), grad_gamma, grad_beta)
}

/// `x * scale + shift`, one a channel.
pub fn affine<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
) -> FloatTensor<B> {
    primitive(tensor::<B, 4>(x) * per_channel::<B>(scale) + per_channel::<B>(shift))
}

/// The two source pixels of an upsampled pixel and the weight of the second, for every one of `factor * size` pixels.
pub fn bilinear_taps(size: usize, factor: usize, align_corners: bool) -> Vec<(usize, usize, f32)> {
    let out = size * factor;
    (0..out)
        .map(|i| {
            let at = if align_corners {
                if out > 1 { i as f64 * (size - 1) as f64 / (out - 1) as f64 } else { 0.0 }
            } else {
                ((i as f64 + 0.5) / factor as f64 - 0.5).max(0.0)
            };
            let first = (at as usize).min(size - 1);
            let second = (first + 1).min(size - 1);
            (first, second, (at - first as f64) as f32)
        })
        .collect()
}

/// Bilinear upsampling along one axis as a matrix `[factor * size, size]`.
fn bilinear_matrix<B: Backend>(
    size: usize,
    factor: usize,
    align_corners: bool,
    device: &B::Device,
) -> Tensor<B, 2> {
    let mut matrix = vec![0f32; factor * size * size];
    for (row, (first, second, weight)) in
        bilinear_taps(size, factor, align_corners).into_iter().enumerate()
    {
        matrix[row * size + first] += 1.0 - weight;
        matrix[row * size + second] += weight;
    }
    Tensor::from_data(TensorData::new(matrix, [factor * size, size]), device)
}

/// `[factor * size, size]`: row `i` takes pixel `i / factor`.
fn nearest_matrix<B: Backend>(size: usize, factor: usize, device: &B::Device) -> Tensor<B, 2> {
    let mut matrix = vec![0f32; factor * size * size];
    for row in 0..factor * size {
        matrix[row * size + row / factor] = 1.0;
    }
    Tensor::from_data(TensorData::new(matrix, [factor * size, size]), device)
}

/// `rows · x · colsᵀ` for every plane: `rows` `[h2, h]`, `cols` `[w2, w]`.
fn separable<B: Backend>(x: Tensor<B, 4>, rows: Tensor<B, 2>, cols: Tensor<B, 2>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    let (h2, w2) = (rows.dims()[0], cols.dims()[0]);
    let x = x.reshape([n * c * h, w]).matmul(cols.transpose()); // [n c h, w2]
    let x = x.reshape([n * c, h, w2]).swap_dims(1, 2).reshape([n * c * w2, h]);
    let x = x.matmul(rows.transpose()); // [n c w2, h2]
    x.reshape([n * c, w2, h2]).swap_dims(1, 2).reshape([n, c, h2, w2])
}

/// Bilinear upsampling as two small matrix products.
pub fn bilinear<B: Backend>(
    x: FloatTensor<B>,
    factor: usize,
    align_corners: bool,
) -> FloatTensor<B> {
    let x = tensor::<B, 4>(x);
    let (device, [_, _, h, w]) = (x.device(), x.dims());
    let rows = bilinear_matrix(h, factor, align_corners, &device);
    let cols = bilinear_matrix(w, factor, align_corners, &device);
    primitive(separable(x, rows, cols))
}

/// Gradient of [`bilinear`]: the same matrices, transposed.
pub fn bilinear_grad<B: Backend>(
    grad: FloatTensor<B>,
    factor: usize,
    align_corners: bool,
) -> FloatTensor<B> {
    let grad = tensor::<B, 4>(grad);
    let (device, [_, _, h, w]) = (grad.device(), grad.dims());
    let rows = bilinear_matrix(h / factor, factor, align_corners, &device).transpose();
    let cols = bilinear_matrix(w / factor, factor, align_corners, &device).transpose();
    primitive(separable(grad, rows, cols))
}

/// Every pixel becomes a block.
pub fn nearest<B: Backend>(x: FloatTensor<B>, factor: usize) -> FloatTensor<B> {
    let x = tensor::<B, 4>(x);
    let (device, [_, _, h, w]) = (x.device(), x.dims());
    let rows = nearest_matrix(h, factor, &device);
    let cols = nearest_matrix(w, factor, &device);
    primitive(separable(x, rows, cols))
}

/// Gradient of [`nearest`].
pub fn nearest_grad<B: Backend>(grad: FloatTensor<B>, factor: usize) -> FloatTensor<B> {
    let grad = tensor::<B, 4>(grad);
    let [n, c, h, w] = grad.dims();
    let blocks = grad.reshape([n * c, h / factor, factor, w / factor, factor]);
    primitive(blocks.sum_dim(4).sum_dim(2).reshape([n, c, h / factor, w / factor]))
}

/// Mean of every plane, `[n, c]`.
pub fn plane_mean<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let x = tensor::<B, 4>(x);
    let [n, c, h, w] = x.dims();
    primitive(x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]))
}

/// Sum of the products of every plane, `[n, c]`.
pub fn plane_dot<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    let product = tensor::<B, 4>(a) * tensor::<B, 4>(b);
    let [n, c, h, w] = product.dims();
    primitive(product.reshape([n, c, h * w]).sum_dim(2).reshape([n, c]))
}

/// `x * scale + shift`, one a plane.
pub fn plane_affine<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let x = tensor::<B, 4>(x);
    let [n, c, _, _] = x.dims();
    let x = x * tensor::<B, 2>(scale).reshape([n, c, 1, 1]);
    primitive(match shift {
        Some(shift) => x + tensor::<B, 2>(shift).reshape([n, c, 1, 1]),
        None => x,
    })
}

/// The small network of squeeze and excitation, with what its gradient needs. All `[n, r]` or `[n, c]`.
#[derive(Debug, Clone)]
pub struct Gate<B: Backend> {
    /// First layer before its activation, `[n, r]`.
    pub reduced: FloatTensor<B>,
    /// The gate, `[n, c]`.
    pub gate: FloatTensor<B>,
}

/// `x` `[n, k]` times the transpose of `weight` `[m, k]`.
fn dense<B: Kernels>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    tensor(B::dense(primitive(x), primitive(weight)))
}

/// `sigmoid(expand silu(reduce mean + b1) + b2)` of the means `[n, c]`.
pub fn gate<B: Kernels>(mean: FloatTensor<B>, weights: &ExciteWeights<B>) -> Gate<B> {
    let matrix = |w: &FloatTensor<B>| tensor::<B, 2>(w.clone());
    let bias = |b: &FloatTensor<B>| tensor::<B, 1>(b.clone()).unsqueeze::<2>();
    let reduced = dense(tensor(mean), matrix(&weights.reduce)) + bias(&weights.reduce_bias);
    let hidden = tensor::<B, 2>(B::silu(primitive(reduced.clone())));
    let out = dense(hidden, matrix(&weights.expand)) + bias(&weights.expand_bias);
    Gate { reduced: primitive(reduced), gate: primitive(activation::sigmoid(out)) }
}

/// Gradients of [`gate`]: by the means, then by the four weights, from the gradient by the gate `[n, c]`.
pub fn gate_grad<B: Kernels>(
    grad: FloatTensor<B>,
    mean: FloatTensor<B>,
    state: Gate<B>,
    weights: ExciteWeights<B>,
) -> (FloatTensor<B>, ExciteWeights<B>) {
    let gate = tensor::<B, 2>(state.gate);
    let grad = tensor::<B, 2>(grad) * gate.clone() * (gate.neg() + 1.0); // [n, c]
    let hidden = tensor::<B, 2>(B::silu(state.reduced.clone())); // [n, r]
    let (r, c) = (hidden.dims()[1], grad.dims()[1]);
    let (reduce, expand) = (tensor::<B, 2>(weights.reduce), tensor::<B, 2>(weights.expand));
    let grad_hidden = dense(grad.clone(), expand.transpose()); // [n, r]
    let grad_reduced = tensor::<B, 2>(B::silu_grad(state.reduced, primitive(grad_hidden)));
    // Sums over the samples.
    let outer =
        |a: &Tensor<B, 2>, b: Tensor<B, 2>| primitive(dense(a.clone().transpose(), b.transpose()));
    let by_weights = ExciteWeights {
        reduce: outer(&grad_reduced, tensor(mean)),
        reduce_bias: primitive(grad_reduced.clone().sum_dim(0).reshape([r])),
        expand: outer(&grad, hidden),
        expand_bias: primitive(grad.sum_dim(0).reshape([c])),
    };
    (primitive(dense(grad_reduced, reduce.transpose())), by_weights)
}
