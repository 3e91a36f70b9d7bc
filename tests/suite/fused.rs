//! The CPU's inference form against the network that it was made of.

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use geoseg::model::{FusedNetwork, Mode, ModelSpec, Network};

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn image(shape: [usize; 4]) -> Tensor<Flex, 4> {
    let data = TensorData::new(wave(shape.iter().product()), shape);
    Tensor::from_data(data, &Default::default())
}

/// Root mean square of the difference over that of the expected values.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |v: f64| v * v;
    let apart: f64 =
        found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (apart / expected.iter().map(|v| square(f64::from(*v))).sum::<f64>()).sqrt()
}

/// A network whose statistics have settled on noise.
fn settled(spec: &ModelSpec) -> Network<Flex> {
    let network = Network::seeded(spec, 5, &Default::default()).unwrap();
    network.forward_in(image([2, spec.bands.len(), 128, 128]), Mode::Recalibrate { seen: 0 });
    network
}

fn compare(spec: &ModelSpec, sizes: &[[usize; 3]]) {
    let network = settled(spec);
    let mut fused = FusedNetwork::new(&network);
    // The same memory serves every size.
    for &[n, h, w] in sizes {
        let shape = [n, spec.bands.len(), h, w];
        let expected: Vec<f32> = network.forward(image(shape)).into_data().to_vec().unwrap();
        let found = fused.forward(&wave(shape.iter().product()), shape);
        let apart = distance(&found, &expected);
        assert!(apart < 1e-4, "{} {h} x {w}: {apart:.1e}", spec.encoder);
    }
}

#[test]
fn the_fused_fpn_gives_the_networks_logits_at_any_size() {
    compare(
        &ModelSpec::default(),
        &[[1, 64, 96], [2, 32, 32], [1, 160, 32], [1, 256, 256], [1, 70, 33]],
    );
}

#[test]
fn larger_encoders_other_bands_and_several_classes_agree_too() {
    let spec = ModelSpec {
        encoder: "efficientnet-b2".into(),
        classes: vec!["background".into(), "building".into(), "boundary".into()],
        bands: ["red", "green", "blue", "nir"].map(Into::into).into(),
        mean: vec![0.5; 4],
        std: vec![0.2; 4],
        pyramid_channels: 40,
        segmentation_channels: 96,
        ..ModelSpec::default()
    };
    compare(&spec, &[[1, 96, 64]]);
}

#[test]
fn networks_without_a_fused_form_run_as_they_are() {
    let spec = ModelSpec { arch: "unet".into(), ..ModelSpec::default() };
    compare(&spec, &[[1, 64, 32], [2, 40, 33]]);
    let spec = ModelSpec { arch: "carvana-unet".into(), ..ModelSpec::default() };
    compare(&spec, &[[2, 20, 27]]);
    let spec = ModelSpec { arch: "efficient-fpn".into(), ..ModelSpec::default() };
    compare(&spec, &[[1, 64, 96], [2, 70, 33]]);
}

/// The comparisons again, in processes that believe to run on lesser processors.
#[test]
fn code_for_other_processors_agrees_too() {
    for level in ["avx2", "base"] {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fused::the_fused_fpn_gives_the_networks_logits_at_any_size"])
            .env("GEOSEG_SIMD", level)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && printed.contains("1 passed"), "{level}: {printed}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let network = settled(&ModelSpec::default());
    let shape = [1, 3, 96, 160];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| FusedNetwork::new(&network).forward(&wave(shape.iter().product()), shape))
    };
    let (one, three) = (run(1), run(3));
    assert!(one.iter().zip(&three).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn a_record_has_every_image_of_a_batch_and_changes_no_bit() {
    let mut network = FusedNetwork::new(&settled(&ModelSpec::default()));
    let shape = [2, 3, 64, 40];
    let images = wave(shape.iter().product());
    let plain = network.forward(&images, shape);
    let (logits, layers) = network.record(&images, shape);
    assert!(plain.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits()));
    let (first, second) = layers.split_at(layers.len() / 2);
    assert!(first.len() > 50 && first.len() == second.len());
    let alike = first.iter().zip(second).all(|(a, b)| a.name == b.name && a.work == b.work);
    assert!(alike, "the same layers for both images");
    // Widths are padded to 64 pixels.
    assert_eq!(first[0].work.output, [32, 32, 32]);
}
