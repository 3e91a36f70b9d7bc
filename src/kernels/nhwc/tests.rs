//! Every layer against the plain operators.

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData, activation};
use proptest::prelude::*;

use super::*;
use crate::kernels::{
    self, Activation, Norm, NormOver, Padding, Sliding, bilinear, conv, depthwise, nearest,
};

fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i + seed * 7919) * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0)
        .collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// Planes `[c, h, w]` as an image.
fn image(planes: &[f32], c: usize, h: usize, w: usize) -> Image {
    let mut image = Pool::default().image(h, w, c);
    for (channel, plane) in planes.chunks_exact(h * w).enumerate() {
        for (pixel, value) in plane.iter().enumerate() {
            image.values[pixel * image.step + channel] = *value;
        }
    }
    image
}

fn planes(image: &Image) -> Vec<f32> {
    let of = |c: usize| image.values.iter().skip(c).step_by(image.step).copied();
    (0..image.c).flat_map(of).collect()
}

fn check(what: &str, found: &[f32], expected: Tensor<Flex, 4>) {
    let expected: Vec<f32> = expected.into_data().to_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() <= 2e-5 * largest, "{what}, {i}: {found} for {expected}");
    }
}

fn activated(x: Tensor<Flex, 4>, by: Activation) -> Tensor<Flex, 4> {
    match by {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Silu => kernels::silu(x),
        Activation::Mish => kernels::mish(x),
    }
}

fn any_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Relu),
        Just(Activation::Silu),
        Just(Activation::Mish)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_pointwise_convolution_agrees(
        h in 1usize..20, w in 1usize..20, inputs in 1usize..70, outputs in 1usize..70,
        by in any_activation(), residual: bool, seed in 0usize..99,
    ) {
        let (x, weight) = (noise(inputs * h * w, seed), noise(outputs * inputs, seed + 1));
        let (bias, more) = (noise(outputs, seed + 2), noise(outputs * h * w, seed + 3));
        let layer = Pointwise::new(&bias, inputs, by, |o, i| weight[o * inputs + i]);
        let gate = noise(inputs, seed + 4);
        let layer = layer.gated(&gate, &mut Pool::default());
        let mut out = Pool::default().image(h, w, outputs);
        let beside = image(&more, outputs, h, w);
        layer.apply(&image(&x, inputs, h, w), residual.then_some(&beside), &mut out);
        let x = tensor(x, [1, inputs, h, w]) * tensor(gate, [1, inputs, 1, 1]);
        let sliding = Sliding::new(1, Padding::default());
        let sums = conv(x, tensor(weight, [outputs, inputs, 1, 1]), Some(tensor(bias, [outputs])), sliding);
        let mut expected = activated(sums, by);
        if residual {
            expected = expected + tensor(more, [1, outputs, h, w]);
        }
        check("pointwise", &planes(&out), expected);
    }

    #[test]
    fn a_depthwise_convolution_and_its_means_agree(
        h in 1usize..24, w in 1usize..24, c in 1usize..90, kernel in prop_oneof![Just(3usize), Just(5), Just(7)],
        stride in 1usize..3, split in 0usize..3, by in any_activation(), seed in 0usize..99,
    ) {
        let (before, after) = (split.min(kernel / 2), kernel / 2);
        let sliding = Sliding::new(stride, Padding::split(before, after));
        prop_assume!(h + before + after >= kernel && w + before + after >= kernel);
        let (x, weight) = (noise(c * h * w, seed), noise(c * kernel * kernel, seed + 1));
        let bias = noise(c, seed + 2);
        let layer = Depthwise::new(&weight, &bias, kernel, sliding, by);
        let (out, mean) = layer.apply(&image(&x, c, h, w), &mut Pool::default());
        let sums = depthwise(tensor(x, [1, c, h, w]), tensor(weight, [c, 1, kernel, kernel]), sliding);
        let expected = activated(sums + tensor(bias, [1, c, 1, 1]), by);
        check("means", &mean[..c], expected.clone().mean_dim(3).mean_dim(2));
        check("depthwise", &planes(&out), expected);
    }

    #[test]
    fn a_3x3_convolution_agrees(
        h in 1usize..24, w in 1usize..24, inputs in 1usize..40, outputs in 1usize..70, seed in 0usize..99,
    ) {
        let (x, weight) = (noise(inputs * h * w, seed), noise(outputs * inputs * 9, seed + 1));
        let layer = Conv3x3::new(&weight, outputs, inputs);
        let (out, _) = layer.apply(&image(&x, inputs, h, w), &mut Pool::default());
        let sliding = Sliding::new(1, Padding::uniform(1));
        let expected = conv(tensor(x, [1, inputs, h, w]), tensor(weight, [outputs, inputs, 3, 3]), None, sliding);
        check("3x3", &planes(&out), expected);
    }

    #[test]
    fn a_stem_of_any_kernel_agrees(
        h in 5usize..30, w in 5usize..30, bands in 1usize..6, outputs in 1usize..40,
        kernel in 1usize..6, stride in 1usize..3, seed in 0usize..99,
    ) {
        let sliding = Sliding::new(stride, Padding::split(kernel / 3, kernel / 2));
        let (x, weight) = (noise(bands * h * w, seed), noise(outputs * bands * kernel * kernel, seed + 1));
        let bias = noise(outputs, seed + 2);
        let layer = Stem::new(&weight, &bias, bands, kernel, sliding, Activation::Silu);
        let out = layer.apply(&x, h, w, outputs, &mut Pool::default());
        let weight = tensor(weight, [outputs, bands, kernel, kernel]);
        let sums = conv(tensor(x, [1, bands, h, w]), weight, Some(tensor(bias, [outputs])), sliding);
        check("stem", &planes(&out), kernels::silu(sums));
    }

    #[test]
    fn normalised_upsampling_and_logits_agree(
        h in 1usize..12, w in 1usize..12, of_group in 1usize..6, classes in 1usize..4, seed in 0usize..99,
    ) {
        let c = 8 * of_group;
        // One pixel and one channel a group leave nothing to normalise.
        prop_assume!(of_group * h * w > 3);
        // A mean far from zero: squares alone would lose the variance.
        let weight = noise(c * c * 9, seed + 1);
        let x: Vec<f32> = noise(c * h * w, seed).into_iter().map(|v| v + 5.0).collect();
        let (gamma, beta) = (noise(c, seed + 2), noise(c, seed + 3));
        let pool = &mut Pool::default();
        let (sums, moments) = Conv3x3::new(&weight, c, c).apply(&image(&x, c, h, w), pool);
        let (scale, shift) = moments.group_norm(8, &gamma, &beta, 1e-5);
        let norm = Norm { over: NormOver::Groups(8), eps: 1e-5, activation: Activation::Relu };
        let unit = kernels::normalize(
            tensor(planes(&sums), [1, c, h, w]), tensor(gamma, [c]), tensor(beta, [c]), norm,
        ).0;
        let doubled = upsample(&sums, &scale, &shift, pool);
        check("upsample", &planes(&doubled), bilinear(unit.clone(), 2, true));
        let head = noise(classes * c, seed + 4);
        let mut padded = vec![0.0; classes * sums.step];
        for (out, row) in padded.chunks_exact_mut(sums.step).zip(head.chunks_exact(c)) {
            out[..c].copy_from_slice(row);
        }
        let sliding = Sliding::new(1, Padding::default());
        let expected = conv(unit, tensor(head, [classes, c, 1, 1]), None, sliding);
        check("logits", &logits(&sums, &scale, &shift, &padded), expected);
    }
}

