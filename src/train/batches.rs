//! Tiles into batches: batch `k` depends on the seed and on `k`, on nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::augment::augment;
use super::losses::Truth;
use super::sampler::{Sampler, generator};
use super::warp::{Affine, Crop, warp};
use crate::config::train::{AugmentSection, TrainConfig};
use crate::error::{Error, Result};
use crate::tiles::{Split, TilePixels, TileRecord, TileSet};
use crate::truth::{BOUNDARY, BUILDING, CONTACT, IGNORE};

/// Streams of [`generator`]; 1 orders epochs.
const AUGMENT_STREAM: u64 = 2;
const RECALIBRATION_STREAM: u64 = 3;

/// Input and truth of one batch, ready for the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[n, bands, side, side]`.
    pub shape: [usize; 4],
    /// Number of classes.
    pub classes: usize,
    /// Normalised pixels, 0 without data; shaped as `shape`.
    pub image: Vec<f32>,
    /// 1 where a pixel belongs to a class, `[n, classes, side, side]`.
    pub labels: Vec<f32>,
    /// 1 where a pixel counts, `[n, 1, side, side]`.
    pub valid: Vec<f32>,
    /// Names of the tiles, for messages.
    pub tiles: Vec<String>,
}

impl Batch {
    /// The network's input, `[n, bands, side, side]`, and what it should say.
    pub fn to_device<B: Backend>(&self, device: &B::Device) -> (Tensor<B, 4>, Truth<B>) {
        let [n, _, height, width] = self.shape;
        let tensor = |values: &Vec<f32>, channels: usize| {
            Tensor::from_data(TensorData::new(values.clone(), [n, channels, height, width]), device)
        };
        let image = tensor(&self.image, self.shape[1]);
        let truth =
            Truth { labels: tensor(&self.labels, self.classes), valid: tensor(&self.valid, 1) };
        (image, truth)
    }
}

/// How pixels become the network's input: `(x / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// Per band, of `x / 255`.
    pub mean: Vec<f32>,
    /// Per band, of `x / 255`.
    pub std: Vec<f32>,
}

/// All batches of a training. Shared by the threads that make them.
#[derive(Debug)]
pub struct Batches<'a> {
    set: &'a TileSet,
    train: Vec<&'a TileRecord>,
    val: Vec<&'a TileRecord>,
    sampler: Sampler,
    normalisation: Normalisation,
    /// Mask values that belong to each class.
    class_values: Vec<Vec<u8>>,
    augment: AugmentSection,
    crop_px: usize,
    batch: usize,
    validation_batch: usize,
    seed: u64,
    /// Orders of the last epochs asked for: threads ahead may already be in the next one.
    epochs: Mutex<VecDeque<(u64, Arc<Vec<usize>>)>>,
}

impl<'a> Batches<'a> {
    /// Divides the tiles of `set` into training and validation, as `config` says.
    ///
    /// # Errors
    /// There are no training tiles, the fold does not exist, the crop is larger than the tiles, or the
    /// masks lack a class.
    pub fn new(
        set: &'a TileSet,
        config: &TrainConfig,
        normalisation: Normalisation,
    ) -> Result<Self> {
        let section = &config.data;
        let tile_px = set.info.tile_px;
        if section.crop_px > tile_px {
            return Err(Error::config(
                "data.crop_px",
                format!("is {}, but the tiles have only {tile_px} px", section.crop_px),
            ));
        }
        let class_values = config
            .model
            .classes
            .iter()
            .map(|class| values_of(class, &set.info.classes))
            .collect::<Result<_>>()?;
        let (train, val) = divide(set, section.fold)?;
        let sampler = Sampler::new(&train, section, config.run.seed)?;
        Ok(Self {
            set,
            train,
            val,
            sampler,
            normalisation,
            class_values,
            augment: config.augment.clone(),
            crop_px: section.crop_px,
            batch: section.batch,
            validation_batch: section.validation_batch,
            seed: config.run.seed,
            epochs: Mutex::new(VecDeque::new()),
        })
    }

    /// Training tiles.
    pub fn train_tiles(&self) -> &[&'a TileRecord] {
        &self.train
    }

    /// Validation tiles.
    pub fn val_tiles(&self) -> &[&'a TileRecord] {
        &self.val
    }

