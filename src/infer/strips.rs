//! The reading side: strips of the scene into batches of normalised windows.

use std::sync::mpsc::SyncSender;

use super::input::Input;
use super::plan::{Axis, mirror};
use crate::error::Result;
use crate::geo::Window;
use crate::model::ModelSpec;

/// Windows over a scene: every column position at every row position.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Along the columns.
    pub cols: Axis,
    /// Along the rows.
    pub rows: Axis,
}

/// Windows for the network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// First (column, row) of each window in the plan's grid.
    pub positions: Vec<(isize, isize)>,
    /// Bands of each window.
    pub bands: usize,
    /// Sides of each window, px.
    pub window_px: usize,
    /// Normalised pixels `[n, band, row, col]`; nodata is 0, the mean.
    pub pixels: Vec<f32>,
}

/// Rows that no later window touches.
#[derive(Clone, Debug)]
pub struct FinishedRows {
    /// The first of them, in the plan's grid.
    pub row: usize,
    /// Pixels of the region to score, `[row, col]`; the others become nodata.
    pub wanted: Vec<bool>,
}

/// What the reader sends, in order.
pub enum Message {
    /// Windows to score.
    Batch(Batch),
    /// Rows whose windows were all sent.
    Rows(FinishedRows),
}

/// What the reader came across.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Windows without a pixel to score.
    pub skipped: usize,
    /// Pixels to score that are 0 in every band: gaps, if there are many.
    pub black: u64,
}

/// Reads the region from its row `done` on. Stops quietly when the receiver is gone.
pub fn read(
    input: &Input,
    plan: &Plan,
    done: usize,
    batch: usize,
    to: &SyncSender<Message>,
) -> Result<Counts> {
    let normalise = Normalise::new(input.spec());
    let mut counts = Counts::default();
    let mut finished = plan.rows.from + done;
    // The first windows that see a row which is not done.
    let begin = (0..plan.rows.starts.len()).position(|index| plan.rows.inside(index).1 > finished);
    let Some(begin) = begin else { return Ok(counts) };
    let mut strip = Strip::new(input, plan, begin);
    for (row_index, &top) in plan.rows.starts.iter().enumerate().skip(begin) {
        counts.black += strip.advance(input, plan.rows.inside(row_index))?;
        let mut pending = strip.empty_batch(plan);
        for (col_index, &left) in plan.cols.starts.iter().enumerate() {
            if !strip.any_wanted(plan, col_index) {
                counts.skipped += 1;
                continue;
            }
            strip.cut(plan, &normalise, (left, top), &mut pending);
            if pending.positions.len() == batch {
                let full = std::mem::replace(&mut pending, strip.empty_batch(plan));
                if to.send(Message::Batch(full)).is_err() {
                    return Ok(counts);
                }
            }
        }
        if !pending.positions.is_empty() && to.send(Message::Batch(pending)).is_err() {
            return Ok(counts);
        }
        // The next window row begins where these rows end; after the last, all are finished.
        let end = plan
            .rows
            .starts
            .get(row_index + 1)
            .map_or(plan.rows.to, |next| (*next).max(0) as usize)
            .clamp(finished, plan.rows.to);
        let wanted = strip.wanted_rows(plan, finished, end);
        if end > finished && to.send(Message::Rows(FinishedRows { row: finished, wanted })).is_err()
        {
            return Ok(counts);
        }
        finished = end;
    }
    Ok(counts)
}

/// The window of a plan that has no other, and which of its pixels lie in the scene and are to be scored.
pub(super) fn only(input: &Input, plan: &Plan) -> Result<(Batch, Vec<bool>)> {
    let mut strip = Strip::new(input, plan, 0);
    strip.advance(input, plan.rows.inside(0))?;
    let (left, top) = (plan.cols.starts[0], plan.rows.starts[0]);
    let mut batch = strip.empty_batch(plan);
    strip.cut(plan, &Normalise::new(input.spec()), (left, top), &mut batch);
    let side = batch.window_px as isize;
    let held = |at: isize, from: usize, count: usize| {
        usize::try_from(at - from as isize).ok().filter(|at| *at < count)
    };
    let wanted = (0..side * side).map(|i| {
        let row = held(top + i / side, strip.top, strip.bottom - strip.top);
        let col = held(left + i % side, strip.left, strip.width);
        row.zip(col).is_some_and(|(row, col)| strip.wanted[row * strip.width + col])
    });
    let wanted = wanted.collect();
    Ok((batch, wanted))
}

/// `(x / 255 - mean) / std` per band as a table.
pub(super) struct Normalise(Vec<[f32; 256]>);

