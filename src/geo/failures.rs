//! What GDAL says while it writes: some drivers tell of a full disk, and then report success.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use gdal::errors::Result as GdalResult;
use gdal_sys::CPLErr;

use crate::error::{Error, Result};

/// Runs `work`, which writes `path` through GDAL on this thread; a failure that GDAL only mentions is an error, too.
///
/// # Errors
/// Those of `work`, in GDAL's own words where it found some; the disk is full.
pub(crate) fn written<T>(path: &Path, work: impl FnOnce() -> GdalResult<T>) -> Result<T> {
    let mut heard: Option<String> = None;
    let listener = Listener::new(&mut heard);
    let outcome = work();
    drop(listener);
    match heard {
        None => outcome.map_err(Error::gdal(path)),
        Some(message) => {
            let text = format!("{message}; look at the free space of the disk");
            Err(Error::io(path)(std::io::Error::other(text)))
        }
    }
}

/// Hears GDAL's messages on this thread until it is dropped.
struct Listener<'a>(std::marker::PhantomData<&'a mut Option<String>>);

impl<'a> Listener<'a> {
    fn new(heard: &'a mut Option<String>) -> Self {
        let place = std::ptr::from_mut(heard).cast::<c_void>();
        // SAFETY: the handler finds `heard` behind this pointer, and is taken back before that borrow ends.
        unsafe { gdal_sys::CPLPushErrorHandlerEx(Some(keep_first_failure), place) };
        Self(std::marker::PhantomData)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        // SAFETY: takes back what `new` has set on this thread.
        unsafe { gdal_sys::CPLPopErrorHandler() };
    }
}

unsafe extern "C" fn keep_first_failure(class: CPLErr::Type, number: c_int, text: *const c_char) {
    // SAFETY: GDAL hands over a string that ends with a zero, and the pointer that was given with this handler, whose
    // target nobody else touches while the handler is set.
    let (text, heard) = unsafe {
        let heard = gdal_sys::CPLGetErrorHandlerUserData().cast::<Option<String>>();
        (CStr::from_ptr(text).to_string_lossy(), &mut *heard)
    };
    tracing::debug!("GDAL {class} {number}: {text}");
    if class >= CPLErr::CE_Failure && heard.is_none() {
        *heard = Some(text.lines().next().unwrap_or_default().to_owned());
    }
}
