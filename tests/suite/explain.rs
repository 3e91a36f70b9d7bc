//! Looking into networks: every layer of every network, Grad-CAM against plain computations, the command.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::support::program::Place;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData};
use geoseg::config::infer::{InferConfig, InferenceConfig};
use geoseg::device::Device;
use geoseg::explain::{Subject, activations, filters, saliency};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, Reprojection, write_geotiff};
use geoseg::infer::{Batch, Input, Region};
use geoseg::interrupt::Interrupt;
use geoseg::kernels::{self, Kernels};
use geoseg::model::tap::{LOGITS, record};
use geoseg::model::tensors::{map_tensors, named_shapes};
use geoseg::model::weights::{self, Provenance};
use geoseg::model::{ARCHITECTURES, Mode, ModelSpec, Network, named_tensors};
use geoseg::progress::Progress;

type Diff = Autodiff<Flex>;

fn spec(arch: &str) -> ModelSpec {
    ModelSpec {
        arch: arch.into(),
        pyramid_channels: 32,
        segmentation_channels: 32,
        decoder_channels: [32, 24, 16, 8, 8],
        use_context_block: true,
        ..ModelSpec::default()
    }
}

fn noise<B: Kernels>(shape: [usize; 4]) -> Tensor<B, 4> {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0);
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), &Default::default())
}

/// With statistics that are not 0 and 1.
fn network<B: Kernels>(spec: &ModelSpec) -> Network<B> {
    let network = Network::<B>::seeded(spec, 3, &Default::default()).unwrap();
    network.forward_in(noise([2, spec.bands.len(), 64, 64]), Mode::Recalibrate { seen: 0 });
    network
}

fn values<B: Kernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

#[test]
fn every_layer_of_every_network_is_listed_by_its_name_and_recorded_without_a_change() {
    for listed in ARCHITECTURES {
        let spec = spec(listed.name);
        let network = network::<Flex>(&spec);
        let x = noise([1, 3, 40, 64]);
        let expected = values(network.forward(x.clone()));
        let (logits, recording) = record(&network, x.clone(), None);
        assert!(values(logits) == expected, "{}", spec.arch);
        assert!(recording.wanted.is_none());
        let layers = recording.layers;
        let names: HashSet<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names.len(), layers.len(), "{}: two layers of one name", spec.arch);
        assert_eq!(layers.last().unwrap().name, LOGITS);

        let tensors = named_shapes(&network);
        for name in names.iter().filter(|name| **name != LOGITS) {
            let inside = format!("{name}.");
            let found = tensors.iter().any(|(tensor, _)| tensor.starts_with(&inside));
            assert!(found, "{}: nothing in the model file is called {name}", spec.arch);
        }
        for (tensor, shape) in &tensors {
            // Layers of vectors have no maps.
            let of_vectors = ["_se_", "channel_add_conv", "aspp.atrous4.module.1"];
            if shape.len() == 4 && !of_vectors.iter().any(|part| tensor.contains(part)) {
                let name = tensor.strip_suffix(".weight").unwrap();
                assert!(names.contains(name), "{}: {name} is missing", spec.arch);
            }
        }
        for layer in layers.iter().rev().step_by(9) {
            let (logits, recording) = record(&network, x.clone(), Some(&layer.name));
            assert_eq!(recording.wanted.unwrap().dims(), layer.shape, "{}", layer.name);
            assert!(values(logits) == expected, "{} {}", spec.arch, layer.name);
        }
        // Whoever looked is gone.
        assert!(values(network.forward(x)) == expected);
    }
}

