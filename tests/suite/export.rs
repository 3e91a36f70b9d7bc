//! Models for other programs: ONNX Runtime and segmentation_models_pytorch compute what geoseg computes.

use std::path::Path;

use crate::support::program::Place;
use crate::support::python::{Python, read_floats, write_floats};
use crate::support::reference::{gap, stream, values};
use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use geoseg::export::{self, Format, Options, Report};
use geoseg::import;
use geoseg::model::efficientnet::Padding;
use geoseg::model::tensors::map_tensors;
use geoseg::model::weights::{self, Provenance};
use geoseg::model::{ARCHITECTURES, FusedNetwork, Mode, ModelSpec, Network, named_tensors};

/// ONNX Runtime's scores may be this far from ours.
const CLOSE: f64 = 1e-4;

/// Statistics settle on images of this side: on smaller ones, the few values at stride 32 have variances so small that
/// other images explode.
const SETTLE_PX: usize = 256;

fn small(arch: &str) -> ModelSpec {
    ModelSpec {
        arch: arch.into(),
        pyramid_channels: 32,
        segmentation_channels: 32,
        decoder_channels: [24, 20, 16, 12, 8],
        ..ModelSpec::default()
    }
}

/// Every network, and what their options change.
fn specs() -> Vec<ModelSpec> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let mut specs: Vec<_> = ARCHITECTURES.iter().map(|listed| small(listed.name)).collect();
    // Nominal sizes that are odd at some stride, four bands, three classes.
    specs.push(ModelSpec {
        encoder: "efficientnet-b2".into(),
        bands: names(&["red", "green", "blue", "nir"]),
        mean: vec![0.4; 4],
        std: vec![0.2; 4],
        classes: names(&["background", "building", "boundary"]),
        ..small("fpn")
    });
    specs.push(ModelSpec {
        encoder: "efficientnet-b1".into(),
        encoder_padding: Padding::Symmetric,
        batch_norm_eps: 1e-5,
        ..small("unet")
    });
    specs.push(ModelSpec {
        encoder_padding: Padding::Same,
        use_mish: true,
        use_context_block: true,
        use_attention: false,
        ..small("efficient-fpn")
    });
    let classes = names(&["background", "building"]);
    specs.push(ModelSpec { classes, ..small("mean-mask") });
    specs
}

