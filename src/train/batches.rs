//! Tiles into batches: batch `k` depends on the seed and on `k`, on nothing else.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use super::augment::{Cut, augment};
use super::losses::Truth;
use super::pool::{Pool, PooledTile};
use super::sampler::generator;
use super::sources::{Sources, divide, values_of};
use super::warp::{Affine, Crop, warp};
use crate::config::train::{AugmentSection, DataSection, TrainConfig};
use crate::error::Result;
use crate::tiles::{Labels, SOFT_SCALE, TilePixels, TileRecord, TileSet};
use crate::truth::IGNORE;

/// Streams of [`generator`]; 1 orders epochs.
const AUGMENT_STREAM: u64 = 2;
const RECALIBRATION_STREAM: u64 = 3;
const SOFT_STREAM: u64 = 4;
const MIXUP_STREAM: u64 = 5;

/// Input and truth of one batch, ready for the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[n, bands, side, side]`.
    pub shape: [usize; 4],
    /// Number of classes.
    pub classes: usize,
    /// Normalised pixels, 0 without data; shaped as `shape`.
    pub image: Vec<f32>,
    /// 1 where a pixel belongs to a class (the probability of it where `soft`), `[n, classes, side, side]`.
    pub labels: Vec<f32>,
    /// 1 where a pixel counts, `[n, 1, side, side]`.
    pub valid: Vec<f32>,
    /// Labels are what other models said.
    pub soft: bool,
    /// Metres along the side of a pixel, `[n]`; NaN where unknown.
    pub gsd_m: Vec<f64>,
    /// With mixup: the share of an image in what the network sees, the rest is the batch's next; else 1.
    pub mixup: f64,
    /// Names of the tiles, for messages.
    pub tiles: Vec<String>,
}

impl Batch {
    /// The network's input, `[n, bands, side, side]`, and what it should say (of the images before mixup).
    pub fn to_device<B: Backend>(&self, device: &B::Device) -> (Tensor<B, 4>, Truth<B>) {
        let [n, _, height, width] = self.shape;
        let tensor = |values: &Vec<f32>, channels: usize| {
            Tensor::from_data(TensorData::new(values.clone(), [n, channels, height, width]), device)
        };
        let known = self.gsd_m.iter().all(|gsd_m| gsd_m.is_finite() && *gsd_m > 0.0);
        let scale = known.then(|| {
            let logarithms: Vec<f32> = self.gsd_m.iter().map(|gsd_m| gsd_m.log2() as f32).collect();
            Tensor::from_data(TensorData::new(logarithms, [n, 1]), device)
        });
        let truth = Truth {
            labels: tensor(&self.labels, self.classes),
            valid: tensor(&self.valid, 1),
            soft: self.soft,
            scale,
        };
        (tensor(&self.image, self.shape[1]), truth)
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
    /// The training tiles, and the mined ones.
    labelled: Pool<'a>,
    /// Tiles whose labels are what other models said.
    soft: Option<Pool<'a>>,
    normalisation: Normalisation,
    /// Mask values that belong to each class.
    class_values: Vec<Vec<u8>>,
    augment: AugmentSection,
    section: DataSection,
    seed: u64,
}

impl<'a> Batches<'a> {
    /// Divides the tiles of `sources` into training and validation, as `config` says.
    ///
    /// # Errors
    /// There are no training tiles, the fold does not exist, the crop is larger than the tiles, the masks lack
    /// a class, or the sets do not go together.
    pub fn new(
        sources: &'a Sources,
        config: &TrainConfig,
        normalisation: Normalisation,
    ) -> Result<Self> {
        let (section, set, seed) = (&config.data, &sources.labelled, config.run.seed);
        sources.check(config)?;
        let class_values = config
            .model
            .classes
            .iter()
            .map(|class| values_of(class, &set.info.classes))
            .collect::<Result<_>>()?;
        let (train, val) = divide(set, section.fold)?;
        let mut labelled = Pool::new(set, &train, section, seed)?;
        if let Some(mined) = &sources.mined {
            labelled = labelled.joined(mined, section.mined_share);
        }
        let soft = sources.soft.as_ref().map(|set| {
            // Weights by name are those of the labelled set.
            let alike = DataSection { batch: section.batch, ..DataSection::default() };
            Pool::new(set, &set.tiles.iter().collect::<Vec<_>>(), &alike, seed ^ SOFT_STREAM)
        });
        Ok(Self {
            set,
            train,
            val,
            labelled,
            soft: soft.transpose()?,
            normalisation,
            class_values,
            augment: config.augment.clone(),
            section: section.clone(),
            seed,
        })
    }

    /// Training tiles of the labelled set.
    pub fn train_tiles(&self) -> &[&'a TileRecord] {
        &self.train
    }

    /// Validation tiles.
    pub fn val_tiles(&self) -> &[&'a TileRecord] {
        &self.val
    }

    /// Relative frequency of each training tile, and of mined ones behind them; they sum to 1.
    pub fn train_weights(&self) -> &[f64] {
        self.labelled.weights()
    }

    /// Training batches in an epoch of the labelled tiles, those of soft labels in between included.
    pub fn batches_per_epoch(&self) -> usize {
        let labelled = self.labelled.samples_per_epoch() / self.section.batch;
        match self.soft {
            Some(_) => labelled + labelled / (self.section.soft_every - 1),
            None => labelled,
        }
    }

    /// Validation batches.
    pub fn validation_batches(&self) -> usize {
        self.val.len().div_ceil(self.section.validation_batch)
    }

