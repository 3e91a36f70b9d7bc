//! The CPU's code against the plain forms, forward and every gradient.
#![allow(clippy::unwrap_used)]

use burn::{
    backend::{Autodiff, Flex, flex::FlexTensor},
    tensor::{Tensor, TensorData, backend::BackendTypes},
};

use super::{
    Activation, Kernels, Norm, NormOver, NormState, Padding, Sliding, plain, primitive, tensor,
};

type Device = <Flex as BackendTypes>::Device;

fn noise<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<Flex, D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::default())
}

fn raw<const D: usize>(seed: u64, shape: [usize; D]) -> FlexTensor {
    primitive::<Flex, D>(noise(seed, shape))
}

#[track_caller]
fn close(what: &str, found: FlexTensor, expected: FlexTensor) {
    let (found, expected) = (found.into_data(), expected.into_data());
    assert_eq!(found.shape, expected.shape, "{what}");
    let (found, expected) = (found.to_vec::<f32>().unwrap(), expected.to_vec::<f32>().unwrap());
    let largest = expected.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (a - b).abs() <= 1e-5 * largest,
            "{what}: value {i} is {a}, expected {b} (largest {largest})"
        );
    }
}

fn slidings(kernel: usize) -> Vec<Sliding> {
    let half = kernel / 2;
    vec![
        Sliding::new(1, Padding::uniform(half)),
        Sliding::new(2, Padding::uniform(half)),
        Sliding::new(2, Padding::split(half.saturating_sub(1), half)),
        Sliding::new(1, Padding { top: half, bottom: 0, left: 0, right: half }),
    ]
}

#[test]
fn depthwise_convolution_and_its_gradients_agree() {
    for (h, w) in [(7, 9), (16, 33), (20, 16)] {
        for kernel in [1, 3, 5, 7] {
            for sliding in slidings(kernel) {
                let shape = [2, 3, h, w];
                let (x, weight) = (raw(1, shape), raw(2, [3, 1, kernel, kernel]));
                let what = format!("{h}x{w} kernel {kernel} {sliding:?}");
                let expected = plain::depthwise::<Flex>(x.clone(), weight.clone(), sliding);
                close(&what, Flex::depthwise(x.clone(), weight.clone(), sliding), expected);
                let (out_h, out_w) = sliding.output_size(h, w, kernel);
                let grad = raw(3, [2, 3, out_h, out_w]);
                let expected =
                    plain::depthwise_grad_weight::<Flex>(grad.clone(), x.clone(), kernel, sliding);
                close(
                    &what,
                    Flex::depthwise_grad_weight(grad.clone(), x, kernel, sliding),
                    expected,
                );
                // The plain form through burn's own gradient.
                let found = Flex::depthwise_grad_x(grad.clone(), weight.clone(), shape, sliding);
                close(&what, found, plain::depthwise_grad_x::<Flex>(grad, weight, shape, sliding));
            }
        }
    }
}

#[test]
fn convolution_and_its_gradients_agree() {
    for (kernel, dilation, h, w) in
        [(1, 1, 6, 5), (3, 1, 9, 12), (3, 2, 11, 8), (5, 1, 8, 40), (3, 1, 64, 64)]
    {
        for mut sliding in slidings(kernel) {
            sliding.dilation = dilation;
            let shape = [2, 4, h, w];
            let (x, weight, bias) = (raw(1, shape), raw(2, [5, 4, kernel, kernel]), raw(3, [5]));
            let what = format!("{h}x{w} kernel {kernel} {sliding:?}");
            let expected =
                plain::conv::<Flex>(x.clone(), weight.clone(), Some(bias.clone()), sliding, 1);
            let found = Flex::conv(x.clone(), weight.clone(), Some(bias), sliding);
            close(&what, found, expected);
            let (out_h, out_w) = sliding.output_size(h, w, kernel);
            let grad = raw(4, [2, 5, out_h, out_w]);
            let expected =
                plain::conv_grad_weight::<Flex>(grad.clone(), x.clone(), kernel, sliding);
            close(&what, Flex::conv_grad_weight(grad.clone(), x, kernel, sliding), expected);
            let expected =
                plain::conv_grad_x::<Flex>(grad.clone(), weight.clone(), shape, sliding, 1);
            close(&what, Flex::conv_grad_x(grad, weight, shape, sliding), expected);
        }
    }
}

