//! A mask falls into parts where it narrows, and along walls.
//!
//! Distances from the background make it a range of hills. Every pixel belongs to the summit that it reaches by climbing, and summits
//! become one part, the highest passes between them first, unless the pass is low beside the lower summit. Where walls are known, the
//! rooms between them part in the same way first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::half_widths::half_widths;

/// When two parts that meet stay two.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// The width of the neck between them over that of the narrower one is at most this.
    pub(super) neck: f64,
    /// A part that is smaller in the end joins the neighbour with which it shares the longest border.
    pub(super) min_part_m2: f64,
}

/// Labels (from 1 on; 0 outside) of the parts of a mask that touches no side of its raster, and their number; `None` where there is
/// one part only, or too many to count. Walls part first, then necks.
pub(super) fn watershed(
    mask: &[bool],
    walls: Option<&[bool]>,
    width: usize,
    gsd_m: (f64, f64),
    rule: &Rule,
) -> Option<(Vec<u16>, u16)> {
    let least_px = rule.min_part_m2 / (gsd_m.0 * gsd_m.1);
    let parted = walls.and_then(|walls| parted_by_walls(mask, walls, width, gsd_m, least_px));
    let (mut labels, count) = parts(parted.as_deref().unwrap_or(mask), width, gsd_m, rule.neck)?;
    if parted.is_some() {
        grow(&mut labels, mask, width);
    }
    let count = join_small(&mut labels, width, count, least_px);
    (count > 1).then_some((labels, count))
}

/// Parts of a mask by its necks alone, however small.
fn parts(mask: &[bool], width: usize, gsd_m: (f64, f64), neck: f64) -> Option<(Vec<u16>, u16)> {
    let widths = half_widths(mask, width, gsd_m);
    let mut hills = Hills::new(&widths, width);
    hills.join_by_passes(&widths, neck);
    hills.labels()
}

/// A hole in a wall is at most this share as wide as the narrower of the rooms that it joins.
const HOLE: f64 = 0.5;

/// A mask without a line of pixels where walls part it; `None` where they do not. What lies between the walls of a house says nothing
/// of its own necks: those are looked for up to its outline.
fn parted_by_walls(
    mask: &[bool],
    walls: &[bool],
    width: usize,
    gsd_m: (f64, f64),
    least_px: f64,
) -> Option<Vec<bool>> {
    let rooms: Vec<bool> = mask.iter().zip(walls).map(|(inside, wall)| *inside && !wall).collect();
    let (mut labels, count) = parts(&rooms, width, gsd_m, HOLE)?;
    grow(&mut labels, mask, width);
    let count = join_small(&mut labels, width, count, least_px);
    (count > 1).then(|| {
        let mut parted = mask.to_vec();
        for_each_border(&labels, &0, width, |a, _| parted[a] = false);
        parted
    })
}

const NONE: u32 = u32::MAX;

struct Hill {
    parent: u32,
    /// Half the width of its widest place ([`half_widths`]).
    summit: u16,
}

/// Hills of a mask, joined by and by.
struct Hills {
    width: usize,
    /// The hill that each pixel belongs to.
    of_pixel: Vec<u32>,
    all: Vec<Hill>,
}

/// Pixels of two hills that touch by a side.
struct Pass {
    /// The lower of the two half widths.
    half_width: u16,
    hills: [u32; 2],
}

/// The neighbour to climb to.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Uphill {
    /// None: a summit, or outside.
    Here,
    Above,
    Left,
    Right,
    Below,
}

impl Uphill {
    fn from(self, at: usize, width: usize) -> usize {
        match self {
            Self::Here => at,
            Self::Above => at - width,
            Self::Left => at - 1,
            Self::Right => at + 1,
            Self::Below => at + width,
        }
    }
}

