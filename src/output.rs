//! Outputs appear under their final name only when they are whole.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::geo::remote;

/// What to do with what an earlier run has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Refuse.
    New,
    /// Replace it.
    Anew,
    /// Go on with it.
    Resume,
}

impl Begin {
    /// Of `--resume` and `--overwrite`; the former wins.
    pub fn of(resume: bool, overwrite: bool) -> Self {
        match (resume, overwrite) {
            (true, _) => Self::Resume,
            (_, true) => Self::Anew,
            _ => Self::New,
        }
    }
}

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
    overwrite: bool,
}

impl Staged {
    /// Prepares to write `target`.
    ///
    /// # Errors
    /// The folder is missing or read-only, or `target` exists and `overwrite` is false.
    pub fn new(target: impl AsRef<Path>, overwrite: bool) -> Result<Self> {
        let target = target.as_ref().to_owned();
        check_file(&target, overwrite)?;
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
            .map_err(|problem| refused(&target, folder, problem))?;
        let temporary = staging.path().join(name);
        unfinished().push((staging.path().to_owned(), target.clone()));
        Ok(Self { staging, temporary, target, overwrite })
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
        // Of the file that is replaced: they would be taken for the new one's.
        for stale in companions(&self.target) {
            if !remote::is_remote(&self.target) && stale.is_file() {
                std::fs::remove_file(&stale).map_err(Error::io(&stale))?;
            }
        }
        for from in main_file_last {
            if let Some(name) = from.file_name() {
                if remote::is_remote(&self.target) {
                    remote::upload(&from, &self.target.with_file_name(name))?;
                    continue;
                }
                self.place(&from, &folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Gives a file its final name; one that has come to be there since is not replaced unasked.
    fn place(&self, from: &Path, to: &Path) -> Result<()> {
        if !self.overwrite {
            match std::fs::hard_link(from, to) {
                // The other name goes with its folder.
                Ok(()) => return Ok(()),
                Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {
                    return Err(Error::Exists { path: to.to_owned() });
                }
                // Not every file system has links.
                Err(_) => {}
            }
        }
        std::fs::rename(from, to).map_err(Error::io(&self.target))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        unfinished().retain(|(folder, _)| folder != self.staging.path());
    }
}

/// As [`check_writable`], for what is to be a file.
///
/// # Errors
/// It is a folder, or is written like one; as [`check_writable`].
pub fn check_file(target: &Path, overwrite: bool) -> Result<()> {
    let written_as_folder = target.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !remote::is_remote(target) && (written_as_folder || target.is_dir()) {
        let hint = "name the file to write";
        return Err(Error::input(target, "a file to write", "a folder", hint));
    }
    check_writable(target, overwrite)
}

/// Refuses, before any work is done, an output that could not be written at its end.
///
/// # Errors
/// The folder is missing or read-only, or `target` exists and `overwrite` is false.
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
    // What is a folder already may be writable where the one around it is not.
    let into = if target.is_dir() { target } else { folder };
    // A file without a name, which goes when it is closed.
    tempfile::tempfile_in(into).map_err(|problem| refused(target, into, problem))?;
    let there = companions(target).into_iter().chain([target.to_owned()]).find(|p| p.exists());
    match there {
        Some(path) if !overwrite => Err(Error::Exists { path }),
        _ => Ok(()),
    }
}

/// No file can be made in the folder of `target`.
fn refused(target: &Path, folder: &Path, problem: std::io::Error) -> Error {
    match problem.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::input(
            target,
            "a folder that may be written into",
            format!("{}, which is read-only", folder.display()),
            "choose another path",
        ),
        _ => Error::io(target)(problem),
    }
}

/// Refuses outputs that are one file, or that would replace an input.
///
/// # Errors
/// Two of them are the same.
pub fn check_distinct<'a>(
    outputs: &[Option<&Path>],
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    // A file that is not there yet is known by its folder and name.
    let known = |path: &Path| match std::fs::canonicalize(path) {
        Ok(place) => Some(place),
        Err(_) => Some(std::fs::canonicalize(parent(path)).ok()?.join(path.file_name()?)),
    };
    let inputs: HashSet<_> = inputs.into_iter().filter_map(known).collect();
    let mut before = HashSet::new();
    for path in outputs.iter().flatten() {
        let Some(place) = known(path).filter(|place| !place.is_dir()) else { continue };
        if inputs.contains(&place) {
            let hint = "choose another name";
            return Err(Error::input(path, "an output beside the inputs", "an input", hint));
        }
        if !before.insert(place) {
            let hint = "name them differently";
            return Err(Error::input(path, "a file for each output", "one for two", hint));
        }
    }
    Ok(())
}

/// Files beside a Shapefile that belong to it, indexes of other programs included.
fn companions(target: &Path) -> Vec<PathBuf> {
    const OF_A_SHAPEFILE: [&str; 8] = ["shx", "dbf", "prj", "cpg", "qix", "sbn", "sbx", "shp.xml"];
    if target.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("shp")) {
        OF_A_SHAPEFILE.map(|extension| target.with_extension(extension)).into()
    } else {
        Vec::new()
    }
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
