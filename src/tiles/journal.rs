//! What is done already: one line per finished tile, so that an interrupted run goes on where it was.
//!
//! The journal lies in the folder where the set is made and goes with it. Its order is that of the threads; nothing that stays
//! is written in its order.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::set::TileRecord;

/// File name in the folder where the set is made.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// What became of a planned tile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was written.
    Kept(Box<Kept>),
    /// Too few labelled pixels.
    NoData,
    /// No building, and `keep_empty` left it out.
    Empty,
}

/// A written tile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its row in the index.
    pub record: TileRecord,
    /// Numbers of the footprints that touch it.
    pub buildings: Vec<usize>,
    /// Its share of the set's statistics; `None` outside training.
    pub sums: Option<BandSums>,
}

/// Exact sums over valid pixels: integers add up to the same in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandSums {
    /// Pixels.
    pub count: u64,
    /// Per band: sum of values.
    pub sum: Vec<u64>,
    /// Per band: sum of squared values.
    pub sum_squares: Vec<u64>,
}

impl BandSums {
    /// Sums of `[band, row, col]` values where `valid` (`[row, col]`).
    pub fn of(data: &[u8], valid: &[bool]) -> Self {
        let mut sums =
            Self { count: valid.iter().filter(|valid| **valid).count() as u64, ..Self::default() };
        for plane in data.chunks_exact(valid.len().max(1)) {
            let values = plane.iter().zip(valid).filter(|(_, valid)| **valid);
            let (sum, squares) = values.fold((0, 0), |(sum, squares), (&value, _)| {
                let value = u64::from(value);
                (sum + value, squares + value * value)
            });
            sums.sum.push(sum);
            sums.sum_squares.push(squares);
        }
        sums
    }

    /// Adds another tile's.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.resize(other.sum.len(), 0);
        self.sum_squares.resize(other.sum_squares.len(), 0);
        for (to, from) in self.sum.iter_mut().zip(&other.sum) {
            *to += from;
        }
        for (to, from) in self.sum_squares.iter_mut().zip(&other.sum_squares) {
            *to += from;
        }
    }

    /// Per band: mean and standard deviation of `x / 255`. Without pixels 0 and 1.
    pub fn mean_std(&self, bands: usize) -> (Vec<f64>, Vec<f64>) {
        if self.count == 0 {
            return (vec![0.0; bands], vec![1.0; bands]);
        }
        let n = self.count as f64;
        self.sum
            .iter()
            .zip(&self.sum_squares)
            .map(|(&sum, &squares)| {
                let mean = sum as f64 / n;
                let variance = (squares as f64 / n - mean * mean).max(0.0);
                // A constant band has no spread; one grey level keeps the division finite.
                (mean / 255.0, (variance.sqrt() / 255.0).max(1.0 / 255.0))
            })
            .unzip()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    tile: String,
    outcome: Outcome,
}

/// The journal of a run. Threads append to it.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// The fingerprint of the unfinished set in `work`, if there is one.
    pub fn fingerprint(work: &Path) -> Option<String> {
        let text = std::fs::read_to_string(work.join(JOURNAL_FILE)).ok()?;
        let header: Header = serde_json::from_str(text.lines().next()?).ok()?;
        Some(header.fingerprint)
    }

    /// Starts or continues the journal in `work`; also returns what is done, by tile.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(work: &Path, fingerprint: &str) -> Result<(Self, HashMap<String, Outcome>)> {
        let path = work.join(JOURNAL_FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // A line cut short by a crash ends what can be trusted.
        let lines: Vec<Line> =
            text.lines().skip(1).map_while(|line| serde_json::from_str(line).ok()).collect();
        let mut whole = json(&path, &Header { fingerprint: fingerprint.to_owned() })?;
        for line in &lines {
            whole.push_str(&json(&path, line)?);
        }
        crate::output::write_whole(&path, whole.as_bytes(), true)?;
        let file = File::options().append(true).open(&path).map_err(Error::io(&path))?;
        let done = lines.into_iter().map(|line| (line.tile, line.outcome)).collect();
        Ok((Self { path, file: Mutex::new(file) }, done))
    }

    /// Notes a finished tile.
    ///
    /// # Errors
    /// The disk is full.
    pub fn append(&self, tile: &str, outcome: &Outcome) -> Result<()> {
        let line = Line { tile: tile.to_owned(), outcome: outcome.clone() };
        let line = json(&self.path, &line)?;
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(line.as_bytes()).map_err(Error::io(&self.path))
    }
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<String> {
    let mut line = serde_json::to_string(value).map_err(|error| Error::Io {
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_by_a_crash_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, done) = Journal::open(folder.path(), "f").unwrap();
        assert!(done.is_empty());
        journal.append("a", &Outcome::Empty).unwrap();
        journal.append("b", &Outcome::NoData).unwrap();
        let path = folder.path().join(JOURNAL_FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 5);
        std::fs::write(&path, text).unwrap();
        assert_eq!(Journal::fingerprint(folder.path()).unwrap(), "f");
        let (journal, done) = Journal::open(folder.path(), "f").unwrap();
        assert_eq!(done, HashMap::from([("a".to_owned(), Outcome::Empty)]));
        journal.append("c", &Outcome::Empty).unwrap();
        assert_eq!(Journal::open(folder.path(), "f").unwrap().1.len(), 2);
    }

    #[test]
    fn sums_give_mean_and_standard_deviation_of_valid_pixels() {
        let mut sums = BandSums::of(&[0, 10, 99, 255, 255, 99], &[true, true, false]);
        sums.add(&BandSums::of(&[20, 30, 255, 255], &[true, true]));
        let (mean, std) = sums.mean_std(2);
        assert!((mean[0] * 255.0 - 15.0).abs() < 1e-12 && (mean[1] - 1.0).abs() < 1e-12);
        assert!((std[0] * 255.0 - 125_f64.sqrt()).abs() < 1e-9);
        assert!((std[1] * 255.0 - 1.0).abs() < 1e-12, "a constant band keeps one grey level");
    }
}
