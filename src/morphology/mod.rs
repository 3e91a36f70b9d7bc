//! Closing and opening of a stream of bit rows by a disk, exact and with bounded memory.
//!
//! A dilation keeps one accumulator row for each row of the disk, so closing and opening with radii
//! `c` and `o` hold about `2 (2c + 1) + 2 (2o + 1)` rows of bits. Past the border of the scene nothing is
//! added by a dilation and nothing is taken by an erosion: a building that the scene's edge cuts stays.

pub mod bits;

use std::collections::VecDeque;

use crate::error::{Error, Result};

/// Of the radius of a disk: 100 m on pixels of 2.5 cm.
const MOST_PX: f64 = 4096.0;

/// A disk of a radius in metres on pixels that need not be square.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    /// Half width in columns at row offset 0, 1, ..; each row of the disk has `2 half + 1` pixels.
    half_widths_px: Vec<usize>,
}

impl Disk {
    /// The pixels whose centres are at most `radius_m` from the centre of the middle one.
    /// `None` where that is the middle one alone.
    fn new(radius_m: f64, gsd_m: (f64, f64)) -> Option<Self> {
        // Keeps "3 pixels of 0.1 m" inside a radius of 0.3 m.
        let radius_m = radius_m * (1.0 + 1e-9);
        let rows = (radius_m / gsd_m.1) as usize;
        let half_widths_px: Vec<usize> = (0..=rows)
            .map(|row| {
                let y = row as f64 * gsd_m.1;
                ((radius_m * radius_m - y * y).max(0.0).sqrt() / gsd_m.0) as usize
            })
            .collect();
        (half_widths_px != [0]).then_some(Self { half_widths_px })
    }

    fn rows_px(&self) -> usize {
        self.half_widths_px.len() - 1
    }
}

/// Dilation of a stream of rows: row `y` leaves when row `y + disk rows` has come.
struct Dilate {
    disk: Disk,
    width: usize,
    /// Accumulators of the rows that have not left, upper first; at most `2 disk rows + 1`.
    pending: VecDeque<Vec<u64>>,
    /// Rows that came, rows that left.
    came: usize,
    left: usize,
}

impl Dilate {
    fn new(disk: Disk, width: usize) -> Self {
        Self { disk, width, pending: VecDeque::new(), came: 0, left: 0 }
    }

    fn push(&mut self, row: &[u64], out: &mut impl FnMut(Vec<u64>)) {
        let y = self.came;
        self.came += 1;
        let reach = self.disk.rows_px();
        while self.left + self.pending.len() <= y + reach {
            self.pending.push_back(vec![0; row.len()]);
        }
        if row.iter().any(|word| *word != 0) {
            self.spread(row, y);
        }
        if y >= reach {
            self.pop(out);
        }
    }

    /// Adds the disk around every pixel of row `y` to the accumulators.
    fn spread(&mut self, row: &[u64], y: usize) {
        let mut widened = row.to_vec();
        let mut half = 0;
        // The narrowest rows of the disk are the outermost: widen on the way in.
        for (offset, &target) in self.disk.half_widths_px.iter().enumerate().rev() {
            while half < target {
                // A run of 2 half + 1 moved by no more than that leaves no gap.
                let step = (target - half).min(2 * half + 1);
                let before = widened.clone();
                bits::or_moved_right(&mut widened, &before, step);
                bits::or_moved_left(&mut widened, &before, step);
                bits::trim(&mut widened, self.width);
                half += step;
            }
            bits::or(&mut self.pending[y + offset - self.left], &widened);
            if offset > 0 && y >= offset {
                bits::or(&mut self.pending[y - offset - self.left], &widened);
            }
        }
    }

    fn pop(&mut self, out: &mut impl FnMut(Vec<u64>)) {
        if let Some(row) = self.pending.pop_front() {
            self.left += 1;
            out(row);
        }
    }

    /// The rows that waited for rows below the last one.
    fn finish(&mut self, out: &mut impl FnMut(Vec<u64>)) {
        while self.left < self.came {
            self.pop(out);
        }
    }
}

