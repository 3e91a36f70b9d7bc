//! A scene into scores: windows slide over it, a network scores them, the scores are blended.
//!
//! Four threads, joined by short channels: one reads rows, one cuts windows from them (`strips`), the caller's
//! runs the network, one blends and writes (`blend`). Memory: a strip of `window_px` rows of the
//! scene as bytes, one strip of sums as floats, and a few batches; nothing grows with the height.
//! The network may look at each window in several views (`tta`, `views`), and several models may
//! score a scene (`ensemble`).

mod blend;
mod classes;
mod ensemble;
mod input;
mod network;
mod photo;
pub mod plan;
mod single;
mod strips;
pub mod tta;
pub mod unfinished;
pub mod views;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

pub use classes::{ScoredClasses, probabilities, scored_class};
pub use ensemble::Ensemble;
pub use input::{BoundingBox, Input, Region};
pub use network::{Scorer, load_scorer};
pub use photo::{ScoredPhoto, score_photo};
pub use single::SingleWindow;
pub use strips::Batch;

use crate::config::infer::InferenceConfig;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::memory;
use crate::progress::Progress;
use crate::scores::Strips;

/// Batches and finished rows that may wait between two threads: enough that neither side stands
/// still, few enough that they do not count in memory.
const QUEUE: usize = 2;

/// A share of black pixels above this is most likely a gap that the scene does not declare.
const BLACK_WARNING: f64 = 0.01;

/// What became of a scene.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Report {
    /// Pixels of the region at the model's ground sample distance.
    pub pixels: u64,
    /// Pixels that were scored: valid, and inside the area of interest.
    pub scored_pixels: u64,
    /// Windows that went through the network.
    pub windows: usize,
    /// Windows without a pixel to score.
    pub skipped_windows: usize,
    /// Scored pixels that are 0 in every band: gaps, if there are many.
    pub black_pixels: u64,
    /// Ground sample distance of the scores along (columns, rows), metres.
    pub gsd_m: Option<(f64, f64)>,
    /// The scores.
    pub raster: PathBuf,
    /// Wall time.
    pub seconds: f64,
}

impl Report {
    /// Million pixels per second, region over wall time.
    pub fn mpx_per_s(&self) -> f64 {
        self.pixels as f64 / 1e6 / self.seconds.max(1e-9)
    }
}

/// Scores one scene into [`Strips`] in the folder `out`. Rows that are there already, of an earlier run with the same input, model and
/// configuration, are kept, and the result is that of a run which was not interrupted.
///
/// `score` gets a [`Batch`] of normalised windows and returns a probability per pixel and band of the model's [`ScoredClasses`],
/// `[n, band, row, col]`.
/// The result does not depend on the batch size or the number of threads.
///
/// # Errors
/// The scene is damaged, has nothing to score, the network fails, the disk is full, or the user
/// interrupts.
pub fn run(
    input: Input,
    config: &InferenceConfig,
    out: &Path,
    mut score: impl FnMut(&Batch) -> Result<Vec<f32>>,
    interrupt: &Interrupt,
    progress: Progress,
) -> Result<Report> {
    let started = Instant::now();
    let plan = input.plan(config);
    let region = input.region();
    let gsd_m = input.output_grid().gsd_m;
    let bands = ScoredClasses::of(input.spec())?.bands();
    let strips = Strips::open(out, &input.output_grid(), bands, config.scores)?;
    let rows_done = strips.rows_done();
    if rows_done > 0 {
        tracing::info!(
            "{}: {rows_done} of {} rows were scored before",
            input.scene_path().display(),
            region.height
        );
    }
    let mut blender = blend::Blender::new(&plan, &input, strips);
    let bar = progress.bar("infer", (region.area() as u64).div_ceil(1_000_000), "Mpx");
    let scene_path = input.scene_path().to_owned();

    let mut windows = 0;
    let (strips, counts) = std::thread::scope(|scope| -> Result<(Strips, strips::Counts)> {
        let (to_network, from_reader) = sync_channel(QUEUE);
        let (to_blender, from_network) = sync_channel(QUEUE);
        let plan = &plan;
        let batch = config.batch;
        let reader = scope.spawn(move || strips::read(&input, plan, rows_done, batch, &to_network));
        let bar = &bar;
        let writer = scope.spawn(move || {
            let mut done = 0;
            for message in from_network {
                if let Some(rows) = blender.take(message)? {
                    let before = done / 1_000_000;
                    done += (rows * region.width) as u64;
                    let rate = done as f64 / 1e6 / started.elapsed().as_secs_f64();
                    bar.message(format!("{rate:.2} Mpx/s"));
                    bar.inc(done / 1_000_000 - before);
                }
            }
            Ok(blender.finish())
        });
        let mut failure = None;
        for message in from_reader {
            if interrupt.requested() {
                failure = Some(Error::Interrupted { kept: "the scene is not finished".into() });
                break;
            }
            let passed_on = match message {
                strips::Message::Batch(batch) => match score(&batch) {
                    Ok(scores) => {
                        windows += batch.positions.len();
                        to_blender
                            .send(blend::Message::Scores { positions: batch.positions, scores })
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                },
                strips::Message::Rows(rows) => to_blender.send(blend::Message::Rows(rows)),
            };
            if passed_on.is_err() {
                // The blender stopped; it says why below.
                break;
            }
        }
        // Both neighbours see their channel close and return.
        drop(to_blender);
        let written = join(writer)?;
        let counts = join(reader);
        match failure {
            Some(error) => Err(error),
            None => Ok((written?, counts??)),
        }
    })?;
    bar.finish();
    // Rows of a wide scene are hundreds of megabytes, of which polygons need nothing.
    memory::give_back();
    let scored_pixels = strips.scored_pixels();
    if scored_pixels == 0 {
        return Err(Error::input(
            scene_path,
            "valid pixels to score",
            "nodata only",
            "check the scene's nodata value and alpha band, and that the area of interest lies on data",
        ));
    }
    if counts.black as f64 > BLACK_WARNING * scored_pixels as f64 {
        tracing::warn!(
            "{}: {:.0} % of the pixels are black and were scored like ground; if they are gaps, declare the \
             nodata value: --set input.nodata=0",
            scene_path.display(),
            100.0 * counts.black as f64 / scored_pixels as f64
        );
    }
    Ok(Report {
        pixels: region.area() as u64,
        scored_pixels,
        windows,
        skipped_windows: counts.skipped,
        black_pixels: counts.black,
        gsd_m,
        raster: strips.finish()?,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    // A panic of a thread is a panic of the program: its hook has already said what happened.
    thread.join().or_else(|panic| std::panic::resume_unwind(panic))
}