#[test]
fn blocks_and_levels_have_the_names_of_the_model_file() {
    for (arch, expected) in [
        ("fpn", &["encoder._bn0", "encoder._blocks.3", "decoder.p5", "decoder.p3", "decoder"][..]),
        ("efficient-fpn", &["encoder._conv_head", "lateral2", "top2.0.gn", "ctx", "bce_logit"]),
        ("unet-expand", &["encoder._blocks.3._expand_conv", "decoder.blocks.2.conv1.1"]),
        ("carvana-unet", &["centre.layers.1.norm", "segmentation_head.0"]),
        ("mean-mask", &[LOGITS]),
    ] {
        let (_, recording) = record(&network::<Flex>(&spec(arch)), noise([1, 3, 64, 64]), None);
        for name in expected {
            let found = recording.layers.iter().any(|layer| layer.name == *name);
            assert!(found, "{arch}: {name} is not among {:?}", recording.layers);
        }
    }
}

#[test]
fn a_block_puts_out_its_residual_sum_and_a_level_its_own_and_the_one_above() {
    let network = network::<Flex>(&spec("fpn"));
    let of = |layer: &str| {
        let (_, recording) = record(&network, noise([1, 3, 64, 64]), Some(layer));
        recording.wanted.unwrap()
    };
    // The second block of a stage adds its input.
    let sum = of("encoder._blocks.1") + of("encoder._blocks.2._bn2");
    assert_eq!(values(of("encoder._blocks.2")), values(sum));
    let sum = of("decoder.p4.skip_conv") + kernels::nearest(of("decoder.p5"), 2);
    assert_eq!(values(of("decoder.p4")), values(sum));
}

#[test]
fn what_the_last_layer_puts_out_is_the_logits() {
    for listed in ARCHITECTURES {
        let spec = spec(listed.name);
        let network = network::<Flex>(&spec);
        let x = noise([1, 3, 64, 64]);
        let expected = values(network.forward(x.clone()));
        let of = |layer| record(&network, x.clone(), Some(layer)).1.wanted.unwrap();
        assert!(values(of(LOGITS)) == expected, "{}", spec.arch);
        let head = match listed.name {
            "mean-mask" => continue,
            "fpn" => kernels::bilinear(of("segmentation_head.0"), 4, true),
            "efficient-fpn" => {
                // Probabilities are upsampled: the logits are only near.
                let of_two = of("bce_logit");
                assert_eq!(of_two.dims(), [1, 2, 16, 16]);
                continue;
            }
            _ => of("segmentation_head.0"),
        };
        assert!(values(head) == expected, "{}", spec.arch);
    }
}

/// What each logit of one class counts: some pixels do, and the others do not.
fn shares(logits: usize) -> Vec<f32> {
    (0..logits).map(|i| f32::from(u8::from(i % 7 < 3))).collect()
}

/// Grad-CAM of a convolution in front of a `ReLU` and a 5x5 head, sum by sum.
#[test]
fn grad_cam_is_that_of_a_computation_by_hand() {
    let spec = spec("carvana-cnn");
    let network = network::<Diff>(&spec);
    let (h, w) = (11, 14);
    let x = noise::<Diff>([1, 3, h, w]);
    let found =
        saliency::grad_cam(&network, x.clone(), "second", |logits| Ok(shares(logits.len())))
            .unwrap();
    assert_eq!((found.height, found.width, found.weights.len()), (h, w, 32));

    let maps = values(record(&network, x, Some("second")).1.wanted.unwrap());
    let head = named_tensors(&network).into_iter().find(|(name, _)| name.contains("head.0.weight"));
    let head = head.unwrap().1.to_vec::<f32>().unwrap(); // [1, 32, 5, 5]
    let counted = shares(h * w);
    let mut map = vec![0f64; h * w];
    for channel in 0..32 {
        let of = |at: usize| f64::from(maps[channel * h * w + at]);
        let mut sum = 0.0;
        for at in (0..h * w).filter(|at| of(*at) > 0.0) {
            // Logit (row, col) sees this position through tap (ky, kx).
            for (ky, kx) in (0..25).map(|tap| (tap / 5, tap % 5)) {
                let (row, col) = ((at / w + 2).checked_sub(ky), (at % w + 2).checked_sub(kx));
                if let (Some(row), Some(col)) = (row, col)
                    && row < h
                    && col < w
                    && counted[row * w + col] > 0.0
                {
                    sum += f64::from(head[channel * 25 + ky * 5 + kx]);
                }
            }
        }
        let weight = sum / (h * w) as f64;
        let apart = (f64::from(found.weights[channel]) - weight).abs();
        assert!(apart < 1e-5, "{channel}: {} {weight}", found.weights[channel]);
        for (at, map) in map.iter_mut().enumerate() {
            *map += weight * of(at);
        }
    }
    assert!(map.iter().any(|v| *v < 0.0), "nothing to clamp");
    for (found, expected) in found.map.iter().zip(map) {
        assert!((f64::from(*found) - expected.max(0.0)).abs() < 1e-5, "{found} {expected}");
    }
}

