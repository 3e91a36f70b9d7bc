//! Files that GDAL reaches over the network (`/vsicurl/`, `/vsis3/`, `/vsiaz/`, `/vsigs/`, URLs), or inside archives.

use std::ffi::{CString, c_int};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gdal::config::{
    clear_thread_local_config_option, get_thread_local_config_option, set_config_option,
    set_thread_local_config_option,
};

use super::dataset::init;
use crate::error::{Error, Result};

/// Schemes of URLs, and GDAL's own names for them.
const SCHEMES: [(&str, &str); 5] = [
    ("https://", "/vsicurl/https://"),
    ("http://", "/vsicurl/http://"),
    ("s3://", "/vsis3/"),
    ("gs://", "/vsigs/"),
    ("az://", "/vsiaz/"),
];

/// What GDAL calls its ways to servers; `/vsizip/` and others like it read what is on disk, too.
const SERVERS: [&str; 7] =
    ["/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift"];

/// For every request, unless the environment says otherwise: try again what a busy server refused, give up on one
/// that is silent, ask for neighbouring ranges at once.
const REQUESTS: [(&str, &str); 7] = [
    ("GDAL_HTTP_MAX_RETRY", "4"),
    ("GDAL_HTTP_RETRY_DELAY", "0.5"),
    ("GDAL_HTTP_CONNECTTIMEOUT", "20"),
    ("GDAL_HTTP_LOW_SPEED_TIME", "30"),
    ("GDAL_HTTP_LOW_SPEED_LIMIT", "1"),
    ("GDAL_HTTP_MERGE_CONSECUTIVE_RANGES", "YES"),
    ("GDAL_HTTP_MULTIPLEX", "YES"),
];

/// While a remote dataset is opened: do not list its folder or look for files beside it, and take the header, with the
/// places of all tiles, in one piece. Files on disk are opened without: theirs may lie beside them.
const OPENING: [(&str, &str); 3] = [
    ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
    ("GDAL_INGESTED_BYTES_AT_OPEN", "65536"),
    ("VSI_CACHE", "TRUE"),
];

/// Sets what holds for every request. Part of [`init`].
pub(super) fn set_request_defaults() {
    for (key, value) in REQUESTS {
        if std::env::var_os(key).is_none() {
            let _ = set_config_option(key, value);
        }
    }
}

/// Whether GDAL, not the file system, resolves this path.
pub fn is_remote(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.starts_with("/vsi") || SCHEMES.iter().any(|(scheme, _)| text.starts_with(scheme))
}

/// The path as GDAL reads it range by range; anything else as it is.
pub fn gdal_path(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    let known = SCHEMES.iter().find_map(|(scheme, vsi)| {
        text.strip_prefix(scheme).map(|rest| PathBuf::from(format!("{vsi}{rest}")))
    });
    known.unwrap_or_else(|| path.to_owned())
}

/// The options of opening a remote dataset, on this thread, until it is dropped.
pub(super) struct Opening {
    set: Vec<&'static str>,
}

impl Opening {
    /// For `path`; nothing where that is on disk.
    pub(super) fn of(path: &Path) -> Self {
        let mut set = Vec::new();
        let name = gdal_path(path);
        let on_server = SERVERS.iter().any(|server| name.to_string_lossy().starts_with(server));
        for (key, value) in OPENING.into_iter().filter(|_| on_server) {
            let own = get_thread_local_config_option(key, "").is_ok_and(|own| !own.is_empty());
            let known = own || std::env::var_os(key).is_some();
            if !known && set_thread_local_config_option(key, value).is_ok() {
                set.push(key);
            }
        }
        Self { set }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        for key in &self.set {
            let _ = clear_thread_local_config_option(key);
        }
    }
}

/// The text of a small file, on disk or remote.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read_text(path: &Path) -> Result<String> {
    if !is_remote(path) {
        return std::fs::read_to_string(path).map_err(Error::io(path));
    }
    init();
    let missing = |found: &str| {
        Error::input(path, "a readable file", found, "check the address and the credentials")
    };
    let name = c_string(&gdal_path(path))?;
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: GDAL allocates the buffer, which is copied and freed here; it exists only where the call succeeds.
    let bytes = unsafe {
        let done = gdal_sys::VSIIngestFile(
            std::ptr::null_mut(),
            name.as_ptr(),
            &raw mut data,
            &raw mut size,
            MOST_TEXT,
        );
        if done == 0 || data.is_null() {
            return Err(missing("none, or none that may be read"));
        }
        let bytes = std::slice::from_raw_parts(data, size as usize).to_vec();
        gdal_sys::VSIFree(data.cast());
        bytes
    };
    String::from_utf8(bytes).map_err(|_| missing("bytes that are no text"))
}

/// Catalogues are small; what is larger is none.
const MOST_TEXT: i64 = 64 << 20;