/// One dilation or erosion (the dilation of the background).
struct Step {
    dilate: Dilate,
    erode: bool,
}

impl Step {
    fn push(&mut self, mut row: Vec<u64>, out: &mut impl FnMut(Vec<u64>)) {
        let (width, erode) = (self.dilate.width, self.erode);
        if erode {
            bits::complement(&mut row, width);
        }
        self.dilate.push(&row, &mut |row| out(un_complement(row, width, erode)));
    }

    fn finish(&mut self, out: &mut impl FnMut(Vec<u64>)) {
        let (width, erode) = (self.dilate.width, self.erode);
        self.dilate.finish(&mut |row| out(un_complement(row, width, erode)));
    }
}

fn un_complement(mut row: Vec<u64>, width: usize, erode: bool) -> Vec<u64> {
    if erode {
        bits::complement(&mut row, width);
    }
    row
}

/// Two steps in a row: a closing or an opening.
struct Pair(Step, Step);

impl Pair {
    fn new(disk: &Disk, width: usize, erode_first: bool) -> Self {
        let step = |erode| Step { dilate: Dilate::new(disk.clone(), width), erode };
        Self(step(erode_first), step(!erode_first))
    }

    fn push(&mut self, row: Vec<u64>, out: &mut impl FnMut(Vec<u64>)) {
        let Self(first, second) = self;
        first.push(row, &mut |row| second.push(row, out));
    }

    fn finish(&mut self, out: &mut impl FnMut(Vec<u64>)) {
        let Self(first, second) = self;
        first.finish(&mut |row| second.push(row, out));
        second.finish(out);
    }
}

/// Closing, then "no data is background" again, then opening.
pub struct Morphology {
    closing: Option<Pair>,
    /// Which pixels may be set, for the rows inside the closing (`None`: all of them).
    valid: VecDeque<Option<Vec<u64>>>,
    opening: Option<Pair>,
}

impl Morphology {
    /// Refuses radii of more pixels than any building has.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn check(gsd_m: (f64, f64), closing_m: f64, opening_m: f64) -> Result<()> {
        for (key, radius_m) in [("closing_m", closing_m), ("opening_m", opening_m)] {
            let px = radius_m / gsd_m.0.min(gsd_m.1);
            if px > MOST_PX {
                let problem = format!("{radius_m} m are {px:.0} pixels here; at most {MOST_PX}");
                return Err(Error::config(format!("polygonize.{key}"), problem));
            }
        }
        Ok(())
    }

    /// Radii in metres; 0, or less than a pixel, does nothing.
    pub fn new(width: usize, gsd_m: (f64, f64), closing_m: f64, opening_m: f64) -> Self {
        let pair = |radius_m, erode_first| {
            Disk::new(radius_m, gsd_m).map(|disk| Pair::new(&disk, width, erode_first))
        };
        Self {
            closing: pair(closing_m, false),
            valid: VecDeque::new(),
            opening: pair(opening_m, true),
        }
    }

    /// Whether rows leave as they came, at once.
    pub fn is_identity(&self) -> bool {
        self.closing.is_none() && self.opening.is_none()
    }

    /// Takes the next row and which of its pixels the closing may set, such as those that hold data (it keeps no other); hands on
    /// the rows that are done.
    pub fn push(&mut self, row: Vec<u64>, valid: Option<Vec<u64>>, out: &mut impl FnMut(Vec<u64>)) {
        let Self { closing, valid: queue, opening } = self;
        let Some(closing) = closing else { return open(opening.as_mut(), row, out) };
        queue.push_back(valid);
        closing.push(row, &mut |row| open(opening.as_mut(), masked(row, queue), out));
    }

    /// No more rows will come.
    pub fn finish(&mut self, out: &mut impl FnMut(Vec<u64>)) {
        let Self { closing, valid: queue, opening } = self;
        if let Some(closing) = closing {
            closing.finish(&mut |row| open(opening.as_mut(), masked(row, queue), out));
        }
        if let Some(opening) = opening {
            opening.finish(out);
        }
    }
}