/// Adding a number to the bias of a convolution adds it to all of a channel's map.
fn score_with_bias(
    network: &Network<Diff>,
    layer: &str,
    (channel, step): (usize, f32),
    x: &Tensor<Diff, 4>,
) -> f64 {
    let bias = format!("{layer}.bias");
    let given = named_tensors(network).into_iter().find(|(name, _)| *name == bias).unwrap().1;
    let moved = map_tensors(network.clone(), |name, shape| {
        let mut values = given.to_vec::<f32>().unwrap();
        values[channel] += step;
        (name == bias).then(|| TensorData::new(values, shape.to_vec()))
    });
    let logits = values(moved.forward(x.clone()).inner());
    let counted = shares(logits.len());
    logits.iter().zip(counted).map(|(logit, share)| f64::from(logit * share)).sum()
}

#[test]
fn channel_weights_are_the_slopes_of_the_score() {
    for (arch, layer) in
        [("fpn", "decoder.p5"), ("efficient-fpn", "lateral1"), ("carvana-cnn", "first")]
    {
        let network = network::<Diff>(&spec(arch));
        let x = noise::<Diff>([1, 3, 64, 64]);
        let cam = saliency::grad_cam(&network, x.clone(), layer, |logits| Ok(shares(logits.len())))
            .unwrap();
        let area = (cam.height * cam.width) as f64;
        let size = cam.weights.iter().fold(0f64, |m, v| m.max(f64::from(v.abs()))) * area;
        for channel in [0, 5, 11] {
            let step = 1e-2;
            let at = |step| score_with_bias(&network, layer, (channel, step), &x);
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let found = f64::from(cam.weights[channel]) * area;
            let apart = (slope - found).abs() / size;
            eprintln!("{arch} {layer} {channel}: slope {slope:.4}, weight {found:.4}");
            assert!(apart < 0.03, "{arch} {layer} {channel}: {slope}, {found}");
        }
    }
}

#[test]
fn a_layer_that_is_not_there_or_beside_the_way_is_refused() {
    let network = network::<Diff>(&spec("efficient-fpn"));
    let of = |layer| {
        let x = noise::<Diff>([1, 3, 64, 64]);
        saliency::grad_cam(&network, x, layer, |logits| Ok(shares(logits.len())))
    };
    let message = of("lateral_1").unwrap_err().to_string();
    assert!(message.contains("did you mean `lateral1`"), "{message}");
    let message = of("dice").unwrap_err().to_string();
    assert!(message.contains("no influence"), "{message}");
}

fn pixel(col: usize, row: usize, band: usize) -> u8 {
    ((col * 2_654_435_761 + row * 40_503 + band * 77 + (col * row) % 91) % 251) as u8
}

const GEOREFERENCE: GeoTransform = GeoTransform([500_000.0, 0.3, 0.0, 3_000_000.0, 0.0, -0.3]);

fn scene(folder: &Path, (width, height): (usize, usize), crs: Option<Crs>) -> PathBuf {
    let path = folder.join("scene.tif");
    let transform = if crs.is_some() { GEOREFERENCE } else { GeoTransform::PIXEL };
    let grid = Grid { width, height, transform, crs, gsd_m: None };
    let area = width * height;
    let data: Vec<u8> =
        (0..3 * area).map(|i| pixel(i % width, i % area / width, i / area)).collect();
    write_geotiff(&path, &grid, 3, &data, None, Compression::Deflate).unwrap();
    path
}

