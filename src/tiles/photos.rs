//! Photos among the scenes: each is an image of its own, divided from others by split, and all photos of an entry share a folder.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::dataset::{DatasetConfig, PhotosEntry};
use crate::error::{Error, Result};
use crate::geo::Grid;
use crate::truth::Mask;
use crate::truth::photos::{MaskFolder, Photo, find};

use super::labels::LabelSource;
use super::plan::Scale;
use super::prepare::{Prepared, tidy};
use super::set::SceneInfo;
use super::split::{Division, by_scene};

/// The photos of an entry, and their masks.
pub struct Photos {
    /// The entry's name.
    pub name: String,
    /// Each with its mask, by name.
    pub pairs: Vec<(Photo, PathBuf)>,
}

impl Photos {
    /// What the set will say of them.
    pub fn info(&self, entry: &PhotosEntry) -> SceneInfo {
        SceneInfo {
            name: self.name.clone(),
            image: entry.images.clone(),
            crs: None,
            footprints: 0,
            repaired: 0,
            dropped: 0,
            photos: self.pairs.len(),
        }
    }
}

/// Finds the photos of every entry and their masks.
///
/// # Errors
/// There are none, one has no mask, or a name cannot be used.
pub fn find_all(config: &DatasetConfig) -> Result<Vec<Photos>> {
    config.photos.iter().enumerate().map(|(at, entry)| find_pairs(at, entry)).collect()
}

fn find_pairs(at: usize, entry: &PhotosEntry) -> Result<Photos> {
    let masks = MaskFolder::open(&entry.masks, &entry.mask_suffix)?;
    let photos = find(&entry.images)?.into_iter().filter(|photo| !masks.holds(&photo.path));
    let pairs = photos
        .map(|photo| {
            let mask = masks.of(&photo)?.to_owned();
            Ok((photo, mask))
        })
        .collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        return Err(Error::input(
            &entry.images,
            "photos",
            "masks alone",
            "check `images` and `mask_suffix`",
        ));
    }
    let folder = if entry.images.is_dir() { Some(&*entry.images) } else { entry.images.parent() };
    let found = folder.and_then(Path::file_name).map(|name| name.to_string_lossy());
    let name = entry.name.clone().unwrap_or_else(|| tidy(found));
    if tidy(Some(name.as_str().into())) != name || name.is_empty() {
        return Err(Error::config(
            format!("photos.{at}.name"),
            format!("expected letters, digits, `_`, `-` and inner `.`, found `{name}`"),
        ));
    }
    for (photo, _) in &pairs {
        if tidy(Some(photo.name.as_str().into())) != photo.name {
            return Err(Error::input(
                &photo.path,
                "a file name of letters, digits, `_`, `-` and inner `.`",
                format!("`{}`", photo.name),
                "rename the photo and its mask",
            ));
        }
    }
    Ok(Photos { name, pairs })
}

/// Makes the photos of an entry, whose own grids are `grids`, ready to be cut; they are part of the set's scene number `part_of`.
///
/// # Errors
/// A mask cannot be opened, or has another size than its photo.
pub fn prepare(
    entry: &PhotosEntry,
    photos: &Photos,
    grids: Vec<Grid>,
    part_of: usize,
    config: &DatasetConfig,
) -> Result<Vec<Prepared>> {
    let groups = by_scene(&vec![entry.split; photos.pairs.len()], &config.split);
    let side = config.tiles.tile_px;
    let numbered = photos.pairs.par_iter().zip(grids).zip(groups).enumerate();
    numbered
        .map(|(number, (((photo, mask), native), group))| {
            check_size(photo, &native, mask)?;
            let scales = if entry.resize {
                vec![Scale { name: format!("{side}px"), grid: native.resized(side, side) }]
            } else {
                Scale::of(&native, &config.tiles)
            };
            Ok(Prepared {
                part_of,
                name: photos.name.clone(),
                photo: Some(photo.name.clone()),
                path: photo.path.clone(),
                options: config.photo_options(),
                scales,
                native,
                division: Division::Whole(group),
                labels: LabelSource::Mask { file: mask.clone(), number },
            })
        })
        .collect()
}

fn check_size(photo: &Photo, native: &Grid, mask: &Path) -> Result<()> {
    let (width, height) = Mask::size(mask)?;
    if (width, height) == (native.width, native.height) {
        return Ok(());
    }
    Err(Error::input(
        mask,
        format!("{} x {} px, as {} has", native.width, native.height, photo.path.display()),
        format!("{width} x {height} px"),
        "make a mask of the photo's own size",
    ))
}
