//! Synthetic photos: a car in a studio, seen from all sides, and the exact mask of what is car.
//!
//! A photo is a function of the options and its number. Cars are triangles behind a perspective camera; a pixel belongs to the
//! mask where at least half of its samples meet the car, so shadows and the sheen on the floor do not.

mod car;
mod raster;
mod studio;

use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageResult};
use rayon::prelude::*;

pub use crate::config::synth::PhotoOptions;

use super::camera::{HALO_PX, expose};
use super::canvas::{Canvas, Frame};
use super::hash::Rng;
use super::style::{Style, StyleName, blend, scaled};
use crate::error::{Error, Result};
use crate::output::{Staged, check_writable};
use crate::progress::Progress;
use car::Car;
use raster::{Samples, Vector, View};
use studio::Studio;

/// Samples along each side of a pixel.
const SAMPLES: usize = 3;
/// What the floor mirrors fades with its height, metres.
const SHEEN_FADE_M: f32 = 0.45;
/// Purposes of random numbers.
const CAR: u64 = 0xCA5;
const VIEW: u64 = 0x71E3;

/// What was written.
#[derive(Clone, Debug)]
pub struct PhotoReport {
    /// Folder of the photos.
    pub images: PathBuf,
    /// Folder of the masks.
    pub masks: PathBuf,
    /// How many there are of each.
    pub photos: usize,
}

/// A photo and its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// 8-bit RGB, `[row][col][band]`.
    pub rgb: Vec<u8>,
    /// 255 where the car is, else 0, `[row][col]`.
    pub mask: Vec<u8>,
}

/// Draws photos into the folder `out`: `images/<name>.jpg` and `masks/<name>_mask.png`.
///
/// # Errors
/// An option is out of range, a file exists and `overwrite` is false, or the disk is full. Every file is whole.
pub fn run(
    options: &PhotoOptions,
    out: &Path,
    overwrite: bool,
    progress: Progress,
) -> Result<PhotoReport> {
    options.validate()?;
    check_writable(out, true)?;
    let (images, masks) = (out.join("images"), out.join("masks"));
    let files = |number: usize| {
        let (car, view) = (number / options.views + 1, number % options.views + 1);
        let name = format!("{}{car:04}_{view:02}", options.name);
        (images.join(format!("{name}.jpg")), masks.join(format!("{name}_mask.png")))
    };
    for number in 0..options.count {
        let (image, mask) = files(number);
        if let Some(path) = [image, mask].into_iter().find(|path| path.exists() && !overwrite) {
            return Err(Error::Exists { path });
        }
    }
    for folder in [&images, &masks] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let bar = progress.bar("synth", options.count as u64, "photos");
    (0..options.count).into_par_iter().try_for_each(|number| {
        let photo = draw(options, number);
        let (image, mask) = files(number);
        let (width, height) = (options.width_px as u32, options.height_px as u32);
        save(&image, |to| {
            let file = std::io::BufWriter::new(std::fs::File::create(to)?);
            JpegEncoder::new_with_quality(file, options.jpeg_quality).write_image(
                &photo.rgb,
                width,
                height,
                ExtendedColorType::Rgb8,
            )
        })?;
        let picture = GrayImage::from_raw(width, height, photo.mask).unwrap_or_default();
        save(&mask, |to| picture.save(to))?;
        bar.inc(1);
        Ok::<_, Error>(())
    })?;
    bar.finish();
    Ok(PhotoReport { images, masks, photos: options.count })
}

fn save(path: &Path, write: impl FnOnce(&Path) -> ImageResult<()>) -> Result<()> {
    let staged = Staged::new(path, true)?;
    write(staged.path()).map_err(|error| match error {
        image::ImageError::IoError(source) => Error::Io { path: path.to_owned(), source },
        other => Error::Io { path: path.to_owned(), source: std::io::Error::other(other) },
    })?;
    staged.commit()
}

/// Draws one photo.
pub fn draw(options: &PhotoOptions, number: usize) -> Photo {
    let (car_number, view_number) = ((number / options.views) as i64, number % options.views);
    let mut rng = Rng::new(options.seed, CAR, car_number, 0);
    let studio = Studio::draw(&mut rng);
    let mut car = Car::draw(&mut rng);
    if rng.chance(options.camouflage) {
        let shift = rng.range_f32(0.92, 1.08);
        car.paint = studio.wall.map(|level| (level * shift).min(0.97));
    }
    let style = Style::of(StyleName::Auto, rng.bits());
    let (distance_m, height_m) = (rng.range(6.5, 9.5), rng.range(0.9, 2.0));
    let share = rng.range(0.62, 0.88);
    let first_rad = rng.range(0.0, std::f64::consts::TAU);

    let mut rng = Rng::new(options.seed, VIEW, car_number, view_number as i64);
    let step_rad = std::f64::consts::TAU / options.views as f64;
    let turn = first_rad + step_rad * (view_number as f64 + rng.range(-0.2, 0.2));
    let (sin, cos) = turn.sin_cos();
    let view = View::towards([distance_m * cos, distance_m * sin, height_m], [0.0, 0.0, 0.55]);
    let view = framed(view, &car, share * rng.range(0.9, 1.05), options, &mut rng);
    expose_photo(options, &view, &car, &studio, &style, rng.bits())
}

