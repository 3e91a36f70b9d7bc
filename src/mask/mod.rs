//! Photos into masks of their own size: files, run lengths, cut-outs, and how good the masks are.
//!
//! One photo after the other is read, scored and written; memory is that of one photo, a few tens of bytes a pixel.

mod clean;
mod dice;
pub mod run_lengths;
mod sheet;
mod truth;
mod write;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub use clean::Cleaning;
pub use dice::dice;
pub use run_lengths::Order;

use crate::error::{Error, Result};
use crate::infer::{Scorer, score_photo};
use crate::model::ModelSpec;
use crate::output::{Staged, check_distinct, check_writable};
use crate::progress::Progress;
use crate::truth::Mask;
use crate::truth::photos::{Photo, find};
use dice::Curve;
use sheet::Sheet;
use truth::Truth;

/// What to do with photos.
#[derive(Clone, Debug)]
pub struct MaskOptions {
    /// A folder, a pattern, or a file.
    pub photos: PathBuf,
    /// Side of the square that a photo is resized to for the network, pixels.
    pub side_px: usize,
    /// Probability from which a pixel is object.
    pub threshold: f64,
    /// How masks are cleaned.
    pub cleaning: Cleaning,
    /// Folder for `<photo>_mask.png`.
    pub masks: Option<PathBuf>,
    /// Folder for `<photo>.png`, the object without its background.
    pub cutouts: Option<PathBuf>,
    /// CSV of run lengths.
    pub rle: Option<PathBuf>,
    /// Order of run lengths, written and read.
    pub order: Order,
    /// True masks: a folder, or a CSV of run lengths.
    pub truth: Option<PathBuf>,
    /// What the name of a true mask has behind that of its photo.
    pub truth_suffix: String,
    /// Picture of the first photos, their masks and cut-outs.
    pub sheet: Option<PathBuf>,
    /// Whether outputs that exist are replaced.
    pub overwrite: bool,
}

/// What became of the photos.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Photos.
    pub photos: usize,
    /// Million pixels, all together.
    pub mpx: f64,
    /// Wall time.
    pub seconds: f64,
    /// How good the masks are, where there was a truth.
    pub scores: Option<Scores>,
}

/// How good masks are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// The threshold of the masks.
    pub threshold: f64,
    /// Mean Dice of the masks.
    pub dice: f64,
    /// The threshold that is best for these photos, to 0.001, before masks are cleaned.
    pub best_threshold: f64,
    /// Mean Dice there.
    pub best_dice: f64,
    /// Dice of every photo at `threshold`.
    pub by_photo: Vec<(String, f64)>,
}

