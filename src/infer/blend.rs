//! The writing side: overlapping scores into one raster.
//!
//! A pixel's score is the mean of the windows over it, weighted with a Hann window along both axes.
//! The weights' sum is the product of a sum along each axis: windows are skipped only where no pixel
//! is wanted, so every wanted pixel has been seen by all of its windows.

use super::input::Input;
use super::plan::hann;
use super::strips::{FinishedRows, Plan};
use crate::error::Result;
use crate::scores::Strips;

/// What the network's side sends, in order.
pub enum Message {
    /// Probabilities of windows, `[n, band, row, col]`.
    Scores {
        /// First (column, row) of each window.
        positions: Vec<(isize, isize)>,
        /// Probabilities.
        scores: Vec<f32>,
    },
    /// Rows that are complete.
    Rows(FinishedRows),
}

/// Sums weighted scores and writes rows as they are finished.
pub struct Blender {
    strips: Strips,
    weights: Vec<f32>,
    col_sums: Vec<f32>,
    row_sums: Vec<f32>,
    /// First column and row of the region.
    origin: (usize, usize),
    width: usize,
    bands: usize,
    window_px: usize,
    /// The row of `sums`' first line.
    top: usize,
    /// Weighted sums `[row, band, col]` of the rows from `top` on: at most `window_px` x bands x region width.
    sums: Vec<f32>,
}

impl Blender {
    /// Writes the rows of `plan` that `strips` lacks.
    pub fn new(plan: &Plan, input: &Input, strips: Strips) -> Self {
        let grid = input.output_grid();
        let weights = hann(plan.cols.window_px);
        Self {
            col_sums: plan.cols.weight_sums(&weights),
            row_sums: plan.rows.weight_sums(&weights),
            weights,
            origin: (plan.cols.from, plan.rows.from),
            width: grid.width,
            window_px: plan.cols.window_px,
            top: plan.rows.from + strips.rows_done(),
            sums: Vec::with_capacity(plan.cols.window_px * strips.bands() * grid.width),
            bands: strips.bands(),
            strips,
        }
    }

    /// Takes the next message; returns the number of rows that it finished, if any.
    pub fn take(&mut self, message: Message) -> Result<Option<usize>> {
        match message {
            Message::Scores { positions, scores } => {
                let area = self.window_px * self.window_px;
                let windows = scores.chunks_exact(self.bands * area);
                for (&position, scores) in positions.iter().zip(windows) {
                    for (band, scores) in scores.chunks_exact(area).enumerate() {
                        self.add(position, band, scores);
                    }
                }
                Ok(None)
            }
            Message::Rows(rows) => self.write(&rows).map(Some),
        }
    }

    /// Adds a band of a window.
    fn add(&mut self, (left, top): (isize, isize), band: usize, scores: &[f32]) {
        let side = self.window_px;
        // The part of the window inside the region's columns.
        let first = (self.origin.0 as isize - left).clamp(0, side as isize) as usize;
        let end = ((self.origin.0 + self.width) as isize - left).clamp(0, side as isize) as usize;
        if first >= end {
            return;
        }
        let col = (left + first as isize) as usize - self.origin.0;
        let last_row = self.origin.1 + self.row_sums.len();
        for (offset, line) in scores.chunks_exact(side).enumerate() {
            let row = top + offset as isize;
            if row < self.top as isize || row >= last_row as isize {
                continue;
            }
            let row_at = (row as usize - self.top) * self.bands;
            if self.sums.len() < (row_at + self.bands) * self.width {
                self.sums.resize((row_at + self.bands) * self.width, 0.0);
            }
            let start = (row_at + band) * self.width;
            let row_weight = self.weights[offset];
            let sums = &mut self.sums[start + col..start + col + (end - first)];
            let weights = &self.weights[first..end];
            for ((sum, score), weight) in sums.iter_mut().zip(&line[first..end]).zip(weights) {
                *sum += score * weight * row_weight;
            }
        }
    }

    fn write(&mut self, rows: &FinishedRows) -> Result<usize> {
        let count = rows.wanted.len() / self.width;
        let size = count * self.bands * self.width;
        if self.sums.len() < size {
            self.sums.resize(size, 0.0);
        }
        let first = rows.row - self.origin.1;
        let row_sums = &self.row_sums[first..first + count];
        self.strips.write_rows(count, |row, band, scores| {
            let sums = &self.sums[(row * self.bands + band) * self.width..][..self.width];
            let wanted = &rows.wanted[row * self.width..(row + 1) * self.width];
            let done = sums.iter().zip(wanted).zip(&self.col_sums);
            for (score, ((sum, wanted), col_sum)) in scores.iter_mut().zip(done) {
                let mean = (sum / (row_sums[row] * col_sum)).clamp(0.0, 1.0);
                *score = if *wanted { mean } else { f32::NAN };
            }
        })?;
        self.sums.drain(..size);
        self.top += count;
        Ok(count)
    }

    /// The strips, with all rows.
    pub fn finish(self) -> Strips {
        self.strips
    }
}