/// Where to climb from each pixel. A pixel as wide counts as higher if it comes first in reading order, so that a row of them has one
/// summit.
fn uphill(widths: &[u16], width: usize) -> Vec<Uphill> {
    let mut uphill = vec![Uphill::Here; widths.len()];
    // Nothing lies in the first and the last row.
    let inner = widths.len() - 2 * width;
    let from = |start: usize| &widths[start..start + inner];
    let around = (from(0).iter().zip(from(width - 1)))
        .zip(from(width).iter().zip(from(width + 1)))
        .zip(from(2 * width));
    for (to, (((above, left), (here, right)), below)) in uphill[width..].iter_mut().zip(around) {
        let (mut highest, mut way) = (*here, Uphill::Here);
        if *above >= highest {
            (highest, way) = (*above, Uphill::Above);
        }
        if *left >= highest {
            (highest, way) = (*left, Uphill::Left);
        }
        if *right > highest {
            (highest, way) = (*right, Uphill::Right);
        }
        if *below > highest {
            way = Uphill::Below;
        }
        *to = way;
    }
    uphill
}

impl Hills {
    /// A hill for every summit.
    fn new(widths: &[u16], width: usize) -> Self {
        let uphill = uphill(widths, width);
        let mut of_pixel = vec![NONE; widths.len()];
        let mut hills = Vec::new();
        let mut climbed = Vec::new();
        for at in (0..widths.len()).filter(|at| widths[*at] > 0) {
            let mut here = at;
            while of_pixel[here] == NONE && uphill[here] != Uphill::Here {
                climbed.push(here);
                here = uphill[here].from(here, width);
            }
            if of_pixel[here] == NONE {
                of_pixel[here] = hills.len() as u32;
                hills.push(Hill { parent: hills.len() as u32, summit: widths[here] });
            }
            let hill = of_pixel[here];
            for below in climbed.drain(..) {
                of_pixel[below] = hill;
            }
        }
        Self { width, of_pixel, all: hills }
    }

    fn find(&mut self, mut id: u32) -> u32 {
        while self.all[id as usize].parent != id {
            let up = self.all[id as usize].parent;
            self.all[id as usize].parent = self.all[up as usize].parent;
            id = up;
        }
        id
    }

    /// Joins hills whose pass is high beside the lower summit.
    fn join_by_passes(&mut self, widths: &[u16], neck: f64) {
        if self.all.len() < 2 {
            return;
        }
        let mut passes = Vec::new();
        for_each_border(&self.of_pixel, &NONE, self.width, |a, b| {
            let hills = [self.of_pixel[a], self.of_pixel[b]];
            passes.push(Pass { half_width: widths[a].min(widths[b]), hills });
        });
        // The sort keeps the order of equals.
        passes.sort_by_key(|pass| Reverse(pass.half_width));
        for Pass { half_width, hills } in passes {
            let [a, b] = hills.map(|hill| self.find(hill));
            let lower = self.all[a as usize].summit.min(self.all[b as usize].summit);
            if a != b && f64::from(half_width) > neck * f64::from(lower) {
                self.join(a, b);
            }
        }
    }

    /// Makes two hills one, which keeps the name of the higher (of two alike: of the first).
    fn join(&mut self, a: u32, b: u32) {
        let (summit_a, summit_b) = (self.all[a as usize].summit, self.all[b as usize].summit);
        let (keep, gone) = if (summit_a, b) > (summit_b, a) { (a, b) } else { (b, a) };
        self.all[gone as usize].parent = keep;
    }

    /// Labels from 1 on in reading order, 0 outside, and their number; `None` where there is one hill, or too many to count.
    fn labels(&mut self) -> Option<(Vec<u16>, u16)> {
        let mut names = vec![0_u16; self.all.len()];
        let mut count = 0_u16;
        // Hills are numbered in the reading order of their first pixels.
        for hill in 0..self.all.len() as u32 {
            let root = self.find(hill) as usize;
            if names[root] == 0 {
                count = count.checked_add(1)?;
                names[root] = count;
            }
            names[hill as usize] = names[root];
        }
        let name = |hill: &u32| if *hill == NONE { 0 } else { names[*hill as usize] };
        (count > 1).then(|| (self.of_pixel.iter().map(name).collect(), count))
    }
}