    /// Relative frequency of each training tile; they sum to 1.
    pub fn train_weights(&self) -> &[f64] {
        self.sampler.weights()
    }

    /// Training batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.sampler.samples_per_epoch() / self.batch
    }

    /// Validation batches.
    pub fn validation_batches(&self) -> usize {
        self.val.len().div_ceil(self.validation_batch)
    }

    /// Training batch `k`: random crops, augmented.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn training(&self, k: u64) -> Result<Batch> {
        self.random_crops(k, AUGMENT_STREAM, &self.augment)
    }

    /// Batch `k` for batch norm's statistics: random crops of training tiles as they are, drawn as for
    /// training.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn recalibration(&self, k: u64) -> Result<Batch> {
        let plain = AugmentSection { enabled: false, ..self.augment.clone() };
        self.random_crops(k, RECALIBRATION_STREAM, &plain)
    }

    /// Validation batch `k`: whole tiles, in the set's order.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn validation(&self, k: u64) -> Result<Batch> {
        let side = self.set.info.tile_px;
        let first = k as usize * self.validation_batch;
        let last = (first + self.validation_batch).min(self.val.len());
        let whole = Affine::at([side as f64 / 2.0; 2]);
        self.assemble(side, &self.val[first..last], |_, tile| {
            warp(tile, &whole, side, &self.normalisation.mean)
        })
    }

    fn random_crops(&self, k: u64, stream: u64, section: &AugmentSection) -> Result<Batch> {
        let first = k * self.batch as u64;
        let per_epoch = self.sampler.samples_per_epoch() as u64;
        let order = self.epoch(first / per_epoch);
        let offset = (first % per_epoch) as usize;
        let tiles: Vec<_> =
            order[offset..offset + self.batch].iter().map(|&tile| self.train[tile]).collect();
        self.assemble(self.crop_px, &tiles, |i, tile| {
            let mut rng = generator(self.seed, stream, first + i as u64);
            augment(tile, section, self.crop_px, &self.normalisation.mean, &mut rng)
        })
    }

    /// The order of an epoch, from memory if it was asked for just before.
    fn epoch(&self, epoch: u64) -> Arc<Vec<usize>> {
        let mut known = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = known.iter().find(|(known, _)| *known == epoch) {
            return order.clone();
        }
        let order = Arc::new(self.sampler.epoch(epoch));
        known.push_back((epoch, order.clone()));
        if known.len() > 3 {
            known.pop_front();
        }
        order
    }

    fn assemble(
        &self,
        side: usize,
        tiles: &[&TileRecord],
        cut: impl Fn(usize, &TilePixels) -> Crop,
    ) -> Result<Batch> {
        let (bands, classes, area) = (self.set.info.bands, self.class_values.len(), side * side);
        let mut batch = Batch {
            shape: [tiles.len(), bands, side, side],
            classes,
            image: Vec::with_capacity(tiles.len() * bands * area),
            labels: Vec::with_capacity(tiles.len() * classes * area),
            valid: Vec::with_capacity(tiles.len() * area),
            tiles: tiles.iter().map(|tile| tile.name()).collect(),
        };
        for (i, tile) in tiles.iter().enumerate() {
            let crop = cut(i, &self.set.read(tile)?);
            for (band, plane) in crop.image.chunks_exact(area).enumerate() {
                let (mean, std) = (self.normalisation.mean[band], self.normalisation.std[band]);
                let pixels = plane.iter().zip(&crop.data);
                batch.image.extend(
                    pixels.map(|(&value, &data)| if data { (value - mean) / std } else { 0.0 }),
                );
            }
            let float = |yes: bool| if yes { 1.0 } else { 0.0 };
            for values in &self.class_values {
                batch.labels.extend(crop.mask.iter().map(|label| float(values.contains(label))));
            }
            batch.valid.extend(crop.mask.iter().map(|&label| float(label != IGNORE)));
        }
        Ok(batch)
    }
}

/// The mask values that make up a class. The boundary lies inside the building and belongs to it.
fn values_of(class: &str, marked: &[String]) -> Result<Vec<u8>> {
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
fn divide(set: &TileSet, fold: i64) -> Result<Parts<'_>> {
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
