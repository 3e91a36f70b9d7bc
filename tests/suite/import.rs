//! Weights of other programs: the reference's checkpoints, every container, and bad files.

use std::path::{Path, PathBuf};

use crate::support::program::Place;
use crate::support::reference::{Tensors, gap, json, load, read, reference, values};
use burn::backend::Flex;
use burn::tensor::Tensor;
use geoseg::import::{self, FirstConvolution, Fitted, Options, Part, Variant, file};
use geoseg::model::efficientnet::Padding;
use geoseg::model::{Architecture, Mode, Network};

type Named = Vec<(String, burn::tensor::TensorData)>;

fn options() -> Options {
    Options { arch: "fpn".into(), encoder: "efficientnet-b0".into(), ..Options::default() }
}

fn import(path: &Path, options: &Options) -> (Fitted, Network<Flex>) {
    import::load::<Flex>(path, options, &Default::default()).unwrap()
}

fn message(path: &Path, options: &Options) -> String {
    let error = import::load::<Flex>(path, options, &Default::default()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    assert!(error.contains(&*path.file_name().unwrap().to_string_lossy()), "{error}");
    error
}

/// Features after the last block of each stride, by the names of the reference.
fn features(network: &Network<Flex>, x: Tensor<Flex, 4>) -> Vec<(&'static str, Vec<f32>)> {
    let encoder = match &network.arch {
        Architecture::Fpn(fpn) => &fpn.encoder,
        other => panic!("an FPN, not {other:?}"),
    };
    let mut x = encoder.stem.forward(x, Mode::Eval);
    let mut features = Vec::new();
    for (index, block) in encoder.blocks.iter().enumerate() {
        x = block.forward(x, Mode::Eval);
        let name = match index {
            0 => "s2",
            2 => "s4",
            4 => "s8",
            10 => "s16",
            15 => "s32",
            _ => continue,
        };
        features.push((name, values(x.clone())));
    }
    features
}

/// The largest gap of a feature, over the largest expected value; over all features.
fn worst(network: &Network<Flex>, input: &Tensors, expected: &Tensors) -> f64 {
    let found = features(network, load::<Flex, 4>(input, "input"));
    assert_eq!(found.len(), 5);
    let gaps = found.into_iter().map(|(name, found)| {
        let (gap, largest) = gap(&found, &values(load::<Flex, 4>(expected, name)));
        gap / largest
    });
    gaps.fold(0.0, f64::max)
}

fn padding(fitted: &Fitted) -> (Padding, f64) {
    (fitted.spec.encoder_padding, fitted.spec.batch_norm_eps)
}

#[test]
fn encoders_of_every_family_give_their_features_and_a_wrong_convention_would_not() {
    let Some(input) = reference("import/input.safetensors") else { return };
    let input = read(&input);
    let timm = ["encoder_padding=same", "encoder_padding=symmetric"];
    for (file, expected_convention, other_padding) in [
        ("lukemelas_efficientnet-b0.pth", (Padding::Nominal, 1e-3), timm[1]),
        ("timm_tf_efficientnet_b0.safetensors", (Padding::Same, 1e-3), timm[1]),
        ("timm_efficientnet_b0.safetensors", (Padding::Symmetric, 1e-5), timm[0]),
        ("torchvision_efficientnet_b0.pth", (Padding::Symmetric, 1e-5), timm[0]),
    ] {
        let path = reference(&format!("import/{file}")).unwrap();
        let name = file.rsplit_once('.').unwrap().0;
        let expected = read(&reference(&format!("import/{name}.expected.safetensors")).unwrap());
        let (fitted, network) = import(&path, &options());
        assert_eq!(padding(&fitted), expected_convention, "{file}");
        assert_eq!(fitted.part, Part::Encoder);
        // Stem 5, first block 14, 15 blocks of 19.
        assert_eq!((fitted.used, fitted.unexpected.len()), (304, 0), "{file}");
        assert!(fitted.kept.iter().all(|name| !name.starts_with("encoder.")));
        let gap = worst(&network, &input, &expected);
        eprintln!("{file}: {gap:.1e} of the largest value");
        assert!(gap < 1e-5, "{file}: {gap}");

        let other_eps = if expected_convention.1 < 1e-4 { "1e-3" } else { "1e-5" };
        for wrong in [other_padding.to_owned(), format!("batch_norm_eps={other_eps}")] {
            let options = Options { sets: vec![wrong.clone()], ..options() };
            let gap = worst(&import(&path, &options).1, &input, &expected);
            eprintln!("{file} with {wrong}: {gap:.1e}");
            assert!(gap > 1e-4, "{file} with {wrong}: {gap}");
        }
    }
}

#[test]
fn a_whole_network_of_smp_gives_its_features_and_logits() {
    let Some(path) = reference("import/smp_fpn_efficientnet-b0.safetensors") else { return };
    let input = read(&reference("import/input.safetensors").unwrap());
    let mut expected =
        read(&reference("import/smp_fpn_efficientnet-b0.expected.safetensors").unwrap());
    let stage_end = expected["s16_stage_end"].clone();
    expected.insert("s16".into(), stage_end);
    let (fitted, network) = import(&path, &options());
    assert_eq!((fitted.part, fitted.kept.len(), fitted.unexpected.len()), (Part::All, 0, 0));
    assert_eq!(padding(&fitted), (Padding::Nominal, 1e-3));
    let features = worst(&network, &input, &expected);
    let logits_gap = |network: &Network<Flex>| {
        let logits = values(network.forward(load::<Flex, 4>(&input, "input")));
        let (gap, largest) = gap(&logits, &values(load::<Flex, 4>(&expected, "logits")));
        gap / largest
    };
    let logits = logits_gap(&network);
    eprintln!("features {features:.1e}, logits {logits:.1e} of the largest value");
    assert!(features < 1e-5 && logits < 1e-5, "{features} {logits}");
    for wrong in ["batch_norm_eps=1e-5", "encoder_padding=symmetric"] {
        let options = Options { sets: vec![wrong.into()], ..options() };
        let gap = logits_gap(&import(&path, &options).1);
        assert!(gap > 1e-4, "{wrong}: {gap}");
    }

    let options =
        Options { encoder_only: true, classes: Some(vec!["a".into(), "b".into()]), ..options() };
    let (fitted, network) = import(&path, &options);
    assert_eq!((fitted.part, fitted.used), (Part::Encoder, 304));
    assert!(worst(&network, &input, &expected) < 1e-5);
    assert_eq!(network.forward(load::<Flex, 4>(&input, "input")).dims(), [1, 2, 96, 128]);
}

#[test]
fn every_container_gives_the_same_tensors() {
    let Some(path) = reference("import/flavours/expected.json") else { return };
    let expected = json(&path);
    let folder = path.parent().unwrap().to_owned();
    let floats = |value: &serde_json::Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    for (file, rounded) in [
        ("zip.pth", ""),
        ("legacy.pth", ""),
        ("wrapped.pth", ""),
        ("wrapped_dataparallel.pth", ""),
        ("cuda_location.pth", ""),
        ("strided_views.pth", ""),
        ("half.pth", "half_"),
        ("f16.safetensors", "half_"),
        ("bf16.safetensors", "bf16_"),
        ("f32.safetensors", ""),
        ("f64.safetensors", ""),
    ] {
        let found = file::read(&folder.join(file)).unwrap().tensors;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.bias", "a.num_batches_tracked", "a.weight"], "{file}");
        for (name, data) in &found {
            let entry = &expected[name];
            let shape: Vec<usize> = entry["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_u64().unwrap() as usize)
                .collect();
            assert_eq!(data.shape.to_vec(), shape, "{file} {name}");
            let exact = floats(&entry["values"]);
            let of_file = expected.get(format!("{rounded}{name}")).filter(|_| !rounded.is_empty());
            let wanted = of_file.map_or(exact, floats);
            assert_eq!(data.to_vec::<f32>().unwrap(), wanted, "{file} {name}");
        }
    }
}

#[test]
fn safetensors_are_recognised_whatever_the_length_of_their_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let tensors = [("a".to_owned(), burn::tensor::TensorData::from([1f32]))];
    // 32 lengths in steps of 8, one of which begins like a pickle (0x80).
    let mut first_bytes = std::collections::BTreeSet::new();
    for length in (0..256).step_by(8) {
        let metadata = [("note".to_owned(), "x".repeat(length))].into();
        let bytes = geoseg::model::weights::encode(&metadata, &tensors);
        first_bytes.insert(bytes[0]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(file::read(&path).unwrap().tensors.len(), 1, "{length}");
    }
    assert!(first_bytes.contains(&0x80));
}

#[test]
fn the_two_kinds_of_timm_are_told_apart_or_asked_for() {
    let Some(path) = reference("import/timm_tf_efficientnet_b0.safetensors") else { return };
    let folder = tempfile::tempdir().unwrap();
    let nameless = folder.path().join("model.safetensors");
    std::os::unix::fs::symlink(&path, &nameless).unwrap();
    let asked = message(&nameless, &options());
    assert!(asked.contains("--variant tf") && asked.contains("--variant plain"), "{asked}");
    for (variant, expected) in
        [(Variant::Tf, (Padding::Same, 1e-3)), (Variant::Plain, (Padding::Symmetric, 1e-5))]
    {
        let (fitted, _) = import(&nameless, &Options { variant: Some(variant), ..options() });
        assert_eq!(padding(&fitted), expected);
    }
    let (fitted, _) = import(&path, &options());
    assert!(fitted.notes.iter().any(|note| note.contains("--variant tf")), "{:?}", fitted.notes);
    let lukemelas = reference("import/lukemelas_efficientnet-b0.pth").unwrap();
    let options = Options { variant: Some(Variant::Tf), ..options() };
    let error = import::load::<Flex>(&lukemelas, &options, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("--variant"), "{error}");
}

#[test]
fn the_first_convolution_takes_other_bands() {
    let Some(path) = reference("import/torchvision_efficientnet_b0.pth") else { return };
    let bands = |count| Some(import::band_names(count));
    let x = Tensor::<Flex, 4>::ones([1, 1, 64, 64], &Default::default());
    let of = |options: &Options| {
        let (fitted, network) = import(&path, options);
        let count = fitted.spec.bands.len();
        assert_eq!((fitted.spec.mean.len(), fitted.spec.std.len()), (count, count));
        values(network.forward(x.clone().repeat_dim(1, count)))
    };
    let three = of(&options());
    for (how, count) in
        [(FirstConvolution::Mean, 1), (FirstConvolution::Mean, 4), (FirstConvolution::Repeat, 6)]
    {
        let options = Options { bands: bands(count), first_convolution: how, ..options() };
        let (gap, largest) = gap(&of(&options), &three);
        assert!(gap < 1e-4 * largest, "{how} {count}: {gap}");
    }
}

#[test]
fn what_does_not_fit_is_one_clear_error() {
    let Some(smp) = reference("import/smp_fpn_efficientnet-b0.safetensors") else { return };
    let with = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        options
    };
    let torchvision = reference("import/torchvision_efficientnet_b0.pth").unwrap();
    let larger = with(|options| options.encoder = "efficientnet-b1".into());
    for path in [&smp, &torchvision] {
        let error = message(path, &larger);
        assert!(error.contains("looks like --encoder efficientnet-b0"), "{error}");
    }
    let classes = with(|options| options.classes = Some(vec!["a".into(), "building".into()]));
    let error = message(&smp, &classes);
    assert!(error.contains("segmentation_head.0") && error.contains("--classes"), "{error}");
    let narrow = with(|options| options.sets = vec!["segmentation_channels=64".into()]);
    assert!(message(&smp, &narrow).contains("decoder.seg_blocks.0.block.0.block.0.weight"));
    let flavours = smp.parent().unwrap().join("flavours/zip.pth");
    assert!(message(&flavours, &options()).contains("a.bias"));

    // Missing, unexpected and NaN tensors.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    let tensors: Vec<_> = read(&smp).into_iter().collect();
    let write = |change: &dyn Fn(&mut Named)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        let bytes = geoseg::model::weights::encode(&Default::default(), &tensors);
        std::fs::write(&path, bytes).unwrap();
    };
    write(&|tensors| tensors.retain(|(name, _)| name != "decoder.p3.skip_conv.bias"));
    assert!(message(&path, &options()).contains("decoder.p3.skip_conv.bias"));
    write(&|tensors| tensors.retain(|(name, _)| name != "encoder._blocks.7._bn1.running_var"));
    assert!(message(&path, &options()).contains("encoder._blocks.7._bn1.running_var"));
    let one = || burn::tensor::TensorData::new(vec![1f32], [1]);
    write(&|tensors| tensors.push(("decoder.blocks.0.weight".into(), one())));
    assert!(message(&path, &options()).contains("decoder.blocks.0.weight"));
    write(&|tensors| tensors.push(("auxiliary.weight".into(), one())));
    assert_eq!(import(&path, &options()).0.unexpected, ["auxiliary.weight"]);
    for bad in [f32::NAN, f32::INFINITY] {
        write(&|tensors| {
            let found = tensors.iter_mut().find(|(name, _)| name == "encoder._bn0.bias").unwrap();
            let mut values = found.1.to_vec::<f32>().unwrap();
            values[3] = bad;
            found.1 = burn::tensor::TensorData::new(values, found.1.shape.clone());
        });
        let error = message(&path, &options());
        assert!(error.contains("encoder._bn0.bias") && error.contains("NaN"), "{error}");
    }
    let report = geoseg::import::run(&smp, &options(), &path, false).unwrap_err();
    assert!(report.to_string().contains("--overwrite"), "{report}");
    geoseg::import::run(&smp, &options(), &path, true).unwrap();
    assert!(message(&path, &options()).contains("a model of geoseg"));
}

