//! Results on stdout: reports, tables, JSON. Everything else goes to stderr.

use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use crate::error::{Error, Result};

/// Prints `text` and a line end. A reader that has closed the pipe (`| head`) is no error.
///
/// # Errors
/// stdout cannot be written to.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(problem) if problem.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("stdout")(problem))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as indented JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::io("stdout")(e.into()))?;
    print(&text)
}
