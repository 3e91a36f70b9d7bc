//! Which tile comes when: balanced over scenes and scales, the same for the same seed.

use std::collections::{BTreeMap, HashMap};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::train::{Balance, DataSection};
use crate::error::{Error, Result};
use crate::tiles::TileRecord;

/// A generator for one purpose (`stream`) and one thing (`index`) of a seeded training.
pub fn generator(seed: u64, stream: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ stream.rotate_left(32));
    // ChaCha counts blocks: every index gets a stream of its own, far from all others.
    rng.set_stream(index);
    rng
}

/// The order of tiles in every epoch.
///
/// An epoch takes tiles in proportion to their weights by systematic sampling: a tile whose share is 2.3
/// crops an epoch gets 2 or 3 of them. With equal weights every tile comes once.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// The weight of each tile; they sum to 1.
    weights: Vec<f64>,
    samples_per_epoch: usize,
    seed: u64,
}

/// The stream of [`generator`] that orders epochs.
const EPOCH_STREAM: u64 = 1;

impl Sampler {
    /// Weighs `tiles`; an epoch has as many samples as there are tiles, rounded up to whole batches.
    ///
    /// # Errors
    /// No tile is left, or a weight names a scale or scene that the tiles do not have.
    pub fn new(tiles: &[&TileRecord], section: &DataSection, seed: u64) -> Result<Self> {
        check_names("data.scale_weights", &section.scale_weights, tiles, |tile| &tile.scale)?;
        check_names("data.scene_weights", &section.scene_weights, tiles, |tile| &tile.scene)?;
        let group = |tile: &TileRecord| match section.balance {
            Balance::Uniform => (tile.scene.clone(), tile.scale.clone()),
            Balance::Scene => (tile.scene.clone(), String::new()),
            Balance::Scale => (String::new(), tile.scale.clone()),
            Balance::Tile => (String::new(), String::new()),
        };
        let mut group_sizes: HashMap<_, usize> = HashMap::new();
        for tile in tiles {
            *group_sizes.entry(group(tile)).or_default() += 1;
        }
        let mut weights: Vec<f64> = tiles
            .iter()
            .map(|tile| {
                let scale = section.scale_weights.get(&tile.scale).unwrap_or(&1.0);
                let scene = section.scene_weights.get(&tile.scene).unwrap_or(&1.0);
                let empty = if tile.building_count == 0 { section.empty_weight } else { 1.0 };
                scale * scene * empty / group_sizes[&group(tile)] as f64
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return Err(Error::config(
                "data",
                "its weights leave no training tile; look at scale_weights, scene_weights and empty_weight",
            ));
        }
        for weight in &mut weights {
            *weight /= sum;
        }
        let usable = weights.iter().filter(|&&weight| weight > 0.0).count();
        let samples_per_epoch = usable.next_multiple_of(section.batch);
        Ok(Self { weights, samples_per_epoch, seed })
    }

    /// With `count` more tiles behind the others, alike among themselves, that come in `share` of all samples. The
    /// length of an epoch stays.
    #[must_use]
    pub fn joined(mut self, count: usize, share: f64) -> Self {
        for weight in &mut self.weights {
            *weight *= 1.0 - share;
        }
        self.weights.extend((0..count).map(|_| share / count as f64));
        self
    }

    /// Samples in an epoch, a multiple of the batch.
    pub fn samples_per_epoch(&self) -> usize {
        self.samples_per_epoch
    }

    /// The weight of each tile; they sum to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The tiles of epoch `epoch` (from 0), in order: a pure function of seed and epoch.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut rng = generator(self.seed, EPOCH_STREAM, epoch);
        let mut tiles: Vec<usize> = (0..self.weights.len()).collect();
        tiles.shuffle(&mut rng);
        let samples = self.samples_per_epoch;
        let offset: f64 = rng.random();
        let mut order = Vec::with_capacity(samples);
        let mut reached = 0.0;
        for &tile in &tiles {
            reached += self.weights[tile] * samples as f64;
            while order.len() < samples && order.len() as f64 + offset < reached {
                order.push(tile);
            }
        }
        // Rounding may leave the last sample open.
        while let (true, Some(&last)) = (order.len() < samples, order.last()) {
            order.push(last);
        }
        order.shuffle(&mut rng);
        order
    }
}

