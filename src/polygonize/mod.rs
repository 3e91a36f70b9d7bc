//! Scores into buildings.
//!
//! ```text
//! scores -> threshold -> closing, opening -> sweep -> rings -> simplified outlines -> attributes -> file
//! ```
//!
//! All of it streams: rows come in, buildings leave as soon as they are complete, and memory does not depend on
//! the scene's height. [`run`] goes from file to file, [`Polygonizer`] takes rows as they are made,
//! [`polygons_of`] serves scores in memory.

mod attributes;
mod components;
mod conflicts;
mod contour;
mod draft;
mod half_widths;
mod line;
mod mesh;
mod neighbours;
mod outline;
mod parts;
mod patch;
mod regularize;
mod rings;
mod simplify;
mod source;
mod stream;
mod sweep;
mod threshold;
mod watershed;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use serde::Serialize;

pub use crate::config::polygonize::{OutlineForm, PolygonizeOptions};
pub use outline::{Confidence, Outline, Status};
pub use source::{Kind, Rows, Scores};
pub use stream::{Counts, Polygonizer, polygons_of};
pub use threshold::{FULL, NODATA, score_of};

use crate::error::Result;
use crate::geo::vector::{FieldKind, Format, LayerWriter, OutputCrs, Value};
use crate::geo::{Crs, Reprojection};
use crate::morphology::Morphology;
use crate::output::Staged;
use crate::progress::{Bar, Progress};
use crate::qgis::style;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scores raster.
    pub scores: PathBuf,
    /// Columns and rows of the scores.
    pub size_px: (usize, usize),
    /// Buildings written.
    pub buildings: u64,
    /// Components left out because they were smaller than the least area.
    pub dropped_small: u64,
    /// Buildings left out because the CRS of the output does not reach them.
    pub dropped_outside: u64,
    /// Holes filled because they were smaller than the least hole.
    pub holes_filled: u64,
    /// Area of the buildings on the ground.
    pub area_m2_total: f64,
}

/// Reads the scores raster `scores` and writes its buildings to `out` (format by extension), with the attributes
/// of [`Outline`] and `scene`.
///
/// # Errors
/// An option out of range; no readable scores; `out` exists and `overwrite` is false, or cannot be written.
pub fn run(
    scores: &Path,
    options: &PolygonizeOptions,
    out: &Path,
    output_crs: OutputCrs,
    overwrite: bool,
    scene_name: &str,
    progress: Progress,
) -> Result<Report> {
    options.validate()?;
    Format::of(out)?;
    let crs = Scores::open(scores)?.grid().crs.clone();
    let staged = Staged::new(out, overwrite)?;
    let mut writer = BuildingWriter::create(staged.path(), crs, output_crs)?;
    let report = append(scores, options, &mut writer, scene_name, progress)?;
    writer.finish()?;
    staged.commit()?;
    Ok(report)
}

