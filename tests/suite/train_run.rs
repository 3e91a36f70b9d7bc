//! Whole trainings of a small network on made-up tiles.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use burn::backend::{Autodiff, Flex};
use burn::tensor::TensorData;
use geoseg::config::train::{InitScope, OptimizerName, ScheduleKind, TrainConfig};
use geoseg::error::Error;
use geoseg::interrupt::Interrupt;
use geoseg::model::efficientnet::Padding;
use geoseg::model::{ModelSpec, Network, named_tensors, weights};
use geoseg::output::Begin;
use geoseg::progress::Progress;
use geoseg::tiles::TileSet;
use geoseg::train::batches::Batches;
use geoseg::train::log::{Entry, StepEntry, read};
use geoseg::train::plan::normalisation;
use geoseg::train::prefetch::Prefetch;
use geoseg::train::sources::Sources;
use geoseg::train::{self, Ended, Report, Watch};

use crate::support::tiny::{config, tile_set};

type Diff = Autodiff<Flex>;

fn start(
    config: &TrainConfig,
    set: &TileSet,
    out: &Path,
    begin: Begin,
    interrupt: &Interrupt,
) -> Result<Report, Error> {
    let sources = Sources::of(set.clone());
    let device = Default::default();
    train::run::<Diff>(
        config,
        &device,
        &sources,
        out,
        begin,
        &Watch::new(interrupt, Progress::Hidden),
    )
}

/// The log without what depends on the clock.
fn timeless(out: &Path) -> Vec<Entry> {
    let mut entries = read(&out.join("metrics.jsonl")).unwrap();
    for entry in &mut entries {
        match entry {
            Entry::Step(step) => (step.time, step.tiles_per_s) = (0.0, 0.0),
            Entry::Epoch(epoch) => epoch.time = 0.0,
            Entry::Validation(val) => (val.time, val.seconds) = (0.0, 0.0),
        }
    }
    entries
}

#[test]
fn a_resumed_training_equals_an_unbroken_one_step_by_step() {
    let mut config = config(7);
    config.optimizer.ema_decay = 0.9;
    config.optimizer.accumulate = 2;
    let steps = resumed_equals_unbroken(config);
    let losses: Vec<&String> = steps[0].losses.keys().collect();
    assert_eq!(losses, ["dice", "focal"]);
}

#[test]
fn a_resumed_training_remembers_its_momentum_and_its_plateau() {
    let mut config = config(7);
    config.optimizer.name = OptimizerName::Sgd;
    config.optimizer.nesterov = true;
    config.loss.boundary_weight = 0.5;
    config.loss.lovasz_weight = 0.5;
    config.loss.tversky_weight = 0.5;
    config.loss.hard_fraction = 0.5;
    config.schedule.kind = ScheduleKind::Plateau;
    // No loss is low enough: every validation but the first reduces the rate.
    config.schedule.plateau_patience = 0;
    config.schedule.plateau_threshold = 1.0;
    config.run.validate_every = 1;
    let peak = config.optimizer.learning_rate;
    let steps = resumed_equals_unbroken(config);
    let rates: Vec<f64> = steps.iter().map(|step| step.learning_rate / peak).collect();
    assert_eq!(rates, [1.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]);
    assert_eq!(steps[0].losses.len(), 5);
}

#[test]
fn a_training_goes_on_with_the_optimizer_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 0);
    let out = folder.path().join("run");
    start(&config(1), &set, &out, Begin::New, &Interrupt::default()).unwrap();
    let mut config = config(2);
    config.optimizer.name = OptimizerName::Rmsprop;
    let error =
        start(&config, &set, &out, Begin::Resume, &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("optimizer.name"), "{error}");
    // Without validation tiles there is nothing to wait for.
    config.schedule.kind = ScheduleKind::Plateau;
    let out = folder.path().join("plateau");
    let error =
        start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("schedule.kind"), "{error}");
}

