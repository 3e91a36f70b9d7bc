//! Synthetic towns: scenes and exact footprints of any size; and synthetic [photos](photo).
//!
//! A town is a function of its seed: [`render::window`] paints any window of it, alone, to the same bytes
//! whatever the window, the strip height or the number of threads. So a scene of any size needs the memory
//! of one strip. The truth is the outline of what is painted; nothing is traced.

mod block;
mod building;
mod camera;
mod canvas;
mod ground;
mod hash;
mod lots;
pub mod photo;
mod plots;
mod render;
mod roofs;
mod rooftop;
mod shape;
mod style;
mod things;
mod town;
mod truth;
mod vegetation;
mod write;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;

pub use crate::config::synth::{ScenePacking, SynthOptions};
pub use canvas::Frame;
pub use render::window;
pub use shape::{Bounds, Point};
pub use style::{Style, StyleName};
pub use town::Town;
pub use truth::outlines;

use crate::error::{Error, Result};
use crate::geo::{Crs, GeoTransform, Grid};
use crate::output::{Staged, check_writable};
use crate::progress::Progress;
use write::{BLOCK_PX, RgbWriter};

/// Columns that one task paints. Wider windows lay out fewer blocks twice; narrower ones share better.
const TASK_PX: usize = 512;

/// What was written.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scene.
    pub image: PathBuf,
    /// Its buildings.
    pub footprints: PathBuf,
    /// The area of interest, if one was asked for.
    pub aoi: Option<PathBuf>,
    /// Columns and rows of the scene.
    pub size_px: (usize, usize),
    /// How many buildings it has.
    pub buildings: usize,
    /// Time to draw and write the scene, seconds.
    pub seconds: f64,
}

impl Report {
    /// Millions of pixels drawn and written a second.
    pub fn mpx_per_s(&self) -> f64 {
        (self.size_px.0 * self.size_px.1) as f64 / 1e6 / self.seconds.max(1e-9)
    }
}

/// Draws a scene into the folder `out`: `<name>.tif`, `<name>.<footprints>`, and `<name>_aoi.geojson`.
///
/// # Errors
/// An option is out of range, a file exists and `overwrite` is false, the CRS is unknown, or the disk is
/// full. Nothing is left half-written.
pub fn run(
    options: &SynthOptions,
    out: &Path,
    overwrite: bool,
    progress: Progress,
) -> Result<Report> {
    options.validate()?;
    check_writable(out, true)?;
    let grid = grid(options)?;
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let file = |suffix: &str| out.join(format!("{}{suffix}", options.name));
    let image = file(".tif");
    let footprints = file(&format!(".{}", options.footprints));
    let aoi = options.aoi.then(|| file("_aoi.geojson"));
    for path in [Some(&image), Some(&footprints), aoi.as_ref()].into_iter().flatten() {
        check_writable(path, overwrite)?;
    }
    let town = town(options);

    let staged_truth = Staged::new(&footprints, overwrite)?;
    let buildings = truth::write_footprints(staged_truth.path(), &town, options.gsd_m, &grid)?;
    let staged_aoi = match &aoi {
        Some(path) => {
            let staged = Staged::new(path, overwrite)?;
            truth::write_aoi(staged.path(), &grid)?;
            Some(staged)
        }
        None => None,
    };
    let staged_image = Staged::new(&image, overwrite)?;
    let started = Instant::now();
    draw(staged_image.path(), options, &town, &grid, progress)?;
    let seconds = started.elapsed().as_secs_f64();

    staged_truth.commit()?;
    if let Some(staged) = staged_aoi {
        staged.commit()?;
    }
    staged_image.commit()?;
    let size_px = (options.width_px, options.height_px);
    Ok(Report { image, footprints, aoi, size_px, buildings, seconds })
}

/// The town of some options.
pub fn town(options: &SynthOptions) -> Town {
    Town {
        seed: options.seed,
        density: options.density,
        style: Style::of(options.style, options.seed),
    }
}