/// Hands on every pair of neighbouring pixels with unlike values, neither of them `outside`, in reading order.
fn for_each_border<T: PartialEq>(
    values: &[T],
    outside: &T,
    width: usize,
    mut take: impl FnMut(usize, usize),
) {
    for (at, value) in values.iter().enumerate().filter(|(_, value)| *value != outside) {
        for next in [at + 1, at + width] {
            if values[next] != *value && values[next] != *outside {
                take(at, next);
            }
        }
    }
}

/// Gives the pixels of a mask that have no label that of the nearest labelled one, step by step by sides.
fn grow(labels: &mut [u16], mask: &[bool], width: usize) {
    let mut reached: VecDeque<usize> = (0..labels.len()).filter(|at| labels[*at] != 0).collect();
    while let Some(at) = reached.pop_front() {
        for next in [at - width, at - 1, at + 1, at + width] {
            if mask[next] && labels[next] == 0 {
                labels[next] = labels[at];
                reached.push_back(next);
            }
        }
    }
}

/// Joins parts of fewer pixels to a neighbour, the smallest first; how many are left.
fn join_small(labels: &mut [u16], width: usize, count: u16, least_px: f64) -> u16 {
    let mut pixels = vec![0_u64; usize::from(count) + 1];
    for &label in &*labels {
        pixels[usize::from(label)] += 1;
    }
    let mut borders: Vec<BTreeMap<u16, u64>> = vec![BTreeMap::new(); pixels.len()];
    for_each_border(labels, &0, width, |a, b| {
        for [a, b] in [[a, b], [b, a]] {
            *borders[usize::from(labels[a])].entry(labels[b]).or_default() += 1;
        }
    });
    // What each label became part of.
    let mut joined: Vec<u16> = (0..=count).collect();
    let find = |joined: &[u16], mut label: u16| {
        while joined[usize::from(label)] != label {
            label = joined[usize::from(label)];
        }
        label
    };
    let mut by_size: BinaryHeap<Reverse<(u64, u16)>> =
        (1..=count).map(|label| Reverse((pixels[usize::from(label)], label))).collect();
    while let Some(Reverse((size, small))) = by_size.pop() {
        let at = usize::from(small);
        if size as f64 >= least_px {
            break;
        }
        if joined[at] != small || pixels[at] != size {
            // It was joined, or grew: it is there again with its present size.
            continue;
        }
        let mut shared: BTreeMap<u16, u64> = BTreeMap::new();
        for (neighbour, length) in std::mem::take(&mut borders[at]) {
            let neighbour = find(&joined, neighbour);
            if neighbour != small {
                *shared.entry(neighbour).or_default() += length;
            }
        }
        let longest = shared.iter().max_by_key(|&(label, length)| (*length, Reverse(*label)));
        let Some((&neighbour, _)) = longest else { continue };
        joined[at] = neighbour;
        pixels[usize::from(neighbour)] += size;
        for (other, length) in shared.into_iter().filter(|(other, _)| *other != neighbour) {
            *borders[usize::from(neighbour)].entry(other).or_default() += length;
        }
        by_size.push(Reverse((pixels[usize::from(neighbour)], neighbour)));
    }
    let mut names = vec![0; joined.len()];
    let mut left = 0;
    for label in 1..=count {
        let root = usize::from(find(&joined, label));
        if names[root] == 0 {
            left += 1;
            names[root] = left;
        }
        names[usize::from(label)] = names[root];
    }
    for label in labels {
        *label = names[usize::from(*label)];
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dumbbell_falls_apart_at_its_neck_and_a_bar_does_not() {
        let picture = |neck: usize| -> Vec<bool> {
            (0..40 * 20)
                .map(|i: usize| {
                    let (x, y) = (i % 40, i / 40);
                    let ball = |cx: usize| x.abs_diff(cx).pow(2) + y.abs_diff(10).pow(2) <= 64;
                    ball(10) || ball(29) || ((10..29).contains(&x) && y.abs_diff(10) <= neck)
                })
                .collect()
        };
        let rule = Rule { neck: 0.6, min_part_m2: 10.0 };
        let (labels, count) = watershed(&picture(2), None, 40, (1.0, 1.0), &rule).unwrap();
        assert_eq!(count, 2);
        assert_eq!((labels[10 * 40 + 10], labels[10 * 40 + 29]), (1, 2));
        assert!(watershed(&picture(6), None, 40, (1.0, 1.0), &rule).is_none());
    }

    /// A block of two houses, 12 x 12 each, without any neck.
    fn terrace() -> Vec<bool> {
        (0..30 * 18).map(|i| (2..26).contains(&(i % 30)) && (3..15).contains(&(i / 30))).collect()
    }

    #[test]
    fn a_wall_parts_houses_without_a_neck_even_with_a_gap_in_it() {
        let rule = Rule { neck: 0.5, min_part_m2: 20.0 };
        let mask = terrace();
        assert!(watershed(&mask, None, 30, (1.0, 1.0), &rule).is_none());
        let walls: Vec<bool> = (0..mask.len())
            .map(|i| [13, 14].contains(&(i % 30)) && !(8..10).contains(&(i / 30)))
            .collect();
        let (labels, count) = watershed(&mask, Some(&walls), 30, (1.0, 1.0), &rule).unwrap();
        assert_eq!(count, 2);
        for (i, label) in labels.iter().enumerate() {
            let side = if i % 30 < 14 { 1 } else { 2 };
            assert_eq!(*label, if mask[i] { side } else { 0 }, "({}, {})", i % 30, i / 30);
        }
    }

    #[test]
    fn walls_around_one_house_or_all_over_it_part_nothing() {
        let rule = Rule { neck: 0.5, min_part_m2: 20.0 };
        let mask = terrace();
        let ring = |i: usize| !((4..24).contains(&(i % 30)) && (5..13).contains(&(i / 30)));
        for walls in [(0..mask.len()).map(ring).collect(), mask.clone()] {
            assert!(watershed(&mask, Some(&walls), 30, (1.0, 1.0), &rule).is_none());
        }
    }

    proptest! {
        #[test]
        fn parts_cover_the_mask_and_each_hangs_together(
            (width, inner, walls) in (6_usize..30, 6_usize..30).prop_flat_map(|(w, h)| {
                let n = w * h;
                (Just(w), prop::collection::vec(prop::bool::weighted(0.9), n), prop::collection::vec(prop::bool::weighted(0.3), n))
            }),
            neck in prop_oneof![Just(0.0), 0.3_f64..1.0],
        ) {
            let (w, h) = (width + 2, inner.len() / width + 2);
            let mut set = vec![false; w * h];
            for (i, inside) in inner.iter().enumerate() {
                set[(i / width + 1) * w + i % width + 1] = *inside;
            }
            // The component of the first pixel.
            let mut mask = vec![false; w * h];
            let mut reached: Vec<usize> = set.iter().position(|set| *set).into_iter().collect();
            while let Some(at) = reached.pop() {
                if set[at] && !std::mem::replace(&mut mask[at], true) {
                    reached.extend([at - w, at - 1, at + 1, at + w]);
                }
            }
            let wall = |i: usize| (1..=width).contains(&(i % w)) && walls.get((i / w).wrapping_sub(1) * width + i % w - 1) == Some(&true);
            let walls: Vec<bool> = (0..w * h).map(|i| i / w > 0 && wall(i)).collect();
            let rule = Rule { neck, min_part_m2: 4.0 };
            let Some((labels, count)) = watershed(&mask, Some(&walls), w, (1.0, 1.0), &rule) else { return Ok(()) };
            prop_assert!(labels.iter().zip(&mask).all(|(label, inside)| (*label != 0) == *inside && *label <= count));
            let mut left = labels.clone();
            let mut pieces = 0;
            while let Some(start) = left.iter().position(|label| *label != 0) {
                let label = left[start];
                let (mut reached, mut pixels) = (vec![start], 0);
                while let Some(at) = reached.pop() {
                    if left[at] == label {
                        left[at] = 0;
                        pixels += 1;
                        reached.extend([at - w, at - 1, at + 1, at + w]);
                    }
                }
                prop_assert!(pixels >= 4, "a part of {} pixels", pixels);
                pieces += 1;
            }
            prop_assert_eq!(pieces, count);
        }
    }
}
