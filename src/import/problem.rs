//! What is wrong with a file's contents, before its name is known.

use std::path::Path;

use crate::Error;

/// The last three parts of an [`Error::Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    expected: String,
    found: String,
    hint: String,
}

/// The result of reading contents.
pub type Parsed<T> = Result<T, Problem>;

const DAMAGED: &str = "the file is damaged: fetch or save it again";

impl Problem {
    /// Something else than what can be read.
    pub fn new(
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { expected: expected.into(), found: found.into(), hint: hint.into() }
    }

    /// A file that contradicts its own format.
    pub fn damaged(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(expected, found, DAMAGED)
    }

    /// The error, naming the file.
    pub fn of(self, path: &Path) -> Error {
        Error::input(path, self.expected, self.found, self.hint)
    }
}

/// A name from a file, fit for one line of a terminal.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut short: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        short.push_str("..");
    }
    short
}
