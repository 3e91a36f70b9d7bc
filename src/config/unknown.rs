//! serde's words about a key into ours: the dotted key, what was expected, what was found, and the
//! nearest valid name.

use serde_path_to_error::{Error as PathError, Path, Segment};
use toml::{Table, Value};

/// Key and problem of a configuration that does not fit its type.
pub(super) fn explain(error: &PathError<toml::de::Error>, defaults: &Table) -> (String, String) {
    let mut key = dotted(error.path());
    let message = error.inner().message().replace('\n', " ");
    if let Some((name, valid)) = names(&message, "unknown field `") {
        let parent = match key.rsplit_once('.') {
            Some((parent, last)) if last == name => parent.to_owned(),
            None if key == name => String::new(),
            _ => key,
        };
        key = join(&parent, &name);
        let siblings = valid.iter().map(|valid| join(&parent, valid)).collect::<Vec<_>>();
        return (key, unknown_key(&name, &siblings, defaults));
    }
    if let Some((name, valid)) = names(&message, "unknown variant `") {
        let valid = valid.iter().map(|valid| format!("`{valid}`")).collect::<Vec<_>>().join(", ");
        return (key, format!("expected one of {valid}, found `{name}`"));
    }
    if let Some((found, expected)) = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.split_once(", expected "))
    {
        return (key, format!("expected {}, found {found}", plain(expected)));
    }
    (key, message)
}

/// Rust's names of types in words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "a table",
        other => other,
    }
}

fn dotted(path: &Path) -> String {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    parts.collect::<Vec<_>>().join(".")
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// The offending name and the valid ones in "unknown field `x`, expected one of `a`, `b`".
fn names(message: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = message.strip_prefix(prefix)?.split_once('`')?;
    let valid = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), valid))
}

fn unknown_key(name: &str, siblings: &[String], defaults: &Table) -> String {
    // The right name in the wrong table is the likelier slip than a misspelt neighbour.
    let mut elsewhere = Vec::new();
    leaves(defaults, "", &mut elsewhere);
    elsewhere.retain(|key| last(key) == name);
    if let [only] = elsewhere.as_slice() {
        return format!("unknown; did you mean `{only}`?");
    }
    let nearest = siblings.iter().max_by(|a, b| {
        let similarity = |key: &str| strsim::jaro_winkler(last(key), name);
        similarity(a).total_cmp(&similarity(b))
    });
    match nearest {
        Some(nearest) => format!("unknown; did you mean `{nearest}`?"),
        None => "unknown; no key is allowed here".to_owned(),
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn leaves(table: &Table, parent: &str, into: &mut Vec<String>) {
    for (name, value) in table {
        let key = join(parent, name);
        if let Value::Table(table) = value {
            leaves(table, &key, into);
        }
        into.push(key);
    }
}
