//! The scenes of one split of a dataset, with predictions from a folder.

use std::path::{Path, PathBuf};

use super::SceneInputs;
use crate::config::dataset::{DatasetConfig, SceneEntry};
use crate::error::{Error, Result};
use crate::geo::vector::VectorSource;
use crate::tiles::{Split, scene_splits};

/// Extensions of predicted buildings, in the order in which they are looked for.
const VECTORS: [&str; 6] = ["geojson", "gpkg", "fgb", "parquet", "geojsonl", "shp"];

/// Every scene of `split`, with its predictions in `folder`: buildings in `<scene>.geojson` (or `.gpkg`,
/// `.fgb`, `.parquet`, `.geojsonl`, `.shp`), scores in `<scene>_scores.tif`, a mask in `<scene>_mask.tif`; at
/// least one of them. Paths in `config` are taken as they are: resolve them first.
///
/// # Errors
/// No scene has that split, a scene has no prediction, or the split is by blocks: a prediction for a
/// whole scene cannot be judged on blocks that training did not see.
pub fn scenes_of(config: &DatasetConfig, split: Split, folder: &Path) -> Result<Vec<SceneInputs>> {
    select(config, split)?
        .into_iter()
        .map(|(name, entry)| {
            let predicted = VECTORS
                .iter()
                .map(|extension| folder.join(format!("{name}.{extension}")))
                .find(|path| path.is_file());
            let raster = |kind: &str| -> Option<PathBuf> {
                let path = folder.join(format!("{name}_{kind}.tif"));
                path.is_file().then_some(path)
            };
            let mut inputs = inputs_of(&name, entry, config);
            inputs.predicted = predicted.map(VectorSource::file);
            (inputs.scores, inputs.mask) = (raster("scores"), raster("mask"));
            if inputs.predicted.is_none() && inputs.scores.is_none() && inputs.mask.is_none() {
                return Err(Error::input(
                    folder.join(format!("{name}.geojson")),
                    format!("a prediction for scene `{name}`"),
                    "none",
                    "predict it with `geoseg infer`, or choose another split or folder",
                ));
            }
            Ok(inputs)
        })
        .collect()
}

/// Names and entries of the scenes of a split.
///
/// # Errors
/// See [`scenes_of`].
fn select(config: &DatasetConfig, split: Split) -> Result<Vec<(String, &SceneEntry)>> {
    let mut selected = Vec::new();
    for (entry, (name, of)) in config.scene.iter().zip(scene_splits(config)?) {
        match of {
            None => {
                return Err(Error::config(
                    "split.mode",
                    format!(
                        "scene `{name}` is divided into blocks, and predictions of whole scenes \
                         would be judged on ground that training saw; give scenes a `split`"
                    ),
                ));
            }
            Some(of) if of == split => selected.push((name, entry)),
            Some(_) => {}
        }
    }
    if selected.is_empty() {
        let problem = format!("no scene has the split `{}`", split.as_str());
        return Err(Error::config("scene", problem));
    }
    Ok(selected)
}

fn inputs_of(name: &str, entry: &SceneEntry, config: &DatasetConfig) -> SceneInputs {
    SceneInputs {
        name: name.to_owned(),
        truth: VectorSource {
            path: entry.footprints.clone(),
            layer: entry.layer.clone(),
            filter: entry.filter.clone(),
        },
        aoi: entry.aoi.clone().map(VectorSource::file),
        scene: Some(entry.image.clone()),
        scene_options: config.scene_options(),
        ..SceneInputs::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DatasetConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn predictions_are_found_by_the_scenes_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.gpkg"), "").unwrap();
        std::fs::write(folder.path().join("b_scores.tif"), "").unwrap();
        let config = config(
            "[[scene]]\nimage='x/a.tif'\nfootprints='a.geojson'\nsplit='train'\n\
             [[scene]]\nimage='x/b.tif'\nfootprints='b.geojson'\nlayer='roofs'\nsplit='val'\n",
        );
        let scenes = scenes_of(&config, Split::Val, folder.path()).unwrap();
        assert_eq!(scenes.len(), 1);
        assert_eq!(scenes[0].name, "b");
        assert_eq!(scenes[0].truth.layer.as_deref(), Some("roofs"));
        assert!(scenes[0].predicted.as_ref().unwrap().path.ends_with("b.gpkg"));
        assert!(scenes[0].scores.is_some() && scenes[0].mask.is_none());
        let missing = scenes_of(&config, Split::Train, folder.path()).unwrap_err().to_string();
        assert!(missing.contains("a.geojson"), "{missing}");
        let none = scenes_of(&config, Split::Test, folder.path()).unwrap_err().to_string();
        assert!(none.contains("`test`"), "{none}");
    }

    #[test]
    fn scenes_divided_into_blocks_are_refused() {
        let config =
            config("[split]\nmode='blocks'\n[[scene]]\nimage='a.tif'\nfootprints='a.geojson'\n");
        assert!(scenes_of(&config, Split::Val, Path::new(".")).is_err());
    }
}
