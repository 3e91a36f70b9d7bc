//! The reading side: strips of the scene into batches of normalised windows.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::input::Input;
use super::plan::{Axis, mirror};
use crate::error::Result;
use crate::geo::{Pixels, Window};
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

/// Rows of the scene that are read at once: they wait in memory while those before them are cut.
const ROWS_AT_ONCE: usize = 128;

/// Rows of the scene, as wide as the plan's windows reach.
struct Rows {
    pixels: Pixels,
    wanted: Vec<bool>,
}

/// Reads the region from its row `done` on, on this thread, and cuts windows on another. Stops quietly when the receiver is gone.
pub fn read(
    input: &Input,
    plan: &Plan,
    done: usize,
    batch: usize,
    to: &SyncSender<Message>,
) -> Result<Counts> {
    let done = plan.rows.from + done;
    // The first windows that see a row which is not done.
    let begin = (0..plan.rows.starts.len()).position(|index| plan.rows.inside(index).1 > done);
    let Some(begin) = begin else { return Ok(Counts::default()) };
    let (to_cutter, rows) = sync_channel(1);
    let mut cutter = Cutter {
        plan,
        normalise: Normalise::new(input.spec()),
        strip: Strip::new(input.spec(), plan, begin),
        batch,
        finished: done,
        skipped: 0,
    };
    std::thread::scope(|scope| {
        let cutter = scope.spawn(move || cutter.run(begin, &rows, to));
        let mut bottom = plan.rows.inside(begin).0;
        let mut black = 0;
        for index in begin..plan.rows.starts.len() {
            for rows in pieces(bottom..plan.rows.inside(index).1) {
                bottom = rows.end;
                let rows = Rows::read(input, plan, rows)?;
                black += rows.black();
                if to_cutter.send(rows).is_err() {
                    return Ok(Counts::default());
                }
            }
        }
        drop(to_cutter);
        Ok(Counts { skipped: super::join(cutter)?, black })
    })
}

/// Rows in parts that are read at once.
fn pieces(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS_AT_ONCE).map(move |row| row..(row + ROWS_AT_ONCE).min(end))
}

impl Rows {
    fn read(input: &Input, plan: &Plan, rows: Range<usize>) -> Result<Self> {
        let (left, right) = plan.cols.extent();
        let window = Window { col: left, row: rows.start, width: right - left, height: rows.len() };
        let (pixels, wanted) = input.read(window)?;
        Ok(Self { pixels, wanted })
    }

    /// How many of the pixels are to be scored and black.
    fn black(&self) -> u64 {
        let px = self.wanted.len();
        let dark =
            |i: usize| (0..self.pixels.bands).all(|band| self.pixels.data[band * px + i] == 0);
        (0..px).filter(|i| dark(*i) && self.wanted[*i]).count() as u64
    }
}

/// Cuts windows from rows as they come.
struct Cutter<'a> {
    plan: &'a Plan,
    normalise: Normalise,
    strip: Strip,
    /// Windows in a batch.
    batch: usize,
    /// Rows above this one were sent.
    finished: usize,
    skipped: usize,
}

impl Cutter<'_> {
    /// Cuts the windows from the row of windows `begin` on; returns the number of windows without a pixel to score.
    fn run(&mut self, begin: usize, rows: &Receiver<Rows>, to: &SyncSender<Message>) -> usize {
        for index in begin..self.plan.rows.starts.len() {
            let (top, bottom) = self.plan.rows.inside(index);
            self.strip.drop_above(top);
            while self.strip.bottom < bottom {
                // The reader has failed, and says why.
                let Ok(rows) = rows.recv() else { return self.skipped };
                self.strip.take(&rows);
            }
            if !self.send_windows(index, to) {
                break;
            }
        }
        self.skipped
    }

    /// Sends a row of windows and the rows that no later one touches; false when the receiver is gone.
    fn send_windows(&mut self, row_index: usize, to: &SyncSender<Message>) -> bool {
        let plan = self.plan;
        let top = plan.rows.starts[row_index];
        let mut pending = self.strip.empty_batch(plan);
        for (col_index, &left) in plan.cols.starts.iter().enumerate() {
            if !self.strip.any_wanted(plan, col_index) {
                self.skipped += 1;
                continue;
            }
            self.strip.cut(plan, &self.normalise, (left, top), &mut pending);
            if pending.positions.len() == self.batch {
                let full = std::mem::replace(&mut pending, self.strip.empty_batch(plan));
                if to.send(Message::Batch(full)).is_err() {
                    return false;
                }
            }
        }
        if !pending.positions.is_empty() && to.send(Message::Batch(pending)).is_err() {
            return false;
        }
        // The next window row begins where these rows end; after the last, all are finished.
        let end = plan
            .rows
            .starts
            .get(row_index + 1)
            .map_or(plan.rows.to, |next| (*next).max(0) as usize)
            .clamp(self.finished, plan.rows.to);
        let rows = FinishedRows {
            row: self.finished,
            wanted: self.strip.wanted_rows(plan, self.finished, end),
        };
        self.finished = end;
        rows.wanted.is_empty() || to.send(Message::Rows(rows)).is_ok()
    }
}