/// The pixel grid of some options: square pixels on the ground at its centre.
///
/// # Errors
/// The CRS is unknown, or is not defined at the origin.
pub fn grid(options: &SynthOptions) -> Result<Grid> {
    let crs = Crs::from_epsg(options.epsg)?;
    let [x, y] = options.origin;
    let (w, h) = (options.width_px, options.height_px);
    if !crs.is_horizontal() {
        let problem = format!("{} is no CRS of places on a map", crs.label());
        return Err(Error::config("epsg", problem));
    }
    if crs.is_geographic() && !(x.abs() <= 360.0 && y.abs() < 90.0) {
        let problem = format!(
            "expected longitude and latitude, as {} has, found {x}, {y}: `--set origin=[85.3,27.7]`",
            crs.label()
        );
        return Err(Error::config("origin", problem));
    }
    let scale_at = |x: f64, y: f64| {
        crs.metres_per_unit(x, y).ok_or_else(|| {
            Error::config("origin", format!("{} is not defined at {x}, {y}", crs.label()))
        })
    };
    let corner = scale_at(x, y)?;
    let half_m = (w as f64 * options.gsd_m / 2.0, h as f64 * options.gsd_m / 2.0);
    let centre = scale_at(x + half_m.0 / corner.0, y - half_m.1 / corner.1)?;
    // A projection that keeps distances to a per mille or so (UTM) gets pixels of a round size.
    let side = |scale: f64| {
        if (scale - 1.0).abs() < 0.005 { options.gsd_m } else { options.gsd_m / scale }
    };
    let (mut sx, mut sy) = (side(centre.0), side(centre.1));
    // Web Mercator's two scales differ by the flattening of the Earth; its rasters have square pixels.
    if (sx / sy - 1.0).abs() < 0.01 {
        (sx, sy) = ((sx * sy).sqrt(), (sx * sy).sqrt());
    }
    Ok(Grid {
        width: w,
        height: h,
        transform: GeoTransform([x, sx, 0.0, y, 0.0, -sy]),
        crs: Some(crs),
        gsd_m: Some((sx * centre.0, sy * centre.1)),
    })
}

fn draw(
    path: &Path,
    options: &SynthOptions,
    town: &Town,
    grid: &Grid,
    progress: Progress,
) -> Result<()> {
    let (width, height) = (options.width_px, options.height_px);
    let mut writer = RgbWriter::create(path, grid, options)?;
    let blocks = height.div_ceil(BLOCK_PX) * width.div_ceil(BLOCK_PX);
    let bar = progress.bar("synth", blocks as u64, "blocks");
    for row in (0..height).step_by(options.strip_px) {
        let rows = options.strip_px.min(height - row);
        // Tasks as tall as the strip or TASK_PX, whichever is less.
        let tasks: Vec<Frame> = (0..rows)
            .step_by(TASK_PX)
            .flat_map(|y| (0..width).step_by(TASK_PX).map(move |x| (x, y)))
            .map(|(x, y)| Frame {
                col: x as i64,
                row: (row + y) as i64,
                width: TASK_PX.min(width - x),
                height: TASK_PX.min(rows - y),
            })
            .collect();
        let painted: Vec<Vec<u8>> = tasks
            .par_iter()
            .map(|&frame| {
                let pixels = window(town, options.gsd_m, frame);
                let covered = frame.width.div_ceil(BLOCK_PX) * frame.height.div_ceil(BLOCK_PX);
                bar.inc(covered as u64);
                pixels
            })
            .collect();
        // Blocks go to the file in its own order, so that the strip height leaves no trace in it.
        for block_row in (row..row + rows).step_by(BLOCK_PX) {
            for block_col in (0..width).step_by(BLOCK_PX) {
                let holder = tasks.iter().zip(&painted).find(|(task, _)| {
                    let (x, y) = (block_col as i64 - task.col, block_row as i64 - task.row);
                    (0..task.width as i64).contains(&x) && (0..task.height as i64).contains(&y)
                });
                if let Some((task, pixels)) = holder {
                    writer.write_block(block_col, block_row, task, pixels)?;
                }
            }
        }
    }
    bar.finish();
    writer.finish()
}
