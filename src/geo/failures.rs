//! What GDAL says while it works: some drivers tell of a full disk or a damaged picture, and then report success.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gdal::errors::Result as GdalResult;
use gdal_sys::CPLErr;

use crate::error::{Error, Result};

/// The first message of each kind.
#[derive(Default)]
struct Heard {
    failure: Option<String>,
    damage: Option<String>,
}

/// Runs `work`, which writes `path` through GDAL on this thread; a failure that GDAL only mentions is an error, too.
///
/// # Errors
/// Those of `work`, in GDAL's own words where it found some; the disk is full.
pub(crate) fn written<T>(path: &Path, work: impl FnOnce() -> GdalResult<T>) -> Result<T> {
    let (outcome, heard) = listen(work);
    match heard.failure {
        None => outcome.map_err(Error::gdal(path)),
        Some(message) => {
            let text = format!("{message}; look at the free space of the disk");
            Err(Error::io(path)(std::io::Error::other(text)))
        }
    }
}

/// Runs `work`, which reads `path` through GDAL on this thread, and warns, once a file, of damaged pictures whose pixels a decoder has
/// made up.
pub(crate) fn read<T>(path: &Path, work: impl FnOnce() -> T) -> T {
    static WARNED_OF: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let (outcome, heard) = listen(work);
    if let Some(message) = heard.damage
        && WARNED_OF.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned())
    {
        let path = path.display();
        tracing::warn!(
            "{path}: damaged ({message}); what its damaged parts show is made up: copy it again"
        );
    }
    outcome
}

fn listen<T>(work: impl FnOnce() -> T) -> (T, Heard) {
    let mut heard = Heard::default();
    let listener = Listener::new(&mut heard);
    let outcome = work();
    drop(listener);
    (outcome, heard)
}

/// Hears GDAL's messages on this thread until it is dropped.
struct Listener<'a>(PhantomData<&'a mut Heard>);

impl<'a> Listener<'a> {
    fn new(heard: &'a mut Heard) -> Self {
        let place = std::ptr::from_mut(heard).cast::<c_void>();
        // SAFETY: the handler finds `heard` behind this pointer, and is taken back before that borrow ends.
        unsafe { gdal_sys::CPLPushErrorHandlerEx(Some(keep_first), place) };
        Self(PhantomData)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        // SAFETY: takes back what `new` has set on this thread.
        unsafe { gdal_sys::CPLPopErrorHandler() };
    }
}

unsafe extern "C" fn keep_first(class: CPLErr::Type, number: c_int, text: *const c_char) {
    // SAFETY: GDAL hands over a string that ends with a zero, and the pointer that was given with this handler, whose
    // target nobody else touches while the handler is set.
    let (text, heard) = unsafe {
        let heard = gdal_sys::CPLGetErrorHandlerUserData().cast::<Heard>();
        (CStr::from_ptr(text).to_string_lossy(), &mut *heard)
    };
    tracing::debug!("GDAL {class} {number}: {text}");
    let first_line = || text.lines().next().unwrap_or_default().to_owned();
    if class >= CPLErr::CE_Failure {
        heard.failure.get_or_insert_with(first_line);
    } else if class == CPLErr::CE_Warning && is_damage(&text) {
        heard.damage.get_or_insert_with(first_line);
    }
}

/// Whether a warning is one of libjpeg's about pixels that it had to make up. Bytes too many, which some cameras write, are none.
fn is_damage(text: &str) -> bool {
    let broken = ["Corrupt JPEG data", "Premature end of JPEG"].iter().any(|it| text.contains(it));
    broken && !text.contains("extraneous bytes")
}
