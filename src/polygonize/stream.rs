//! Rows of scores in, buildings out, as the rows come.

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::bits;
use super::morphology::Morphology;
use super::outline::{Finisher, Outcome, Outline};
use super::sweep::{Run, Sweep, Traced};
use super::threshold::{foreground, lowest_score, valid};
use crate::config::polygonize::PolygonizeOptions;
use crate::geo::Grid;

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Outlines handed on or ready to be.
    pub buildings: u64,
    /// Components left out because they were smaller than the least area.
    pub dropped_small: u64,
    /// Holes filled because they were smaller than the least hole.
    pub holes_filled: u64,
}

/// Turns a scene's scores, row by row, into outlines.
///
/// Buildings leave in reading order of their first (uppermost, then leftmost) pixel, whatever the number of
/// rows in a push: the same outlines in the same order for one row at a time and for all at once.
///
/// Memory: the rows inside the closing and opening (bits, and their scores), the pixel outlines of components
/// that reach the last row, and finished outlines that wait for an earlier component still growing.
pub struct Polygonizer {
    width: usize,
    lowest_score: u8,
    morphology: Morphology,
    /// Scores of the rows inside the morphology, uppermost first.
    scores: VecDeque<Vec<u8>>,
    sweep: Sweep,
    finisher: Finisher,
    /// Finished buildings by their first pixel.
    waiting: BTreeMap<(u32, u32), Outline>,
    counts: Counts,
}

impl Polygonizer {
    /// For scores on `grid` (only its width, transform, CRS and ground sample distance matter: any number of
    /// rows may come). The options must have passed [`PolygonizeOptions::validate`].
    pub fn new(grid: &Grid, options: &PolygonizeOptions) -> Self {
        let gsd_m = grid.gsd_m.unwrap_or((1.0, 1.0));
        Self {
            width: grid.width,
            lowest_score: lowest_score(options.threshold),
            morphology: Morphology::new(grid.width, gsd_m, options.closing_m, options.opening_m),
            scores: VecDeque::new(),
            sweep: Sweep::default(),
            finisher: Finisher::new(grid, options),
            waiting: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the next rows of scores (`width` values each, 0..=254 for 0..=1, 255 for no data) and returns the
    /// buildings that are ready.
    pub fn push_rows(&mut self, scores: &[u8]) -> Vec<Outline> {
        debug_assert!(scores.len().is_multiple_of(self.width.max(1)), "whole rows");
        if self.width == 0 {
            return Vec::new();
        }
        let runs = if self.morphology.is_identity() {
            let rows = scores.par_chunks_exact(self.width).with_min_len(MIN_ROWS_PER_TASK);
            rows.map(|row| runs_of(&foreground(row, self.lowest_score), row)).collect()
        } else {
            self.smoothed_runs(scores)
        };
        self.take(&runs, false)
    }

    /// No more rows will come: returns the remaining buildings.
    pub fn finish(&mut self) -> Vec<Outline> {
        let mut rows = Vec::new();
        self.morphology.finish(&mut |row| rows.push(row));
        let runs = self.runs_after_morphology(&rows);
        self.take(&runs, true)
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Threshold, closing, opening; the runs of the rows that are done.
    fn smoothed_runs(&mut self, scores: &[u8]) -> Vec<Vec<Run>> {
        let chunks = scores.par_chunks_exact(self.width).with_min_len(MIN_ROWS_PER_TASK);
        let rows: Vec<_> = chunks
            .map(|row| (foreground(row, self.lowest_score), valid(row), row.to_vec()))
            .collect();
        let mut done = Vec::new();
        for (bits, valid, scores) in rows {
            self.scores.push_back(scores);
            self.morphology.push(bits, valid, &mut |row| done.push(row));
        }
        self.runs_after_morphology(&done)
    }

    fn runs_after_morphology(&mut self, rows: &[Vec<u64>]) -> Vec<Vec<Run>> {
        let scores: Vec<Vec<u8>> = self.scores.drain(..rows.len().min(self.scores.len())).collect();
        rows.par_iter()
            .with_min_len(MIN_ROWS_PER_TASK)
            .zip(&scores)
            .map(|(row, scores)| runs_of(row, scores))
            .collect()
    }

    /// Traces rows of runs and finishes what is complete.
    fn take(&mut self, rows: &[Vec<Run>], last: bool) -> Vec<Outline> {
        let mut traced: Vec<Traced> = Vec::new();
        for runs in rows {
            self.sweep.push(runs, &mut |component| traced.push(component));
        }
        if last {
            self.sweep.finish(&mut |component| traced.push(component));
        }
        let outlines: Vec<_> =
            traced.par_iter().map(|traced| (traced.first, self.finisher.outline(traced))).collect();
        for (first, (outcome, filled)) in outlines {
            self.counts.holes_filled += filled as u64;
            match outcome {
                Outcome::Building(outline) => {
                    self.counts.buildings += 1;
                    self.waiting.insert(first, outline);
                }
                Outcome::Small => self.counts.dropped_small += 1,
            }
        }
        let ready = match self.sweep.earliest_open() {
            None => std::mem::take(&mut self.waiting),
            Some(first) => {
                let later = self.waiting.split_off(&first);
                std::mem::replace(&mut self.waiting, later)
            }
        };
        ready.into_values().collect()
    }
}

/// Rows are cheap: fewer than this are not worth a task.
const MIN_ROWS_PER_TASK: usize = 16;

fn runs_of(row: &[u64], scores: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    bits::for_each_run(row, scores.len(), |start, end| {
        let score_sum = scores[start..end].iter().map(|&score| u32::from(score)).sum();
        runs.push(Run { start: start as u32, end: end as u32, score_sum });
    });
    runs
}

/// The buildings of scores in memory (`width * height` values as [`Polygonizer::push_rows`] takes them, placed by
/// `grid`), in reading order. The options must have passed [`PolygonizeOptions::validate`].
pub fn polygons_of(
    scores: &[u8],
    width: usize,
    height: usize,
    grid: &Grid,
    options: &PolygonizeOptions,
) -> Vec<Outline> {
    let grid = Grid { width, height, ..grid.clone() };
    let mut polygonizer = Polygonizer::new(&grid, options);
    let mut outlines = Vec::new();
    for rows in scores.chunks((ROWS_AT_ONCE * width).max(1)) {
        outlines.extend(polygonizer.push_rows(rows));
    }
    outlines.extend(polygonizer.finish());
    outlines
}

/// Bounds the traced rows that are in memory between two steps.
const ROWS_AT_ONCE: usize = 1024;