/// A pseudo-random stream.
struct Stream(u64);

impl Stream {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (geoseg::model::noise::splitmix64(7, self.0) % bound as u64) as usize
    }
}

fn containers() -> Vec<PathBuf> {
    let Some(folder) = reference("import/flavours") else { return Vec::new() };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().unwrap() != "json").collect();
    files.sort();
    files
}

#[test]
fn truncated_and_changed_files_are_errors_or_other_numbers_but_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let (mut refused, mut accepted) = (0, 0);
    let mut random = Stream(0);
    for original in containers() {
        let bytes = std::fs::read(&original).unwrap();
        let path = folder.path().join(original.file_name().unwrap());
        let mut attempt = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match file::read(&path) {
                Ok(checkpoint) => {
                    let all = checkpoint.tensors.values();
                    let count: usize = all.map(|data| data.shape.num_elements()).sum();
                    assert!(count <= 2 * bytes.len());
                    accepted += 1;
                    true
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    refused += 1;
                    false
                }
            }
        };
        for length in (0..bytes.len()).step_by(bytes.len() / 97) {
            assert!(!attempt(&bytes[..length]), "{} cut at {length}", path.display());
        }
        for _ in 0..800 {
            let mut changed = bytes.clone();
            for _ in 0..=random.below(3) {
                changed[random.below(bytes.len())] ^= 1 << random.below(8);
            }
            attempt(&changed);
        }
    }
    eprintln!("{refused} refused, {accepted} accepted");
    assert!(refused > accepted || refused == 0);
}