/// Masks every photo.
///
/// # Errors
/// A photo or a true mask is missing or damaged, an output exists, the network fails, or the disk is full. Masks and cut-outs
/// that were written stay; tables and pictures appear at the end only.
pub fn run(
    options: &MaskOptions,
    spec: &ModelSpec,
    scorer: &mut Scorer,
    progress: Progress,
) -> Result<Report> {
    let truth = match &options.truth {
        Some(path) => Some(Truth::open(path, &options.truth_suffix, options.order)?),
        None => None,
    };
    let mut photos = find(&options.photos)?;
    if let Some(truth) = &truth {
        photos.retain(|photo| !truth.holds(&photo.path));
        photos.iter().try_for_each(|photo| truth.check(photo))?;
    }
    let targets = Targets::prepare(options, &photos, truth.as_ref())?;
    let started = Instant::now();
    let bar = progress.bar("mask", photos.len() as u64, "photos");
    let mut table = write::Table::new();
    let mut sheet = options.sheet.is_some().then(Sheet::default);
    let (mut curve, mut by_photo, mut mpx) = (Curve::default(), Vec::new(), 0.0);
    for photo in &photos {
        let scored = score_photo(&photo.path, spec, options.side_px, scorer)?;
        let (width, height) = (scored.pixels.width, scored.pixels.height);
        let object = scored.probabilities.iter().map(|p| f64::from(*p) >= options.threshold);
        let object = options.cleaning.apply(object.collect(), &scored.pixels.valid, width);
        let mask = Mask { width, height, object };
        let true_mask = match &truth {
            Some(truth) => Some(truth.read(photo, (width, height))?),
            None => None,
        };
        let found = true_mask.as_ref().map(|truth| dice(&mask.object, &truth.object));
        if let (Some(truth), Some(found)) = (&true_mask, found) {
            curve.add(&scored.probabilities, &truth.object);
            by_photo.push((photo.name.clone(), found));
        }
        if let Some(path) = targets.mask(photo) {
            write::mask(&path, &mask)?;
        }
        if let Some(path) = targets.cutout(photo) {
            write::cutout(&path, &scored.pixels, &mask)?;
        }
        if options.rle.is_some() {
            table.push(&photo.path, &run_lengths::encode(&mask, options.order));
        }
        if let Some(sheet) = &mut sheet {
            sheet.add(&photo.name, &scored.pixels, true_mask.as_ref(), &mask, found);
        }
        mpx += (width * height) as f64 / 1e6;
        bar.inc(1);
    }
    bar.finish();
    if let Some(path) = &options.rle {
        table.write(path)?;
    }
    if let (Some(path), Some(sheet)) = (&options.sheet, sheet) {
        sheet.write(path)?;
    }
    let scores = curve.best().map(|(best_threshold, best_dice)| Scores {
        threshold: options.threshold,
        dice: by_photo.iter().map(|(_, dice)| dice).sum::<f64>() / by_photo.len() as f64,
        best_threshold,
        best_dice,
        by_photo,
    });
    Ok(Report { photos: photos.len(), mpx, seconds: started.elapsed().as_secs_f64(), scores })
}

/// Where masks and cut-outs go.
struct Targets<'a>(&'a MaskOptions);

impl<'a> Targets<'a> {
    /// Refuses, before any work is done, what could not be written; makes folders that are missing.
    fn prepare(options: &'a MaskOptions, photos: &[Photo], truth: Option<&Truth>) -> Result<Self> {
        let targets = Self(options);
        for path in [&options.rle, &options.sheet].into_iter().flatten() {
            check_writable(path, options.overwrite)?;
        }
        let pictures = photos.iter().flat_map(|photo| [targets.mask(photo), targets.cutout(photo)]);
        let pictures: Vec<PathBuf> = pictures.flatten().collect();
        let tables = [options.rle.as_deref(), options.sheet.as_deref()];
        let outputs: Vec<_> =
            tables.into_iter().chain(pictures.iter().map(|path| Some(path.as_path()))).collect();
        let truth = truth.map(Truth::files).unwrap_or_default();
        let inputs = photos.iter().map(|photo| photo.path.as_path()).chain(truth);
        check_distinct(&outputs, inputs)?;
        let folders = [&options.masks, &options.cutouts];
        for folder in folders.into_iter().flatten() {
            check_writable(folder, true)?;
        }
        if let Some(path) = pictures.into_iter().find(|path| path.exists() && !options.overwrite) {
            return Err(Error::Exists { path });
        }
        for folder in folders.into_iter().flatten() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        Ok(targets)
    }

    fn mask(&self, photo: &Photo) -> Option<PathBuf> {
        self.0.masks.as_ref().map(|folder| folder.join(format!("{}_mask.png", photo.name)))
    }

    fn cutout(&self, photo: &Photo) -> Option<PathBuf> {
        self.0.cutouts.as_ref().map(|folder| folder.join(format!("{}.png", photo.name)))
    }
}

/// Saves a picture as PNG once it is whole.
fn save(path: &Path, picture: impl FnOnce(&Path) -> image::ImageResult<()>) -> Result<()> {
    let staged = Staged::new(path, true)?;
    picture(staged.path()).map_err(|error| match error {
        image::ImageError::IoError(source) => Error::Io { path: path.to_owned(), source },
        other => Error::Io { path: path.to_owned(), source: std::io::Error::other(other) },
    })?;
    staged.commit()
}