#[test]
fn wide_convolutions_are_cut_into_tasks_that_fit() {
    let sliding = Sliding::new(1, Padding::uniform(1));
    let (x, weight) = (raw(1, [1, 3, 40, 80]), raw(2, [300, 3, 3, 3]));
    let expected = plain::conv::<Flex>(x.clone(), weight.clone(), None, sliding, 1);
    close("3x3", Flex::conv(x.clone(), weight, None, sliding), expected);
    let (sliding, weight) = (Sliding::new(1, Padding::default()), raw(3, [300, 3, 1, 1]));
    let expected = plain::conv::<Flex>(x.clone(), weight.clone(), None, sliding, 1);
    close("1x1", Flex::conv(x, weight, None, sliding), expected);
}

#[test]
fn normalisation_and_its_gradients_agree() {
    for over in [NormOver::Batch, NormOver::Groups(4), NormOver::Groups(1)] {
        let activations =
            [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Mish];
        for activation in activations {
            let norm = Norm { over, eps: 1e-3, activation };
            let shape = [3, 8, 9, 11];
            // A large offset shows an unstable variance.
            let x = primitive::<Flex, 4>(noise(1, shape) * 2.0 + 30.0);
            let (gamma, beta) = (raw(2, [8]), raw(3, [8]));
            let what = format!("{norm:?}");
            let (out, mean, var) = Flex::normalize(x.clone(), gamma.clone(), beta.clone(), norm);
            let expected = plain::normalize::<Flex>(x.clone(), gamma.clone(), beta.clone(), norm);
            close(&what, mean.clone(), expected.1);
            close(&what, var.clone(), expected.2);
            close(&what, out, expected.0);
            let state = NormState::<Flex> { x, gamma, beta, mean, var };
            let grad = raw(4, shape);
            let found = Flex::normalize_grad(state.clone(), grad.clone(), norm);
            let expected = plain::normalize_grad::<Flex>(state, grad, norm);
            close(&what, found.0, expected.0);
            close(&what, found.1, expected.1);
            close(&what, found.2, expected.2);
        }
    }
}

#[test]
fn resampling_planes_and_activations_agree() {
    let shape = [2, 3, 5, 18];
    let x = raw(1, shape);
    for factor in [2, 4] {
        let grad = raw(2, [2, 3, 5 * factor, 18 * factor]);
        for align in [true, false] {
            close(
                "bilinear",
                Flex::bilinear(x.clone(), factor, align),
                plain::bilinear::<Flex>(x.clone(), factor, align),
            );
            let expected = plain::bilinear_grad::<Flex>(grad.clone(), factor, align);
            close("bilinear gradient", Flex::bilinear_grad(grad.clone(), factor, align), expected);
        }
        close(
            "nearest",
            Flex::nearest(x.clone(), factor),
            plain::nearest::<Flex>(x.clone(), factor),
        );
        close(
            "nearest gradient",
            Flex::nearest_grad(grad.clone(), factor),
            plain::nearest_grad::<Flex>(grad, factor),
        );
    }
    let (other, scale, shift) = (raw(3, shape), raw(4, [2, 3]), raw(5, [2, 3]));
    close("mean", Flex::plane_mean(x.clone()), plain::plane_mean::<Flex>(x.clone()));
    close(
        "dot",
        Flex::plane_dot(x.clone(), other.clone()),
        plain::plane_dot::<Flex>(x.clone(), other.clone()),
    );
    let expected = plain::plane_affine::<Flex>(x.clone(), scale.clone(), Some(shift.clone()));
    close("affine", Flex::plane_affine(x.clone(), scale, Some(shift)), expected);
    let wide = primitive::<Flex, 4>(tensor::<Flex, 4>(x) * 20.0);
    close("silu", Flex::silu(wide.clone()), plain::silu::<Flex>(wide.clone()));
    let expected = plain::silu_grad::<Flex>(wide.clone(), other.clone());
    close("silu gradient", Flex::silu_grad(wide.clone(), other.clone()), expected);
    close("mish", Flex::mish(wide.clone()), plain::mish::<Flex>(wide.clone()));
    let expected = plain::mish_grad::<Flex>(wide.clone(), other.clone());
    close("mish gradient", Flex::mish_grad(wide, other), expected);
    let x = raw(6, shape);
    let (scale, shift) = (raw(7, [3]), raw(8, [3]));
    for by in [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Mish] {
        let expected = plain::affine::<Flex>(x.clone(), scale.clone(), shift.clone());
        let found = Flex::affine(x.clone(), scale.clone(), shift.clone(), by);
        close("affine", found, plain::activate::<Flex>(expected, by));
    }
}

