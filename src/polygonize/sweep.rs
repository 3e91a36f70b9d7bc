//! One pass over the rows of a mask that builds the exact outlines of its components.
//!
//! Foreground is 4-connected (pixels touch by a side) and background 8-connected, or the other way round. An outline runs along pixel
//! edges; its vertices are the pixel corners where it turns. A vertical edge that crosses the sweep line is
//! the open end of a chain of vertices; between two rows, chains grow, join and close. A component leaves
//! as soon as a row has no pixel of it, so memory is bounded by the scene's width and the outlines of
//! the components that touch the last row. [`blocks`] sweeps parts of a scene apart, in parallel.
//!
//! Outlines have the foreground at their left hand (on a screen: outer rings run counter-clockwise).

mod blocks;

pub(super) use blocks::Block;

use super::components::Components;
use super::patch::{Known, Patch};

/// A maximal run of foreground pixels in one row: columns `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) score_sum: u32,
    pub(super) score_min: u8,
}

/// A vertex of an outline: the upper-left corner of the pixel (col, row).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corner {
    pub(super) col: u32,
    pub(super) row: u32,
    /// Two foreground pixels touch here by their corners, and two of the background: another outline, or the same one again,
    /// passes here too.
    pub(super) pinch: bool,
}

/// A component with its boundary as closed chains of corners (the first is not repeated).
#[derive(Clone, Debug)]
pub(super) struct Traced {
    /// (row, column) of the first pixel in reading order.
    pub(super) first: (u32, u32),
    pub(super) pixels: u64,
    pub(super) score_sum: u64,
    pub(super) score_min: u8,
    /// Scores in and around it, where the sweep keeps them.
    pub(super) patch: Patch,
    pub(super) corners: Vec<Corner>,
    /// Where each chain ends in `corners`.
    pub(super) chain_ends: Vec<usize>,
    /// How its pixels are connected.
    pub(super) neighbours: Neighbourhood,
}

const NONE: u32 = u32::MAX;
/// `next` of a vertex whose chain was given away.
const GONE: u32 = u32::MAX - 1;
/// No corner: a link of a chain where it crosses the seam of two blocks.
const SEAM: Corner = Corner { col: u32::MAX, row: u32::MAX, pinch: false };

#[derive(Clone, Copy, Debug)]
struct Vertex {
    corner: Corner,
    next: u32,
}

/// Which pixels of the foreground are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Neighbourhood {
    /// Those that touch by a side.
    #[default]
    Sides,
    /// Those that touch by a corner, too.
    Corners,
}

/// The sweep line and all that hangs on it.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Rows taken so far.
    row: u32,
    runs: Vec<Run>,
    /// Component of each run of the last row.
    labels: Vec<u32>,
    /// The vertex at the upper end of each run's left and right edge.
    ends: Vec<[u32; 2]>,
    next_labels: Vec<u32>,
    next_ends: Vec<[u32; 2]>,
    vertices: Vec<Vertex>,
    free: Vec<u32>,
    components: Components,
    neighbours: Neighbourhood,
    keeps_scores: bool,
    /// Scores of the last row, where they are kept.
    scores: Vec<u8>,
    /// Components that merged keep their places: the seam above will ask for them.
    in_block: bool,
}

impl Sweep {
    /// A sweep from row 0, that keeps the scores in and around every component if it is told to.
    pub(super) fn new(neighbours: Neighbourhood, keeps_scores: bool) -> Self {
        Self { neighbours, keeps_scores, ..Self::default() }
    }

    /// A sweep whose first row has another number than 0.
    pub(super) fn starting_at(row: u32) -> Self {
        Self { row, ..Self::default() }
    }

    /// The row that comes next.
    pub(super) fn row(&self) -> u32 {
        self.row
    }

    /// Takes the next row's runs (left to right, not touching) and what is known of it; hands on components that ended above it.
    pub(super) fn push(&mut self, runs: &[Run], known: Known, done: &mut impl FnMut(Traced)) {
        if !(runs.is_empty() && self.runs.is_empty()) {
            self.label(runs, known, None);
            if self.keeps_scores {
                self.keep_beside(runs, known.scores);
            }
            self.trace(runs);
            self.emit_ended(self.row, done);
            std::mem::swap(&mut self.labels, &mut self.next_labels);
            std::mem::swap(&mut self.ends, &mut self.next_ends);
            self.runs.clear();
            self.runs.extend_from_slice(runs);
        }
        if self.keeps_scores {
            self.scores.clear();
            self.scores.extend_from_slice(known.scores);
        }
        self.row += 1;
    }