fn utm() -> Crs {
    Crs::from_epsg(32645).unwrap()
}

fn config(window_px: usize) -> InferConfig {
    let inference = InferenceConfig { window_px, overlap_px: 16, ..InferenceConfig::default() };
    InferConfig { inference, ..InferConfig::default() }
}

fn model(folder: &Path, arch: &str, classes: &[&str]) -> PathBuf {
    let path = folder.join("model.safetensors");
    let classes = classes.iter().map(ToString::to_string).collect();
    let spec = ModelSpec { classes, ..spec(arch) };
    weights::save(&path, &spec, &network::<Flex>(&spec), &Provenance::new()).unwrap();
    path
}

/// Every window inside a scene of 300 x 260 pixels of 0.3 m, worked on at `gsd_m`: the pixels that inference feeds, and those of
/// the window around the same place. In values of 0 to 255.
fn fed_and_single(gsd_m: f64) -> Vec<(Vec<f32>, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec("fpn");
    let mut config = config(64);
    config.inference.gsd_m = Some(gsd_m);
    let path = scene(folder.path(), (300, 260), Some(utm()));
    let mut fed: Vec<Batch> = Vec::new();
    let out = folder.path().join("scores");
    let open = || Input::open(&path, &spec, &config, &Region::default()).unwrap();
    let collect = |batch: &Batch| {
        fed.push(batch.clone());
        Ok(vec![0.5; 64 * 64])
    };
    let (interrupt, progress) = (Interrupt::default(), Progress::Hidden);
    geoseg::infer::run(open(), &config.inference, &out, collect, &interrupt, progress).unwrap();
    let way = Reprojection::new(&utm(), &Crs::wgs84().unwrap()).unwrap();
    let grid = open().output_grid();
    let (width, height) = (grid.width as isize, grid.height as isize);
    fed.retain(|batch| {
        let (left, top) = batch.positions[0];
        left >= 0 && top >= 0 && left + 64 <= width && top + 64 <= height
    });
    let bytes = |batch: &Batch| -> Vec<f32> {
        let value = |(i, x): (usize, &f32)| x * 255.0 * spec.std[i / (64 * 64)] as f32;
        batch.pixels.iter().enumerate().map(value).collect()
    };
    let pair = |batch: &Batch| {
        let (left, top) = batch.positions[0];
        let (x, y) = grid.transform.apply((left + 32) as f64, (top + 32) as f64);
        let window = open().single(&config.inference, Some(way.point(x, y).unwrap())).unwrap();
        assert_eq!(window.batch.positions, batch.positions);
        assert!(window.valid.iter().all(|valid| *valid));
        (bytes(batch), bytes(&window.batch))
    };
    fed.iter().map(pair).collect()
}

#[test]
fn the_window_is_the_one_that_inference_feeds_to_the_network() {
    let pairs = fed_and_single(0.3);
    assert!(pairs.len() > 8 && pairs.iter().all(|(fed, single)| fed == single));
    // GDAL rounds an averaged pixel by where a read begins, and inference reads whole rows.
    let pairs = fed_and_single(0.4);
    assert!(pairs.len() > 3);
    for (fed, single) in pairs {
        let apart: Vec<f32> = fed.iter().zip(&single).map(|(a, b)| (a - b).abs()).collect();
        assert!(apart.iter().all(|apart| *apart < 1.01));
        let other = apart.iter().filter(|apart| **apart > 0.0).count();
        assert!(other * 50 < apart.len(), "{other} of {} differ", apart.len());
    }
}