/// The view, in pixels, with the car over `share` of the picture's width, or as much as its height allows, and anywhere in it.
fn framed(mut view: View, car: &Car, share: f64, options: &PhotoOptions, rng: &mut Rng) -> View {
    // Room that is left free at the picture's edges.
    const MARGIN: f64 = 0.03;
    let (width, height) = (options.width_px as f64, options.height_px as f64);
    let mut bounds = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
    for (x, y, _) in car.corners().map(|corner| view.project(corner)) {
        bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
    }
    let (wide, tall) = (bounds[2] - bounds[0], bounds[3] - bounds[1]);
    view.focal_px = (share * width / wide).min(0.8 * height / tall);
    let mut place = |size: f64, low: f64, extent: f64| {
        let room = size * (1.0 - 2.0 * MARGIN) - extent * view.focal_px;
        size * MARGIN + rng.unit() * room - low * view.focal_px
    };
    view.centre = (place(width, bounds[0], wide), place(height, bounds[1], tall));
    view
}

fn expose_photo(
    options: &PhotoOptions,
    view: &View,
    car: &Car,
    studio: &Studio,
    style: &Style,
    seed: u64,
) -> Photo {
    let (width, height) = (options.width_px, options.height_px);
    let halo = HALO_PX as i64;
    let frame =
        Frame { col: -halo, row: -halo, width: width + 2 * HALO_PX, height: height + 2 * HALO_PX };
    let (object, mirrored) = rendered(frame, view, car, studio);
    // One unit of the canvas is one pixel.
    let mut canvas = Canvas::new(frame, 1.0);
    let mut covered = vec![0; frame.width * frame.height];
    for (at, covered) in covered.iter_mut().enumerate() {
        let (col, row) = (at % frame.width, at / frame.width);
        let place = ((col as i64 + frame.col) as f64 + 0.5, (row as i64 + frame.row) as f64 + 0.5);
        let seen = studio.seen(view.eye, view.ray(place), car);
        let mut sum = [0.0; 3];
        for sample in samples_of(col, row, object.width) {
            let colour = if object.depth[sample].is_finite() {
                *covered += 1;
                object.rgb[sample]
            } else if mirrored.depth[sample].is_finite() {
                let fade = (mirrored.height_m[sample] / SHEEN_FADE_M).exp();
                blend(seen.colour, mirrored.rgb[sample], seen.sheen * fade)
            } else {
                seen.colour
            };
            sum = [0, 1, 2].map(|band| sum[band] + colour[band]);
        }
        let mean = scaled(sum, 1.0 / (SAMPLES * SAMPLES) as f32);
        let (x, y) = (2.0 * place.0 / width as f64 - 1.0, 2.0 * place.1 / height as f64 - 1.0);
        canvas.rgb[at] = scaled(mean, studio.vignette(x, y));
        let free = 1.0 - *covered as f32 / (SAMPLES * SAMPLES) as f32;
        canvas.shade(at, seen.shadow * free);
    }
    let mask = (0..width * height).map(|i| {
        let at = (i / width + HALO_PX) * frame.width + i % width + HALO_PX;
        if 2 * covered[at] >= SAMPLES * SAMPLES { 255 } else { 0 }
    });
    Photo { mask: mask.collect(), rgb: expose(&canvas, style, seed) }
}

/// The car, and the car upside down below the floor, in samples.
fn rendered(frame: Frame, view: &View, car: &Car, studio: &Studio) -> (Samples, Samples) {
    let factor = SAMPLES as f64;
    let mut view = *view;
    view.focal_px *= factor;
    view.centre =
        ((view.centre.0 - frame.col as f64) * factor, (view.centre.1 - frame.row as f64) * factor);
    let new = || Samples::new(frame.width * SAMPLES, frame.height * SAMPLES);
    let (mut object, mut mirrored) = (new(), new());
    let below = |at: Vector| [at[0], at[1], -at[2]];
    for corners in car.triangles(view.eye, studio.light) {
        object.draw(&view, corners);
        mirrored
            .draw(&view, corners.map(|corner| raster::Corner { at: below(corner.at), ..corner }));
    }
    (object, mirrored)
}

/// The samples of a pixel.
fn samples_of(col: usize, row: usize, width: usize) -> impl Iterator<Item = usize> {
    (0..SAMPLES * SAMPLES)
        .map(move |k| (row * SAMPLES + k / SAMPLES) * width + col * SAMPLES + k % SAMPLES)
}