    /// Training batch `k`: random crops, augmented.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn training(&self, k: u64) -> Result<Batch> {
        let every = self.section.soft_every as u64;
        let mut batch = match &self.soft {
            Some(soft) if (k + 1).is_multiple_of(every) => {
                self.random_crops(soft, k / every, SOFT_STREAM, &self.augment)?
            }
            Some(_) => {
                let labelled = k - k / every;
                self.random_crops(&self.labelled, labelled, AUGMENT_STREAM, &self.augment)?
            }
            None => self.random_crops(&self.labelled, k, AUGMENT_STREAM, &self.augment)?,
        };
        if self.augment.enabled {
            let mut rng = generator(self.seed, MIXUP_STREAM, k);
            batch.mixup = mixup_share(&self.augment, &mut rng);
        }
        Ok(batch)
    }

    /// Batch `k` for batch norm's statistics: random crops of training tiles as they are, drawn as for
    /// training.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn recalibration(&self, k: u64) -> Result<Batch> {
        let plain = AugmentSection { enabled: false, ..self.augment.clone() };
        self.random_crops(&self.labelled, k, RECALIBRATION_STREAM, &plain)
    }

    /// Validation batch `k`: whole tiles, in the set's order.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub fn validation(&self, k: u64) -> Result<Batch> {
        let side = self.set.info.tile_px;
        let first = k as usize * self.section.validation_batch;
        let last = (first + self.section.validation_batch).min(self.val.len());
        let tiles =
            self.val[first..last].iter().map(|&record| PooledTile { set: self.set, record });
        let whole = Affine::at([side as f64 / 2.0; 2]);
        self.assemble(side, &tiles.collect::<Vec<_>>(), |_, tile| {
            warp(tile, &whole, side, &self.normalisation.mean)
        })
    }

    fn random_crops(
        &self,
        pool: &Pool<'a>,
        k: u64,
        stream: u64,
        section: &AugmentSection,
    ) -> Result<Batch> {
        let (batch, crop_px) = (self.section.batch, self.section.crop_px);
        let first = k * batch as u64;
        let tiles = pool.draw(first, batch);
        self.assemble(crop_px, &tiles, |i, tile| {
            let mut rng = generator(self.seed, stream, first + i as u64);
            let cut = Cut { section, side_px: crop_px, fill: &self.normalisation.mean };
            augment(tile, tiles[i].record.gsd_m, cut, &mut rng)
        })
    }

    /// The tiles, all of labelled sets or all of a soft one, cut and normalised.
    fn assemble(
        &self,
        side: usize,
        tiles: &[PooledTile<'_>],
        cut: impl Fn(usize, &TilePixels) -> Crop,
    ) -> Result<Batch> {
        let (bands, classes, area) = (self.set.info.bands, self.class_values.len(), side * side);
        let soft = tiles.iter().any(|tile| tile.set.info.labels == Labels::Soft);
        let mut batch = Batch {
            shape: [tiles.len(), bands, side, side],
            classes,
            image: Vec::with_capacity(tiles.len() * bands * area),
            labels: Vec::with_capacity(tiles.len() * classes * area),
            valid: Vec::with_capacity(tiles.len() * area),
            soft,
            gsd_m: Vec::with_capacity(tiles.len()),
            mixup: 1.0,
            tiles: tiles.iter().map(|tile| tile.record.name()).collect(),
        };
        for (i, tile) in tiles.iter().enumerate() {
            let crop = cut(i, &tile.set.read(tile.record)?);
            for (band, plane) in crop.image.chunks_exact(area).enumerate() {
                let (mean, std) = (self.normalisation.mean[band], self.normalisation.std[band]);
                let pixels = plane.iter().zip(&crop.data);
                batch.image.extend(
                    pixels.map(|(&value, &data)| if data { (value - mean) / std } else { 0.0 }),
                );
            }
            batch.gsd_m.push(tile.record.gsd_m * crop.scale);
            if soft {
                self.soft_labels(&crop.mask, &mut batch);
            } else {
                self.hard_labels(&crop.mask, &mut batch);
            }
        }
        Ok(batch)
    }

    fn hard_labels(&self, mask: &[u8], batch: &mut Batch) {
        let float = |yes: bool| if yes { 1.0 } else { 0.0 };
        for values in &self.class_values {
            batch.labels.extend(mask.iter().map(|label| float(values.contains(label))));
        }
        batch.valid.extend(mask.iter().map(|&label| float(label != IGNORE)));
    }

    /// Probabilities, or, where the configuration hardens them, what is sure on either side.
    fn soft_labels(&self, mask: &[u8], batch: &mut Batch) {
        let [low, high] = self.section.soft_harden.unwrap_or([0.0, 1.0]).map(|bound| bound as f32);
        let harden = self.section.soft_harden.is_some();
        for &label in mask {
            let probability = f32::from(label) / SOFT_SCALE;
            let (value, sure) = match harden {
                true if probability > high => (1.0, true),
                true if probability < low => (0.0, true),
                true => (0.0, false),
                false => (probability.min(1.0), true),
            };
            batch.labels.push(value);
            batch.valid.push(if sure && label != IGNORE { 1.0 } else { 0.0 });
        }
    }
}

/// Beta(alpha, alpha) distributed with the configured probability, else 1.
fn mixup_share(section: &AugmentSection, rng: &mut impl Rng) -> f64 {
    let chosen = rng.random::<f64>() < section.mixup_probability;
    let share = super::mixup::beta(section.mixup_alpha, rng);
    if chosen { share } else { 1.0 }
}