#[test]
fn a_window_stays_in_the_scene_and_a_smaller_scene_lies_in_its_middle() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec("fpn");
    let path = scene(folder.path(), (100, 40), None);
    let input = Input::open(&path, &spec, &config(64), &Region::default()).unwrap();
    let at = |at| input.single(&config(64).inference, at);
    for (place, left) in
        [(None, 18), (Some((0.0, 0.0)), 0), (Some((99.0, 20.0)), 36), (Some((40.0, 5.0)), 8)]
    {
        let window = at(place).unwrap();
        assert_eq!(window.batch.positions, [(left, -12)], "{place:?}");
        for (i, valid) in window.valid.iter().enumerate() {
            assert_eq!(*valid, (12..52).contains(&(i / 64)), "{i}");
        }
        let value = |band: usize, row: usize, col: usize| {
            let x = f64::from(window.batch.pixels[(band * 64 + row) * 64 + col]);
            ((x * spec.std[band] + spec.mean[band]) * 255.0).round() as u8
        };
        assert_eq!(value(1, 20, 5), pixel(left as usize + 5, 8, 1));
        // Mirrored: the row above the first is the first.
        assert_eq!(value(2, 11, 5), pixel(left as usize + 5, 0, 2));
    }
    let message = at(Some((100.5, 3.0))).unwrap_err().to_string();
    assert!(message.contains("scene.tif") && message.contains("100 x 40"), "{message}");
}

/// At the logits themselves the map is what they are above 0: it must lie on the pixels that they belong to.
#[test]
fn heat_lies_where_it_belongs_in_a_window_that_the_network_continues() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), "carvana-unet", &["building"]);
    let path = scene(folder.path(), (90, 70), Some(utm()));
    // Continued to 48 pixels.
    let config = config(44);
    let subject = Subject::open(&model, &Device::Cpu, &path, &config, None).unwrap();
    let found = saliency::of(&subject, None, Some(LOGITS), 0.5).unwrap();
    assert_eq!((found.cam.height, found.cam.width), (48, 48));
    let heat = found.heat(&subject).unwrap();
    let maps = activations::of(&subject, LOGITS).unwrap();
    let inner = |i: usize| maps.values[(i / 44 + 2) * 48 + i % 44 + 2];
    let largest = (0..44 * 44).map(inner).fold(0f32, f32::max);
    for (i, heat) in heat.iter().enumerate() {
        let expected = inner(i).max(0.0) / largest;
        assert!((heat - expected).abs() < 1e-4, "{i}: {heat} {expected}");
        assert_eq!(found.predicted[i], inner(i) >= 0.0, "{i}");
    }
}

#[test]
fn a_second_class_has_a_map_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), "carvana-cnn", &["building", "boundary"]);
    let path = scene(folder.path(), (90, 70), Some(utm()));
    let subject = Subject::open(&model, &Device::Cpu, &path, &config(64), None).unwrap();
    let of = |class| saliency::of(&subject, class, None, 0.0).unwrap();
    let (building, boundary) = (of(None), of(Some("boundary")));
    assert_eq!((building.layer.as_str(), building.class.as_str()), ("second", "building"));
    assert_eq!(building, of(Some("building")));
    assert_ne!(building.cam.weights, boundary.cam.weights);
    let message = saliency::of(&subject, Some("roof"), None, 0.0).unwrap_err().to_string();
    assert!(message.contains("building, boundary") && message.contains("`roof`"), "{message}");
    let message = saliency::of(&subject, None, None, 1.0).unwrap_err().to_string();
    assert!(message.contains("no pixel") && message.contains("polygonize.threshold"), "{message}");
}

#[test]
fn the_first_filters_of_every_network_see_the_bands() {
    let folder = tempfile::tempdir().unwrap();
    for listed in ARCHITECTURES {
        let path = model(folder.path(), listed.name, &["building"]);
        let (_, convolutions) = filters::convolutions(&path).unwrap();
        let first = filters::choose(&path, &convolutions, None);
        if listed.name == "mean-mask" {
            let message = first.unwrap_err().to_string();
            assert!(message.contains("convolutions"), "{message}");
            continue;
        }
        let first = first.unwrap();
        assert_eq!(first.shape[1..], [3, 3, 3], "{}", listed.name);
        assert_eq!(first.weights.len(), first.shape.iter().product::<usize>());
        let message = filters::choose(&path, &convolutions, Some("nothing")).unwrap_err();
        assert!(message.to_string().contains("did you mean"), "{message}");
    }
}