#[test]
fn activations_behind_an_affine_map_and_small_products_have_the_gradients_of_burn() {
    type B = Autodiff<Flex>;
    let leaf = |seed| Tensor::<B, 2>::from_inner(noise(seed, [5, 7])).require_grad();
    let (x, weight) = (leaf(1), leaf(2));
    let up = Tensor::<B, 2>::from_inner(noise(3, [5, 5]));
    let out = super::dense(x.clone(), weight.clone());
    let found = (super::mish(out.clone()) * up.clone()).sum().backward();
    let out = x.clone().matmul(weight.clone().transpose());
    let gate = burn::tensor::activation::softplus(out.clone(), 1.0).tanh();
    let expected = (out * gate * up).sum().backward();
    for leaf in [x, weight] {
        close("", primitive(leaf.grad(&found).unwrap()), primitive(leaf.grad(&expected).unwrap()));
    }

    let x = Tensor::<B, 4>::from_inner(noise(4, [2, 3, 4, 5]) * 3.0).require_grad();
    let (scale, shift) =
        (Tensor::<B, 1>::ones([3], &Device::default()), Tensor::ones([3], &Device::default()));
    let out = super::affine(x.clone(), scale, shift, Activation::Mish);
    let found = out.sum().backward();
    let expected = super::mish(x.clone() + 1.0).sum().backward();
    close("affine", primitive(x.grad(&found).unwrap()), primitive(x.grad(&expected).unwrap()));
}

#[test]
fn squeeze_excite_has_the_gradient_of_its_parts() {
    type B = Autodiff<Flex>;
    let leaf = |seed, shape| Tensor::<B, 2>::from_inner(noise(seed, shape)).require_grad();
    let bias = |seed, len| Tensor::<B, 1>::from_inner(noise(seed, [len])).require_grad();
    let x = Tensor::<B, 4>::from_inner(noise(1, [2, 6, 4, 5])).require_grad();
    let (w1, b1, w2, b2) = (leaf(2, [3, 6]), bias(3, 3), leaf(4, [6, 3]), bias(5, 6));
    let up = Tensor::<B, 4>::from_inner(noise(6, [2, 6, 4, 5]));

    let out = super::squeeze_excite(x.clone(), (w1.clone(), b1.clone()), (w2.clone(), b2.clone()));
    let fused = (out * up.clone()).sum().backward();

    let mean = x.clone().mean_dim(3).mean_dim(2).reshape([2, 6]);
    let hidden = burn::tensor::activation::silu(
        mean.matmul(w1.clone().transpose()) + b1.clone().unsqueeze(),
    );
    let gate = burn::tensor::activation::sigmoid(
        hidden.matmul(w2.clone().transpose()) + b2.clone().unsqueeze(),
    );
    let parts = (x.clone() * gate.reshape([2, 6, 1, 1]) * up).sum().backward();

    close("x", primitive(x.grad(&fused).unwrap()), primitive(x.grad(&parts).unwrap()));
    for w in [w1, w2] {
        close("weight", primitive(w.grad(&fused).unwrap()), primitive(w.grad(&parts).unwrap()));
    }
    for b in [b1, b2] {
        close("bias", primitive(b.grad(&fused).unwrap()), primitive(b.grad(&parts).unwrap()));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = || {
        let (x, w) = (raw(1, [3, 8, 33, 40]), raw(2, [16, 8, 3, 3]));
        let sliding = Sliding::new(1, Padding::uniform(1));
        let out = Flex::conv(x.clone(), w, None, sliding);
        let by_weight = Flex::conv_grad_weight(out.clone(), x, 3, sliding);
        let norm = Norm { over: NormOver::Batch, eps: 1e-3, activation: Activation::Silu };
        let (out, mean, _) = Flex::normalize(out, raw(3, [16]), raw(4, [16]), norm);
        [out, by_weight, mean].map(burn_flex::FlexTensor::into_data)
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    assert_eq!(pool(1).install(run), pool(5).install(run));
}