fn noise(name: &str, shape: [usize; 4]) -> Tensor<Flex, 4> {
    let values: Vec<f32> = stream(name, shape.iter().product()).map(|u| 1.5 * u as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// A network without a zero or a one among its weights, whose statistics have settled on noise.
fn settled(spec: &ModelSpec) -> Network<Flex> {
    let network = Network::<Flex>::seeded(spec, 3, &Default::default()).unwrap();
    let network = map_tensors(network, |name, shape| {
        let value: fn(f64) -> f64 = match (name.rsplit('.').next()?, shape.len()) {
            ("logits", _) => |u| 3.0 * u,
            ("bias", _) => |u| 0.2 * u,
            ("weight", 1 | 3) => |u| 1.0 + 0.3 * u,
            _ => return None,
        };
        let values = stream(name, shape.iter().product()).map(|u| value(u) as f32);
        Some(TensorData::new(values.collect::<Vec<_>>(), shape.to_vec()))
    });
    network.forward_in(
        noise("settle", [2, spec.bands.len(), SETTLE_PX, SETTLE_PX]),
        Mode::Recalibrate { seen: 0 },
    );
    network
}

/// Probabilities of logits `[n, classes, h, w]`.
fn probabilities(logits: &[f32], [n, classes, h, w]: [usize; 4]) -> Vec<f32> {
    let px = h * w;
    let mut scores = vec![0.0; logits.len()];
    for image in 0..n {
        for i in 0..px {
            let at = |class: usize| (image * classes + class) * px + i;
            let exp = |class: usize| f64::from(logits[at(class)]).exp();
            let rest = if classes == 1 { 1.0 } else { 0.0 };
            let sum = rest + (0..classes).map(exp).sum::<f64>();
            for class in 0..classes {
                scores[at(class)] = (exp(class) / sum) as f32;
            }
        }
    }
    scores
}

fn save(path: &Path, spec: &ModelSpec, network: &Network<Flex>) {
    weights::save(path, spec, network, &Provenance::new()).unwrap();
}

fn options(format: Format) -> Options {
    Options { format, tile_px: None, card: false, overwrite: true }
}

fn export(place: &Place, format: Format, file: &str) -> Report {
    let source = place.path().join("model.safetensors");
    export::run(&source, &options(format), &place.path().join(file)).unwrap()
}

/// ONNX Runtime's scores of `images`, as the scripts name their files.
fn onnx_scores(python: &Python, place: &Place, images: &Tensor<Flex, 4>) -> Vec<f32> {
    let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    write_floats(Path::new(&file("in.f32")), &values(images.clone()));
    let [n, c, h, w] = images.dims().map(|size| size.to_string());
    let (model, input, output) = (file("model.onnx"), file("in.f32"), file("out.f32"));
    python.run("onnx_scores.py", &[&model, &input, &n, &c, &h, &w, &output]);
    read_floats(Path::new(&output))
}

/// Exports and compares; the largest difference of a score.
fn distance(
    python: &Python,
    spec: &ModelSpec,
    network: &Network<Flex>,
    shapes: &[[usize; 3]],
) -> f64 {
    let place = Place::new();
    save(&place.path().join("model.safetensors"), spec, network);
    export(&place, Format::Onnx, "model.onnx");
    let mut worst = 0.0;
    for &[n, h, w] in shapes {
        let images = noise("image", [n, spec.bands.len(), h, w]);
        let shape = [n, spec.classes.len(), h, w];
        // As trained, and as `geoseg infer` computes on the CPU.
        let trained = values(network.forward(images.clone()));
        let fused = FusedNetwork::new(network).forward(&values(images.clone()), images.dims());
        let found = onnx_scores(python, &place, &images);
        for logits in [trained, fused] {
            let expected = probabilities(&logits, shape);
            let bounds = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
            let (low, high) = expected.iter().fold((1.0, 0.0), bounds);
            assert!(
                high - low > 0.05,
                "{}: scores that say nothing: {low} to {high}",
                spec.title()
            );
            worst = f64::max(worst, gap(&found, &expected).0);
        }
    }
    worst
}

#[test]
fn onnx_runtime_gives_the_scores_of_every_network_at_any_size() {
    let Some(python) = Python::with(&["onnxruntime"]) else { return };
    for spec in specs() {
        let multiple_px = geoseg::model::registry::listed(&spec.arch).unwrap().multiple_px;
        let odd = if multiple_px == 1 { 37 } else { 5 * multiple_px };
        let apart = distance(&python, &spec, &settled(&spec), &[[1, 64, 96], [2, odd, 32]]);
        eprintln!("{}: {apart:.1e}", spec.title());
        assert!(apart <= CLOSE, "{spec:?}: {apart:.1e}");
    }
}

/// Minutes: `cargo test --release --test suite export -- --ignored --nocapture` prints what docs/models.md tells.
#[test]
#[ignore = "measures whole networks of default size"]
fn default_networks_are_as_close_at_512_px() {
    let Some(python) = Python::with(&["onnxruntime"]) else { return };
    let of = |arch: &str, encoder: &str| ModelSpec {
        arch: arch.into(),
        encoder: encoder.into(),
        ..ModelSpec::default()
    };
    let mut specs: Vec<_> =
        ARCHITECTURES.iter().map(|listed| of(listed.name, "efficientnet-b0")).collect();
    specs.push(of("fpn", "efficientnet-b1"));
    for spec in specs {
        let apart = distance(&python, &spec, &settled(&spec), &[[1, 512, 512]]);
        eprintln!("{}: {apart:.1e}", spec.title());
        assert!(apart <= CLOSE, "{}: {apart:.1e}", spec.title());
    }
}

#[test]
fn deepness_makes_of_pixels_what_infer_makes_of_them() {
    let Some(python) = Python::with(&["onnxruntime"]) else { return };
    for value_range in [[0.0, 255.0], [20.0, 220.0]] {
        let spec = ModelSpec { value_range, ..small("fpn") };
        let (place, network, side) = (Place::new(), settled(&spec), 64);
        let file = |name: &str| place.path().join(name);
        save(&file("model.safetensors"), &spec, &network);
        let options = Options { tile_px: Some(side), ..options(Format::Onnx) };
        export::run(&file("model.safetensors"), &options, &file("model.onnx")).unwrap();
        // Within the range: infer cuts off what lies outside.
        let pixel = |u: f64| (120.0 + 99.0 * u).round() as u8;
        let pixels: Vec<u8> = stream("pixels", side * side * 3).map(pixel).collect();
        std::fs::write(file("pixels"), &pixels).unwrap();
        let mut planes = Vec::with_capacity(pixels.len());
        for band in 0..3 {
            let [low, high] = value_range;
            let normal =
                |v: u8| ((f64::from(v) - low) / (high - low) - spec.mean[band]) / spec.std[band];
            planes.extend(pixels.iter().skip(band).step_by(3).map(|v| normal(*v) as f32));
        }
        let images = TensorData::new(planes, [1, 3, side, side]);
        let logits = network.forward(Tensor::from_data(images, &Default::default()));
        let expected = probabilities(&values(logits), [1, 1, side, side]);
        let names = ["model.onnx", "pixels", "out.f32"].map(file);
        python.run("deepness_scores.py", &names.each_ref().map(|name| name.to_str().unwrap()));
        let (gap, _) = gap(&read_floats(&names[2]), &expected);
        assert!(gap <= CLOSE, "{value_range:?}: {gap:.1e}");
    }
}

#[test]
fn smp_takes_the_weights_as_they_are_and_gives_the_same_logits() {
    let needed = ["torch", "safetensors.torch", "segmentation_models_pytorch"];
    let Some(python) = Python::with(&needed) else { return };
    for (arch, encoder) in [("fpn", "efficientnet-b0"), ("unet", "efficientnet-b1")] {
        let spec = ModelSpec { encoder: encoder.into(), ..small(arch) };
        let (place, network) = (Place::new(), settled(&spec));
        let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        save(Path::new(&file("model.safetensors")), &spec, &network);
        let shape = [2, 3, 64, 96];
        let images = noise("image", shape);
        write_floats(Path::new(&file("in.f32")), &values(images.clone()));
        let expected = values(network.forward(images));
        for (format, name) in [(Format::Safetensors, "smp.safetensors"), (Format::Torch, "smp.pth")]
        {
            let report = export(&place, format, name);
            let [n, c, h, w] = shape.map(|size| size.to_string());
            let (weights, input, output) = (file(name), file("in.f32"), file("out.f32"));
            let network = report.smp.unwrap();
            python.run("smp_logits.py", &[&network, &weights, &input, &n, &c, &h, &w, &output]);
            let (gap, largest) = gap(&read_floats(Path::new(&output)), &expected);
            eprintln!("{network} {name}: {:.1e} of the largest value", gap / largest);
            assert!(gap < 2e-5 * largest, "{network} {name}: {gap:.1e} of {largest:.1e}");
        }
    }
}

#[test]
fn exported_weights_come_back_by_import_and_are_exported_to_the_same_bytes() {
    for arch in ["fpn", "unet", "unet-expand", "efficient-fpn"] {
        let (place, spec) = (Place::new(), small(arch));
        let file = |name: &str| place.path().join(name);
        let network = settled(&spec);
        save(&file("model.safetensors"), &spec, &network);
        let sizes =
            ["pyramid_channels=32", "segmentation_channels=32", "decoder_channels=[24,20,16,12,8]"];
        let sets = sizes.map(str::to_owned).into();
        let encoder = spec.encoder.clone();
        let read_as = import::Options { arch: arch.into(), encoder, sets, ..Default::default() };
        for (format, name) in [(Format::Safetensors, "out.safetensors"), (Format::Torch, "out.pth")]
        {
            export(&place, format, name);
            let first = std::fs::read(file(name)).unwrap();
            let (fitted, found) =
                import::load::<Flex>(&file(name), &read_as, &Default::default()).unwrap();
            assert_eq!(named_tensors(&found), named_tensors(&network), "{arch} {name}");
            assert_eq!((fitted.kept.len(), fitted.unexpected.len()), (0, 0), "{arch} {name}");
            let again = file("again.safetensors");
            save(&again, &fitted.spec, &found);
            export::run(&again, &options(format), &file(name)).unwrap();
            assert!(first == std::fs::read(file(name)).unwrap(), "{arch} {name}: other bytes");
        }
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_program_exports_a_model_with_its_card() {
    let place = Place::new();
    let spec = small("fpn");
    let network = Network::<Flex>::seeded(&spec, 1, &Default::default()).unwrap();
    let validation = ("geoseg.validation".to_owned(), "{\"iou\":0.75}".to_owned());
    let config = ("geoseg.config".to_owned(), "{\"model\":{\"init\":\"\"}}".to_owned());
    let model = place.path().join("model.safetensors");
    weights::save(&model, &spec, &network, &[validation, config].into()).unwrap();
    let base = ["weights", "export", "model.safetensors", "--card", "--format"];
    for (format, file, artifact) in [
        ("onnx", "out.onnx", "onnx.save"),
        ("torch", "out.pth", "torch.save"),
        ("safetensors", "out.safetensors", "safetensors.torch.save_file"),
    ] {
        let arguments = [&base[..], &[format, "-o", file, "--json"]].concat();
        let ran = place.run(&arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&report["output"], &report["format"]), (&file.into(), &format.into()));
        assert_eq!(report["bytes"], std::fs::metadata(place.path().join(file)).unwrap().len());
        let card = json(&place.path().join(format!("{file}.json")));
        assert_eq!((&card["type"], &card["stac_version"]), (&"Feature".into(), &"1.1.0".into()));
        let about = &card["properties"];
        for key in ["name", "architecture", "tasks", "input", "output", "framework"] {
            assert!(!about[format!("mlm:{key}")].is_null(), "{key} is missing");
        }
        assert_eq!(about["mlm:total_parameters"], report["parameters"]);
        assert_eq!(about["mlm:input"][0]["bands"], serde_json::json!(["red", "green", "blue"]));
        assert_eq!(about["mlm:input"][0]["value_scaling"][0]["mean"], 0.485 * 255.0);
        assert_eq!(about["geoseg:provenance"]["geoseg.validation"]["iou"], 0.75);
        assert_eq!(about["mlm:pretrained"], false);
        assert_eq!(card["assets"]["model"]["mlm:artifact_type"], artifact);
        assert_eq!(card["assets"]["model"]["href"], format!("./{file}"));
        assert!(place.run(&arguments).error().contains("--overwrite"));
        assert_eq!(place.run(&[&arguments[..], &["--overwrite"]].concat()).code, Some(0));
    }
    let ran =
        place.run(&["weights", "export", "model.safetensors", "--format", "torch", "-o", "b.pth"]);
    assert!(ran.stdout.contains("smp.FPN(\"efficientnet-b0\""), "{}", ran.stdout);
    let names =
        ["b.pth", "model.safetensors", "out.onnx", "out.onnx.json", "out.pth", "out.pth.json"];
    assert_eq!(place.names(), [&names[..], &["out.safetensors", "out.safetensors.json"]].concat());
}

#[test]
fn a_model_is_not_replaced_by_its_export() {
    let place = Place::new();
    let path = place.path().join("model.safetensors");
    save(&path, &small("fpn"), &settled(&small("fpn")));
    let before = std::fs::read(&path).unwrap();
    for line in [
        "weights export model.safetensors --format safetensors -o ./model.safetensors --overwrite",
        "weights import model.safetensors --encoder efficientnet-b0 -o model.safetensors --overwrite",
        "weights average model.safetensors model.safetensors -o model.safetensors --overwrite",
    ] {
        let ran = place.run(&line.split(' ').collect::<Vec<_>>());
        assert!(ran.error().contains("an output beside the inputs"), "{}", ran.stderr);
    }
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn what_cannot_be_exported_is_one_clear_error() {
    let place = Place::new();
    let spec = small("fpn");
    let network = Network::<Flex>::seeded(&spec, 1, &Default::default()).unwrap();
    let model = place.path().join("model.safetensors");
    let origin = (import::IMPORTED.to_owned(), "{\"part\":\"encoder\"}".to_owned());
    weights::save(&model, &spec, &network, &Provenance::from([origin])).unwrap();
    let run = |model: &str, more: &[&str]| {
        let base = ["weights", "export", model, "-o", "out.onnx", "--format"];
        place.run(&[&base[..], more].concat()).error().to_owned()
    };
    assert!(run("model.safetensors", &["onnx"]).contains("train it first"));
    save(&model, &spec, &network);
    let error = run("model.safetensors", &["onnx", "--tile-px", "500"]);
    assert!(error.contains("--tile-px") && error.contains("multiple of 32"), "{error}");
    assert!(run("model.safetensors", &["torch", "--tile-px", "512"]).contains("is for ONNX"));
    assert!(run("none.safetensors", &["onnx"]).contains("none.safetensors"));
    place.write("text.safetensors", "hello, I am not a model of any kind");
    assert!(run("text.safetensors", &["onnx"]).contains("text.safetensors"));
    assert_eq!(place.names(), ["model.safetensors", "text.safetensors"]);
}