/// A place with a scene and a small model.
fn place(arch: &str) -> Place {
    let place = Place::new();
    scene(place.path(), (90, 70), Some(utm()));
    model(place.path(), arch, &["building"]);
    place
}

const WINDOW: [&str; 9] = [
    "scene.tif",
    "--model",
    "model.safetensors",
    "--device",
    "cpu",
    "--set",
    "inference.window_px=64",
    "--set",
    "inference.overlap_px=16",
];

fn explain<'a>(what: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["explain", what], &WINDOW[..], more].concat()
}

#[test]
fn pictures_are_drawn_and_the_same_input_gives_the_same_bytes() {
    let place = place("fpn");
    let seen = ["--set", "polygonize.threshold=0"];
    for arguments in [
        explain("activations", &["--layer", "decoder.p3", "--channels", "5"]),
        explain("saliency", &seen),
        explain("saliency", &[&seen[..], &["--layer", "encoder._blocks.3"]].concat()),
        vec!["explain", "filters", "--model", "model.safetensors"],
        vec!["explain", "filters", "-m", "model.safetensors", "--layer", "decoder.p5"],
    ] {
        let pictures = ["a.png", "b.png"].map(|name| {
            let ran = place.run(&[&arguments[..], &["-o", name]].concat());
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
            assert!(ran.stdout.starts_with(name), "{}", ran.stdout);
            let path = place.path().join(name);
            let bytes = std::fs::read(&path).unwrap();
            let picture = image::open(&path).unwrap();
            assert!(picture.width() > 200 && picture.height() > 150, "{arguments:?}");
            std::fs::remove_file(path).unwrap();
            bytes
        });
        assert!(pictures[0] == pictures[1], "{arguments:?}");
    }
    assert_eq!(place.names(), ["model.safetensors", "scene.tif"]);
}

#[test]
fn layers_are_listed_with_their_shapes() {
    let place = place("fpn");
    for arguments in [
        explain("activations", &[]),
        explain("activations", &["--layer", "list"]),
        explain("saliency", &["--layer", "list"]),
    ] {
        let ran = place.run(&arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let line = ran.stdout.lines().find(|line| line.contains(" decoder.p3 ")).unwrap();
        let numbers: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert_eq!(numbers, ["1", "32", "8", "8"]);
    }
    let ran = place.run(&["explain", "filters", "-m", "model.safetensors", "--layer", "list"]);
    assert!(ran.stdout.lines().nth(1).unwrap().contains("encoder._conv_stem"), "{}", ran.stdout);
}

#[test]
fn what_is_asked_wrongly_is_one_line_and_leaves_nothing() {
    let place = place("carvana-cnn");
    place.write("there.png", "precious");
    for (what, more, parts) in [
        ("activations", &["--layer", "secnd", "-o", "a.png"][..], &["--layer", "`second`"][..]),
        ("saliency", &["--layer", "thirst", "-o", "a.png"], &["--layer", "`first`"]),
        ("saliency", &["--class", "roof", "-o", "a.png"], &["--class", "building"]),
        ("saliency", &["--at", "10,20", "-o", "a.png"], &["scene.tif", "10,20"]),
        ("saliency", &["-o", "there.png"], &["there.png", "--overwrite"]),
        ("saliency", &["-o", "nowhere/a.png"], &["nowhere"]),
        ("activations", &["--layer", "first"], &["--output"]),
    ] {
        let ran = place.run(&explain(what, more));
        for part in parts {
            assert!(ran.error().contains(part), "{more:?}: {}", ran.stderr);
        }
    }
    let ran = place.run(&explain("saliency", &["--at", "somewhere", "-o", "a.png"]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(place.names(), ["model.safetensors", "scene.tif", "there.png"]);
    assert_eq!(std::fs::read_to_string(place.path().join("there.png")).unwrap(), "precious");
}
