//! The tile sets of a training, and which of their tiles it learns from.

use std::path::Path;

use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::tiles::{Labels, Split, TileRecord, TileSet};
use crate::truth::{BOUNDARY, BUILDING, CONTACT};

/// The tile sets of a training.
#[derive(Debug)]
pub struct Sources {
    /// Tiles with labels by hand: those to learn from, and those to validate on.
    pub labelled: TileSet,
    /// Hard tiles that `geoseg mine` found, to learn from.
    pub mined: Option<TileSet>,
    /// Tiles with labels by other models.
    pub soft: Option<TileSet>,
}

impl Sources {
    /// Opens the sets that `config` names.
    ///
    /// # Errors
    /// One of them is no finished tile set.
    pub fn open(config: &TrainConfig) -> Result<Self> {
        let section = &config.data;
        let optional = |folder: &Path| {
            (!folder.as_os_str().is_empty()).then(|| TileSet::open(folder)).transpose()
        };
        Ok(Self {
            labelled: TileSet::open(&section.tiles)?,
            mined: optional(&section.mined_tiles)?,
            soft: optional(&section.soft_tiles)?,
        })
    }

    /// A labelled set and no other.
    pub fn of(labelled: TileSet) -> Self {
        Self { labelled, mined: None, soft: None }
    }

    /// Whether the sets go together.
    pub(super) fn check(&self, config: &TrainConfig) -> Result<()> {
        let section = &config.data;
        let kinds = [
            (Some(&self.labelled), Labels::Classes, "labels by hand (data.tiles)"),
            (self.mined.as_ref(), Labels::Classes, "labels by hand (data.mined_tiles)"),
            (self.soft.as_ref(), Labels::Soft, "soft labels (data.soft_tiles)"),
        ];
        for (set, labels, expected) in kinds {
            let Some(set) = set else { continue };
            if set.info.labels != labels {
                let found = format!("{} labels", set.info.labels.name());
                let hint = "tiles of scenes with `soft` have soft labels, those of scenes with `footprints` others";
                return Err(Error::input(
                    &set.root,
                    format!("a tile set with {expected}"),
                    found,
                    hint,
                ));
            }
            if section.crop_px > set.info.tile_px {
                let found = format!(
                    "is {}, but the tiles of {} have only {} px",
                    section.crop_px,
                    set.root.display(),
                    set.info.tile_px
                );
                return Err(Error::config("data.crop_px", found));
            }
            let describe = |set: &TileSet| {
                let [low, high] = set.info.value_range;
                format!("{} bands, values from {low} to {high}", set.info.bands)
            };
            if describe(set) != describe(&self.labelled) {
                let expected = format!(
                    "{}, as {} has",
                    describe(&self.labelled),
                    self.labelled.root.display()
                );
                return Err(Error::input(
                    &set.root,
                    expected,
                    describe(set),
                    "cut both sets with the same tiles.bands and tiles.value_range",
                ));
            }
            if set.tiles.is_empty() {
                return Err(Error::input(
                    &set.root,
                    "a tile set with tiles",
                    "none",
                    "leave it out",
                ));
            }
        }
        if self.soft.is_some() && config.model.classes.len() > 1 {
            let problem =
                "soft labels tell buildings only: leave the other classes or data.soft_tiles out";
            return Err(Error::config("model.classes", problem));
        }
        let knows = |set: &TileSet| set.tiles.iter().all(|tile| tile.gsd_m.is_finite());
        if config.loss.scale_weight > 0.0
            && ![Some(&self.labelled), self.mined.as_ref()].into_iter().flatten().all(knows)
        {
            return Err(Error::config(
                "loss.scale_weight",
                "needs tiles of georeferenced scenes: their scale is unknown",
            ));
        }
        Ok(())
    }
}

/// The mask values that make up a class. The boundary lies inside the building and belongs to it.
pub(super) fn values_of(class: &str, marked: &[String]) -> Result<Vec<u8>> {
    let values = match class {
        "building" => return Ok(vec![BUILDING, BOUNDARY]),
        "boundary" => vec![BOUNDARY],
        _ => vec![CONTACT],
    };
    if marked.iter().any(|known| known == class) {
        return Ok(values);
    }
    Err(Error::config(
        "model.classes",
        format!(
            "asks for \"{class}\", but the tiles mark only {}; cut them with it",
            marked.join(", ")
        ),
    ))
}

type Parts<'a> = (Vec<&'a TileRecord>, Vec<&'a TileRecord>);

/// Training and validation tiles. With a fold, its tiles are for validation and the set's own validation
/// split stays out.
pub(super) fn divide(set: &TileSet, fold: i64) -> Result<Parts<'_>> {
    let of = |split: Split| set.tiles.iter().filter(move |tile| tile.split == split);
    let (train, val): Parts<'_> = match u32::try_from(fold) {
        Err(_) => (of(Split::Train).collect(), of(Split::Val).collect()),
        Ok(fold) => of(Split::Train).partition(|tile| tile.fold != Some(fold)),
    };
    if fold >= 0 && val.is_empty() {
        let mut folds: Vec<_> = of(Split::Train).filter_map(|tile| tile.fold).collect();
        folds.sort_unstable();
        folds.dedup();
        return Err(Error::config(
            "data.fold",
            format!("is {fold}, but the tile set has the folds {folds:?}; -1 uses its own splits"),
        ));
    }
    if train.is_empty() {
        return Err(Error::input(
            &set.root,
            "a tile set with training tiles",
            format!("{} tiles, none of them for training", set.tiles.len()),
            "give at least one scene `split = \"train\"`",
        ));
    }
    Ok((train, val))
}
