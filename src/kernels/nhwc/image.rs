//! Images with channels last, and the memory that they are made of.

use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

use super::record::Record;
use super::vector::LANES;

/// An image `[h, w, c]`; pixels are `step` values apart, `c` rounded up to whole vectors.
#[derive(Debug)]
pub struct Image {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// From one pixel to the next.
    pub step: usize,
    /// `[h, w, step]`.
    pub values: Values,
}

/// Values in memory that may be larger, which need not be filled anew when more of it is used.
#[derive(Debug, Clone, Default)]
pub struct Values {
    memory: Vec<f32>,
    len: usize,
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Values {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

impl From<Vec<f32>> for Values {
    fn from(memory: Vec<f32>) -> Self {
        Self { len: memory.len(), memory }
    }
}

impl Image {
    /// Takes the values of planes `[c, h, w]`; channels beyond c become 0.
    pub fn read_planes(&mut self, planes: &[f32]) {
        let (w, step, c) = (self.w, self.step, self.c);
        assert_eq!(planes.len(), c * self.h * w, "planes of the image's size");
        let px = self.h * w;
        self.values.par_chunks_mut(w * step).enumerate().with_min_len(4).for_each(|(y, out)| {
            for first in (0..step).step_by(LANES) {
                for (x, out) in out.chunks_exact_mut(step).enumerate() {
                    for (lane, out) in out[first..first + LANES].iter_mut().enumerate() {
                        let channel = first + lane;
                        *out = if channel < c { planes[channel * px + y * w + x] } else { 0.0 };
                    }
                }
            }
        });
    }

    /// Gives its values to planes `[c, h, w]`.
    pub fn write_planes(&self, planes: &mut [f32]) {
        assert_eq!(planes.len(), self.c * self.h * self.w, "planes of the image's size");
        let px = self.h * self.w;
        // Sixteen channels a task: each line of the cache is read once.
        planes.par_chunks_mut(LANES * px).enumerate().for_each(|(group, planes)| {
            let channels = planes.len() / px;
            for (pixel, values) in self.values.chunks_exact(self.step).enumerate() {
                let values = &values[group * LANES..][..channels];
                for (lane, value) in values.iter().enumerate() {
                    planes[lane * px + pixel] = *value;
                }
            }
        });
    }
}

/// Memory of activations, passed on from layer to layer and from window to window, and the record of the layers if one is
/// kept.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Vec<f32>>,
    pub(super) record: Option<Record>,
}

impl Pool {
    /// An image whose values are what was there before.
    pub fn image(&mut self, h: usize, w: usize, c: usize) -> Image {
        let step = c.next_multiple_of(LANES);
        Image { h, w, c, step, values: self.take(h * w * step) }
    }

    /// `len` values, whatever was there before: in the smallest memory that is enough, or the largest grown.
    pub fn take(&mut self, len: usize) -> Values {
        let sizes = self.free.iter().map(Vec::len).enumerate();
        let enough = sizes.clone().filter(|(_, size)| *size >= len).min_by_key(|(_, size)| *size);
        let chosen = enough.or_else(|| sizes.max_by_key(|(_, size)| *size));
        let mut memory = match chosen {
            Some((index, _)) => self.free.swap_remove(index),
            None => Vec::new(),
        };
        if memory.len() < len {
            memory.resize(len, 0.0);
        }
        Values { memory, len }
    }

    /// Takes an image's memory back.
    pub fn give(&mut self, image: Image) {
        self.give_values(image.values);
    }

    /// Takes memory back.
    pub fn give_values(&mut self, values: Values) {
        self.free.push(values.memory);
    }
}
