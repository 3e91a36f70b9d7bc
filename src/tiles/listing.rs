//! Which scene is for what, without opening any.

use crate::config::dataset::{DatasetConfig, SplitChoice, SplitMode};
use crate::error::Result;

use super::prepare::names;
use super::set::Split;
use super::split::by_scene;

/// Name and split of every scene, in the order of the configuration; no split where a scene is divided
/// into blocks.
///
/// # Errors
/// A name cannot be used, or two scenes have the same.
pub fn scene_splits(config: &DatasetConfig) -> Result<Vec<(String, Option<Split>)>> {
    let choices: Vec<SplitChoice> = config.scene.iter().map(|scene| scene.split).collect();
    let groups = by_scene(&choices, &config.split);
    let splits = choices.iter().zip(groups).map(|(choice, group)| {
        let divided = config.split.mode == SplitMode::Blocks && *choice == SplitChoice::Auto;
        (!divided).then_some(group.split)
    });
    Ok(names(&config.scene)?.into_iter().zip(splits).collect())
}