#[test]
fn a_training_is_replaced_only_by_one_that_can_begin() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 0);
    let out = folder.path().join("run");
    start(&config(1), &set, &out, Begin::New, &Interrupt::default()).unwrap();
    let before = std::fs::read(out.join("model.safetensors")).unwrap();
    let mut wrong = config(2);
    wrong.data.crop_px = 4096;
    start(&wrong, &set, &out, Begin::Anew, &Interrupt::default()).unwrap_err();
    assert!(std::fs::read(out.join("model.safetensors")).unwrap() == before);
    let mut from_itself = config(2);
    from_itself.model.init = out.join("model.safetensors").to_string_lossy().into_owned();
    let error = start(&from_itself, &set, &out, Begin::Anew, &Interrupt::default()).unwrap_err();
    assert!(error.to_string().contains("model.init"), "{error}");
    assert!(std::fs::read(out.join("model.safetensors")).unwrap() == before);
    let report = start(&config(2), &set, &out, Begin::Anew, &Interrupt::default()).unwrap();
    assert_eq!(report.steps, 2);
}

#[test]
fn a_training_does_not_go_on_without_its_average() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 0);
    let out = folder.path().join("run");
    let with_average = |steps: usize| {
        let mut config = config(steps);
        config.optimizer.ema_decay = 0.9;
        config
    };
    // One may begin later: with the weights as they are then.
    start(&config(1), &set, &out, Begin::New, &Interrupt::default()).unwrap();
    start(&with_average(2), &set, &out, Begin::Resume, &Interrupt::default()).unwrap();
    std::fs::remove_file(out.join("checkpoints/last/average.safetensors")).unwrap();
    let error =
        start(&with_average(3), &set, &out, Begin::Resume, &Interrupt::default()).unwrap_err();
    assert!(error.to_string().contains("average.safetensors"), "{error}");
}