#[test]
fn bands_of_a_large_expanded_image_agree_with_the_whole() {
    // Large enough that the expanded image is cut into bands.
    let (h, w, inputs, c, kernel) = (150, 97, 5, 80, 5);
    let (x, expand) = (noise(inputs * h * w, 1), noise(c * inputs, 2));
    let (weight, bias) = (noise(c * kernel * kernel, 3), noise(c, 4));
    let first = Pointwise::new(&bias, inputs, Activation::Silu, |o, i| expand[o * inputs + i]);
    let x = image(&x, inputs, h, w);
    for stride in [1, 2] {
        let sliding = Sliding::new(stride, Padding::split(1, 2));
        let layer = Depthwise::new(&weight, &bias, kernel, sliding, Activation::Silu);
        let pool = &mut Pool::default();
        let mut whole = pool.image(h, w, c);
        first.apply(&x, None, &mut whole);
        let (expected, means) = layer.apply(&whole, pool);
        let (out, mean) = layer.apply_expanded(&x, &first, c, pool);
        assert_eq!(out.values[..], expected.values[..]);
        for (mean, expected) in mean.iter().zip(means) {
            assert!((mean - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn a_level_is_added_to_the_doubled_level_above() {
    let (inputs, outputs, h, w) = (7, 20, 6, 10);
    let (x, above) = (noise(inputs * h * w, 1), noise(outputs * h * w / 4, 2));
    let (weight, bias) = (noise(outputs * inputs, 3), noise(outputs, 4));
    let layer = Pointwise::new(&bias, inputs, Activation::Identity, |o, i| weight[o * inputs + i]);
    let mut out = Pool::default().image(h, w, outputs);
    layer.apply_below(&image(&x, inputs, h, w), &image(&above, outputs, h / 2, w / 2), &mut out);
    let sliding = Sliding::new(1, Padding::default());
    let weight = tensor(weight, [outputs, inputs, 1, 1]);
    let lateral =
        conv(tensor(x, [1, inputs, h, w]), weight, Some(tensor(bias, [outputs])), sliding);
    check("level", &planes(&out), lateral + nearest(tensor(above, [1, outputs, h / 2, w / 2]), 2));
}
