//! All that surrounds a network: a scene into windows, scores, a cloud-optimized raster of them, and buildings.

use std::fmt::Write as _;
use std::path::Path;

use super::Options;
use super::measure::{Figure, measure};
use super::stages::{Town, town_of};
use crate::config::infer::InferConfig;
use crate::error::{Error, Result};
use crate::geo::vector::{OutputCrs, VectorSource, read_footprints};
use crate::geo::{Compression, Grid, RasterWriter, Scene, Window, to_cog};
use crate::infer::{Batch, Input, Region};
use crate::interrupt::Interrupt;
use crate::model::ModelSpec;
use crate::progress::Progress;
use crate::scores::BANDS;
use crate::truth::{BUILDING, Truth, TruthOptions};
use crate::{infer, polygonize as polygons};

/// Larger scenes repeat a town of this side.
const MOST_TOWN_PX: usize = 16_384;
/// Rows that are made at a time.
const STRIP_PX: usize = 256;
/// Scores of buildings, of the ground between them, and how far noise moves either.
const SCORES: (u8, u8, u8) = (220, 20, 20);
/// Half the width over which a wall is blurred, px.
const BLUR_PX: usize = 2;

/// A scene into scores and buildings by a network that costs nothing: the first band is the score.
pub fn pipeline(options: &Options) -> Result<Figure> {
    let town = town_of(options.scene_px.min(MOST_TOWN_PX))?;
    let scores = town.folder.path().join("scores.tif");
    write_soft_scores(&town, &scores)?;
    let scene = town.folder.path().join("scene.vrt");
    let size = (options.scene_px, options.scene_rows_px.unwrap_or(options.scene_px));
    write_scene(&town.image, &scores, size, &scene)?;
    let spec = ModelSpec::default();
    let mut config = InferConfig::default();
    config.inference.window_px = options.window_px;
    config.inference.overlap_px = options.window_px / 4;
    config.inference.batch = options.batch;
    config.validate()?;
    let (cog, out) = (town.folder.path().join("cog.tif"), town.folder.path().join("buildings.fgb"));
    let case = format!("pipeline, {} x {} px", size.0, size.1);
    measure(case, size.0 * size.1, 0, options, || {
        let input = Input::open(&scene, &spec, &config, &Region::default())?;
        let folder = tempfile::tempdir_in(&town.folder).map_err(Error::io(&town.folder))?;
        let (work, progress) = (folder.path(), Progress::Hidden);
        let interrupt = Interrupt::default();
        let first_band = |batch: &Batch| Ok(first_band(batch, &spec));
        let report = infer::run(input, &config.inference, work, first_band, &interrupt, progress)?;
        if options.cog {
            to_cog(&report.raster, &cog, "average")?;
        }
        let (raster, settings) = (&report.raster, &config.polygonize);
        polygons::run(raster, settings, &out, OutputCrs::Auto, true, "town", progress).map(|_| ())
    })
}

/// The first band of windows, 0..=1.
fn first_band(batch: &Batch, spec: &ModelSpec) -> Vec<f32> {
    let px = batch.window_px * batch.window_px;
    let (mean, std) = (spec.mean[0] as f32, spec.std[0] as f32);
    let mut scores = Vec::with_capacity(batch.positions.len() * px);
    for window in batch.pixels.chunks_exact(batch.bands * px) {
        scores.extend(window[..px].iter().map(|value| value * std + mean));
    }
    scores
}

/// The town's footprints as a network would score them: blurred walls and noise.
fn write_soft_scores(town: &Town, path: &Path) -> Result<()> {
    let scene = Scene::open(&town.image)?;
    let grid = scene.grid();
    let buildings = read_footprints(&VectorSource::file(&town.footprints), grid.crs.as_ref())?;
    let truth = Truth::prepare(&buildings.polygons, None, grid, &TruthOptions::default())?;
    let mut writer =
        RasterWriter::<u8>::create(path, grid, &BANDS[..1], None, Compression::Deflate)?;
    for row in (0..grid.height).step_by(STRIP_PX) {
        let rows = row..(row + STRIP_PX).min(grid.height);
        let around = rows.start.saturating_sub(BLUR_PX)..(rows.end + BLUR_PX).min(grid.height);
        let window = Window { col: 0, row: around.start, width: grid.width, height: around.len() };
        let labels = truth.rasterize(grid, window, &vec![true; window.area()])?;
        let mut scores = Vec::with_capacity(rows.len() * grid.width);
        for row in rows.clone() {
            let near =
                row.saturating_sub(BLUR_PX).max(around.start)..(row + BLUR_PX + 1).min(around.end);
            scores.extend(soft_row(
                &labels,
                near.start - around.start..near.end - around.start,
                row,
                grid,
            ));
        }
        writer.write_rows(rows.start, &scores)?;
    }
    writer.finish()
}