fn check_names<'a>(
    key: &str,
    weights: &BTreeMap<String, f64>,
    tiles: &[&'a TileRecord],
    name: impl Fn(&'a TileRecord) -> &'a String,
) -> Result<()> {
    let mut known: Vec<&str> = tiles.iter().map(|&tile| name(tile).as_str()).collect();
    known.sort_unstable();
    known.dedup();
    match weights.keys().find(|wanted| !known.contains(&wanted.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Error::config(
            format!("{key}.{unknown}"),
            format!("no training tile has this name; there are: {}", known.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::Split;

    fn tiles(counts: &[(&str, &str, usize)]) -> Vec<TileRecord> {
        let mut tiles = Vec::new();
        for &(scene, scale, count) in counts {
            for row in 0..count {
                tiles.push(TileRecord {
                    image: format!("{scene}/{scale}/{row}_0.tif").into(),
                    mask: "".into(),
                    scene: scene.into(),
                    scale: scale.into(),
                    gsd_m: 0.3,
                    split: Split::Train,
                    fold: None,
                    row,
                    col: 0,
                    valid_fraction: 1.0,
                    building_fraction: 0.1,
                    building_count: 1,
                });
            }
        }
        tiles
    }

    fn counts(sampler: &Sampler, epochs: u64) -> Vec<usize> {
        let mut counts = vec![0; sampler.weights.len()];
        for epoch in 0..epochs {
            sampler.epoch(epoch).into_iter().for_each(|tile| counts[tile] += 1);
        }
        counts
    }

    #[test]
    fn with_equal_weights_every_tile_comes_once_an_epoch() {
        let tiles = tiles(&[("a", "x1", 20), ("b", "x1", 12)]);
        let section = DataSection { balance: Balance::Tile, ..DataSection::default() };
        let sampler = Sampler::new(&tiles.iter().collect::<Vec<_>>(), &section, 7).unwrap();
        assert!(counts(&sampler, 5).iter().all(|&count| count == 5));
        assert_ne!(sampler.epoch(0), sampler.epoch(1));
        assert_eq!(sampler.epoch(3), sampler.epoch(3));
    }

    #[test]
    fn scenes_and_scales_are_balanced_and_weighted_as_asked() {
        let tiles = tiles(&[("a", "x1", 30), ("a", "x2", 120), ("b", "x1", 10)]);
        let borrowed: Vec<_> = tiles.iter().collect();
        let share = |section: DataSection, from: usize, to: usize| {
            let sampler = Sampler::new(&borrowed, &section, 1).unwrap();
            let counts = counts(&sampler, 40);
            counts[from..to].iter().sum::<usize>() as f64 / counts.iter().sum::<usize>() as f64
        };
        let balanced = |balance| DataSection { balance, ..DataSection::default() };
        assert!((share(balanced(Balance::Uniform), 0, 30) - 1.0 / 3.0).abs() < 0.01);
        assert!((share(balanced(Balance::Scene), 150, 160) - 0.5).abs() < 0.01);
        assert!((share(balanced(Balance::Scale), 30, 150) - 0.5).abs() < 0.01);
        let mut section = balanced(Balance::Scale);
        section.scale_weights.insert("x2".into(), 3.0);
        assert!((share(section, 30, 150) - 0.75).abs() < 0.01);
    }

    #[test]
    fn joined_tiles_come_in_their_share_and_the_epoch_keeps_its_length() {
        let tiles = tiles(&[("a", "x1", 24)]);
        let section = DataSection { balance: Balance::Tile, batch: 8, ..DataSection::default() };
        let alone = Sampler::new(&tiles.iter().collect::<Vec<_>>(), &section, 3).unwrap();
        let both = alone.clone().joined(100, 0.25);
        assert_eq!(both.samples_per_epoch(), alone.samples_per_epoch());
        assert!((both.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let counts = counts(&both, 50);
        let joined = counts[24..].iter().sum::<usize>() as f64;
        assert!((joined / (50.0 * 24.0) - 0.25).abs() < 0.02, "{joined}");
    }

    #[test]
    fn a_weight_for_an_unknown_scale_names_the_known_ones() {
        let tiles = tiles(&[("a", "x1", 3)]);
        let mut section = DataSection::default();
        section.scale_weights.insert("half".into(), 1.0);
        let error = Sampler::new(&tiles.iter().collect::<Vec<_>>(), &section, 0).unwrap_err();
        assert!(error.to_string().contains("there are: x1"), "{error}");
    }
}
