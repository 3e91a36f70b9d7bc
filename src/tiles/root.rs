//! The set's folder: whose it is, what of it may be replaced, and where a run goes on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::config::dataset::DatasetConfig;
use crate::error::{Error, Result};
use crate::geo;
use crate::output::check_writable;

use super::journal::{JOURNAL_FILE, Journal};
use super::photos::Photos;
use super::set::{
    CONFIG_FILE, CONTACT_SHEET_FILE, FORMAT, INDEX_FILE, INFO_FILE, Split, TileSetInfo, read_info,
};
use super::{STAGING_PREFIX, hash};

/// Bytes at the beginning and at the end of an input that its fingerprint looks at.
const SAMPLE_BYTES: u64 = 1 << 20;

/// What a run finds in its folder.
pub(super) enum Found {
    /// Room for a new set, or an unfinished one to go on with.
    Work,
    /// The very set that was asked for.
    Finished(Box<TileSetInfo>),
}

/// Makes `root` ready for a run with this `fingerprint`. Deletes only what a tile set consists of, and
/// only with `overwrite`.
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
        return Ok(Found::Work);
    }
    let finished = root.join(INFO_FILE).is_file();
    let unfinished = root.join(JOURNAL_FILE).is_file();
    if !finished && !unfinished {
        let mut entries = std::fs::read_dir(root).map_err(Error::io(root))?;
        if entries.next().is_some() {
            return Err(Error::input(
                root,
                "an empty or new folder, or a tile set",
                "other files",
                "choose another path (--overwrite replaces tile sets only)",
            ));
        }
        return Ok(Found::Work);
    }
    if overwrite {
        clear(root)?;
        return Ok(Found::Work);
    }
    if finished {
        // A set of another layout is another set.
        return match read_info(root) {
            Ok(info) if info.fingerprint == fingerprint => Ok(Found::Finished(Box::new(info))),
            _ => Err(Error::Exists { path: root.to_owned() }),
        };
    }
    if Journal::fingerprint(root).is_some_and(|found| found != fingerprint) {
        return Err(Error::input(
            root,
            "an unfinished tile set of this configuration and these inputs",
            "one of another configuration or of changed inputs",
            "pass --overwrite to begin anew, or choose another path",
        ));
    }
    remove_leftovers(root)?;
    Ok(Found::Work)
}

/// Removes the journal: the set is whole.
pub(super) fn finish(root: &Path) -> Result<()> {
    let path = root.join(JOURNAL_FILE);
    std::fs::remove_file(&path).map_err(Error::io(&path))
}

/// Removes an unfinished set that turned out to be empty, folder and all.
pub(super) fn abandon(root: &Path) -> Result<()> {
    clear(root)?;
    // Not empty where the user keeps something beside the set: then the folder stays.
    let _ = std::fs::remove_dir(root);
    Ok(())
}

fn clear(root: &Path) -> Result<()> {
    // The description goes first: what is left is never taken for a whole set.
    let files = [INFO_FILE, JOURNAL_FILE, INDEX_FILE, CONTACT_SHEET_FILE, CONFIG_FILE];
    for path in files.map(|name| root.join(name)) {
        if path.is_file() {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    for path in Split::ALL.map(|split| root.join(split.as_str())) {
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
    }
    remove_leftovers(root)
}

/// Removes the staging folders that a killed run left.
fn remove_leftovers(root: &Path) -> Result<()> {
    for entry in std::fs::read_dir(root).map_err(Error::io(root))? {
        let path = entry.map_err(Error::io(root))?.path();
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
        // What a virtual raster is made of, masks and georeferences.
        let mut parts = geo::files_of(&scene.image);
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
