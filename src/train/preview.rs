//! A picture of what a network is shown: augmented crops and their labels.

use std::path::Path;

use image::{GrayImage, Rgb, RgbImage};

use super::batches::{Batch, Batches, Normalisation};
use super::plan;
use super::sources::Sources;
use super::start::Start;
use crate::config::train::TrainConfig;
use crate::error::Result;
use crate::picture::contact_sheet::{self, Thumb};
use crate::truth::{BACKGROUND, BUILDING, IGNORE};

/// Crops on the sheet: the first that a training would draw.
const CROPS: usize = 24;
const COLUMNS: usize = 6;

/// Writes a PNG of the first crops of a training, as the network would see them.
///
/// # Errors
/// A configuration that does not fit the tiles, an unreadable tile, or the picture cannot be written.
pub fn write(config: &TrainConfig, sources: &Sources, path: &Path) -> Result<()> {
    config.validate()?;
    let normalisation = match Start::open(&config.model)? {
        Some(start) => start.normalisation(),
        None => plan::normalisation(&sources.labelled.info),
    };
    let batches = Batches::new(sources, config, normalisation.clone())?;
    let mut thumbs = Vec::new();
    for k in 0.. {
        let batch = batches.training(k)?;
        for i in 0..batch.tiles.len() {
            thumbs.push(thumb(&batch, i, &normalisation));
        }
        if thumbs.len() >= CROPS {
            break;
        }
    }
    thumbs.truncate(CROPS);
    contact_sheet::write(path, &thumbs, COLUMNS)
}

/// Image `i` of a batch: the first three bands (or the first as grey), mixed where mixup does, with the labels of the image
/// that most of it is.
fn thumb(batch: &Batch, i: usize, normalisation: &Normalisation) -> Thumb {
    let [n, bands, height, width] = batch.shape;
    let area = height * width;
    let next = (i + 1) % n;
    let value = |band: usize, at: usize| {
        let of = |image: usize| f64::from(batch.image[(image * bands + band) * area + at]);
        let mixed = of(i) * batch.mixup + of(next) * (1.0 - batch.mixup);
        let (mean, std) = (f64::from(normalisation.mean[band]), f64::from(normalisation.std[band]));
        ((mixed * std + mean) * 255.0).round().clamp(0.0, 255.0) as u8
    };
    let rgb = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        Rgb([0, 1, 2].map(|band| value(if bands >= 3 { band } else { 0 }, at)))
    });
    let shown = if batch.mixup < 0.5 { next } else { i };
    let labels = (0..area).map(|at| {
        if batch.valid[shown * area + at] == 0.0 {
            IGNORE
        } else if batch.labels[shown * batch.classes * area + at] >= 0.5 {
            BUILDING
        } else {
            BACKGROUND
        }
    });
    let tile = batch.tiles[i].rsplit('/').nth(2).unwrap_or(&batch.tiles[i]);
    let mut caption = if batch.soft { format!("{tile} soft") } else { tile.to_owned() };
    if batch.mixup < 1.0 {
        caption += &format!(" mixup {:.2}", batch.mixup);
    }
    Thumb { rgb, mask: GrayImage::from_raw(width as u32, height as u32, labels.collect()), caption }
}
