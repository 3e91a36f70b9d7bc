//! `[data]` of `config/train.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::error::Result;

/// `[data]`: the tiles and how batches are drawn from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Folder of the tile set.
    pub tiles: PathBuf,
    /// The fold to validate on in a set cut into folds; -1 uses the set's own splits.
    pub fold: i64,
    /// Side of the square crops that the network sees, pixels.
    pub crop_px: usize,
    /// Crops in a batch.
    pub batch: usize,
    /// Whole tiles in a validation batch.
    pub validation_batch: usize,
    /// What is drawn equally often.
    pub balance: Balance,
    /// Relative frequency of a scale, by its name; 1 where it is missing.
    pub scale_weights: BTreeMap<String, f64>,
    /// Relative frequency of a scene, by its name; 1 where it is missing.
    pub scene_weights: BTreeMap<String, f64>,
    /// Relative frequency of tiles without a building.
    pub empty_weight: f64,
    /// Folder of a tile set that `geoseg mine` made; none where empty.
    pub mined_tiles: PathBuf,
    /// Share of the crops that comes from the mined tiles.
    pub mined_share: f64,
    /// Folder of a tile set with soft labels; none where empty.
    pub soft_tiles: PathBuf,
    /// Every how many batches one is of soft labels.
    pub soft_every: usize,
    /// Probabilities below the first are no building, above the second one, and between them ignored; as they are
    /// where absent.
    pub soft_harden: Option<[f64; 2]>,
    /// Threads that read and augment; 0 chooses.
    pub workers: usize,
}

/// What the sampler draws equally often, before the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Every pair of scene and scale.
    Uniform,
    /// Every scene.
    Scene,
    /// Every scale.
    Scale,
    /// Every tile.
    Tile,
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            tiles: "tiles".into(),
            fold: -1,
            crop_px: 512,
            batch: 8,
            validation_batch: 4,
            balance: Balance::Uniform,
            scale_weights: BTreeMap::new(),
            scene_weights: BTreeMap::new(),
            empty_weight: 1.0,
            mined_tiles: PathBuf::new(),
            mined_share: 0.2,
            soft_tiles: PathBuf::new(),
            soft_every: 5,
            soft_harden: None,
            workers: 0,
        }
    }
}

impl DataSection {
    pub(super) fn validate(&self) -> Result<()> {
        require(self.crop_px >= 32, "data.crop_px", self.crop_px, "at least 32")?;
        for (key, batch) in
            [("data.batch", self.batch), ("data.validation_batch", self.validation_batch)]
        {
            within(key, batch as f64, 1.0, 4096.0)?;
        }
        require(self.fold >= -1, "data.fold", self.fold, "a fold's number, or -1")?;
        within("data.empty_weight", self.empty_weight, 0.0, 1000.0)?;
        within("data.mined_share", self.mined_share, 0.001, 0.999)?;
        require(self.soft_every >= 2, "data.soft_every", self.soft_every, "at least 2")?;
        if let Some([low, high]) = self.soft_harden {
            within("data.soft_harden", low, 0.0, 1.0)?;
            within("data.soft_harden", high, low, 1.0)?;
        }
        require(self.workers <= 256, "data.workers", self.workers, "at most 256")?;
        for (key, weights) in [
            ("data.scale_weights", &self.scale_weights),
            ("data.scene_weights", &self.scene_weights),
        ] {
            for (name, &weight) in weights {
                within(&format!("{key}.{name}"), weight, 0.0, 1000.0)?;
            }
        }
        Ok(())
    }
}