/// A remote file that is read in ranges.
pub(super) struct RemoteFile {
    handle: Mutex<Handle>,
    len: u64,
}

struct Handle(*mut gdal_sys::VSILFILE);

// SAFETY: GDAL's files may be used by any thread, by one at a time.
unsafe impl Send for Handle {}

impl RemoteFile {
    /// Opens the file and asks for its length.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        init();
        let name = c_string(&gdal_path(path))?;
        let _opening = Opening::of(path);
        // SAFETY: the name outlives the call; what is opened is closed when the handle is dropped.
        let handle = unsafe { gdal_sys::VSIFOpenL(name.as_ptr(), c"rb".as_ptr()) };
        if handle.is_null() {
            return Err(Error::input(
                path,
                "a readable file",
                "none, or none that may be read",
                "check the address and the credentials",
            ));
        }
        let handle = Handle(handle);
        // SAFETY: the handle is open.
        let len = unsafe {
            gdal_sys::VSIFSeekL(handle.0, 0, libc::SEEK_END);
            gdal_sys::VSIFTellL(handle.0)
        };
        Ok(Self { handle: Mutex::new(handle), len })
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads from byte `start` on until `bytes` are full or the file ends; how many there are.
    pub(super) fn read_at(&self, start: u64, bytes: &mut [u8]) -> usize {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the handle is open and this thread's alone, and no more is written than there is room for.
        unsafe {
            gdal_sys::VSIFSeekL(handle.0, start, libc::SEEK_SET);
            gdal_sys::VSIFReadL(bytes.as_mut_ptr().cast(), 1, bytes.len(), handle.0)
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { gdal_sys::VSIFCloseL(self.0) };
    }
}

/// Whether something is there.
pub fn exists(path: &Path) -> bool {
    init();
    let Ok(name) = c_string(&gdal_path(path)) else { return false };
    // The bindings give the record no size; that of the C library is a quarter of this, or less.
    let mut stat = [0_u64; 64];
    // SAFETY: GDAL fills in a `struct stat` of the C library, which fits.
    unsafe { gdal_sys::VSIStatL(name.as_ptr(), stat.as_mut_ptr().cast()) == 0 }
}

/// Copies a file on disk to a remote place, replacing what is there.
///
/// # Errors
/// The server refuses it, or the credentials do.
pub fn upload(from: &Path, to: &Path) -> Result<()> {
    init();
    let (source, target) = (c_string(from)?, c_string(&gdal_path(to))?);
    // SAFETY: both names outlive the call; the error state is this thread's own.
    let (code, message) = unsafe {
        gdal_sys::CPLErrorReset();
        let code: c_int = gdal_sys::CPLCopyFile(target.as_ptr(), source.as_ptr());
        let message = std::ffi::CStr::from_ptr(gdal_sys::CPLGetLastErrorMsg());
        (code, message.to_string_lossy().into_owned())
    };
    if code == 0 {
        return Ok(());
    }
    let found = message.lines().next().filter(|line| !line.is_empty());
    Err(Error::input(
        to,
        "a place that can be written to",
        found.unwrap_or("a refusal without a reason"),
        "check the address and the credentials (AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT, ..); -vv shows the requests",
    ))
}

fn c_string(path: &Path) -> Result<CString> {
    CString::new(path.to_string_lossy().as_bytes())
        .map_err(|_| Error::input(path, "a path", "one with a zero byte", "correct the path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_range_by_range() {
        let to = |path: &str| gdal_path(Path::new(path)).to_string_lossy().into_owned();
        assert_eq!(to("https://x.org/a.tif"), "/vsicurl/https://x.org/a.tif");
        assert_eq!(to("s3://bucket/a.tif"), "/vsis3/bucket/a.tif");
        assert_eq!(to("/vsizip/a.zip/b.tif"), "/vsizip/a.zip/b.tif");
        assert_eq!(to("https.tif"), "https.tif");
        assert!(is_remote(Path::new("az://box/a.tif")) && !is_remote(Path::new("az/a.tif")));
    }

    #[test]
    fn options_of_opening_hold_for_remote_files_only_and_are_taken_back() {
        let option = || get_thread_local_config_option("VSI_CACHE", "none").unwrap();
        let local =
            [Opening::of(Path::new("a.tif")), Opening::of(Path::new("/vsizip/a.zip/a.tif"))];
        assert_eq!(option(), "none");
        let remote = Opening::of(Path::new("https://x.org/a.tif"));
        assert_eq!(option(), "TRUE");
        drop((local, remote));
        assert_eq!(option(), "none");
    }

    #[test]
    fn what_is_there_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        assert!(!exists(&path));
        std::fs::write(&path, "a").unwrap();
        assert!(exists(&path));
    }
}
