//! One training step beside segmentation_models_pytorch in double precision: the loss, and the norm of every gradient. What
//! PyTorch's own single precision is away from that is the measure.

use std::collections::HashMap;
use std::path::Path;

use crate::support::program::Place;
use crate::support::python::{Python, write_floats};
use crate::support::reference::{json, stream, values};
use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use geoseg::export::{self, Format, Options};
use geoseg::model::weights::{self, Provenance};
use geoseg::model::{ModelSpec, Network, named_ids};
use geoseg::train::losses::{Truth, bce};

type Diff = Autodiff<Flex>;

const SHAPE: [usize; 4] = [2, 3, 128, 160];

fn tensor(values: &[f32], shape: [usize; 4]) -> Tensor<Diff, 4> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Default::default())
}

/// Loss, and norm of every gradient.
type Step = (f64, HashMap<String, f64>);

/// Our step, theirs in single precision and in double.
fn steps(python: &Python, spec: &ModelSpec) -> [Step; 3] {
    let place = Place::new();
    let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let network = Network::<Diff>::seeded(spec, 3, &Default::default()).unwrap();
    let model = file("model.safetensors");
    weights::save(Path::new(&model), spec, &network.valid(), &Provenance::new()).unwrap();
    let options =
        Options { format: Format::Safetensors, tile_px: None, card: false, overwrite: true };
    let exported = file("smp.safetensors");
    let report = export::run(Path::new(&model), &options, Path::new(&exported)).unwrap();

    let [n, c, h, w] = SHAPE;
    let image: Vec<f32> = stream("step.image", n * c * h * w).map(|u| 1.5 * u as f32).collect();
    let truth = stream("step.truth", n * h * w).map(|u| f32::from(u8::from(u > 0.4)));
    let truth: Vec<f32> = truth.collect();
    write_floats(Path::new(&file("image")), &image);
    write_floats(Path::new(&file("truth")), &truth);
    let sizes = SHAPE.map(|size| size.to_string());
    let (image_file, truth_file, out) = (file("image"), file("truth"), file("out.json"));
    let smp = report.smp.unwrap();
    let mut arguments = vec![smp.as_str(), &exported, &image_file, &truth_file];
    arguments.extend(sizes.iter().map(String::as_str));
    arguments.push(&out);
    python.run("smp_step.py", &arguments);
    let theirs = json(Path::new(&out));
    let [single, double] = ["f32", "f64"].map(|format| {
        let norms = theirs[format]["norms"].as_object().unwrap().iter();
        let norms = norms.map(|(name, norm)| (name.clone(), norm.as_f64().unwrap())).collect();
        (theirs[format]["loss"].as_f64().unwrap(), norms)
    });

    let logits = network.forward_train(tensor(&image, SHAPE), 7);
    let labels = tensor(&truth, [n, 1, h, w]);
    let loss = bce(logits, &Truth::hard(labels.clone(), labels.ones_like()), 1.0);
    let value = f64::from(loss.clone().into_scalar());
    let gradients = GradientsParams::from_grads(loss.backward(), &network);
    let norm = |v: Vec<f32>| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let of = |(name, id)| Some((name, norm(values(gradients.get::<Flex, 4>(id)?))));
    let ours = (value, named_ids(&network).into_iter().filter_map(of).collect());
    [ours, single, double]
}

#[test]
fn a_training_step_has_the_loss_and_the_gradients_of_smp() {
    let needed = ["torch", "safetensors.torch", "segmentation_models_pytorch"];
    let Some(python) = Python::with(&needed) else { return };
    for (arch, encoder) in
        [("fpn", "b0"), ("fpn", "b1"), ("unet", "b0"), ("unet", "b1"), ("unet", "b7")]
    {
        let spec = ModelSpec {
            arch: arch.into(),
            encoder: format!("efficientnet-{encoder}"),
            dropout: 0.0,
            drop_connect: 0.0,
            ..ModelSpec::default()
        };
        let [ours, single, double] = steps(&python, &spec);
        let largest = double.1.values().copied().fold(0.0, f64::max);
        // Smaller ones are nothing but rounding: shifts that a later normalisation removes.
        let counting = || double.1.iter().filter(|(_, norm)| **norm > 1e-6 * largest);
        assert!(counting().count() > 200, "{arch} {encoder}: {} gradients", counting().count());
        let gaps = |step: &Step| {
            let of = |(name, norm): (&String, &f64)| (step.1[name] - norm).abs() / norm;
            ((step.0 - double.0).abs() / double.0, counting().map(of).fold(0.0, f64::max))
        };
        let ((loss, norms), (their_loss, their_norms)) = (gaps(&ours), gaps(&single));
        eprintln!(
            "{arch} {encoder}: loss {loss:.1e}, norms {norms:.1e}; PyTorch's own {their_loss:.1e}, {their_norms:.1e}"
        );
        assert!(loss < 1e-5, "{arch} {encoder}: loss {} for {}", ours.0, double.0);
        assert!(norms < f64::max(5e-3, 5.0 * their_norms), "{arch} {encoder}: {norms:.1e}");
    }
}
