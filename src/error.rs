//! One error type: it names the file, what was expected, what was found and what to do.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::geo::gdal_reason;
use crate::output::final_name;

/// The result of every stage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, worded for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input that cannot be used: `path: expected .., found ..; hint`.
    #[error("{}: expected {expected}, found {found}; {hint}", path.display())]
    Input {
        /// The offending file.
        path: PathBuf,
        /// What the stage needs.
        expected: String,
        /// What the file holds instead.
        found: String,
        /// What the user can do about it.
        hint: String,
    },
    /// A configuration value that cannot be used.
    #[error("configuration key `{key}`: {problem}")]
    Config {
        /// Dotted path of the key.
        key: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// An output that is already there.
    #[error("{}: already exists; pass --overwrite to replace it, or choose another path", path.display())]
    Exists {
        /// The output's path.
        path: PathBuf,
    },
    /// The operating system refused to read or write.
    #[error("{}: {}", path.display(), io_reason(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own word.
        source: std::io::Error,
    },
    /// GDAL refused to read or write.
    #[error("{}: GDAL: {}", path.display(), gdal_reason(source))]
    Gdal {
        /// The raster or vector file.
        path: PathBuf,
        /// GDAL's own word.
        source: gdal::errors::GdalError,
    },
    /// The device asked for cannot be used.
    #[error("device {device}: {problem}")]
    Device {
        /// As the user named it.
        device: String,
        /// What is missing, and what would help.
        problem: String,
    },
    /// Training met a loss that is not a number.
    #[error("loss is {loss} at step {step}; the batch was: {}; lower `optimizer.learning_rate` or look at these tiles", tiles.join(", "))]
    NonFiniteLoss {
        /// Optimizer step, from 0.
        step: usize,
        /// The loss.
        loss: f64,
        /// Names of the batch's tiles.
        tiles: Vec<String>,
    },
    /// The user pressed Ctrl-C; what was finished is kept.
    #[error("interrupted; {kept}")]
    Interrupted {
        /// What was saved and how to go on.
        kept: String,
    },
    /// Some of several inputs failed; each was reported when it did.
    #[error("{failed} of {total} {what} failed (see above)")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many were tried.
        total: usize,
        /// What they are ("scenes").
        what: String,
    },
}

/// What the system says, with what to do where that is plain.
fn io_reason(source: &std::io::Error) -> String {
    match source.kind() {
        ErrorKind::NotFound => "no such file or folder; check the path".to_owned(),
        ErrorKind::PermissionDenied => {
            format!("{source}; check who may read and write there")
        }
        ErrorKind::IsADirectory => "a folder where a file is expected; name the file".to_owned(),
        ErrorKind::StorageFull => format!("{source}; make room on the disk"),
        ErrorKind::InvalidData => format!("{source}; the file is damaged, or of another kind"),
        _ => source.to_string(),
    }
}

impl Error {
    /// An [`Error::Input`].
    pub fn input(
        path: impl AsRef<Path>,
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Input {
            path: final_name(path.as_ref()),
            expected: expected.into(),
            found: found.into(),
            hint: hint.into(),
        }
    }

    /// An [`Error::Config`].
    pub fn config(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { key: key.into(), problem: problem.into() }
    }

    /// For `map_err`: an [`Error::Io`] that knows its path.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path: final_name(&path), source }
    }

    /// For `map_err`: an [`Error::Gdal`] that knows its path.
    pub fn gdal(path: impl AsRef<Path>) -> impl FnOnce(gdal::errors::GdalError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Gdal { path: final_name(&path), source }
    }
}