impl Normalise {
    pub(super) fn new(spec: &ModelSpec) -> Self {
        let table = |(mean, std): (&f64, &f64)| {
            std::array::from_fn(|value| ((value as f64 / 255.0 - mean) / std) as f32)
        };
        Self(spec.mean.iter().zip(&spec.std).map(table).collect())
    }

    pub(super) fn value(&self, band: usize, value: u8) -> f32 {
        self.0[band][usize::from(value)]
    }
}

/// The rows of the scene under one row of windows: at most `window_px` x the scene's width, bytes.
struct Strip {
    /// Columns held, in the plan's grid.
    left: usize,
    width: usize,
    bands: usize,
    /// Rows held: `top..bottom`.
    top: usize,
    bottom: usize,
    /// `[row, band, col]`: rows come and go as one piece.
    data: Vec<u8>,
    valid: Vec<bool>,
    wanted: Vec<bool>,
}

impl Strip {
    /// For windows from the row of windows `begin` on.
    fn new(input: &Input, plan: &Plan, begin: usize) -> Self {
        let (left, right) = plan.cols.extent();
        let top = plan.rows.inside(begin).0;
        Self {
            left,
            width: right - left,
            bands: input.spec().bands.len(),
            top,
            bottom: top,
            data: Vec::new(),
            valid: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// Drops the rows above `top` and reads those down to `bottom`. How many of the pixels read are to be scored and black.
    fn advance(&mut self, input: &Input, (top, bottom): (usize, usize)) -> Result<u64> {
        // With little overlap a whole strip may be new.
        let gone = (top - self.top).min(self.bottom - self.top);
        self.data.drain(..gone * self.bands * self.width);
        self.valid.drain(..gone * self.width);
        self.wanted.drain(..gone * self.width);
        let from = self.bottom.max(top);
        self.top = top;
        let mut black = 0;
        if bottom > from {
            let window =
                Window { col: self.left, row: from, width: self.width, height: bottom - from };
            let (pixels, wanted) = input.read(window)?;
            for row in 0..window.height {
                for band in 0..self.bands {
                    let start = (band * window.height + row) * self.width;
                    self.data.extend_from_slice(&pixels.data[start..start + self.width]);
                }
            }
            let px = window.height * self.width;
            let dark = |i: usize| pixels.data.iter().skip(i).step_by(px).all(|value| *value == 0);
            black = (0..px).filter(|i| wanted[*i] && dark(*i)).count() as u64;
            self.valid.extend_from_slice(&pixels.valid);
            self.wanted.extend_from_slice(&wanted);
        }
        self.bottom = bottom;
        Ok(black)
    }

    fn empty_batch(&self, plan: &Plan) -> Batch {
        let window_px = plan.cols.window_px;
        Batch { positions: Vec::new(), bands: self.bands, window_px, pixels: Vec::new() }
    }

    /// Whether a pixel to score lies under a window of this strip.
    fn any_wanted(&self, plan: &Plan, col_index: usize) -> bool {
        let (from, to) = plan.cols.inside(col_index);
        let (from, to) = (from.max(plan.cols.from), to.min(plan.cols.to));
        if from >= to {
            return false;
        }
        (self.top.max(plan.rows.from)..self.bottom.min(plan.rows.to)).any(|row| {
            let start = (row - self.top) * self.width;
            self.wanted[start + from - self.left..start + to - self.left].contains(&true)
        })
    }

    /// Appends the window at `(left, top)`, mirrored where it leaves the scene.
    fn cut(
        &self,
        plan: &Plan,
        normalise: &Normalise,
        (left, top): (isize, isize),
        batch: &mut Batch,
    ) {
        let side = batch.window_px;
        let columns: Vec<usize> = (0..side as isize)
            .map(|offset| mirror(left + offset, plan.cols.len) - self.left)
            .collect();
        batch.positions.push((left, top));
        batch.pixels.reserve(self.bands * side * side);
        for (band, table) in normalise.0.iter().enumerate() {
            for offset in 0..side as isize {
                let row = mirror(top + offset, plan.rows.len) - self.top;
                let start = (row * self.bands + band) * self.width;
                let values = &self.data[start..start + self.width];
                let valid = &self.valid[row * self.width..(row + 1) * self.width];
                batch.pixels.extend(
                    columns
                        .iter()
                        .map(|&col| if valid[col] { table[usize::from(values[col])] } else { 0.0 }),
                );
            }
        }
    }

    fn wanted_rows(&self, plan: &Plan, from: usize, to: usize) -> Vec<bool> {
        let columns = plan.cols.from - self.left..plan.cols.to - self.left;
        (from..to)
            .flat_map(|row| {
                let start = (row - self.top) * self.width;
                self.wanted[start + columns.start..start + columns.end].iter().copied()
            })
            .collect()
    }
}
