//! A component of the mask -> the buildings that it is made of.
//!
//! Houses that touch are one component. They come apart along walls, where these are known, and where it narrows ([`watershed`]).

use std::ops::Range;

use super::patch::{Known, ScoreWindow};
use super::rings::Rings;
use super::sweep::{Run, Sweep, Traced};
use super::threshold::NODATA;
use super::watershed::{Rule, watershed};

/// What a component falls into.
pub(super) struct Parts {
    /// Building of each pixel of the window from 1 on, 0 for none.
    pub(super) labels: Vec<u16>,
    /// The outline and the scores of each building, by label.
    pub(super) buildings: Vec<Part>,
}

/// One building of a component.
pub(super) struct Part {
    pub(super) rings: Rings,
    pub(super) score_sum: u64,
    pub(super) score_min: u8,
    /// Pixels with a score.
    pub(super) pixels: u64,
}

impl Parts {
    /// Splits a component, given by its rings, whose scores are in `window`; `None` where it is one building.
    pub(super) fn new(
        rings: &Rings,
        window: &ScoreWindow,
        gsd_m: (f64, f64),
        rule: &Rule,
    ) -> Option<Self> {
        let inside = inside(rings, window);
        let walls = window.walls.as_deref();
        let (labels, count) = watershed(&inside, walls, window.width, gsd_m, rule)?;
        let boxes = boxes(&labels, window.width, count);
        let buildings =
            boxes.iter().zip(1..).map(|(at, label)| Part::new(label, at, &labels, window));
        let buildings = buildings.collect::<Option<Vec<_>>>()?;
        Some(Self { labels, buildings })
    }
}

/// Which pixels of the window the rings enclose.
fn inside(rings: &Rings, window: &ScoreWindow) -> Vec<bool> {
    let mut crossings: Vec<Vec<usize>> = vec![Vec::new(); window.height];
    for ring in std::iter::once(&rings.exterior).chain(&rings.holes) {
        for (i, a) in ring.corners.iter().enumerate() {
            let b = ring.corners[(i + 1) % ring.corners.len()];
            for row in a.row.min(b.row)..a.row.max(b.row) {
                let col = i64::from(a.col) - window.col;
                crossings[(i64::from(row) - window.row) as usize].push(col as usize);
            }
        }
    }
    let mut inside = vec![false; window.width * window.height];
    for (row, crossings) in inside.chunks_exact_mut(window.width).zip(&mut crossings) {
        crossings.sort_unstable();
        for pair in crossings.chunks_exact(2) {
            row[pair[0]..pair[1]].fill(true);
        }
    }
    inside
}

/// Rows and columns, half-open, of each label.
fn boxes(labels: &[u16], width: usize, count: u16) -> Vec<[Range<usize>; 2]> {
    let mut boxes: Vec<Option<[Range<usize>; 2]>> = vec![None; usize::from(count)];
    for (row, labels) in labels.chunks_exact(width).enumerate() {
        for (col, &label) in labels.iter().enumerate().filter(|(_, label)| **label != 0) {
            let place = &mut boxes[usize::from(label) - 1];
            let [rows, cols] = place.get_or_insert([row..row + 1, col..col + 1]);
            rows.end = row + 1;
            *cols = cols.start.min(col)..cols.end.max(col + 1);
        }
    }
    boxes.into_iter().flatten().collect()
}

impl Part {
    fn new(
        label: u16,
        [rows, cols]: &[Range<usize>; 2],
        labels: &[u16],
        window: &ScoreWindow,
    ) -> Option<Self> {
        let mut sweep = Sweep::starting_at((window.row + rows.start as i64) as u32);
        let mut traced: Vec<Traced> = Vec::new();
        let (mut score_sum, mut score_min, mut pixels) = (0, u8::MAX, 0);
        for row in rows.clone() {
            let at = row * window.width + cols.start..row * window.width + cols.end;
            let (labels, scores) = (&labels[at.clone()], &window.scores[at]);
            let mut runs: Vec<Run> = Vec::new();
            for (x, _) in labels.iter().enumerate().filter(|(_, other)| **other == label) {
                // Filled holes have no scores.
                if scores[x] != NODATA {
                    score_sum += u64::from(scores[x]);
                    score_min = score_min.min(scores[x]);
                    pixels += 1;
                }
                let col = (window.col + (cols.start + x) as i64) as u32;
                match runs.last_mut().filter(|run| run.end == col) {
                    Some(run) => run.end += 1,
                    None => {
                        runs.push(Run { start: col, end: col + 1, score_sum: 0, score_min: 0 });
                    }
                }
            }
            sweep.push(&runs, Known::default(), &mut |part| traced.push(part));
        }
        sweep.finish(&mut |part| traced.push(part));
        let rings = Rings::new(traced.first()?)?;
        Some(Self { rings, score_sum, score_min, pixels })
    }
}
