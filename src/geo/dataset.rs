//! GDAL itself: start-up, opening, and closing without losing a write error.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Once;

use gdal::{Dataset, DatasetOptions, GdalOpenFlags};

use super::failures::written;
use super::remote;
use crate::error::{Error, Result};

static INIT: Once = Once::new();

/// Bytes of decoded blocks that GDAL may keep over all datasets. Its default, 5 % of the machine,
/// grows with the machine; strips are read once, so more than a few strips' blocks serves nothing.
const BLOCK_CACHE: &str = "256MB";

/// Registers GDAL's drivers, bounds its cache and sends its messages to the log. Runs once, however
/// often it is called.
pub fn init() {
    INIT.call_once(|| {
        gdal::DriverManager::register_all();
        if std::env::var_os("GDAL_CACHEMAX").is_none() {
            let _ = gdal::config::set_config_option("GDAL_CACHEMAX", BLOCK_CACHE);
        }
        remote::set_request_defaults();
        gdal::config::set_error_handler(|class, number, message| {
            tracing::debug!(target: "gdal", "{class:?} {number}: {message}");
        });
    });
}

/// Whether GDAL, not the file system, resolves this path.
fn is_virtual(path: &Path) -> bool {
    remote::is_remote(path) || path.to_string_lossy().contains(':')
}

/// Opens a raster or (with `vector`) a vector dataset for reading.
pub(super) fn open(path: &Path, vector: bool) -> Result<Dataset> {
    init();
    let what =
        if vector { "a vector file that GDAL can read" } else { "a raster that GDAL can read" };
    if !is_virtual(path) {
        let meta = std::fs::metadata(path);
        match meta {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::input(path, what, "no such file", "check the path"));
            }
            Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
            // GDAL would speak of a format that it does not recognise.
            Ok(meta) if meta.is_file() => drop(File::open(path).map_err(Error::io(path))?),
            Ok(_) => {}
        }
    }
    let kind = if vector { GdalOpenFlags::GDAL_OF_VECTOR } else { GdalOpenFlags::GDAL_OF_RASTER };
    let options = DatasetOptions { open_flags: kind, ..DatasetOptions::default() };
    let _opening = remote::Opening::of(path);
    Dataset::open_ex(remote::gdal_path(path), options).map_err(|source| {
        Error::input(
            path,
            what,
            reason(&source),
            "check that the file is whole and that `geoseg doctor` lists a driver for its format",
        )
    })
}

/// The files on disk that a raster (or, with `vector`, a file of features) is read from, as far as GDAL knows: those that a virtual
/// raster names, the companions of a Shapefile. None where it is none.
pub(crate) fn files_of(path: &Path, vector: bool) -> Vec<PathBuf> {
    let Ok(dataset) = open(path, vector) else { return Vec::new() };
    let mut files = Vec::new();
    // SAFETY: the list ends with a null pointer, and is freed once its texts are copied.
    unsafe {
        let list = gdal_sys::GDALGetFileList(dataset.c_dataset());
        let mut place = list;
        while !place.is_null() && !(*place).is_null() {
            files.push(CStr::from_ptr(*place).to_string_lossy().into_owned().into());
            place = place.add(1);
        }
        gdal_sys::CSLDestroy(list);
    }
    // Statistics and overviews come to be when somebody looks at a raster.
    let looks = |file: &PathBuf| file.extension().is_some_and(|e| e == "xml" || e == "ovr");
    files.retain(|file| !looks(file));
    files
}

/// GDAL's own sentence, without the wrapper's.
pub(crate) fn reason(error: &gdal::errors::GdalError) -> String {
    use gdal::errors::GdalError;
    match error {
        GdalError::NullPointer { msg, .. } | GdalError::CplError { msg, .. }
            if !msg.trim().is_empty() =>
        {
            msg.lines().next().unwrap_or_default().trim().to_owned()
        }
        GdalError::NullPointer { .. } => "a format that GDAL does not recognise".to_owned(),
        other => other.to_string(),
    }
}

/// Closes a dataset that was written to; what GDAL only mentions while flushing (a full disk, say)
/// becomes an error.
///
/// # Errors
/// GDAL reported a failure while it wrote the rest.
pub fn close_checked(mut dataset: Dataset, path: &Path) -> Result<()> {
    written(path, || {
        let flushed = dataset.flush_cache();
        dataset.close()?;
        flushed
    })
}

/// Runs one of GDAL's programs into an in-memory VRT that refers to `source`.
pub(super) fn to_vrt(source: &Dataset, program: VrtProgram<'_>) -> Option<Dataset> {
    let arguments: Vec<&str> = match program {
        VrtProgram::WarpWithAlpha => vec!["-of", "VRT", "-dstalpha", "-r", "bilinear"],
        VrtProgram::AssignNodata(value) => vec!["-of", "VRT", "-a_nodata", value],
    };
    let arguments: Vec<CString> =
        arguments.into_iter().filter_map(|text| CString::new(text).ok()).collect();
    let mut pointers: Vec<*mut std::ffi::c_char> =
        arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    let mut usage_error = 0;
    let mut handle = source.c_dataset();
    // SAFETY: the argument list is null-terminated and outlives the calls, the options are freed
    // where they were made, and the VRT holds its own reference to the source.
    unsafe {
        let vrt = match program {
            VrtProgram::WarpWithAlpha => {
                let options =
                    gdal_sys::GDALWarpAppOptionsNew(pointers.as_mut_ptr(), std::ptr::null_mut());
                let vrt = gdal_sys::GDALWarp(
                    c"".as_ptr(),
                    std::ptr::null_mut(),
                    1,
                    &raw mut handle,
                    options,
                    &raw mut usage_error,
                );
                gdal_sys::GDALWarpAppOptionsFree(options);
                vrt
            }
            VrtProgram::AssignNodata(_) => {
                let options =
                    gdal_sys::GDALTranslateOptionsNew(pointers.as_mut_ptr(), std::ptr::null_mut());
                let vrt =
                    gdal_sys::GDALTranslate(c"".as_ptr(), handle, options, &raw mut usage_error);
                gdal_sys::GDALTranslateOptionsFree(options);
                vrt
            }
        };
        (!vrt.is_null()).then(|| Dataset::from_c_dataset(vrt))
    }
}

/// What [`to_vrt`] does to its source.
#[derive(Clone, Copy)]
pub(super) enum VrtProgram<'a> {
    /// Ground control points become a north-up grid; outside them alpha is 0.
    WarpWithAlpha,
    /// Another nodata value.
    AssignNodata(&'a str),
}
