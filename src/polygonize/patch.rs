//! The scores in and around one component.
//!
//! The sweep collects them row by row as spans; [`Patch::window`] lays them out as a small raster when the component is whole.

use super::sweep::Run;
use super::threshold::NODATA;

/// A component of more pixels, or a bounding box of more, keeps no scores: it is no building, and memory stays bounded.
const MOST_PIXELS: u64 = 16 << 20;
const MOST_BOX_PIXELS: u64 = 64 << 20;

/// What is known of the pixels of a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The score of each; empty where scores are not kept.
    pub(super) scores: &'a [u8],
    /// Columns `start..end` of walls, left to right.
    pub(super) walls: &'a [(u32, u32)],
}

/// Scores of `scores[at..]` from column `start` to `end` of a row.
#[derive(Clone, Copy, Debug)]
struct Span {
    row: u32,
    start: u32,
    end: u32,
    at: usize,
}

/// Scores of a component's pixels and of all pixels that touch one of them by a side.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    spans: Vec<Span>,
    scores: Vec<u8>,
    /// Row and columns `start..end` of walls among its pixels.
    walls: Vec<[u32; 3]>,
    pixels: u64,
    /// It grew too large and keeps nothing.
    given_up: bool,
}

impl Patch {
    /// Adds the pixels of a run and their neighbours in its row. `known` is of the whole row.
    pub(super) fn add_run(&mut self, row: u32, run: &Run, known: Known) {
        self.pixels += u64::from(run.end - run.start);
        let scores = known.scores;
        self.add(row, run.start.saturating_sub(1), (run.end + 1).min(scores.len() as u32), scores);
        let first = known.walls.partition_point(|&(_, end)| end <= run.start);
        for &(start, end) in known.walls[first..].iter().take_while(|wall| wall.0 < run.end) {
            self.walls.push([row, start.max(run.start), end.min(run.end)]);
        }
        self.check_size();
    }

    /// Adds the pixels above or below a run that no run of that row covers.
    pub(super) fn add_beside(&mut self, row: u32, run: &Run, covering: &[Run], scores: &[u8]) {
        let first = covering.partition_point(|other| other.end <= run.start);
        let mut from = run.start;
        for other in covering[first..].iter().take_while(|other| other.start < run.end) {
            self.add(row, from, other.start, scores);
            from = other.end;
        }
        self.add(row, from, run.end, scores);
    }

    fn add(&mut self, row: u32, start: u32, end: u32, scores: &[u8]) {
        if start >= end || self.given_up {
            return;
        }
        self.spans.push(Span { row, start, end, at: self.scores.len() });
        self.scores.extend_from_slice(&scores[start as usize..end as usize]);
    }

    /// Takes over what another part of the component has.
    pub(super) fn merge(&mut self, mut other: Self) {
        if other.scores.len() > self.scores.len() {
            std::mem::swap(self, &mut other);
        }
        self.pixels += other.pixels;
        self.given_up |= other.given_up;
        let moved = self.scores.len();
        self.spans.extend(other.spans.iter().map(|span| Span { at: span.at + moved, ..*span }));
        self.scores.extend_from_slice(&other.scores);
        self.walls.append(&mut other.walls);
        self.check_size();
    }

    fn check_size(&mut self) {
        if self.pixels > MOST_PIXELS || self.given_up {
            let pixels = self.pixels;
            *self = Self { given_up: true, pixels, ..Self::default() };
        }
    }

    /// The scores as a raster; `None` where they were not kept.
    pub(super) fn window(&self) -> Option<ScoreWindow> {
        let top = self.spans.iter().map(|span| span.row).min()?;
        let bottom = self.spans.iter().map(|span| span.row + 1).max()?;
        let left = self.spans.iter().map(|span| span.start).min()?;
        let right = self.spans.iter().map(|span| span.end).max()?;
        // A border all around, so that every neighbour has a place.
        let (col, row) = (i64::from(left) - 1, i64::from(top) - 1);
        let (width, height) = ((right - left) as usize + 2, (bottom - top) as usize + 2);
        if width as u64 * height as u64 > MOST_BOX_PIXELS {
            return None;
        }
        let mut scores = vec![NODATA; width * height];
        for span in &self.spans {
            let start = (span.row - top + 1) as usize * width + (span.start - left + 1) as usize;
            let len = (span.end - span.start) as usize;
            scores[start..start + len].copy_from_slice(&self.scores[span.at..span.at + len]);
        }
        let walls = (!self.walls.is_empty()).then(|| {
            let mut walls = vec![false; width * height];
            for [row, start, end] in &self.walls {
                let at = (row - top + 1) as usize * width + (start - left + 1) as usize;
                walls[at..at + (end - start) as usize].fill(true);
            }
            walls
        });
        Some(ScoreWindow { col, row, width, height, scores, walls })
    }
}

/// A small raster of scores with a border of [`NODATA`]; other pixels that nobody kept are [`NODATA`], too.
#[derive(Clone, Debug)]
pub(super) struct ScoreWindow {
    /// Column and row in the scene of the first pixel.
    pub(super) col: i64,
    pub(super) row: i64,
    pub(super) width: usize,
    pub(super) height: usize,
    /// `[row, col]`.
    pub(super) scores: Vec<u8>,
    /// Which pixels are walls, `[row, col]`; absent where none is.
    pub(super) walls: Option<Vec<bool>>,
}

impl ScoreWindow {
    /// The index of a pixel of the scene.
    pub(super) fn index(&self, col: i64, row: i64) -> usize {
        (row - self.row) as usize * self.width + (col - self.col) as usize
    }
}