/// The means over the rows `near` of `labels` and as many columns, with noise.
fn soft_row<'a>(
    labels: &'a [u8],
    near: std::ops::Range<usize>,
    row: usize,
    grid: &'a Grid,
) -> impl Iterator<Item = u8> + 'a {
    let width = grid.width;
    let sums: Vec<usize> = (0..width)
        .map(|col| near.clone().filter(|row| labels[row * width + col] == BUILDING).count())
        .collect();
    (0..width).map(move |col| {
        let cols = col.saturating_sub(BLUR_PX)..(col + BLUR_PX + 1).min(width);
        let share =
            sums[cols.clone()].iter().sum::<usize>() as f32 / (cols.len() * near.len()) as f32;
        let (high, low, noise) = SCORES;
        // Noise of 8 by 8 pixels: outlines run through several of them.
        let cell = ((row / 8) as u64) << 32 | (col / 8) as u64;
        let noise = (mixed(cell) % u64::from(2 * noise + 1)) as f32 - f32::from(noise);
        (f32::from(low) + share * f32::from(high - low) + noise).round() as u8
    })
}

/// As good as random, but always the same (the finalizer of MurmurHash3).
fn mixed(mut value: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        value = (value ^ (value >> 33)).wrapping_mul(factor);
    }
    value ^ (value >> 33)
}

/// A virtual raster of (columns, rows): scores in place of the image's first band, both repeated as often as need be.
fn write_scene(image: &Path, scores: &Path, size: (usize, usize), path: &Path) -> Result<()> {
    let scene = Scene::open(image)?;
    let grid = scene.grid();
    let mut text = format!("<VRTDataset rasterXSize=\"{}\" rasterYSize=\"{}\">\n", size.0, size.1);
    if let Some(crs) = &grid.crs {
        let wkt = crs.wkt().replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(text, "<SRS dataAxisToSRSAxisMapping=\"1,2\">{wkt}</SRS>");
    }
    let numbers = grid.transform.0.map(|number| format!("{number:e}")).join(", ");
    let _ = writeln!(text, "<GeoTransform>{numbers}</GeoTransform>");
    let bands: [(&Path, usize); 3] = [(scores, 1), (image, 2), (image, 3)];
    for (band, (file, source)) in (1..).zip(bands) {
        let _ = writeln!(text, "<VRTRasterBand dataType=\"Byte\" band=\"{band}\">");
        for (row, col) in places(size, grid) {
            let (width, height) = (grid.width.min(size.0 - col), grid.height.min(size.1 - row));
            let size = format!("xSize=\"{width}\" ySize=\"{height}\"");
            let _ = writeln!(
                text,
                "<SimpleSource><SourceFilename>{}</SourceFilename><SourceBand>{source}</SourceBand>\
                 <SourceProperties RasterXSize=\"{}\" RasterYSize=\"{}\" DataType=\"Byte\" BlockXSize=\"512\" BlockYSize=\"512\"/>\
                 <SrcRect xOff=\"0\" yOff=\"0\" {size}/><DstRect xOff=\"{col}\" yOff=\"{row}\" {size}/></SimpleSource>",
                file.display(),
                grid.width,
                grid.height,
            );
        }
        text.push_str("</VRTRasterBand>\n");
    }
    text.push_str("</VRTDataset>\n");
    std::fs::write(path, text).map_err(Error::io(path))
}

/// (row, column) of every repetition over (columns, rows).
fn places(
    (cols, rows): (usize, usize),
    grid: &Grid,
) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (width, rows) = (grid.width, (0..rows).step_by(grid.height));
    rows.flat_map(move |row| (0..cols).step_by(width).map(move |col| (row, col)))
}
