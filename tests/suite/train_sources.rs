//! Trainings that learn from more than one tile set, and from more than one head.

use std::path::Path;

use crate::support::tiny::{TILE_PX, config, tile_set};
use burn::backend::{Autodiff, Flex};
use geoseg::config::train::{Loss, TrainConfig};
use geoseg::interrupt::Interrupt;
use geoseg::output::Begin;
use geoseg::progress::Progress;
use geoseg::tiles::{Labels, TileSet};
use geoseg::train::batches::{Batch, Batches};
use geoseg::train::log::{Entry, StepEntry, read};
use geoseg::train::plan::normalisation;
use geoseg::train::sources::Sources;
use geoseg::train::{self, Watch};

type Diff = Autodiff<Flex>;

/// The tiles of `tile_set` with probabilities of 20 % off buildings, 50 % at their left and 90 % at their right.
fn soft_set(root: &Path) -> TileSet {
    let mut set = tile_set(root, 0);
    set.info.labels = Labels::Soft;
    for tile in &set.tiles {
        let path = root.join(&tile.mask);
        let mut mask = image::open(&path).unwrap().into_luma8();
        let left = mask
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0[0] == 1)
            .map(|(x, _, _)| x)
            .min()
            .unwrap();
        for (x, _, pixel) in mask.enumerate_pixels_mut() {
            pixel.0[0] = match pixel.0[0] {
                0 => 51,
                1 if x < left + 10 => 127,
                1 => 229,
                other => other,
            };
        }
        mask.save(&path).unwrap();
    }
    set
}

fn sources(folder: &Path, config: &mut TrainConfig) -> Sources {
    for name in ["labelled", "mined", "soft"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    config.data.soft_every = 3;
    config.data.mined_share = 0.5;
    Sources {
        labelled: tile_set(&folder.join("labelled"), 2),
        mined: Some(tile_set(&folder.join("mined"), 0)),
        soft: Some(soft_set(&folder.join("soft"))),
    }
}

fn batches<'a>(sources: &'a Sources, config: &TrainConfig) -> Batches<'a> {
    Batches::new(sources, config, normalisation(&sources.labelled.info)).unwrap()
}

#[test]
fn every_nth_batch_is_soft_and_the_others_come_as_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(1);
    let mut sources = sources(folder.path(), &mut config);
    let with: Vec<Batch> = {
        let batches = batches(&sources, &config);
        // Ten labelled tiles in batches of two, and one soft batch behind every second of them.
        assert_eq!(batches.batches_per_epoch(), 4 + 2);
        (0..9).map(|k| batches.training(k).unwrap()).collect()
    };
    let soft: Vec<bool> = with.iter().map(|batch| batch.soft).collect();
    assert_eq!(soft, [false, false, true, false, false, true, false, false, true]);
    assert_ne!(with[2].image, with[5].image);
    sources.soft = None;
    let without = batches(&sources, &config);
    let labelled: Vec<&Batch> = with.iter().filter(|batch| !batch.soft).collect();
    for (k, batch) in labelled.into_iter().enumerate() {
        assert_eq!(*batch, without.training(k as u64).unwrap());
    }
}

#[test]
fn soft_labels_are_probabilities_or_hardened_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(1);
    config.augment.enabled = false;
    let sources = sources(folder.path(), &mut config);
    let levels = |batch: &Batch| {
        let known = batch.labels.iter().zip(&batch.valid).filter(|(_, valid)| **valid == 1.0);
        let mut levels: Vec<i32> = known.map(|(p, _)| (p * 100.0).round() as i32).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    };
    let soft = batches(&sources, &config).training(2).unwrap();
    assert_eq!(levels(&soft), [20, 50, 90]);
    config.data.soft_harden = Some([0.4, 0.6]);
    let hardened = batches(&sources, &config).training(2).unwrap();
    assert_eq!(levels(&hardened), [0, 100]);
    assert!(hardened.valid.iter().sum::<f32>() < soft.valid.iter().sum::<f32>());
}

