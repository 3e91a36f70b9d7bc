//! What every network of the list must do, whatever it is made of.

use std::collections::HashMap;

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, activation::softplus};
use geoseg::config::train::OptimizerSection;
use geoseg::model::survey::figures;
use geoseg::model::tensors::map_tensors;
use geoseg::model::weights::{self, Provenance};
use geoseg::model::{ARCHITECTURES, Mode, ModelSpec, Network, named_ids, named_tensors};
use geoseg::train::optimizer::Optimizer;

type Diff = Autodiff<Flex>;

/// Every network, small where it can be.
fn specs() -> impl Iterator<Item = ModelSpec> {
    ARCHITECTURES.iter().map(|listed| spec(listed.name))
}

fn spec(arch: &str) -> ModelSpec {
    ModelSpec {
        arch: arch.into(),
        pyramid_channels: 32,
        segmentation_channels: 32,
        decoder_channels: [32, 24, 16, 8, 8],
        ..ModelSpec::default()
    }
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn noise(shape: [usize; 4]) -> Tensor<Diff, 4> {
    let data = TensorData::new(wave(shape.iter().product()), shape);
    Tensor::from_data(data, &Default::default())
}

fn values<const D: usize>(tensor: Tensor<Diff, D>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

/// The gradient of every tensor that has one.
fn gradients(loss: &Tensor<Diff, 1>, network: &Network<Diff>) -> HashMap<String, Vec<f32>> {
    let found = GradientsParams::from_grads(loss.backward(), network);
    let of = |id| found.get::<Flex, 4>(id).map(|grad| grad.into_data().to_vec().unwrap());
    named_ids(network).into_iter().filter_map(|(name, id)| Some((name, of(id)?))).collect()
}

/// A loss whose gradient is not the same everywhere.
fn uneven(logits: Tensor<Diff, 4>) -> Tensor<Diff, 1> {
    let weight = noise(logits.dims()).powi_scalar(2) + noise(logits.dims());
    (logits * weight).mean()
}

#[test]
fn gradients_reach_every_parameter() {
    for spec in specs() {
        let network = Network::<Diff>::seeded(&spec, 2, &Default::default()).unwrap();
        let loss = uneven(network.forward_train(noise([2, 3, 64, 96]), 3));
        let found = gradients(&loss, &network);
        for (name, data) in named_tensors(&network) {
            let statistic = name.ends_with(".running_mean") || name.ends_with(".running_var");
            let Some(grad) = found.get(&name) else {
                // Outputs beside the logits; tests/suite/reference_efficient_fpn.rs has their gradients.
                let beside = spec.arch == "efficient-fpn"
                    && ["dice.", "_fc.", "_fc2."].iter().any(|head| name.starts_with(head));
                assert!(statistic || beside, "{}: {name} has no gradient", spec.arch);
                continue;
            };
            assert!(!statistic, "{}: {name} has a gradient", spec.arch);
            assert!(grad.iter().all(|v| v.is_finite()), "{}: {name}", spec.arch);
            // A shift that a later normalisation removes has none but rounding.
            let weight = data.shape.len() > 1;
            assert!(!weight || grad.iter().any(|v| *v != 0.0), "{}: {name} is 0", spec.arch);
        }
    }
}

/// The loss with one tensor moved by `step` times `along`.
fn moved(
    network: &Network<Diff>,
    tensor: &str,
    (along, step): (&[f32], f64),
    x: &Tensor<Diff, 4>,
) -> f64 {
    let mut given = named_tensors(network).into_iter().collect::<HashMap<_, _>>();
    let network = map_tensors(network.clone(), |name, shape| {
        let values = given.remove(name)?.to_vec::<f32>().unwrap();
        let moved = values.iter().zip(along).map(|(v, along)| v + step as f32 * along);
        (name == tensor).then(|| TensorData::new(moved.collect::<Vec<_>>(), shape.to_vec()))
    });
    f64::from(uneven(network.forward_train(x.clone(), 5)).into_scalar())
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for (arch, tensors) in [
        ("unet", &["decoder.blocks.0.conv1.0.weight", "encoder._bn0.weight"][..]),
        (
            "unet-expand",
            &[
                "decoder.blocks.1.conv1.0.weight",
                "encoder._conv_head.weight",
                "encoder._bn0.weight",
            ],
        ),
        ("carvana-unet", &["down.0.layers.1.norm.weight", "up.0.layers.0.conv.weight"]),
        ("carvana-cnn", &["first.weight", "segmentation_head.0.bias"]),
        ("mean-mask", &["logits"]),
    ] {
        let network = Network::<Diff>::seeded(&spec(arch), 4, &Default::default()).unwrap();
        let x = noise([2, 3, 64, 64]);
        let found = gradients(&uneven(network.forward_train(x.clone(), 5)), &network);
        for tensor in tensors {
            // Along the gradient the slope is its length.
            let grad = &found[*tensor];
            let length = grad.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let along: Vec<f32> = grad.iter().map(|g| (f64::from(*g) / length) as f32).collect();
            let at = |step| moved(&network, tensor, (&along, step), &x);
            let step = 1e-3;
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let apart = (slope / length - 1.0).abs();
            eprintln!("{arch} {tensor}: slope {slope:.5e}, gradient {length:.5e}, {apart:.1e}");
            assert!(apart < 0.03, "{arch} {tensor}: slope {slope}, gradient {length}");
        }
    }
}

#[test]
fn a_saved_network_comes_back_and_takes_images_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    for spec in specs() {
        let classes = if spec.arch == "efficient-fpn" { 1 } else { 2 };
        let classes = ["building", "boundary"][..classes].iter().map(ToString::to_string).collect();
        let spec = ModelSpec { classes, ..spec };
        let path = folder.path().join(format!("{}.safetensors", spec.arch));
        let network = Network::<Diff>::seeded(&spec, 6, &Default::default()).unwrap();
        network.forward_in(noise([2, 3, 64, 64]), Mode::Recalibrate { seen: 0 });
        weights::save(&path, &spec, &network, &Provenance::new()).unwrap();
        let (read_spec, read) = weights::load::<Flex>(&path, &Default::default()).unwrap();
        assert_eq!(read_spec, spec);
        assert_eq!(read.name(), spec.arch);
        assert_eq!(named_tensors(&read), named_tensors(&network));
        assert_eq!(named_ids(&read), named_ids(&network));
        let network = network.valid();
        for [h, w] in [[40, 50], [33, 71], [64, 32], [5, 100]] {
            let x = noise([2, 3, h, w]);
            // With gradients to keep, scale and shift are two operations and round twice.
            let x = x.inner();
            let logits: Vec<f32> = network.forward(x.clone()).into_data().to_vec().unwrap();
            assert_eq!(logits.len(), 2 * spec.classes.len() * h * w, "{} {h} x {w}", spec.arch);
            assert!(logits.iter().all(|v| v.is_finite()), "{} {h} x {w}", spec.arch);
            let again: Vec<f32> = read.forward(x).into_data().to_vec().unwrap();
            assert!(logits == again, "{} {h} x {w}", spec.arch);
        }
    }
}

#[test]
fn a_few_steps_lower_the_loss() {
    let (n, px) = (2, 64);
    // A bright square on dark ground.
    let inside = |i: usize| {
        let (row, col, shift) = (i / px % px, i % px, 8 * (i / (px * px) % n));
        (12 + shift..36 + shift).contains(&row) && (20..44).contains(&col)
    };
    let label: Vec<f32> = (0..n * px * px).map(|i| f32::from(u8::from(inside(i)))).collect();
    let device = Default::default();
    let label = Tensor::<Diff, 4>::from_data(TensorData::new(label, [n, 1, px, px]), &device);
    let x = noise([n, 3, px, px]) * 0.3 + (label.clone() * 2.0 - 1.0).expand([n, 3, px, px]);
    for spec in specs() {
        let mut network = Network::<Diff>::seeded(&spec, 7, &device).unwrap();
        let mut optimizer = Optimizer::new(&OptimizerSection::default());
        // A mask that starts at 0 has far to go.
        let rate = if spec.arch == "mean-mask" { 0.1 } else { 3e-3 };
        let mut losses = Vec::new();
        for step in 0..12 {
            let logits = network.forward_train(x.clone(), step);
            let loss = (softplus(logits.clone(), 1.0) - logits * label.clone()).mean();
            losses.push(loss.clone().into_scalar());
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(network, gradients, rate, 1.0);
        }
        let last = losses[9..].iter().sum::<f32>() / 3.0;
        eprintln!("{}: {:.3} to {last:.3}", spec.arch, losses[0]);
        assert!(last < 0.75 * losses[0], "{}: {losses:?}", spec.arch);
    }
}

#[test]
fn dropout_repeats_with_its_seed_and_is_off_in_evaluation() {
    let device = Default::default();
    let spec = ModelSpec { drop_connect: 0.0, ..spec("unet-expand") };
    let network = Network::<Flex>::seeded(&spec, 8, &device).unwrap();
    let x = noise([1, 3, 64, 64]).inner();
    let run = |seed| network.forward_train(x.clone(), seed).into_data();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_eq!(network.forward(x.clone()).into_data(), network.forward(x.clone()).into_data());
}

/// The longest stretch of input columns with an influence on logits of one of `columns` neighbouring columns: a gradient
/// of more than `noise_share` of the largest.
fn widest_influence(
    network: &Network<Diff>,
    width: usize,
    columns: usize,
    noise_share: f32,
) -> usize {
    let middle = (width - columns) / 2;
    let influence = |column: usize| {
        let x = noise([1, 3, 32, width]).require_grad();
        let logits = network.forward(x.clone()).slice([0..1, 0..1, 0..32, column..column + 1]);
        let grad = x.grad(&logits.sum().backward()).unwrap();
        let of_columns: Vec<f32> =
            grad.abs().sum_dim(1).sum_dim(2).reshape([width]).into_data().to_vec().unwrap();
        let largest = of_columns.iter().fold(0f32, |m, v| m.max(*v));
        let seen = |v: &f32| *v > noise_share * largest;
        let (first, last) = (of_columns.iter().position(seen), of_columns.iter().rposition(seen));
        last.unwrap() + 1 - first.unwrap()
    };
    (middle..middle + columns).map(influence).max().unwrap()
}

/// Where nothing averages over the whole image, the gradient shows what a logit depends on.
#[test]
fn the_receptive_field_of_the_survey_is_that_of_the_gradients() {
    for (arch, width, columns, noise_share) in [
        ("unet", 1280, 32, 0.0),
        ("unet-expand", 1280, 32, 0.0),
        // Winograd's convolution leaves rounding, 1e-8, where a tile's sum is 0.
        ("carvana-unet", 256, 8, 1e-6),
        ("carvana-cnn", 64, 1, 0.0),
    ] {
        let spec = spec(arch);
        let network = Network::<Diff>::seeded(&spec, 9, &Default::default()).unwrap();
        network.forward_in(noise([2, 3, 64, 256]), Mode::Recalibrate { seen: 0 });
        // A gate that does not depend on the means.
        let network = map_tensors(network, |name, shape| {
            let zeros = || TensorData::zeros::<f32, _>(shape.to_vec());
            name.ends_with("._se_expand.weight").then(zeros)
        });
        let found = widest_influence(&network, width, columns, noise_share);
        assert_eq!(found, figures(&spec).unwrap().receptive_field_px, "{arch}");
    }
}

/// [`AutodiffModule::valid`] keeps the network's form.
#[test]
fn the_network_without_gradients_gives_the_same_logits() {
    for spec in specs() {
        let network = Network::<Diff>::seeded(&spec, 10, &Default::default()).unwrap();
        let x = noise([1, 3, 32, 32]);
        let expected = values(network.forward(x.clone()));
        let found: Vec<f32> = network.valid().forward(x.inner()).into_data().to_vec().unwrap();
        // Mish behind a settled normalisation is one pass without gradients, and two with them.
        let size = expected.iter().fold(0.0, |size: f32, v| size.max(v.abs()));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * size;
        assert!(expected.iter().zip(&found).all(close), "{}", spec.arch);
    }
}
