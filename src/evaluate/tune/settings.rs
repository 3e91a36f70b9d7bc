//! New values in a TOML file of which everything else, comments too, stays as it is.

use std::fmt::Write as _;

use toml::{Table, Value};

/// `text` with `values` set in its table `section`: in place where a key is there, else at the end of
/// the table, which is added where it is missing. Numbers only.
///
/// # Errors
/// The text is no TOML, or is written in a form that this line-wise editing does not know (inline
/// tables, dotted keys); the message says so.
pub(super) fn with_values(
    text: &str,
    section: &str,
    values: &[(&str, f64)],
) -> Result<String, String> {
    let mut wanted: Table = text.parse().map_err(|error| format!("not valid TOML: {error}"))?;
    let table = wanted.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let table = table.as_table_mut().ok_or(format!("`{section}` is not a table"))?;
    for (key, value) in values {
        table.insert((*key).to_owned(), Value::Float(*value));
    }

    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let heading = format!("[{section}]");
    let start = lines.iter().position(|line| code(line).trim() == heading).unwrap_or_else(|| {
        if lines.last().is_some_and(|line| !line.trim().is_empty()) {
            lines.push(String::new());
        }
        lines.push(heading.clone());
        lines.len() - 1
    });
    for (key, value) in values {
        let end = section_end(&lines, start);
        let number = Value::Float(*value).to_string();
        let is_key =
            |line: &String| line.split_once('=').is_some_and(|(left, _)| left.trim() == *key);
        match lines[start + 1..end].iter().position(is_key) {
            Some(offset) => {
                let line = &mut lines[start + 1 + offset];
                let comment = line.find('#').map(|at| line[at..].to_owned());
                let left = line.split('=').next().unwrap_or_default().trim_end().to_owned();
                *line = format!("{left} = {number}");
                if let Some(comment) = comment {
                    let _ = write!(line, " {comment}");
                }
            }
            None => lines.insert(end, format!("{key} = {number}")),
        }
    }
    let edited = lines.join("\n") + "\n";
    match edited.parse::<Table>() {
        Ok(found) if found == wanted => Ok(edited),
        _ => Err(format!("`{section}` is not written as a plain [{section}] table")),
    }
}

/// Behind the last line of the table that starts at `start` that is not blank.
fn section_end(lines: &[String], start: usize) -> usize {
    let next = lines[start + 1..].iter().position(|line| line.trim_start().starts_with('['));
    let mut end = next.map_or(lines.len(), |offset| start + 1 + offset);
    // Comments just above the next table belong to it.
    while end > start + 1 {
        let line = lines[end - 1].trim();
        if line.is_empty() || (next.is_some() && line.starts_with('#')) {
            end -= 1;
        } else {
            break;
        }
    }
    end
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_other_keys_stay() {
        let text = "# how to infer\n[inference]\nwindow_px = 512 # px\n\n[polygonize]\n\
                    threshold = 0.5 # share\n# metres\nsimplify_m = 0.3\n\n# more\n[other]\nx = 'a#b'\n";
        let values = [("threshold", 0.35), ("min_area_m2", 4.0)];
        let found = with_values(text, "polygonize", &values).unwrap();
        let expected = "# how to infer\n[inference]\nwindow_px = 512 # px\n\n[polygonize]\n\
                        threshold = 0.35 # share\n# metres\nsimplify_m = 0.3\nmin_area_m2 = 4.0\n\n\
                        # more\n[other]\nx = 'a#b'\n";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_table_is_added_and_an_empty_file_is_filled() {
        let values = [("threshold", 0.4)];
        assert_eq!(
            with_values("", "polygonize", &values).unwrap(),
            "[polygonize]\nthreshold = 0.4\n"
        );
        let found = with_values("[inference]\nx = 1", "polygonize", &values).unwrap();
        assert_eq!(found, "[inference]\nx = 1\n\n[polygonize]\nthreshold = 0.4\n");
    }

    #[test]
    fn forms_that_cannot_be_edited_are_refused_and_not_broken() {
        for text in ["polygonize = { threshold = 0.5 }", "polygonize.threshold = 0.5", "a = ["] {
            assert!(with_values(text, "polygonize", &[("threshold", 0.4)]).is_err(), "{text}");
        }
    }
}