/// Trains twice, once with an interruption; the steps of both.
fn resumed_equals_unbroken(mut config: TrainConfig) -> Vec<StepEntry> {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 2);
    let unbroken = folder.path().join("unbroken");
    let report = start(&config, &set, &unbroken, Begin::New, &Interrupt::default()).unwrap();
    assert_eq!(report.steps, 7);
    assert!(report.best.is_some());

    let broken = folder.path().join("broken");
    let interrupt = Interrupt::default();
    let metrics = broken.join("metrics.jsonl");
    let finished = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Ctrl-C somewhere in the middle.
        scope.spawn(|| {
            while !finished.load(std::sync::atomic::Ordering::Relaxed) {
                let steps = std::fs::read_to_string(&metrics)
                    .map_or(0, |text| text.matches("\"kind\":\"step\"").count());
                if steps >= 2 {
                    interrupt.raise();
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let error = start(&config, &set, &broken, Begin::New, &interrupt).unwrap_err();
        finished.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(&error, Error::Interrupted { .. }), "{error}");
        assert!(error.to_string().contains("--resume"), "{error}");
    });
    assert!(timeless(&broken).len() < timeless(&unbroken).len());
    // Other threads must not change the batches.
    config.data.workers = 3;
    start(&config, &set, &broken, Begin::Resume, &Interrupt::default()).unwrap();

    let (expected, got) = (timeless(&unbroken), timeless(&broken));
    assert_eq!(expected.len(), got.len());
    for (expected, got) in expected.iter().zip(&got) {
        assert_eq!(expected, got);
    }
    let tensors = |out: &Path| {
        let path = out.join("model.safetensors");
        let (_, network) = weights::load::<Flex>(&path, &Default::default()).unwrap();
        named_tensors(&network)
    };
    for ((name, expected), (_, got)) in tensors(&unbroken).into_iter().zip(tensors(&broken)) {
        assert_eq!(expected, got, "{name}");
    }
    for file in ["curves.png", "train.toml", "tensorboard/events.out.tfevents.0.geoseg"] {
        assert!(broken.join(file).is_file(), "{file}");
    }
    let steps = got.into_iter().filter_map(|entry| match entry {
        Entry::Step(step) => Some(step),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_loss_that_is_not_a_number_stops_with_the_tiles_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 0);
    let out = folder.path().join("run");
    let report = start(&config(1), &set, &out, Begin::New, &Interrupt::default()).unwrap();
    assert_eq!((report.best, report.val_tiles), (None, 0));
    assert!(weights::load::<Flex>(&report.model, &Default::default()).is_ok());

    let path = out.join("checkpoints/last/model.safetensors");
    let (spec, network) = weights::load::<Flex>(&path, &Default::default()).unwrap();
    let network = geoseg::model::tensors::map_tensors(network, |name, shape| {
        let huge = || burn::tensor::TensorData::full(shape, f32::MAX);
        (name == "segmentation_head.0.bias").then(huge)
    });
    weights::save(&path, &spec, &network, &weights::Provenance::new()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = start(&config(3), &set, &out, Begin::Resume, &Interrupt::default()).unwrap_err();
    let Error::NonFiniteLoss { step, tiles, .. } = error else { panic!("{error}") };
    assert_eq!(step, 1);
    assert_eq!(tiles.len(), 2);
    assert!(tiles[0].starts_with("train/"), "{tiles:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn training_stops_early_when_validation_no_longer_improves() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 1);
    let mut config = config(50);
    // No pixel is as sure as this: the IoU stays 0.
    config.run.threshold = 0.9999;
    config.run.validate_every = 1;
    config.run.patience = 2;
    let out = folder.path().join("run");
    let report = start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap();
    assert_eq!(report.ended, Ended::NoBetter);
    assert_eq!(report.steps, 3);
    // The folder is taken now.
    let error = start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap_err();
    assert!(error.to_string().contains("--overwrite"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_batches_whatever_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::of(tile_set(folder.path(), 1));
    let batches = |seed| {
        let mut config = config(1);
        config.run.seed = seed;
        Batches::new(&sources, &config, normalisation(&sources.labelled.info)).unwrap()
    };
    let all = |seed, workers| {
        let batches = &batches(seed);
        std::thread::scope(|scope| {
            Prefetch::start(scope, workers, 0..12, move |k| batches.training(k))
                .map(|batch| batch.unwrap())
                .collect::<Vec<_>>()
        })
    };
    let one = all(1, 1);
    assert_eq!(one, all(1, 4));
    assert_ne!(one, all(2, 1));
    assert_eq!(one[7], batches(1).training(7).unwrap());
    for batch in &one {
        assert_eq!(batch.shape, [2, 3, 32, 32]);
        assert!(batch.image.iter().all(|value| value.is_finite()));
    }
}

/// A model to start from: of other statistics and conventions than a training would choose itself.
fn start_model(path: &Path, classes: &[&str]) -> (ModelSpec, HashMap<String, TensorData>) {
    let spec = ModelSpec {
        pyramid_channels: 16,
        segmentation_channels: 32,
        encoder_padding: Padding::Symmetric,
        batch_norm_eps: 1e-5,
        batch_norm_momentum: 0.1,
        mean: vec![0.4, 0.5, 0.6],
        std: vec![0.3, 0.2, 0.1],
        classes: classes.iter().map(ToString::to_string).collect(),
        ..ModelSpec::default()
    };
    let network = Network::<Flex>::seeded(&spec, 99, &Default::default()).unwrap();
    weights::save(path, &spec, &network, &weights::Provenance::new()).unwrap();
    (spec, named_tensors(&network).into_iter().collect())
}

fn kept_model(report: &Report) -> (ModelSpec, HashMap<String, TensorData>) {
    let (spec, network) = weights::load::<Flex>(&report.model, &Default::default()).unwrap();
    (spec, named_tensors(&network).into_iter().collect())
}

#[test]
fn a_training_starts_from_a_model_and_takes_over_its_conventions() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 0);
    let path = folder.path().join("start.safetensors");
    let (start_spec, given) = start_model(&path, &["building", "boundary"]);
    let mut config = config(1);
    config.model.init = path.to_str().unwrap().into();
    // A step too small to change anything.
    config.optimizer.learning_rate = 1e-12;
    let out = folder.path().join("all");
    let (spec, tensors) =
        kept_model(&start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap());
    let first: HashMap<_, _> = named_tensors(
        &Network::<Flex>::seeded(&spec, config.run.seed, &Default::default()).unwrap(),
    )
    .into_iter()
    .collect();
    let same = |a: &TensorData, b: &TensorData| {
        let (a, b) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-8)
    };
    for (name, tensor) in tensors.iter().filter(|(name, _)| geoseg::model::is_trainable(name)) {
        // One class instead of two: the head is new.
        let source = if name.starts_with("segmentation_head.") { &first } else { &given };
        assert!(same(tensor, &source[name]), "{name}");
    }
    let conventions = |spec: &ModelSpec| {
        (spec.encoder_padding, spec.batch_norm_eps, spec.mean.clone(), spec.std.clone())
    };
    assert_eq!(conventions(&spec), conventions(&start_spec));
    assert_eq!(spec.classes, ["building"]);

    config.model.init_scope = InitScope::Encoder;
    let out = folder.path().join("encoder");
    let (_, tensors) =
        kept_model(&start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap());
    let name = "encoder._blocks.5._project_conv.weight";
    assert!(same(&tensors[name], &given[name]));
    let name = "decoder.p5.weight";
    assert!(same(&tensors[name], &first[name]) && !same(&first[name], &given[name]));

    config.model.encoder = "efficientnet-b1".into();
    let out = folder.path().join("wrong");
    let error =
        start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("start.safetensors") && error.contains("model.encoder"), "{error}");
    config.model.encoder = "efficientnet-b0".into();
    config.model.init_scope = InitScope::All;
    config.model.pyramid_channels = 32;
    let error =
        start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("decoder.p5.weight"), "{error}");
}

