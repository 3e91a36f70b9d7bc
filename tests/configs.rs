//! The configuration files that the project ships fit their types.

use std::path::{Path, PathBuf};

use geoseg::config::dataset::DatasetConfig;
use geoseg::config::infer::InferConfig;
use geoseg::config::search::SearchConfig;
use geoseg::config::train::TrainConfig;
use geoseg::config::{self, Layers};

fn file(name: &str) -> Vec<PathBuf> {
    vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)]
}

#[test]
fn the_commented_files_are_valid() {
    config::load::<DatasetConfig>(&file("dataset.toml"), &[]).unwrap().validate().unwrap();
    config::load::<TrainConfig>(&file("train.toml"), &[]).unwrap().validate().unwrap();
    config::load::<InferConfig>(&file("infer.toml"), &[]).unwrap().validate().unwrap();
    config::load::<SearchConfig>(&file("search.toml"), &[]).unwrap().validate().unwrap();
}

#[test]
fn the_demo_is_valid_and_its_scenes_are_there() {
    let layers = Layers::read(&file("demo/dataset.toml"), &[]).unwrap();
    let mut dataset = layers.parse::<DatasetConfig>().unwrap();
    dataset.resolve_paths(layers.folder_of("scene").unwrap());
    dataset.validate().unwrap();
    for scene in &dataset.scene {
        for path in [Some(&scene.image), Some(&scene.footprints), scene.aoi.as_ref()] {
            assert!(path.is_none_or(|path| path.is_file()), "{path:?}");
        }
    }
    config::load::<TrainConfig>(&file("demo/train.toml"), &[]).unwrap().validate().unwrap();
    config::load::<InferConfig>(&file("demo/infer.toml"), &[]).unwrap().validate().unwrap();
}
