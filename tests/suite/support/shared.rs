//! Data too large for the repository: `../shared`, or `$GEOSEG_SHARED`.

use std::path::{Path, PathBuf};

/// A file or folder of the shared data, or nothing (with a message) where it is not at hand.
#[expect(clippy::print_stderr, reason = "says which tests did not look at anything")]
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GEOSEG_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Rasters of every awkward kind and the files beside them, in order; none where they are not at hand.
pub fn awkward_files() -> Vec<PathBuf> {
    let Some(root) = shared("data/robust") else { return Vec::new() };
    let folders = std::fs::read_dir(root).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    found.sort();
    found
}
