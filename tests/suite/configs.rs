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
fn the_recipes_are_valid() {
    let train = |names: &[&str]| {
        let files: Vec<PathBuf> = names.iter().flat_map(|name| file(name)).collect();
        config::load::<TrainConfig>(&files, &[]).unwrap().validate().unwrap();
    };
    train(&["open-cities/augment.toml", "open-cities/step1.toml"]);
    train(&["open-cities/augment.toml", "open-cities/step2.toml"]);
    train(&["notebook/train.toml"]);
    config::load::<InferConfig>(&file("notebook/infer.toml"), &[]).unwrap().validate().unwrap();
    for (name, labels) in [("tiles", "footprints"), ("soft-tiles", "soft")] {
        let mut layers = file(&format!("open-cities/{name}.toml"));
        let folder = tempfile::tempdir().unwrap();
        let scene = folder.path().join("scene.toml");
        std::fs::write(&scene, format!("[[scene]]\nimage = 'a.tif'\n{labels} = 'b'\n")).unwrap();
        layers.push(scene);
        config::load::<DatasetConfig>(&layers, &[]).unwrap().validate().unwrap();
    }
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

#[test]
fn the_recipe_for_photos_is_valid_with_each_of_its_networks() {
    let mut dataset: DatasetConfig = config::load(&file("carvana/dataset.toml"), &[]).unwrap();
    dataset.resolve_photo_paths(Path::new("photos"));
    assert_eq!(dataset.photos[0].images, Path::new("photos/cars/images"));
    dataset.validate().unwrap();
    for (overlay, arch) in
        [(None, "carvana-unet"), (Some("cnn"), "carvana-cnn"), (Some("mean-mask"), "mean-mask")]
    {
        let mut files = file("carvana/train.toml");
        files.extend(overlay.iter().flat_map(|name| file(&format!("carvana/{name}.toml"))));
        let train: TrainConfig = config::load(&files, &[]).unwrap();
        train.validate().unwrap();
        assert_eq!(train.model.arch, arch);
        assert_eq!(train.data.crop_px, dataset.tiles.tile_px);
    }
}
