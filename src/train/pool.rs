//! Tiles to draw from, each epoch in another order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::sampler::Sampler;
use crate::config::train::DataSection;
use crate::error::Result;
use crate::tiles::{TileRecord, TileSet};

/// A tile and the set that it lies in.
#[derive(Clone, Copy, Debug)]
pub struct PooledTile<'a> {
    /// Where its files are.
    pub set: &'a TileSet,
    /// The tile.
    pub record: &'a TileRecord,
}

/// Tiles that batches are drawn from. Shared by the threads that make them.
#[derive(Debug)]
pub struct Pool<'a> {
    tiles: Vec<PooledTile<'a>>,
    sampler: Sampler,
    /// Orders of the last epochs asked for: threads ahead may already be in the next one.
    epochs: Mutex<VecDeque<(u64, Arc<Vec<usize>>)>>,
}

impl<'a> Pool<'a> {
    /// `tiles` of a set, weighted as `section` says.
    ///
    /// # Errors
    /// No tile is left, or a weight names a scale or scene that the tiles do not have.
    pub fn new(
        set: &'a TileSet,
        tiles: &[&'a TileRecord],
        section: &DataSection,
        seed: u64,
    ) -> Result<Self> {
        let sampler = Sampler::new(tiles, section, seed)?;
        let tiles = tiles.iter().map(|&record| PooledTile { set, record }).collect();
        Ok(Self { tiles, sampler, epochs: Mutex::default() })
    }

    /// With all tiles of another set, of which comes this `share` of what is drawn; the length of an epoch stays.
    #[must_use]
    pub fn joined(mut self, set: &'a TileSet, share: f64) -> Self {
        self.sampler = self.sampler.joined(set.tiles.len(), share);
        self.tiles.extend(set.tiles.iter().map(|record| PooledTile { set, record }));
        self
    }

    /// Samples in an epoch, a multiple of the batch.
    pub fn samples_per_epoch(&self) -> usize {
        self.sampler.samples_per_epoch()
    }

    /// Relative frequency of each tile; they sum to 1.
    pub fn weights(&self) -> &[f64] {
        self.sampler.weights()
    }

    /// All tiles.
    pub fn tiles(&self) -> &[PooledTile<'a>] {
        &self.tiles
    }

    /// Samples `first..first + count`, counted through all epochs; they lie in one.
    pub fn draw(&self, first: u64, count: usize) -> Vec<PooledTile<'a>> {
        let per_epoch = self.samples_per_epoch() as u64;
        let order = self.epoch(first / per_epoch);
        let offset = (first % per_epoch) as usize;
        order[offset..offset + count].iter().map(|&tile| self.tiles[tile]).collect()
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
}
