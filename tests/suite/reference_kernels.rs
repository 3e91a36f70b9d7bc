//! Operators against numbers computed with PyTorch (`../shared/reference/ops`, or `$GEOSEG_SHARED/reference/ops`).

use crate::support::reference::{Tensors, gap, load, read, reference, values};
use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use geoseg::kernels::{self, Activation, Norm, NormOver, Padding, Sliding};
use geoseg::model::{Mode, conv::Conv, norm::BatchNorm2d};

type B = Autodiff<Flex>;

fn ops() -> Option<Tensors> {
    Some(read(&reference("ops/ops.safetensors")?))
}

#[track_caller]
fn close<const D: usize>(what: &str, found: Tensor<Flex, D>, expected: &Tensors) {
    let expected = values(load::<Flex, D>(expected, what));
    let (worst, _) = gap(&values(found), &expected);
    assert!(worst < 1e-5, "{what}: off by {worst:.1e}");
}

/// Checks output and gradients of an operator with the given tracked inputs.
fn check<const D: usize>(
    ops: &Tensors,
    case: &str,
    x: &Tensor<B, 4>,
    others: &[(&str, Tensor<B, D>)],
    out: Tensor<B, 4>,
) {
    close(&format!("{case}/out"), out.clone().inner(), ops);
    let grads = (out * load::<B, 4>(ops, &format!("{case}/grad_out"))).sum().backward();
    close(&format!("{case}/grad_x"), x.grad(&grads).unwrap(), ops);
    for (name, other) in others {
        close(&format!("{case}/grad_{name}"), other.grad(&grads).unwrap(), ops);
    }
}

fn tracked<const D: usize>(ops: &Tensors, name: &str) -> Tensor<B, D> {
    load::<B, D>(ops, name).require_grad()
}

#[test]
fn bilinear_upsampling_agrees_with_pytorch() {
    let Some(ops) = ops() else { return };
    for (case, factor, align) in [
        ("bilinear_x2_align", 2, true),
        ("bilinear_x4_align", 4, true),
        ("bilinear_x2_half_pixel", 2, false),
        ("bilinear_x4_half_pixel", 4, false),
    ] {
        let x = tracked(&ops, &format!("{case}/x"));
        let out = kernels::bilinear(x.clone(), factor, align);
        check::<1>(&ops, case, &x, &[], out);
    }
}

#[test]
fn swish_and_mish_agree_with_pytorch() {
    let Some(ops) = ops() else { return };
    for case in ["swish", "mish"] {
        let x = tracked::<1>(&ops, &format!("{case}/x"));
        let out = if case == "mish" { kernels::mish(x.clone()) } else { kernels::silu(x.clone()) };
        close(&format!("{case}/out"), out.clone().inner(), &ops);
        let grads = (out * load::<B, 1>(&ops, &format!("{case}/grad_out"))).sum().backward();
        close(&format!("{case}/grad_x"), x.grad(&grads).unwrap(), &ops);
    }
}

#[test]
fn depthwise_convolutions_of_both_paddings_agree_with_pytorch() {
    let Some(ops) = ops() else { return };
    let mut seen = 0;
    for case in ops.keys().filter_map(|key| key.strip_suffix("/x")) {
        let Some(rest) = case.strip_prefix("depthwise_") else { continue };
        // HxW_kK_sS_padding
        let parts: Vec<&str> = rest.split('_').collect();
        let (h, w) = parts[0].split_once('x').unwrap();
        let (h, w): (usize, usize) = (h.parse().unwrap(), w.parse().unwrap());
        let kernel: usize = parts[1][1..].parse().unwrap();
        let stride: usize = parts[2][1..].parse().unwrap();
        let same = |size: usize| {
            let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
            (total / 2, total - total / 2)
        };
        let padding = if parts[3] == "same" {
            let ((top, bottom), (left, right)) = (same(h), same(w));
            Padding { top, bottom, left, right }
        } else {
            Padding::uniform(kernel / 2)
        };
        let (x, weight) =
            (tracked(&ops, &format!("{case}/x")), tracked::<4>(&ops, &format!("{case}/weight")));
        let out = kernels::depthwise(x.clone(), weight.clone(), Sliding::new(stride, padding));
        check(&ops, case, &x, &[("weight", weight)], out);
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} cases");
}

#[test]
fn a_dilated_convolution_agrees_with_pytorch() {
    let Some(ops) = ops() else { return };
    let case = "atrous_9x11_k3_d4";
    let (x, weight) =
        (tracked(&ops, &format!("{case}/x")), tracked::<4>(&ops, &format!("{case}/weight")));
    let sliding = Sliding { stride: 1, dilation: 4, padding: Padding::uniform(4) };
    let out = kernels::conv(x.clone(), weight.clone(), None, sliding);
    check(&ops, case, &x, &[("weight", weight)], out);
}

#[test]
fn group_normalisation_agrees_with_pytorch() {
    let Some(ops) = ops() else { return };
    let mut seen = 0;
    for case in ops.keys().filter_map(|key| key.strip_suffix("/x")) {
        let Some(rest) = case.strip_prefix("group_norm_") else { continue };
        let groups = rest.split('_').next().unwrap().parse().unwrap();
        let x = tracked(&ops, &format!("{case}/x"));
        let weight = tracked::<1>(&ops, &format!("{case}/weight"));
        let bias = tracked::<1>(&ops, &format!("{case}/bias"));
        let norm =
            Norm { over: NormOver::Groups(groups), eps: 1e-5, activation: Activation::Identity };
        let (out, _, _) = kernels::normalize(x.clone(), weight.clone(), bias.clone(), norm);
        check(&ops, case, &x, &[("weight", weight), ("bias", bias)], out);
        seen += 1;
    }
    assert!(seen > 0, "no case");
}

#[test]
fn batch_normalisation_agrees_with_pytorch_in_training_and_evaluation() {
    let Some(ops) = ops() else { return };
    for (settings, eps, momentum) in [
        ("batch_norm_eps0.001_momentum0.01", 1e-3, 0.01),
        ("batch_norm_eps1e-5_momentum0.1", 1e-5, 0.1),
    ] {
        for (mode_name, mode) in [("train", Mode::Train { seed: 0 }), ("eval", Mode::Eval)] {
            let case = format!("{settings}_{mode_name}");
            let mut norm = BatchNorm2d::<B>::new(8, eps, momentum, &Default::default());
            norm.weight = burn::module::Param::from_tensor(load(&ops, &format!("{case}/weight")));
            norm.bias = burn::module::Param::from_tensor(load(&ops, &format!("{case}/bias")));
            norm.running_mean.set(load(&ops, &format!("{case}/running_mean")));
            norm.running_var.set(load(&ops, &format!("{case}/running_var")));
            let x = tracked(&ops, &format!("{case}/x"));
            let out = norm.forward(x.clone(), Activation::Identity, mode);
            check(
                &ops,
                &case,
                &x,
                &[("weight", norm.weight.val()), ("bias", norm.bias.val())],
                out,
            );
            if mode != Mode::Eval {
                let settled = norm.valid();
                close(&format!("{case}/running_mean_after"), settled.running_mean.get(), &ops);
                close(&format!("{case}/running_var_after"), settled.running_var.get(), &ops);
            }
        }
    }
}

#[test]
fn a_convolution_without_bias_counts_as_zeros() {
    let conv = Conv::<Flex>::pointwise(3, 2, false, &Default::default());
    assert_eq!(values(conv.as_matrix().1), [0.0, 0.0]);
}
