//! Several scores rasters into one, block by block.

use std::path::{Path, PathBuf};

use super::layer::Layer;
use super::mean::Means;
use super::outlier::outlier;
use super::write::ScoresWriter;
use crate::config::ensemble::Mean;
use crate::config::infer::ScoresType;
use crate::error::{Error, Result};
use crate::geo::{BLOCK_PX, Grid, Window};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// How rasters become one.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The kind of mean.
    pub mean: Mean,
    /// Whether [`outlier`] leaves a raster out of a block.
    pub drop_outlier: bool,
    /// Value type of the result.
    pub scores: ScoresType,
    /// Pixels without a score in the first raster have none in the result, whatever the others say.
    pub only_where_first: bool,
}

/// A raster that has a say.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// What it counts.
    pub weight: f64,
}

/// What became of the rasters.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The grid of the result: the first raster's.
    pub grid: Grid,
    /// Pixels that have a score.
    pub scored_pixels: u64,
    /// Blocks with data.
    pub blocks: usize,
    /// Blocks from which the outlier rule left a raster out, one number a raster.
    pub left_out: Vec<usize>,
}

/// Writes the mean of `parts`, on the grid of the first, to `out` (give it a staged path). A pixel's mean is taken over the rasters
/// that have a score there; so is that of walls, which the result has where one of the rasters has them.
///
/// Works in blocks of [`BLOCK_PX`] squared from the upper left corner, which are also the unit of the outlier rule: memory is a row of
/// blocks of the result and one block of every raster.
///
/// # Errors
/// A raster is damaged, holds no scores, or cannot be brought to the first's grid; the disk is full; the user interrupts.
pub fn combine(
    parts: &[Part],
    options: Options,
    out: &Path,
    interrupt: &Interrupt,
    progress: Progress,
) -> Result<Report> {
    let Some(first) = parts.first() else {
        return Err(Error::input(out, "scores to combine", "none", "name scores rasters"));
    };
    let grid = Layer::open(&first.path)?.grid().clone();
    let sources = parts.iter().map(|part| Source::open(part, &grid)).collect::<Result<Vec<_>>>()?;
    let bands = if sources.iter().any(|source| source.walls.is_some()) { 2 } else { 1 };
    let mut writer = ScoresWriter::create(out, &grid, bands, options.scores)?;
    let mut report =
        Report { grid: grid.clone(), scored_pixels: 0, blocks: 0, left_out: vec![0; parts.len()] };
    let bar = progress.bar("combine", grid.height.div_ceil(BLOCK_PX) as u64, "rows of blocks");
    for row in (0..grid.height).step_by(BLOCK_PX) {
        if interrupt.requested() {
            return Err(Error::Interrupted { kept: "nothing of this scene was written".into() });
        }
        let height = BLOCK_PX.min(grid.height - row);
        let band_len = grid.width * height;
        let mut rows = vec![f32::NAN; bands * band_len];
        for col in (0..grid.width).step_by(BLOCK_PX) {
            let width = BLOCK_PX.min(grid.width - col);
            let window = Window { col, row, width, height };
            let scores = block(&sources, bands, window, options, &mut report)?;
            for (line, scores) in rows.chunks_mut(grid.width).zip(scores.chunks(width)) {
                line[col..col + width].copy_from_slice(scores);
            }
        }
        let scored = rows[..band_len].iter().filter(|score| !score.is_nan()).count();
        report.scored_pixels += scored as u64;
        writer.write_rows(row, &rows)?;
        bar.inc(1);
    }
    writer.finish()?;
    bar.finish();
    Ok(report)
}

/// A raster that is open.
struct Source {
    scores: Layer,
    walls: Option<Layer>,
    weight: f64,
}

impl Source {
    fn open(part: &Part, grid: &Grid) -> Result<Self> {
        let walls = Layer::open_walls(&part.path)?.map(|layer| layer.on(grid)).transpose()?;
        let scores = Layer::open(&part.path)?.on(grid)?;
        Ok(Self { scores, walls, weight: part.weight })
    }
}

/// The scores of one block, `[band, row, col]`.
fn block(
    sources: &[Source],
    bands: usize,
    window: Window,
    options: Options,
    report: &mut Report,
) -> Result<Vec<f32>> {
    let mean_without = |maps: &[Vec<f32>], left_out: Option<usize>| {
        let mut means = Means::new(options.mean, window.area());
        for (index, (source, map)) in sources.iter().zip(maps).enumerate() {
            if Some(index) != left_out {
                means.add(map, source.weight, source.scores.step());
            }
        }
        means.finish()
    };
    let maps = sources.iter().map(|source| source.scores.read(window));
    let maps = maps.collect::<Result<Vec<_>>>()?;
    let mut scores = mean_without(&maps, None);
    if scores.iter().any(|score| !score.is_nan()) {
        report.blocks += 1;
    }
    let left_out = if options.drop_outlier { outlier(&maps, &scores) } else { None };
    // Where no other map has a score, the one that is left out is better than nothing.
    let leave_out = |maps: &[Vec<f32>], scores: &mut [f32]| {
        if left_out.is_some() {
            for (score, other) in scores.iter_mut().zip(mean_without(maps, left_out)) {
                if !other.is_nan() {
                    *score = other;
                }
            }
        }
    };
    if let Some(left_out) = left_out {
        report.left_out[left_out] += 1;
    }
    leave_out(&maps, &mut scores);
    if options.only_where_first {
        for (score, first) in scores.iter_mut().zip(&maps[0]) {
            if first.is_nan() {
                *score = f32::NAN;
            }
        }
    }
    if bands > 1 {
        let nothing = || Ok(vec![f32::NAN; window.area()]);
        let maps = sources
            .iter()
            .map(|source| source.walls.as_ref().map_or_else(nothing, |walls| walls.read(window)));
        let maps = maps.collect::<Result<Vec<_>>>()?;
        let mut walls = mean_without(&maps, None);
        leave_out(&maps, &mut walls);
        scores.extend(walls);
    }
    Ok(scores)
}
