//! Images with channels last, and the memory that they are made of.

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
    pub values: Vec<f32>,
}

/// Memory of activations, passed on from layer to layer and from window to window.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Vec<f32>>,
}

impl Pool {
    /// An image whose values are what was there before.
    pub fn image(&mut self, h: usize, w: usize, c: usize) -> Image {
        let step = c.next_multiple_of(LANES);
        Image { h, w, c, step, values: self.take(h * w * step) }
    }

    /// `len` values, whatever was there before: the smallest that are enough, or the largest grown.
    pub fn take(&mut self, len: usize) -> Vec<f32> {
        let fit = |values: &&(usize, usize)| values.1 >= len;
        let sizes = self.free.iter().map(Vec::capacity).enumerate();
        let sizes: Vec<(usize, usize)> = sizes.collect();
        let chosen = sizes
            .iter()
            .filter(fit)
            .min_by_key(|(_, size)| *size)
            .or_else(|| sizes.iter().max_by_key(|(_, size)| *size));
        let mut values = match chosen {
            Some((index, _)) => self.free.swap_remove(*index),
            None => Vec::new(),
        };
        values.resize(len, 0.0);
        values
    }

    /// Takes an image's memory back.
    pub fn give(&mut self, image: Image) {
        self.give_values(image.values);
    }

    /// Takes memory back.
    pub fn give_values(&mut self, values: Vec<f32>) {
        self.free.push(values);
    }
}
