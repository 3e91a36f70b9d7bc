//! TOML tables stacked in order, then single keys from the command line.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::unknown;
use crate::error::{Error, Result};

/// What was given, before it is typed: it knows which file a key came from.
#[derive(Debug)]
pub struct Layers {
    files: Vec<(PathBuf, Table)>,
    sets: Vec<(Vec<String>, Value)>,
    /// Where `sets` come from, for messages.
    source: &'static str,
}

impl Layers {
    /// Reads the files and splits the `key.path=value` texts.
    ///
    /// # Errors
    /// A file that is missing or not TOML, a text without `=`.
    pub fn read(files: &[PathBuf], sets: &[String]) -> Result<Self> {
        let files = files
            .iter()
            .map(|path| Ok((path.clone(), read_table(path)?)))
            .collect::<Result<_>>()?;
        let sets = sets.iter().map(|text| split_set(text)).collect::<Result<_>>()?;
        Ok(Self { files, sets, source: "--set" })
    }

    /// Values of single keys (dotted) that `source` gives.
    pub fn of_values<'a>(
        values: impl IntoIterator<Item = (&'a String, &'a Value)>,
        source: &'static str,
    ) -> Self {
        let set = |(key, value): (&String, &Value)| (split_key(key), value.clone());
        Self { files: Vec::new(), sets: values.into_iter().map(set).collect(), source }
    }

    /// The folder of the last file that sets `key` (dotted): what its relative paths are relative to.
    pub fn folder_of(&self, key: &str) -> Option<&Path> {
        let path = self.file_of(&split_key(key))?;
        Some(
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )
    }

    /// The typed configuration.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn parse<T: DeserializeOwned + Serialize + Default>(&self) -> Result<T> {
        self.merge_into(Table::new())
    }

    /// As [`Layers::parse`], with `base` for what is not given.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn parse_over<T: DeserializeOwned + Serialize + Default>(&self, base: &T) -> Result<T> {
        let base = Table::try_from(base)
            .map_err(|problem| Error::config("", format!("cannot be changed: {problem}")))?;
        self.merge_into(base)
    }

    fn merge_into<T: DeserializeOwned + Serialize + Default>(&self, base: Table) -> Result<T> {
        let mut merged = base;
        for (_, table) in &self.files {
            merge(&mut merged, table);
        }
        // Only consulted where a `--set` reaches into an array that no file mentions.
        let defaults = Table::try_from(T::default()).unwrap_or_default();
        for (key, value) in &self.sets {
            set(&mut merged, &defaults, key, value)?;
        }
        serde_path_to_error::deserialize(Value::Table(merged)).map_err(|error| {
            let (key, problem) = unknown::explain(&error, &defaults);
            Error::Config { problem: format!("{problem}{}", self.origin(&key)), key }
        })
    }

    fn origin(&self, key: &str) -> String {
        let key = split_key(key);
        if self.sets.iter().any(|(set, _)| set.starts_with(&key) || key.starts_with(set)) {
            return format!(" (from {})", self.source);
        }
        self.file_of(&key).map(|path| format!(" (from {})", path.display())).unwrap_or_default()
    }

    fn file_of(&self, key: &[String]) -> Option<&Path> {
        let holds = |table: &Table| lookup(table, key).is_some();
        self.files.iter().rev().find(|(_, table)| holds(table)).map(|(path, _)| path.as_path())
    }
}

fn read_table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text.as_bytes().iter().take(span.start).filter(|&&byte| byte == b'\n').count()
        });
        let message = error.message().replace('\n', ", ");
        Error::input(path, "TOML", format!("line {line}: {message}"), "correct that line")
    })
}

fn split_key(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

fn split_set(text: &str) -> Result<(Vec<String>, Value)> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Error::config(text, "--set takes key.path=value, and there is no `=` in it"));
    };
    let key = split_key(key.trim());
    if key.iter().any(String::is_empty) {
        return Err(Error::config(key.join("."), "--set takes key.path=value, found an empty key"));
    }
    Ok((key, parse_value(value.trim())))
}

/// A TOML value, or else the text itself, so that `--set mode=grid` needs no quotes.
fn parse_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    match parsed.and_then(|mut table| table.remove("value")) {
        // No key is a date: a file name that looks like one is meant as text.
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

fn merge(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn lookup<'a>(table: &'a Table, key: &[String]) -> Option<&'a Value> {
    let (first, rest) = key.split_first()?;
    rest.iter().try_fold(table.get(first)?, |value, part| match value {
        Value::Table(table) => table.get(part),
        Value::Array(values) => values.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn set(merged: &mut Table, defaults: &Table, key: &[String], value: &Value) -> Result<()> {
    let Some((first, rest)) = key.split_first() else { return Ok(()) };
    let mut slot = merged.entry(first.clone()).or_insert_with(|| array_or_table(defaults, key, 1));
    for (index, part) in rest.iter().enumerate() {
        let depth = index + 1;
        let dotted = || key[..depth].join(".");
        slot = match slot {
            Value::Table(table) => table
                .entry(part.clone())
                .or_insert_with(|| array_or_table(defaults, key, depth + 1)),
            Value::Array(values) => {
                let entries = values.len();
                let position = part.parse::<usize>().ok().filter(|&at| at <= entries);
                let Some(position) = position else {
                    return Err(Error::config(
                        key.join("."),
                        format!("`{}` has {entries} entries, numbered from 0", dotted()),
                    ));
                };
                if position == entries {
                    values.push(Value::Table(Table::new()));
                }
                &mut values[position]
            }
            other => {
                return Err(Error::config(
                    key.join("."),
                    format!("`{}` is {} and has no keys", dotted(), other.type_str()),
                ));
            }
        };
    }
    *slot = value.clone();
    Ok(())
}

/// What a missing key on the way to a `--set` starts as: the default where that is an array.
fn array_or_table(defaults: &Table, key: &[String], depth: usize) -> Value {
    match lookup(defaults, &key[..depth]) {
        Some(value @ Value::Array(_)) => value.clone(),
        _ => Value::Table(Table::new()),
    }
}