    /// The scene has ended: all components are done.
    pub(super) fn finish(&mut self, done: &mut impl FnMut(Traced)) {
        self.push(&[], Known::default(), done);
    }

    /// The lowest `first` of the components that may still grow.
    pub(super) fn earliest_open(&mut self) -> Option<(u32, u32)> {
        self.labels.iter().map(|&label| self.components.get(label).first).min()
    }

    /// Gives each run of the new row its component, which `counted` names where the runs are counted already.
    fn label(&mut self, runs: &[Run], known: Known, counted: Option<&[u32]>) {
        self.next_labels.clear();
        let mut above = 0;
        let reach = u32::from(self.neighbours == Neighbourhood::Corners);
        for (k, run) in runs.iter().enumerate() {
            while self.runs.get(above).is_some_and(|a| a.end + reach <= run.start) {
                above += 1;
            }
            let mut label = counted.map_or(NONE, |labels| self.components.find(labels[k]));
            let mut i = above;
            while let Some(a) = self.runs.get(i).filter(|a| a.start < run.end + reach) {
                let other = self.components.find(self.labels[i]);
                label = if label == NONE { other } else { self.components.union(label, other) };
                if a.end > run.end {
                    break;
                }
                i += 1;
            }
            // The last one may reach under the next run too: look at it again.
            above = i;
            if label == NONE {
                label = self.components.add((self.row, run.start));
            }
            if counted.is_none() {
                self.count(label, run, known);
            }
            self.next_labels.push(label);
        }
        for label in &mut self.next_labels {
            *label = self.components.find(*label);
            let component = self.components.get(*label);
            component.last_row = component.last_row.max(self.row);
        }
    }

    /// Adds a run of the new row to its component.
    fn count(&mut self, label: u32, run: &Run, known: Known) {
        let component = self.components.get(label);
        component.pixels += u64::from(run.end - run.start);
        component.score_sum += u64::from(run.score_sum);
        component.score_min = component.score_min.min(run.score_min);
        if self.keeps_scores {
            component.patch.add_run(self.row, run, known);
        }
    }

    /// Gives the components the scores of the new row below them, and those of the last row above them.
    fn keep_beside(&mut self, runs: &[Run], scores: &[u8]) {
        if self.row > 0 {
            for (run, &label) in runs.iter().zip(&self.next_labels) {
                let patch = &mut self.components.get(label).patch;
                patch.add_beside(self.row - 1, run, &self.runs, &self.scores);
            }
        }
        // Past the last row there are no scores.
        if !scores.is_empty() {
            for (run, &label) in self.runs.iter().zip(&self.labels) {
                let label = self.components.find(label);
                self.components.get(label).patch.add_beside(self.row, run, runs, scores);
            }
        }
    }

    /// Walks along the line between the last row and the new one and extends the chains.
    fn trace(&mut self, runs: &[Run]) {
        self.next_ends.clear();
        self.next_ends.resize(runs.len(), [NONE; 2]);
        // Turn k of a row is an edge of run k / 2: its left edge for even k, its right one for odd k.
        let turn = |runs: &[Run], k: usize| {
            runs.get(k / 2)
                .map_or(u32::MAX, |run| if k.is_multiple_of(2) { run.start } else { run.end })
        };
        let (mut above, mut below) = (0, 0);
        // The left end of the horizontal edge that we walk along, and whether a chain hangs on it.
        let mut open: Option<(u32, bool)> = None;
        loop {
            let (x_above, x_below) = (turn(&self.runs, above), turn(runs, below));
            let col = x_above.min(x_below);
            if col == u32::MAX {
                break;
            }
            let (has_above, has_below) = (x_above == col, x_below == col);
            if has_above && has_below && above % 2 == below % 2 {
                // The outline goes straight on.
                self.next_ends[below / 2][below % 2] = self.ends[above / 2][above % 2];
            } else if has_above && has_below {
                // Two pixels touch by their corners. Where background connects through here, the left edge turns into the vertical of
                // its own pixel, and so does the right one; where foreground does, into that of the other pixel.
                let by_side = self.neighbours == Neighbourhood::Sides;
                let left_is_above = (above % 2 == 1) == by_side;
                let up = self.add(col, true);
                let down = self.add(col, true);
                self.link_up(above, up);
                self.next_ends[below / 2][below % 2] = down;
                let (left, right) = if left_is_above {
                    ((up, true), (down, false))
                } else {
                    ((down, false), (up, true))
                };
                if let Some(start) = open {
                    self.join(start, left, (above, below));
                }
                open = Some(right);
            } else {
                let vertex = self.add(col, false);
                if has_above {
                    self.link_up(above, vertex);
                } else {
                    self.next_ends[below / 2][below % 2] = vertex;
                }
                open = match open {
                    None => Some((vertex, has_above)),
                    Some(start) => {
                        self.join(start, (vertex, has_above), (above, below));
                        None
                    }
                };
            }
            above += usize::from(has_above);
            below += usize::from(has_below);
        }
    }