/// Reads the scores raster `scores` and appends its buildings to `writer`.
///
/// # Errors
/// An option out of range; no readable scores; the disk is full.
pub fn append(
    scores: &Path,
    options: &PolygonizeOptions,
    writer: &mut BuildingWriter,
    scene_name: &str,
    progress: Progress,
) -> Result<Report> {
    let source = Scores::open(scores)?;
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
    let options = &source.fitting(options);
    Morphology::check(grid.gsd_m.unwrap_or((1.0, 1.0)), options.closing_m, options.opening_m)?;
    let mut polygonizer = Polygonizer::new(&grid, options);
    let mut scene = writer.scene(scene_name, source.date(), grid.crs.as_ref())?;
    let bar = progress.bar("polygonize", grid.height as u64, "rows");
    std::thread::scope(|scope| {
        let strips = read_ahead(scope, source, grid.width, grid.height);
        let mut work = Work { polygonizer: &mut polygonizer, width: grid.width, bar: &bar };
        // A thread of a pool that waits for another one, which waits for the pool, may wait for ever.
        if rayon::current_thread_index().is_some() {
            return work.through(&strips, |outlines| scene.push(outlines).map(|()| true));
        }
        let (to_writer, outlines) = sync_channel(0);
        let worker = scope.spawn(move || {
            // Nobody listens after an error of the writer.
            work.through(&strips, |outlines| Ok(to_writer.send(outlines).is_ok()))
        });
        outlines.into_iter().try_for_each(|outlines| scene.push(outlines))?;
        // A panic of a thread is a panic of the program: its hook has already said what happened.
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    bar.finish();
    let counts = polygonizer.counts();
    if counts.buildings == 0 {
        tracing::warn!(
            "{}: no building: no pixel reaches threshold {} (bytes with 255 as no data are scores, 0 to 254; a mask has another \
             nodata), or all is smaller than {} m2",
            scores.display(),
            options.threshold,
            options.min_area_m2
        );
    }
    if scene.dropped_outside > 0 {
        tracing::warn!(
            "{}: {} buildings left out: the CRS of the output does not reach them",
            scores.display(),
            scene.dropped_outside
        );
    }
    Ok(Report {
        scores: scores.to_owned(),
        size_px: (grid.width, grid.height),
        buildings: counts.buildings - scene.dropped_outside,
        dropped_small: counts.dropped_small,
        dropped_outside: scene.dropped_outside,
        holes_filled: counts.holes_filled,
        area_m2_total: scene.area_m2_total,
    })
}

/// Bytes of a strip of rows; at most three strips are in memory (read ahead, in work, its copy inside the closing and opening).
const STRIP_BYTES: usize = 8 << 20;
/// Rows after which decoded blocks are forgotten, where strips are lower than tiles.
const ROWS_TO_FORGET: usize = 2 * TILE_ROWS;
/// The tiles of our own rasters: a strip that ends with a row of tiles decodes none twice.
const TILE_ROWS: usize = 512;

fn strip_rows(width: usize) -> usize {
    let rows = (STRIP_BYTES / width.max(1)).max(1);
    if rows >= TILE_ROWS { rows / TILE_ROWS * TILE_ROWS } else { rows.max(64) }
}

/// Reads strips on a thread of its own, one ahead of the work.
fn read_ahead<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    mut source: Scores,
    width: usize,
    height: usize,
) -> Receiver<Result<Rows>> {
    let (sender, receiver) = sync_channel(0);
    scope.spawn(move || {
        let rows = strip_rows(width);
        let mut decoded = 0;
        for row in (0..height).step_by(rows) {
            let mut strip = source.read_rows(row, rows.min(height - row));
            decoded += rows;
            // Blocks of a whole scene would fill GDAL's cache. Where strips do not end with them, some are decoded again.
            if rows >= TILE_ROWS || decoded >= ROWS_TO_FORGET {
                strip = strip.and_then(|strip| source.forget_blocks().map(|()| strip));
                decoded = 0;
            }
            let failed = strip.is_err();
            // Nobody listens after an error of the writer.
            if sender.send(strip).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Turns strips into buildings.
struct Work<'a> {
    polygonizer: &'a mut Polygonizer,
    width: usize,
    bar: &'a Bar,
}

impl Work<'_> {
    /// Hands the buildings of each strip to `take`, for as long as that says to go on.
    fn through(
        &mut self,
        strips: &Receiver<Result<Rows>>,
        mut take: impl FnMut(Vec<Outline>) -> Result<bool>,
    ) -> Result<()> {
        for strip in strips {
            let strip = strip?;
            if !take(self.polygonizer.push_rows(&strip))? {
                return Ok(());
            }
            self.bar.inc((strip.scores.len() / self.width.max(1)) as u64);
        }
        take(self.polygonizer.finish()).map(drop)
    }
}

/// Writes the buildings of one or more scenes into one file.
pub struct BuildingWriter {
    layer: LayerWriter,
    crs: Option<Crs>,
    written: u64,
}

impl BuildingWriter {
    /// Creates the file at `path` (a staged one) for buildings in `crs`; what is written is in `output_crs`.
    ///
    /// # Errors
    /// As [`LayerWriter::create_in`].
    pub fn create(path: &Path, crs: Option<Crs>, output_crs: OutputCrs) -> Result<Self> {
        let fields = [
            ("id", FieldKind::Text),
            ("area_m2", FieldKind::Real),
            ("perimeter_m", FieldKind::Real),
            ("confidence", FieldKind::Real),
            ("confidence_min", FieldKind::Real),
            ("orientation_deg", FieldKind::Real),
            ("n_vertices", FieldKind::Int),
            ("status", FieldKind::Text),
            ("scene", FieldKind::Text),
            ("date", FieldKind::Text),
        ];
        let layer = LayerWriter::create_in(path, "buildings", crs.as_ref(), output_crs, &fields)?
            .with_style(style::by_confidence());
        Ok(Self { layer, crs, written: 0 })
    }

    /// For the buildings of a scene, which come in the scene's CRS.
    fn scene<'a>(
        &'a mut self,
        name: &'a str,
        date: Option<String>,
        crs: Option<&Crs>,
    ) -> Result<SceneWriter<'a>> {
        let way = match (crs, &self.crs) {
            (Some(from), Some(to)) if !from.same_as(to) => Some(Reprojection::new(from, to)?),
            _ => None,
        };
        Ok(SceneWriter { file: self, way, name, date, area_m2_total: 0.0, dropped_outside: 0 })
    }

    /// Buildings written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// As [`LayerWriter::finish`].
    pub fn finish(self) -> Result<()> {
        self.layer.finish()
    }
}

/// Writes the buildings of one scene.
struct SceneWriter<'a> {
    file: &'a mut BuildingWriter,
    way: Option<Reprojection>,
    name: &'a str,
    /// When the scene was taken.
    date: Option<String>,
    area_m2_total: f64,
    dropped_outside: u64,
}

impl SceneWriter<'_> {
    fn push(&mut self, outlines: Vec<Outline>) -> Result<()> {
        for outline in outlines {
            let polygon = match &self.way {
                None => outline.polygon,
                Some(way) => match way.polygon(&outline.polygon) {
                    Ok(polygon) => polygon,
                    Err(problem) => {
                        tracing::debug!("a building is left out: {problem}");
                        self.dropped_outside += 1;
                        continue;
                    }
                },
            };
            self.file.written += 1;
            self.area_m2_total += outline.area_m2;
            // Square centimetres and thousandths say all there is to say.
            let values = [
                Value::Text(&outline.id),
                Value::Real(rounded(outline.area_m2, 1e2)),
                Value::Real(rounded(outline.perimeter_m, 1e2)),
                Value::Real(rounded(f64::from(outline.confidence.mean), 1e3)),
                Value::Real(rounded(f64::from(outline.confidence.min), 1e3)),
                Value::Real(rounded(outline.orientation_deg, 1e1)),
                Value::Int(outline.vertices as i64),
                Value::Text(outline.status.name()),
                Value::Text(self.name),
                self.date.as_deref().map_or(Value::Null, Value::Text),
            ];
            self.file.layer.push(&polygon.into(), &values)?;
        }
        Ok(())
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