#[test]
fn mined_tiles_come_in_their_share() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(1);
    let mut sources = sources(folder.path(), &mut config);
    config.data.mined_share = 0.25;
    sources.soft = None;
    // The mined set is known by a scene of its own.
    for tile in &mut sources.mined.as_mut().unwrap().tiles {
        let file = |path: &Path| path.to_string_lossy().replace("train/", "../mined/train/");
        (tile.image, tile.mask) = (file(&tile.image).into(), file(&tile.mask).into());
    }
    let batches = batches(&sources, &config);
    let names = (0..200).flat_map(|k| batches.training(k).unwrap().tiles);
    let mined = names.filter(|name| name.contains("mined")).count();
    assert!((mined as f64 / 400.0 - 0.25).abs() < 0.03, "{mined} of 400");
}

#[test]
fn sets_that_do_not_go_together_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |change: &dyn Fn(&mut Sources, &mut TrainConfig)| {
        let mut config = config(1);
        let mut sources = sources(folder.path(), &mut config);
        change(&mut sources, &mut config);
        let normalisation = normalisation(&sources.labelled.info);
        Batches::new(&sources, &config, normalisation).unwrap_err().to_string()
    };
    let soft_as_labels = problem(&|sources, _| sources.labelled.info.labels = Labels::Soft);
    assert!(soft_as_labels.contains("data.tiles"), "{soft_as_labels}");
    let labels_as_soft =
        problem(&|sources, _| sources.soft.as_mut().unwrap().info.labels = Labels::Classes);
    assert!(labels_as_soft.contains("data.soft_tiles"), "{labels_as_soft}");
    let bands = problem(&|sources, _| sources.mined.as_mut().unwrap().info.bands = 4);
    assert!(bands.contains("4 bands"), "{bands}");
    let crop = problem(&|_, config| config.data.crop_px = TILE_PX + 1);
    assert!(crop.contains("data.crop_px"), "{crop}");
    let classes = problem(&|sources, config| {
        sources.labelled.info.classes.push("boundary".into());
        config.model.classes.push("boundary".into());
    });
    assert!(classes.contains("model.classes"), "{classes}");
}

fn run(config: &TrainConfig, sources: &Sources, out: &Path) -> Vec<StepEntry> {
    let (device, interrupt) = (Default::default(), Interrupt::default());
    train::run::<Diff>(
        config,
        &device,
        sources,
        out,
        Begin::New,
        &Watch::new(&interrupt, Progress::Hidden),
    )
    .unwrap();
    let entries = read(&out.join("metrics.jsonl")).unwrap();
    let steps = entries.into_iter().filter_map(|entry| match entry {
        Entry::Step(step) => Some(step),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_training_on_all_sources_with_mixup_goes_down_on_soft_labels() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(30);
    config.augment.mixup_probability = 0.5;
    config.optimizer.learning_rate = 5e-3;
    let sources = sources(folder.path(), &mut config);
    let steps = run(&config, &sources, &folder.path().join("run"));
    let soft: Vec<f64> = steps.iter().filter_map(|step| step.losses.get("kl").copied()).collect();
    assert_eq!(soft.len(), 10);
    assert!(
        steps
            .iter()
            .all(|step| step.losses.contains_key("kl") != step.losses.contains_key("focal"))
    );
    assert!(soft[5..].iter().sum::<f64>() / 5.0 < 0.6 * soft[0], "{soft:?}");
}

#[test]
fn efficient_fpn_learns_from_all_its_heads_and_other_networks_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(16);
    config.data.crop_px = 64;
    config.loss.dice_weight = 0.0;
    config.loss.second_head = [(Loss::Dice, 0.1)].into();
    config.loss.class_weight = 0.5;
    config.loss.scale_weight = 0.5;
    config.optimizer.learning_rate = 5e-4;
    let sources = Sources::of(tile_set(folder.path(), 1));
    let (device, interrupt) = (Default::default(), Interrupt::default());
    let out = folder.path().join("run");
    let error = train::run::<Diff>(
        &config,
        &device,
        &sources,
        &out,
        Begin::New,
        &Watch::new(&interrupt, Progress::Hidden),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("efficient-fpn") && error.contains("second_head"), "{error}");
    assert!(!out.exists(), "nothing is made for a training that cannot begin");
    config.model.arch = "efficient-fpn".into();
    config.model.drop_connect = 0.0;
    let steps = run(&config, &sources, &out);
    let names: Vec<&String> = steps[0].losses.keys().collect();
    assert_eq!(names, ["class", "focal", "scale", "second/dice"]);
    for name in names {
        let (first, last) = (steps[0].losses[name], steps[15].losses[name]);
        assert!(last < first, "{name}: {first} to {last}");
    }
}
