//! Rows of scores in, buildings out, as the rows come.

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::neighbours::Neighbours;
use super::outline::{Finished, Finisher, Outline};
use super::sweep::{Block, Neighbourhood, Run, Sweep, Traced};
use super::threshold::{fillable, foreground, lowest_closing_score, lowest_score};
use crate::config::polygonize::PolygonizeOptions;
use crate::geo::Grid;
use crate::morphology::{Morphology, bits};

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Outlines handed on.
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
    lowest_closing_score: u8,
    morphology: Morphology,
    /// Scores of the rows inside the morphology, uppermost first.
    scores: VecDeque<Vec<u8>>,
    sweep: Sweep,
    finisher: Finisher,
    /// Finished buildings by their first pixel.
    waiting: BTreeMap<(u32, u32), Vec<Outline>>,
    /// Absent where outlines follow the pixels exactly.
    neighbours: Option<Neighbours>,
    counts: Counts,
}

impl Polygonizer {
    /// For scores on `grid`. The options must have passed [`PolygonizeOptions::validate`].
    pub fn new(grid: &Grid, options: &PolygonizeOptions) -> Self {
        let gsd_m = grid.gsd_m.unwrap_or((1.0, 1.0));
        let finisher = Finisher::new(grid, options);
        let joined = match options.connectivity {
            8 => Neighbourhood::Corners,
            _ => Neighbourhood::Sides,
        };
        let sweep = Sweep::new(joined, finisher.needs_scores());
        let neighbours = finisher.strays().then(|| Neighbours::new(&grid.transform, grid.width));
        Self {
            width: grid.width,
            lowest_score: lowest_score(options.threshold),
            lowest_closing_score: lowest_closing_score(
                options.closing_threshold,
                options.threshold,
            ),
            morphology: Morphology::new(grid.width, gsd_m, options.closing_m, options.opening_m),
            scores: VecDeque::new(),
            sweep,
            finisher,
            waiting: BTreeMap::new(),
            neighbours,
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
        if self.morphology.is_identity() {
            let rows = scores.par_chunks_exact(self.width).with_min_len(MIN_ROWS_PER_TASK);
            let rows = rows.map(|row| (runs_of(&foreground(row, self.lowest_score), row), row));
            let rows: Vec<(Vec<Run>, &[u8])> = rows.collect();
            self.take(&rows, false)
        } else {
            let rows = self.smoothed_runs(scores);
            self.take(&rows, false)
        }
    }

    /// No more rows will come: returns the remaining buildings.
    pub fn finish(&mut self) -> Vec<Outline> {
        let mut rows = Vec::new();
        self.morphology.finish(&mut |row| rows.push(row));
        let rows = self.runs_after_morphology(&rows);
        self.take(&rows, true)
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Threshold, closing, opening; runs and scores of the rows that are done.
    fn smoothed_runs(&mut self, scores: &[u8]) -> Vec<(Vec<Run>, Vec<u8>)> {
        let chunks = scores.par_chunks_exact(self.width).with_min_len(MIN_ROWS_PER_TASK);
        let rows: Vec<_> = chunks
            .map(|row| {
                let fillable = fillable(row, self.lowest_closing_score);
                (foreground(row, self.lowest_score), fillable, row.to_vec())
            })
            .collect();
        let mut done = Vec::new();
        for (bits, fillable, scores) in rows {
            self.scores.push_back(scores);
            self.morphology.push(bits, fillable, &mut |row| done.push(row));
        }
        self.runs_after_morphology(&done)
    }

    fn runs_after_morphology(&mut self, rows: &[Vec<u64>]) -> Vec<(Vec<Run>, Vec<u8>)> {
        let scores: Vec<Vec<u8>> = self.scores.drain(..rows.len().min(self.scores.len())).collect();
        rows.par_iter()
            .with_min_len(MIN_ROWS_PER_TASK)
            .zip(scores)
            .map(|(row, scores)| (runs_of(row, &scores), scores))
            .collect()
    }

    /// Traces rows of runs, given with their scores, and finishes what is complete.
    fn take<S: AsRef<[u8]> + Sync>(&mut self, rows: &[(Vec<Run>, S)], last: bool) -> Vec<Outline> {
        let (sweep, finisher) = (&self.sweep, &self.finisher);
        let finish = |traced: &Traced| (traced.first, finisher.finish(traced));
        let sweep_block = |(index, rows): (usize, &[(Vec<Run>, S)])| {
            let mut finished = Vec::new();
            let mut block: Option<Block> = None;
            for ((runs, scores), row) in
                rows.iter().zip(sweep.row() + (index * BLOCK_ROWS) as u32..)
            {
                match &mut block {
                    None => block = Some(Block::new(sweep, row, runs, scores.as_ref())),
                    Some(block) => {
                        let done = &mut |traced: Traced| finished.push(finish(&traced));
                        block.push(runs, scores.as_ref(), done);
                    }
                }
            }
            (block, finished)
        };
        let blocks: Vec<_> = rows.par_chunks(BLOCK_ROWS).enumerate().map(sweep_block).collect();
        let mut finished = Vec::new();
        let mut traced: Vec<Traced> = Vec::new();
        for (block, inside) in blocks {
            finished.extend(inside);
            if let Some(block) = block {
                self.sweep.append(block, &mut |component| traced.push(component));
            }
        }
        if last {
            self.sweep.finish(&mut |component| traced.push(component));
        }
        finished.par_extend(
            traced.par_iter().map(|traced| (traced.first, self.finisher.finish(traced))),
        );
        for (first, Finished { outlines, small, holes_filled }) in finished {
            self.counts.dropped_small += small as u64;
            self.counts.holes_filled += holes_filled as u64;
            self.waiting.insert(first, outlines);
        }
        let ready = match self.sweep.earliest_open() {
            None => std::mem::take(&mut self.waiting),
            Some(first) => {
                let later = self.waiting.split_off(&first);
                std::mem::replace(&mut self.waiting, later)
            }
        };
        let mut outlines = Vec::new();
        for ((row, _), component) in ready {
            self.settle(row, component, &mut outlines);
        }
        self.counts.buildings += outlines.len() as u64;
        outlines
    }

    /// Takes from the buildings of a component, whose first pixel lies in `row`, what others have before them.
    fn settle(&mut self, row: u32, component: Vec<Outline>, outlines: &mut Vec<Outline>) {
        let Some(neighbours) = &mut self.neighbours else { return outlines.extend(component) };
        neighbours.pass(f64::from(row) - self.finisher.reach_px());
        for outline in component {
            let settled = match neighbours.settle(outline.polygon.clone()) {
                Some((_, false)) => Some(outline),
                Some((polygon, true)) => {
                    self.finisher.outline(polygon, outline.confidence, outline.status)
                }
                None => None,
            };
            match settled {
                Some(outline) => outlines.push(outline),
                None => self.counts.dropped_small += 1,
            }
        }
    }
}

/// Rows that are traced as one piece: many enough that most buildings lie inside, few enough for all cores to have some.
const BLOCK_ROWS: usize = 128;
/// Rows are cheap: fewer than this are not worth a task.
const MIN_ROWS_PER_TASK: usize = 16;

fn runs_of(row: &[u64], scores: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    bits::for_each_run(row, scores.len(), |start, end| {
        let scores = &scores[start..end];
        runs.push(Run {
            start: start as u32,
            end: end as u32,
            score_sum: scores.iter().map(|&score| u32::from(score)).sum(),
            score_min: scores.iter().copied().min().unwrap_or_default(),
        });
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