#[test]
fn frozen_levels_stay_bit_for_bit_as_they_were_also_after_a_resumption() {
    let folder = tempfile::tempdir().unwrap();
    let set = tile_set(&folder.path().join("tiles"), 1);
    let path = folder.path().join("start.safetensors");
    let (_, given) = start_model(&path, &["building"]);
    for levels in [2, 5] {
        let mut config = config(2);
        config.model.init = path.to_str().unwrap().into();
        config.model.freeze_encoder_stages = levels;
        let out = folder.path().join(levels.to_string());
        start(&config, &set, &out, Begin::New, &Interrupt::default()).unwrap();
        config.run.steps = 4;
        let report = start(&config, &set, &out, Begin::Resume, &Interrupt::default()).unwrap();
        assert_eq!(report.steps, 4);
        let checkpoint = out.join("checkpoints/last/model.safetensors");
        let (_, last) = weights::load::<Flex>(&checkpoint, &Default::default()).unwrap();
        let (_, kept) = kept_model(&report);
        for tensors in [kept, named_tensors(&last).into_iter().collect()] {
            for (name, tensor) in tensors {
                let block = name
                    .strip_prefix("encoder._blocks.")
                    .map(|rest| rest.split_once('.').unwrap().0.parse::<usize>().unwrap());
                let frozen = name.starts_with("encoder.")
                    && (levels == 5 || block.is_none_or(|block| block <= 2));
                let same = tensor.to_vec::<f32>().unwrap() == given[&name].to_vec::<f32>().unwrap();
                // Biases that begin at 0 may stay there: one pixel has no variance to normalise.
                let may_stay = name.rsplit('.').next() == Some("bias") && !frozen;
                assert!(same == frozen || may_stay, "{levels} levels: {name}");
            }
        }
    }
}
