//! Outputs appear under their final name only when they are whole.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::geo::remote;

/// Outputs that are being written: the folder where each lies until it is whole, and its final name.
static UNFINISHED: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<(PathBuf, PathBuf)>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every output that is still being written: for a program that is about to end without
/// unwinding.
pub fn discard_unfinished() {
    for (folder, _) in unfinished().drain(..) {
        // It may be gone already, and there is no one left to tell.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// What a user calls a file: its final name, if it is being written under another one.
pub(crate) fn final_name(path: &Path) -> PathBuf {
    let unfinished = unfinished();
    let written = unfinished.iter().find(|(folder, _)| path.parent() == Some(folder));
    match (written, path.file_name()) {
        (Some((_, target)), Some(name)) => target.with_file_name(name),
        _ => path.to_owned(),
    }
}

/// A file being written: it has a temporary name beside the final one until [`Staged::commit`].
/// Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    staging: tempfile::TempDir,
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Prepares to write `target`.
    ///
    /// # Errors
    /// The folder is missing or read-only, or `target` exists and `overwrite` is false.
    pub fn new(target: impl AsRef<Path>, overwrite: bool) -> Result<Self> {
        let target = target.as_ref().to_owned();
        check_writable(&target, overwrite)?;
        // What goes to a server is written whole to the disk first.
        let here = std::env::temp_dir();
        let folder = if remote::is_remote(&target) { &here } else { parent(&target) };
        let name = target.file_name().ok_or_else(|| {
            Error::input(&target, "a file name", "a folder", "name the file to write")
        })?;
        // A folder of its own: drivers write companions (.shx, .dbf, -wal) beside the file.
        let staging = tempfile::Builder::new()
            .prefix(".geoseg-")
            .tempdir_in(folder)
            .map_err(Error::io(folder))?;
        let temporary = staging.path().join(name);
        unfinished().push((staging.path().to_owned(), target.clone()));
        Ok(Self { staging, temporary, target })
    }

    /// Where to write for now; the extension is the final one.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Moves the file, and the companions that a driver wrote beside it, to the final name; copies them where that is on
    /// a server.
    ///
    /// # Errors
    /// Nothing was written, or the move failed.
    pub fn commit(self) -> Result<()> {
        let folder = parent(&self.target);
        let entries = std::fs::read_dir(self.staging.path()).map_err(Error::io(&self.target))?;
        let mut main_file_last = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io(&self.target))?.path();
            main_file_last.push(path);
        }
        main_file_last.sort_by_key(|path| *path == self.temporary);
        for from in main_file_last {
            if let Some(name) = from.file_name() {
                if remote::is_remote(&self.target) {
                    remote::upload(&from, &self.target.with_file_name(name))?;
                    continue;
                }
                std::fs::rename(&from, folder.join(name)).map_err(Error::io(&self.target))?;
            }
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        unfinished().retain(|(folder, _)| folder != self.staging.path());
    }
}

/// Refuses, before any work is done, an output that could not be written at its end.
///
/// # Errors
/// The folder is missing, or `target` exists and `overwrite` is false.
pub fn check_writable(target: &Path, overwrite: bool) -> Result<()> {
    if remote::is_remote(target) {
        if !overwrite && remote::exists(target) {
            return Err(Error::Exists { path: target.to_owned() });
        }
        return Ok(());
    }
    let folder = parent(target);
    if !folder.is_dir() {
        return Err(Error::input(
            target,
            "an existing folder to write into",
            format!("no folder {}", folder.display()),
            "create it, or choose another path",
        ));
    }
    if target.exists() && !overwrite {
        return Err(Error::Exists { path: target.to_owned() });
    }
    Ok(())
}

/// Writes `bytes` to `target` in one piece.
///
/// # Errors
/// As [`Staged::new`], and what the file system says.
pub fn write_whole(target: impl AsRef<Path>, bytes: &[u8], overwrite: bool) -> Result<()> {
    let staged = Staged::new(&target, overwrite)?;
    std::fs::write(staged.path(), bytes).map_err(Error::io(&target))?;
    staged.commit()
}

/// Writes `value` to `target` as indented JSON, in one piece.
///
/// # Errors
/// As [`write_whole`].
pub fn write_json<T: serde::Serialize>(target: &Path, value: &T, overwrite: bool) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io(target)(std::io::Error::other(error)))?;
    text.push('\n');
    write_whole(target, text.as_bytes(), overwrite)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