/// The window of a plan that has no other, and which of its pixels lie in the scene and are to be scored.
pub(super) fn only(input: &Input, plan: &Plan) -> Result<(Batch, Vec<bool>)> {
    let mut strip = Strip::new(input.spec(), plan, 0);
    let (top, bottom) = plan.rows.inside(0);
    strip.take(&Rows::read(input, plan, top..bottom)?);
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
    fn new(spec: &ModelSpec, plan: &Plan, begin: usize) -> Self {
        let (left, right) = plan.cols.extent();
        let top = plan.rows.inside(begin).0;
        let (bands, area) = (spec.bands.len(), plan.rows.window_px * (right - left));
        Self {
            left,
            width: right - left,
            bands,
            top,
            bottom: top,
            data: Vec::with_capacity(bands * area),
            valid: Vec::with_capacity(area),
            wanted: Vec::with_capacity(area),
        }
    }

    /// Drops the rows above `top`.
    fn drop_above(&mut self, top: usize) {
        // With little overlap a whole strip may be new.
        let gone = (top - self.top).min(self.bottom - self.top);
        self.data.drain(..gone * self.bands * self.width);
        self.valid.drain(..gone * self.width);
        self.wanted.drain(..gone * self.width);
        self.top = top;
        self.bottom = self.bottom.max(top);
    }

    /// Adds the rows that follow.
    fn take(&mut self, rows: &Rows) {
        let pixels = &rows.pixels;
        for row in 0..pixels.height {
            for band in 0..self.bands {
                let start = (band * pixels.height + row) * self.width;
                self.data.extend_from_slice(&pixels.data[start..start + self.width]);
            }
        }
        self.valid.extend_from_slice(&pixels.valid);
        self.wanted.extend_from_slice(&rows.wanted);
        self.bottom += pixels.height;
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
        // Columns of the strip, and how many columns before them are mirrored.
        let inside = (left.max(0) as usize, ((left + side as isize) as usize).min(plan.cols.len));
        let before = (inside.0 as isize - left) as usize;
        let inside = inside.0 - self.left..inside.1 - self.left;
        let mirrored = |offset: usize| mirror(left + offset as isize, plan.cols.len) - self.left;
        batch.positions.push((left, top));
        batch.pixels.reserve(self.bands * side * side);
        for (band, table) in normalise.0.iter().enumerate() {
            for offset in 0..side as isize {
                let row = mirror(top + offset, plan.rows.len) - self.top;
                let start = (row * self.bands + band) * self.width;
                let values = &self.data[start..start + self.width];
                let valid = &self.valid[row * self.width..(row + 1) * self.width];
                let pixel = |value: u8, valid: bool| {
                    let pixel = table[usize::from(value)];
                    if valid { pixel } else { 0.0 }
                };
                let around = |offset: usize| {
                    let col = mirrored(offset);
                    pixel(values[col], valid[col])
                };
                batch.pixels.extend((0..before).map(around));
                let row = values[inside.clone()].iter().zip(&valid[inside.clone()]);
                batch.pixels.extend(row.map(|(value, valid)| pixel(*value, *valid)));
                batch.pixels.extend((before + inside.len()..side).map(around));
            }
        }
    }

    fn wanted_rows(&self, plan: &Plan, from: usize, to: usize) -> Vec<bool> {
        let columns = plan.cols.from - self.left..plan.cols.to - self.left;
        let mut wanted = Vec::with_capacity((to - from) * columns.len());
        for row in from - self.top..to - self.top {
            let row = &self.wanted[row * self.width..(row + 1) * self.width];
            wanted.extend_from_slice(&row[columns.clone()]);
        }
        wanted
    }
}
