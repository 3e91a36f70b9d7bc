//! Closing and opening of a mask: gaps and specks go, straight edges stay.

use crate::error::{Error, Result};
use crate::morphology::{Morphology, bits};

/// Twice the radius is kept in rows of the photo; nobody closes gaps of 2000 px.
const MAX_RADIUS_PX: f64 = 1000.0;

/// How a mask is cleaned, in pixels of the photo.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cleaning {
    /// Radius of the closing, which joins what a gap of twice the radius parts. Less than 1: none.
    pub closing_px: f64,
    /// Radius of the opening, which removes what is narrower than twice the radius; it comes after the closing. Less than 1: none.
    pub opening_px: f64,
}

impl Cleaning {
    /// Checks both radii.
    ///
    /// # Errors
    /// [`Error::Config`] naming the option that is out of range.
    pub fn validate(&self) -> Result<()> {
        for (option, radius_px) in
            [("--closing-px", self.closing_px), ("--opening-px", self.opening_px)]
        {
            if !(0.0..=MAX_RADIUS_PX).contains(&radius_px) {
                let problem =
                    format!("expected pixels from 0 to {MAX_RADIUS_PX}, found {radius_px}");
                return Err(Error::config(option, problem));
            }
        }
        Ok(())
    }

    /// Cleans a mask (`object`, `[row][col]`, rows of `width`); what is not `valid` is no object after the closing.
    pub(super) fn apply(&self, object: Vec<bool>, valid: &[bool], width: usize) -> Vec<bool> {
        // A pixel is the unit of length.
        let mut morphology = Morphology::new(width, (1.0, 1.0), self.closing_px, self.opening_px);
        if morphology.is_identity() {
            return object;
        }
        let mut cleaned = Vec::with_capacity(object.len());
        let mut unpack = |row: Vec<u64>| {
            let start = cleaned.len();
            cleaned.resize(start + width, false);
            bits::for_each_run(&row, width, |from, to| {
                cleaned[start + from..start + to].fill(true);
            });
        };
        for (row, valid) in object.chunks_exact(width).zip(valid.chunks_exact(width)) {
            morphology.push(bits::pack(row), Some(bits::pack(valid)), &mut unpack);
        }
        morphology.finish(&mut unpack);
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(rows: &[&str], closing_px: f64, opening_px: f64) -> Vec<String> {
        let object = rows.concat().chars().map(|c| c == '#').collect();
        let valid: Vec<bool> = rows.concat().chars().map(|c| c != '?').collect();
        let width = rows[0].len();
        let cleaned = Cleaning { closing_px, opening_px }.apply(object, &valid, width);
        let text = |row: &[bool]| row.iter().map(|&on| if on { '#' } else { '.' }).collect();
        cleaned.chunks(width).map(text).collect()
    }

    #[test]
    fn a_closing_fills_gaps_and_an_opening_then_removes_specks() {
        let rows = [
            "..............", //
            "..............",
            "...####.###...",
            "...####.###...",
            "...####.###...",
            "..............",
            "..............",
            "#.............",
        ];
        assert_eq!(clean(&rows, 0.0, 0.0), rows);
        assert_eq!(clean(&rows, 0.9, 0.9), rows, "less than a pixel does nothing");
        let closed = clean(&rows, 1.0, 0.0);
        assert_eq!(closed[3], "...########...");
        assert_eq!(closed[7], rows[7], "a speck is no gap");
        let opened = clean(&rows, 1.0, 1.0);
        assert_eq!(opened[3], "...########...");
        assert_eq!(opened[7], rows[0]);
    }

    #[test]
    fn what_has_no_data_stays_out_of_a_closing() {
        assert_eq!(clean(&["##?##"; 5], 1.0, 0.0), ["##.##"; 5]);
        assert_eq!(clean(&["##.##"; 5], 1.0, 0.0), ["#####"; 5]);
    }

    #[test]
    fn a_radius_out_of_range_is_named() {
        for (closing_px, opening_px, option) in [
            (-1.0, 0.0, "--closing-px"),
            (0.0, f64::NAN, "--opening-px"),
            (1e9, 0.0, "--closing-px"),
        ] {
            let error = Cleaning { closing_px, opening_px }.validate().unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