    fn add(&mut self, col: u32, pinch: bool) -> u32 {
        self.add_vertex(Corner { col, row: self.row, pinch })
    }

    fn add_vertex(&mut self, corner: Corner) -> u32 {
        let vertex = Vertex { corner, next: NONE };
        if let Some(id) = self.free.pop() {
            self.vertices[id as usize] = vertex;
            return id;
        }
        self.vertices.push(vertex);
        self.vertices.len() as u32 - 1
    }

    /// Connects a vertex with the vertical edge above it.
    fn link_up(&mut self, above: usize, vertex: u32) {
        self.link(above % 2, self.ends[above / 2][above % 2], vertex);
    }

    /// Connects the ends of a vertical edge: left edges of runs (side 0) run down, right ones up.
    fn link(&mut self, side: usize, upper: u32, lower: u32) {
        let (from, to) = if side == 0 { (upper, lower) } else { (lower, upper) };
        self.vertices[from as usize].next = to;
    }

    /// Connects the two ends of a horizontal edge; the turns are those after it.
    fn join(&mut self, left: (u32, bool), right: (u32, bool), (above, below): (usize, usize)) {
        // Foreground above: its lower edge runs right. Foreground below: its upper edge runs left.
        let foreground_above = above % 2 == 1;
        let (from, to) = if foreground_above { (left.0, right.0) } else { (right.0, left.0) };
        self.vertices[from as usize].next = to;
        // Both sides go down: a local top, and every ring has one.
        if !left.1 && !right.1 {
            let label = if foreground_above {
                self.components.find(self.labels[above / 2])
            } else {
                self.next_labels[below / 2]
            };
            self.components.get(label).ring_starts.push(from);
        }
    }

    /// Hands on the components of the last row that have no run in `row`.
    fn emit_ended(&mut self, row: u32, done: &mut impl FnMut(Traced)) {
        for i in 0..self.labels.len() {
            let label = self.components.find(self.labels[i]);
            let component = self.components.get(label);
            // A component whose places were given back has no start left; each has one before.
            if component.last_row == row
                || component.ring_starts.is_empty()
                || component.touches_seam
            {
                continue;
            }
            let mut traced = Traced {
                first: component.first,
                pixels: component.pixels,
                score_sum: component.score_sum,
                score_min: component.score_min,
                patch: std::mem::take(&mut component.patch),
                corners: Vec::new(),
                chain_ends: Vec::new(),
                neighbours: self.neighbours,
            };
            let starts = std::mem::take(&mut component.ring_starts);
            for &start in &starts {
                self.take_chain(start, &mut traced);
            }
            self.components.get(label).ring_starts = starts;
            self.components.remove(label);
            done(traced);
        }
        if !self.in_block {
            self.components.recycle_merged();
        }
    }

    /// Moves the chain through `start` into `traced`, unless it is there already.
    fn take_chain(&mut self, start: u32, traced: &mut Traced) {
        let mut at = start;
        while self.vertices[at as usize].next != GONE {
            let vertex = &mut self.vertices[at as usize];
            if vertex.corner != SEAM {
                traced.corners.push(vertex.corner);
            }
            let next = std::mem::replace(&mut vertex.next, GONE);
            self.free.push(at);
            at = next;
        }
        if traced.chain_ends.last().copied().unwrap_or(0) < traced.corners.len() {
            traced.chain_ends.push(traced.corners.len());
        }
    }
}