fn open(opening: Option<&mut Pair>, row: Vec<u64>, out: &mut impl FnMut(Vec<u64>)) {
    match opening {
        Some(opening) => opening.push(row, out),
        None => out(row),
    }
}

fn masked(mut row: Vec<u64>, queue: &mut VecDeque<Option<Vec<u64>>>) -> Vec<u64> {
    if let Some(Some(valid)) = queue.pop_front() {
        bits::and(&mut row, &valid);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Mask = Vec<Vec<bool>>;

    fn run(mask: &Mask, valid: &Mask, gsd_m: (f64, f64), closing_m: f64, opening_m: f64) -> Mask {
        let width = mask[0].len();
        let mut morphology = Morphology::new(width, gsd_m, closing_m, opening_m);
        let mut rows = Vec::new();
        for (row, valid) in mask.iter().zip(valid) {
            morphology.push(bits::pack(row), Some(bits::pack(valid)), &mut |row| rows.push(row));
        }
        morphology.finish(&mut |row| rows.push(row));
        rows.iter().map(|w| (0..width).map(|i| w[i / 64] >> (i % 64) & 1 == 1).collect()).collect()
    }

    /// Straight from the definition.
    fn spread(mask: &Mask, set: bool, radius_m: f64, gsd_m: (f64, f64)) -> Mask {
        let (height, width) = (mask.len(), mask[0].len());
        let near = |y0: usize, x0: usize| {
            (0..height).any(|y| {
                (0..width).any(|x| {
                    let dx = (x as f64 - x0 as f64) * gsd_m.0;
                    let dy = (y as f64 - y0 as f64) * gsd_m.1;
                    mask[y][x] == set && dx * dx + dy * dy <= radius_m * radius_m * (1.0 + 2e-9)
                })
            })
        };
        (0..height).map(|y| (0..width).map(|x| near(y, x) == set).collect()).collect()
    }

    fn by_definition(mask: &Mask, valid: &Mask, gsd: (f64, f64), close: f64, open: f64) -> Mask {
        let mut mask = spread(&spread(mask, true, close, gsd), false, close, gsd);
        for (row, valid) in mask.iter_mut().zip(valid) {
            row.iter_mut().zip(valid).for_each(|(set, valid)| *set &= *valid);
        }
        spread(&spread(&mask, false, open, gsd), true, open, gsd)
    }

    fn mask(width: usize, height: usize, density: f64) -> impl Strategy<Value = Mask> {
        let row = prop::collection::vec(prop::bool::weighted(density), width);
        prop::collection::vec(row, height)
    }

    fn sized(density: f64) -> impl Strategy<Value = (Mask, Mask)> {
        (1_usize..80, 1_usize..14)
            .prop_flat_map(move |(w, h)| (mask(w, h, density), mask(w, h, 0.95)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn streamed_closing_and_opening_are_those_of_the_definition(
            (mask, valid) in prop_oneof![sized(0.15), sized(0.5), sized(0.9)],
            close_px in 0_u8..4, open_px in 0_u8..3, squeeze in 0.4_f64..2.0,
        ) {
            let (gsd_m, closing_m, opening_m) = ((0.1, 0.1 * squeeze), f64::from(close_px) * 0.1, f64::from(open_px) * 0.1);
            let mask: Mask = mask.iter().zip(&valid)
                .map(|(m, v)| m.iter().zip(v).map(|(m, v)| *m && *v).collect()).collect();
            prop_assert_eq!(
                run(&mask, &valid, gsd_m, closing_m, opening_m),
                by_definition(&mask, &valid, gsd_m, closing_m, opening_m)
            );
        }
    }

    #[test]
    fn a_disk_is_round_in_metres_on_pixels_that_are_not_square() {
        let disk = Disk::new(3.0, (1.0, 2.0)).unwrap();
        assert_eq!(disk.half_widths_px, [3, 2]);
        assert_eq!(Disk::new(0.9, (1.0, 1.0)), None);
        assert_eq!(Disk::new(0.3, (0.1, 0.1)).unwrap().half_widths_px, [3, 2, 2, 0]);
    }
}
