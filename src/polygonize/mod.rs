//! Scores into buildings.
//!
//! ```text
//! scores -> threshold -> closing, opening -> sweep -> rings -> simplified outlines -> attributes -> file
//! ```
//!
//! All of it streams: rows come in, buildings leave as soon as they are complete, and memory does not depend on
//! the scene's height. [`run`] goes from file to file, [`Polygonizer`] takes rows as they are made,
//! [`polygons_of`] serves scores in memory.

mod bits;
mod components;
mod conflicts;
mod morphology;
mod outline;
mod rings;
mod simplify;
mod source;
mod stream;
mod sweep;
mod threshold;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use serde::Serialize;

pub use crate::config::polygonize::PolygonizeOptions;
pub use outline::Outline;
pub use source::{Kind, Scores};
pub use stream::{Counts, Polygonizer, polygons_of};
pub use threshold::{FULL, NODATA, score_of};

use crate::error::Result;
use crate::geo::Crs;
use crate::geo::vector::{FieldKind, LayerWriter, Value};
use crate::output::Staged;
use crate::progress::{Bar, Progress};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scores raster.
    pub scores: PathBuf,
    /// The file of buildings.
    pub output: PathBuf,
    /// Columns and rows of the scores.
    pub size_px: (usize, usize),
    /// Buildings written.
    pub buildings: u64,
    /// Components left out because they were smaller than the least area.
    pub dropped_small: u64,
    /// Holes filled because they were smaller than the least hole.
    pub holes_filled: u64,
    /// Area of the buildings on the ground.
    pub area_m2_total: f64,
}

/// Reads the scores raster `scores` and writes its buildings to `out` (format by extension), with the attributes
/// `id` (from 1, in reading order of the first pixels), `area_m2`, `confidence` and `scene`.
///
/// # Errors
/// An option out of range; no readable scores; `out` exists and `overwrite` is false, or cannot be written.
pub fn run(
    scores: &Path,
    options: &PolygonizeOptions,
    out: &Path,
    overwrite: bool,
    scene_name: &str,
    progress: Progress,
) -> Result<Report> {
    options.validate()?;
    LayerWriter::driver_for(out)?;
    let source = Scores::open(scores)?;
    let staged = Staged::new(out, overwrite)?;
    let grid = source.grid().clone();
    if grid.crs.is_none() {
        tracing::warn!(
            "{}: no coordinate reference system; outlines are in the raster's own coordinates, \
             lengths and areas in its units",
            scores.display()
        );
    }
    if source.kind() == Kind::Mask {
        tracing::info!("{}: taken as a mask: all but 0 is building", scores.display());
    }
    let mut polygonizer = Polygonizer::new(&grid, options);
    let mut writer = BuildingWriter::create(staged.path(), grid.crs.as_ref(), scene_name)?;
    let bar = progress.bar("polygonize", grid.height as u64, "rows");
    std::thread::scope(|scope| {
        let strips = read_ahead(scope, source, grid.width, grid.height);
        polygonize_strips(&strips, grid.width, &mut polygonizer, &mut writer, &bar)
    })?;
    bar.finish();
    let counts = polygonizer.counts();
    let area_m2_total = writer.area_m2_total;
    writer.finish()?;
    staged.commit()?;
    if counts.buildings == 0 {
        tracing::warn!(
            "{}: no building: no pixel reaches threshold {}, or all is smaller than {} m2",
            scores.display(),
            options.threshold,
            options.min_area_m2
        );
    }
    Ok(Report {
        scores: scores.to_owned(),
        output: out.to_owned(),
        size_px: (grid.width, grid.height),
        buildings: counts.buildings,
        dropped_small: counts.dropped_small,
        holes_filled: counts.holes_filled,
        area_m2_total,
    })
}

/// Bytes of a strip of rows; at most four strips are in memory (being read, waiting, in work, its copy inside
/// the closing and opening).
const STRIP_BYTES: usize = 8 << 20;
/// The tiles of our own rasters: a strip that ends with a row of tiles decodes none twice.
const TILE_ROWS: usize = 512;

fn strip_rows(width: usize) -> usize {
    let rows = (STRIP_BYTES / width.max(1)).max(1);
    if rows >= TILE_ROWS { rows / TILE_ROWS * TILE_ROWS } else { rows.max(64) }
}

/// Reads strips on a thread of its own, one ahead of the work.
fn read_ahead<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    source: Scores,
    width: usize,
    height: usize,
) -> Receiver<Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(1);
    scope.spawn(move || {
        let rows = strip_rows(width);
        for row in (0..height).step_by(rows) {
            let strip = source.read_rows(row, rows.min(height - row));
            let failed = strip.is_err();
            // Nobody listens after an error of the writer.
            if sender.send(strip).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

fn polygonize_strips(
    strips: &Receiver<Result<Vec<u8>>>,
    width: usize,
    polygonizer: &mut Polygonizer,
    writer: &mut BuildingWriter<'_>,
    bar: &Bar,
) -> Result<()> {
    for strip in strips {
        let strip = strip?;
        writer.push(polygonizer.push_rows(&strip))?;
        bar.inc((strip.len() / width.max(1)) as u64);
    }
    writer.push(polygonizer.finish())
}

/// Writes buildings with their attributes and numbers them.
pub struct BuildingWriter<'a> {
    layer: LayerWriter,
    scene: &'a str,
    written: i64,
    area_m2_total: f64,
}

impl<'a> BuildingWriter<'a> {
    /// Creates the file at `path` (a staged one) for buildings of `scene` in `crs`.
    ///
    /// # Errors
    /// As [`LayerWriter::create`].
    pub fn create(path: &Path, crs: Option<&Crs>, scene: &'a str) -> Result<Self> {
        let fields = [
            ("id", FieldKind::Int),
            ("area_m2", FieldKind::Real),
            ("confidence", FieldKind::Real),
            ("scene", FieldKind::Text),
        ];
        let layer = LayerWriter::create(path, "buildings", crs, &fields)?;
        Ok(Self { layer, scene, written: 0, area_m2_total: 0.0 })
    }

    /// Appends buildings.
    ///
    /// # Errors
    /// As [`LayerWriter::push`].
    pub fn push(&mut self, outlines: Vec<Outline>) -> Result<()> {
        for outline in outlines {
            self.written += 1;
            self.area_m2_total += outline.area_m2;
            let values = [
                Value::Int(self.written),
                // Square centimetres and thousandths say all there is to say.
                Value::Real(rounded(outline.area_m2, 1e2)),
                Value::Real(rounded(f64::from(outline.confidence), 1e3)),
                Value::Text(self.scene),
            ];
            self.layer.push(&outline.polygon.into(), &values)?;
        }
        Ok(())
    }

    /// Buildings written so far.
    pub fn written(&self) -> u64 {
        self.written.unsigned_abs()
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// As [`LayerWriter::finish`].
    pub fn finish(self) -> Result<()> {
        self.layer.finish()
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
