//! The set's folder: whose it is, what of it may be replaced, and where a run goes on.
//!
//! A set is made in [`WORK_FOLDER`] inside its folder and moved up when it is whole: until then, a set that it replaces is as
//! it was.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::config::dataset::DatasetConfig;
use crate::error::{Error, Result};
use crate::geo;
use crate::output::check_writable;

use super::journal::Journal;
use super::photos::Photos;
use super::set::{
    CONFIG_FILE, CONTACT_SHEET_FILE, FORMAT, INDEX_FILE, INFO_FILE, Split, TileSetInfo,
    WORK_FOLDER, read_info,
};
use super::{STAGING_PREFIX, hash};

/// The description of the set that is being replaced, in the work folder until nothing else of that set is left.
const REPLACED_FILE: &str = "replaced.json";

/// Bytes at the beginning and at the end of an input that its fingerprint looks at.
const SAMPLE_BYTES: u64 = 1 << 20;

/// What a run finds in its folder.
pub(super) enum Found {
    /// A folder to make the set in, which may hold an unfinished one to go on with.
    Work(PathBuf),
    /// The very set that was asked for.
    Finished(Box<TileSetInfo>),
}

/// Makes `root` ready for a run with this `fingerprint`. A set that is there stays until [`finish`].
///
/// # Errors
/// The folder's parent is missing, or the folder holds something else.
pub(super) fn claim(root: &Path, fingerprint: &str, overwrite: bool) -> Result<Found> {
    check_writable(root, true)?;
    if root.is_file() {
        return Err(Error::input(
            root,
            "a folder for the tile set",
            "a file",
            "choose another path",
        ));
    }
    if !root.exists() {
        std::fs::create_dir(root).map_err(Error::io(root))?;
    }
    let work = root.join(WORK_FOLDER);
    if work.join(INFO_FILE).is_file() {
        // That run ended while it moved a whole set up.
        finish(root)?;
    }
    if overwrite && work.is_dir() {
        std::fs::remove_dir_all(&work).map_err(Error::io(&work))?;
    }
    let finished = root.join(INFO_FILE).is_file();
    let begun = Journal::fingerprint(&work);
    if finished && !overwrite {
        // A set of another layout is another set.
        match read_info(root) {
            Ok(info) if info.fingerprint == fingerprint => {
                return Ok(Found::Finished(Box::new(info)));
            }
            // This run was begun with leave to replace it.
            _ if begun.as_deref() == Some(fingerprint) => {}
            _ => return Err(Error::Exists { path: root.to_owned() }),
        }
    }
    if !finished && !work.is_dir() {
        let mut entries = std::fs::read_dir(root).map_err(Error::io(root))?;
        if entries.next().is_some() {
            return Err(Error::input(
                root,
                "an empty or new folder, or a tile set",
                "other files",
                "choose another path (--overwrite replaces tile sets only)",
            ));
        }
    }
    if begun.is_some_and(|begun| begun != fingerprint) {
        return Err(Error::input(
            root,
            "an unfinished tile set of this configuration and these inputs",
            "one of another configuration or of changed inputs",
            "pass --overwrite to begin anew, or choose another path",
        ));
    }
    std::fs::create_dir_all(&work).map_err(Error::io(&work))?;
    remove_leftovers(&work)?;
    Ok(Found::Work(work))
}

/// Moves the set up from its work folder, in place of one that is there. It may end anywhere and be called again.
pub(super) fn finish(root: &Path) -> Result<()> {
    let work = root.join(WORK_FOLDER);
    // Without its description, what is left of the old set is never taken for a whole one.
    let (old_info, replaced) = (root.join(INFO_FILE), work.join(REPLACED_FILE));
    if old_info.is_file() && work.join(INFO_FILE).is_file() {
        std::fs::rename(&old_info, &replaced).map_err(Error::io(&old_info))?;
    }
    if replaced.is_file() {
        clear(root)?;
        std::fs::remove_file(&replaced).map_err(Error::io(&replaced))?;
    }
    for name in parts().chain([INFO_FILE]) {
        let (from, to) = (work.join(name), root.join(name));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(Error::io(&to))?;
        }
    }
    std::fs::remove_dir_all(&work).map_err(Error::io(&work))
}

/// Removes an unfinished set that turned out to be empty, and its folder where that holds nothing else.
pub(super) fn abandon(root: &Path) -> Result<()> {
    let work = root.join(WORK_FOLDER);
    std::fs::remove_dir_all(&work).map_err(Error::io(&work))?;
    let _ = std::fs::remove_dir(root);
    Ok(())
}

/// Files and folders that a set consists of, without its description.
fn parts() -> impl Iterator<Item = &'static str> {
    [INDEX_FILE, CONTACT_SHEET_FILE, CONFIG_FILE].into_iter().chain(Split::ALL.map(Split::as_str))
}

fn clear(root: &Path) -> Result<()> {
    for path in parts().map(|name| root.join(name)) {
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        } else if path.exists() {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Removes the staging folders that a killed run left.
fn remove_leftovers(work: &Path) -> Result<()> {
    for entry in std::fs::read_dir(work).map_err(Error::io(work))? {
        let path = entry.map_err(Error::io(work))?.path();
        let staging =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGING_PREFIX));
        if staging && path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Names a configuration together with the state of its input files (length, and the first and last
/// mebibyte). Remote inputs are known by their names only.
pub(super) fn fingerprint(config: &DatasetConfig, photos: &[Photos], effective: &str) -> String {
    let mut hash = hash::fnv1a(&FORMAT.to_le_bytes());
    hash = hash::extend(hash, effective.as_bytes());
    let scenes = config.scene.iter().flat_map(|scene| {
        let named =
            [Some(&scene.image), Some(&scene.footprints), scene.aoi.as_ref(), scene.soft.as_ref()];
        let mut files: Vec<_> = named.into_iter().flatten().cloned().collect();
        // What a virtual raster is made of, masks, georeferences, attributes.
        let mut parts = geo::files_of(&scene.image, false);
        parts.extend(geo::files_of(&scene.footprints, true));
        parts.sort();
        files.extend(parts);
        files
    });
    for path in scenes {
        hash = hash_sample(hash, &path);
    }
    // A folder is named in the configuration, its files are not.
    for (photo, mask) in photos.iter().flat_map(|photos| &photos.pairs) {
        hash = hash::extend(hash, photo.name.as_bytes());
        hash = hash_sample(hash_sample(hash, &photo.path), mask);
    }
    format!("{hash:016x}")
}

fn hash_sample(hash: u64, path: &Path) -> u64 {
    match sample(path) {
        Some((length, sample)) => hash::extend(hash::extend(hash, &length.to_le_bytes()), &sample),
        None => hash,
    }
}

fn sample(path: &Path) -> Option<(u64, Vec<u8>)> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(SAMPLE_BYTES).read_to_end(&mut bytes).ok()?;
    if length > SAMPLE_BYTES {
        file.seek(SeekFrom::Start(length.saturating_sub(SAMPLE_BYTES).max(SAMPLE_BYTES))).ok()?;
        file.read_to_end(&mut bytes).ok()?;
    }
    Some((length, bytes))
}
