//! Rows of scores in, buildings out, as the rows come.

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::neighbours::Neighbours;
use super::outline::{Finished, Finisher, Outline};
use super::patch::Known;
use super::source::Rows;
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
    /// Of a wall; absent where walls split nothing.
    lowest_wall: Option<u8>,
    morphology: Morphology,
    /// Scores and walls of the rows inside the morphology, uppermost first.
    waiting_rows: VecDeque<(Vec<u8>, Walls)>,
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
            lowest_wall: finisher.splits_by_walls().then(|| lowest_score(options.split_wall)),
            morphology: Morphology::new(grid.width, gsd_m, options.closing_m, options.opening_m),
            waiting_rows: VecDeque::new(),
            sweep,
            finisher,
            waiting: BTreeMap::new(),
            neighbours,
            counts: Counts::default(),
        }
    }

    /// Takes the next rows (`width` values each) and returns the buildings that are ready.
    pub fn push_rows(&mut self, rows: &Rows) -> Vec<Outline> {
        self.push(&rows.scores, rows.walls.as_deref())
    }

    fn push(&mut self, scores: &[u8], walls: Option<&[u8]>) -> Vec<Outline> {
        debug_assert!(scores.len().is_multiple_of(self.width.max(1)), "whole rows");
        if self.width == 0 {
            return Vec::new();
        }
        let width = self.width;
        let walls = walls.zip(self.lowest_wall);
        let walls_of = |row: usize| {
            walls.map_or_else(Walls::new, |(walls, lowest)| {
                walls_of(&walls[row * width..(row + 1) * width], lowest)
            })
        };
        let rows = scores.par_chunks_exact(width).enumerate().with_min_len(MIN_ROWS_PER_TASK);
        if self.morphology.is_identity() {
            let row_of = |(at, scores): (usize, _)| {
                let runs = runs_of(&foreground(scores, self.lowest_score), scores);
                Row { runs, scores, walls: walls_of(at) }
            };
            let rows: Vec<Row<&[u8]>> = rows.map(row_of).collect();
            self.take(&rows, false)
        } else {
            let bits_of = |(at, scores): (usize, &[u8])| {
                let bits = foreground(scores, self.lowest_score);
                let fillable = fillable(scores, self.lowest_closing_score);
                RawRow { bits, fillable, known: (scores.to_vec(), walls_of(at)) }
            };
            let rows: Vec<_> = rows.map(bits_of).collect();
            let rows = self.smoothed(rows);
            self.take(&rows, false)
        }
    }

    /// No more rows will come: returns the remaining buildings.
    pub fn finish(&mut self) -> Vec<Outline> {
        let mut rows = Vec::new();
        self.morphology.finish(&mut |row| rows.push(row));
        let rows = self.rows_after_morphology(&rows);
        self.take(&rows, true)
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Closing and opening of rows; those that are done.
    fn smoothed(&mut self, rows: Vec<RawRow>) -> Vec<Row<Vec<u8>>> {
        let mut done = Vec::new();
        for RawRow { bits, fillable, known } in rows {
            self.waiting_rows.push_back(known);
            self.morphology.push(bits, fillable, &mut |row| done.push(row));
        }
        self.rows_after_morphology(&done)
    }

    fn rows_after_morphology(&mut self, rows: &[Vec<u64>]) -> Vec<Row<Vec<u8>>> {
        let waiting = self.waiting_rows.len();
        let known: Vec<_> = self.waiting_rows.drain(..rows.len().min(waiting)).collect();
        rows.par_iter()
            .with_min_len(MIN_ROWS_PER_TASK)
            .zip(known)
            .map(|(row, (scores, walls))| Row { runs: runs_of(row, &scores), scores, walls })
            .collect()
    }

    /// Traces rows and finishes what is complete.
    fn take<S: AsRef<[u8]> + Sync>(&mut self, rows: &[Row<S>], last: bool) -> Vec<Outline> {
        let (sweep, finisher) = (&self.sweep, &self.finisher);
        let finish = |traced: &Traced| (traced.first, finisher.finish(traced));
        let sweep_block = |(index, rows): (usize, &[Row<S>])| {
            let mut finished = Vec::new();
            let mut block: Option<Block> = None;
            for (row, number) in rows.iter().zip(sweep.row() + (index * BLOCK_ROWS) as u32..) {
                match &mut block {
                    None => block = Some(Block::new(sweep, number, &row.runs, row.known())),
                    Some(block) => {
                        let done = &mut |traced: Traced| finished.push(finish(&traced));
                        block.push(&row.runs, row.known(), done);
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

/// Columns `start..end` of walls in a row, left to right.
type Walls = Vec<(u32, u32)>;

/// A row before closing and opening.
struct RawRow {
    /// Its foreground.
    bits: Vec<u64>,
    /// Pixels that a closing may fill; absent where it may fill any.
    fillable: Option<Vec<u64>>,
    /// Scores and walls.
    known: (Vec<u8>, Walls),
}

/// A row of the mask with what is known of its pixels.
struct Row<S> {
    runs: Vec<Run>,
    scores: S,
    walls: Walls,
}

impl<S: AsRef<[u8]>> Row<S> {
    fn known(&self) -> Known<'_> {
        Known { scores: self.scores.as_ref(), walls: &self.walls }
    }
}

fn walls_of(scores: &[u8], lowest: u8) -> Walls {
    let mut walls = Walls::new();
    bits::for_each_run(&foreground(scores, lowest), scores.len(), |start, end| {
        walls.push((start as u32, end as u32));
    });
    walls
}

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

/// The buildings of the rows of a whole raster on `grid`, in reading order. The options must have passed
/// [`PolygonizeOptions::validate`].
pub fn polygons_of(rows: &Rows, grid: &Grid, options: &PolygonizeOptions) -> Vec<Outline> {
    let split_wall = if rows.walls.is_some() { options.split_wall } else { 0.0 };
    let mut polygonizer =
        Polygonizer::new(grid, &PolygonizeOptions { split_wall, ..options.clone() });
    let mut outlines = Vec::new();
    let size = (ROWS_AT_ONCE * grid.width).max(1);
    for (part, scores) in rows.scores.chunks(size).enumerate() {
        let walls = rows.walls.as_ref().map(|walls| &walls[part * size..][..scores.len()]);
        outlines.extend(polygonizer.push(scores, walls));
    }
    outlines.extend(polygonizer.finish());
    outlines
}

/// Bounds the traced rows that are in memory between two steps.
const ROWS_AT_ONCE: usize = 1024;