/// A checkpoint of one pickle, in the container before PyTorch 1.6.
fn legacy(pickle: &[u8], storages: &[(&str, &[u8], usize)]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
    bytes.extend(pickle);
    bytes.extend(b"\x80\x02](");
    for (key, _, _) in storages {
        bytes.extend([b"U", &[key.len() as u8][..], key.as_bytes()].concat());
    }
    bytes.extend(b"e.");
    for (_, data, count) in storages {
        bytes.extend((*count as u64).to_le_bytes());
        bytes.extend(*data);
    }
    bytes
}

/// The pickle of `{"w": tensor}`, its shape and strides given as code.
fn tensor(class: &str, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut code =
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n".to_vec();
    code.extend(class.as_bytes());
    code.extend(b"\nU\x010U\x03cpuK\x02NtQK\x00");
    code.extend([shape, strides].concat());
    code.extend(b"\x89}tRs.");
    code
}

#[test]
fn malicious_pickles_are_refused_and_never_executed() {
    let place = Place::new();
    let refused = |name: &str, bytes: Vec<u8>| {
        let path = place.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = file::read(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        error
    };
    let storage = [("0", &[0u8, 0, 128, 63, 0, 0, 0, 64][..], 2)];
    // A good one first: [1, 2].
    let good = legacy(&tensor("FloatStorage", b"K\x02\x85", b"K\x01\x85"), &storage);
    std::fs::write(place.path().join("good.pth"), good).unwrap();
    let found = file::read(&place.path().join("good.pth")).unwrap().tensors;
    assert_eq!(found["w"].to_vec::<f32>().unwrap(), [1.0, 2.0]);

    let marker = place.path().join("executed");
    let command = format!("touch {}", marker.display());
    let mut call = b"cposix\nsystem\nX".to_vec();
    call.extend((command.len() as u32).to_le_bytes());
    call.extend(command.as_bytes());
    call.extend(b"\x85R");
    let whole = [&b"\x80\x02"[..], &call, b"."].concat();
    assert!(refused("root.pth", legacy(&whole, &[])).contains("posix.system"));
    let whole =
        [&b"\x80\x02}(U\x05other"[..], &tensor("FloatStorage", b"K\x02\x85", b"K\x01\x85")[6..]]
            .concat();
    let whole = [&whole[..whole.len() - 2], b"U\x01v", &call, b"u."].concat();
    assert!(refused("entry.pth", legacy(&whole, &storage)).contains("posix.system"));
    // Protocol 0 and 1 have more ways to call; none is known.
    assert!(refused("instance.pth", legacy(b"(S'true'\niposix\nsystem\n.", &[])).contains("0x"));
    assert!(!marker.exists());

    // Sizes beyond the storage, repeated elements, overflowing products, storages of unknown type.
    let long = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    for (name, class, shape, strides) in [
        ("beyond.pth", "FloatStorage", &b"K\x03\x85"[..], &b"K\x01\x85"[..]),
        ("stride.pth", "FloatStorage", b"K\x02\x85", b"K\x02\x85"),
        ("repeated.pth", "FloatStorage", b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"),
        ("product.pth", "FloatStorage", &[long, &long[..], b"\x86"].concat(), b"K\x00K\x00\x86"),
        ("steep.pth", "FloatStorage", b"K\x02\x85", &[&long[..], b"\x85"].concat()),
        ("negative.pth", "FloatStorage", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        ("ranks.pth", "FloatStorage", b"K\x02\x85", b"K\x01K\x01\x86"),
    ] {
        let error = refused(name, legacy(&tensor(class, shape, strides), &storage));
        assert!(error.contains("`w`"), "{error}");
    }
    let complex = tensor("ComplexFloatStorage", b"K\x01\x85", b"K\x01\x85");
    assert!(refused("complex.pth", legacy(&complex, &storage)).contains("storage"));
    let float = tensor("FloatStorage", b"K\x02\x85", b"K\x01\x85");
    let claimed = [("0", &[0u8; 8][..], usize::MAX / 2)];
    assert!(refused("claimed.pth", legacy(&float, &claimed)).contains("end of the file"));
    let module = b"\x80\x02cnet\nNet\n)\x81}b.";
    let error = refused("module.pth", legacy(module, &[]));
    assert!(error.contains("net.Net") && error.contains("state_dict"), "{error}");
    let nested = [&b"\x80\x02"[..], &b"]".repeat(1 << 20), b"."].concat();
    assert!(refused("nested.pth", legacy(&nested, &[])).contains("state_dict"));
    let endless = [&b"\x80\x02"[..], &b"N".repeat(5 << 20), b"."].concat();
    assert!(refused("endless.pth", legacy(&endless, &[])).contains("millions"));
    assert!(refused("text.pth", b"hello, this is not a checkpoint".to_vec()).contains(".pth"));
}

#[test]
fn what_lies_beside_the_weights_is_named_and_left_alone() {
    let place = Place::new();
    let path = place.path().join("beside.pth");
    let mut code =
        b"\x80\x02}(U\x04argscargparse\nNamespace\n)\x81}U\x02lrK\x01sbU\x05state".to_vec();
    code.extend(b"K\x01U\x0astate_dict");
    let weights = tensor("FloatStorage", b"K\x02\x85", b"K\x01\x85");
    code.extend(&weights[2..weights.len() - 1]);
    code.extend(b"u.");
    std::fs::write(&path, legacy(&code, &[("0", &[0u8; 8], 2)])).unwrap();
    let found = file::read(&path).unwrap();
    assert_eq!(found.tensors.len(), 1);
    assert!(found.ignored.contains("argparse.Namespace"), "{:?}", found.ignored);
}

#[test]
fn the_program_imports_and_describes_a_model() {
    let Some(path) = reference("import/smp_fpn_efficientnet-b0.safetensors") else { return };
    let place = Place::new();
    let file = path.to_str().unwrap();
    let base = ["weights", "import", file, "--encoder", "efficientnet-b0", "-o", "m.safetensors"];
    let ran = place.run(&[&base[..], &["--gsd", "0.25", "--json"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["family"], &report["part"]), (&"smp".into(), &"all".into()));
    assert!(place.run(&base).error().contains("--overwrite"));
    let ran = place.run(&[&base[..], &["--overwrite"]].concat());
    assert!(ran.stdout.contains("whole network"), "{}", ran.stdout);
    let ran = place.run(&["info", "m.safetensors", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(info["spec"]["encoder"], "efficientnet-b0");
    assert_eq!(info["parameters"], report["parameters"]);
    assert_eq!(info["provenance"]["geoseg.import"]["part"], "all");
    let ran = place.run(&["info", "m.safetensors"]);
    assert!(ran.stdout.contains("efficientnet-b0"), "{}", ran.stdout);
    assert!(place.run(&["info", file]).error().contains("geoseg weights import"));
    let ran = place.run(&["weights", "import", "no.pth", "--encoder", "x", "-o", "n.safetensors"]);
    assert!(ran.error().contains("no.pth"));
    assert_eq!(place.names(), ["m.safetensors"]);
}
