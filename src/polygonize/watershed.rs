//! Floods of a mask from its widest places downwards.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// When two floods that meet stay two.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// The width of the neck between them over that of the narrower one is at most this.
    pub(super) neck: f64,
    /// A part that is smaller in the end joins the neighbour with which it shares the longest border.
    pub(super) min_part_m2: f64,
}

/// Labels (from 1 on in reading order of their first pixels; 0 outside) of the parts of a mask that touches no side of its raster,
/// and their number; `None` where there is one part only, or too many to count.
pub(super) fn watershed(
    mask: &[bool],
    scores: &[u8],
    width: usize,
    gsd_m: (f64, f64),
    rule: &Rule,
) -> Option<(Vec<u16>, u16)> {
    let widths = half_widths(mask, width, gsd_m);
    let order = widest_first(mask, scores, &widths);
    let mut floods = Floods { of_pixel: vec![NONE; mask.len()], floods: Vec::new() };
    for &pixel in &order {
        floods.reach(pixel as usize, width, widths[pixel as usize], rule);
    }
    let count = floods.floods.iter().enumerate().filter(|(i, f)| f.parent as usize == *i).count();
    if count < 2 {
        return None;
    }
    let least_px = rule.min_part_m2 / (gsd_m.0 * gsd_m.1);
    floods.join_small(width, least_px);
    floods.labels()
}

const NONE: u32 = u32::MAX;

struct Flood {
    parent: u32,
    /// Half the width of its widest place, in [`STEPS`] to a pixel.
    peak: u16,
    pixels: u64,
}

struct Floods {
    of_pixel: Vec<u32>,
    floods: Vec<Flood>,
}

impl Floods {
    fn find(&mut self, mut id: u32) -> u32 {
        while self.floods[id as usize].parent != id {
            let up = self.floods[id as usize].parent;
            self.floods[id as usize].parent = self.floods[up as usize].parent;
            id = up;
        }
        id
    }

    /// Takes the next lower pixel: it belongs to the widest flood beside it, or begins one.
    fn reach(&mut self, pixel: usize, width: usize, half_width: u16, rule: &Rule) {
        let places = [pixel - width, pixel - 1, pixel + 1, pixel + width];
        let mut beside = places.map(|at| self.of_pixel[at]);
        let first = beside.into_iter().find(|id| *id != NONE);
        if let Some(first) = first
            && beside.into_iter().all(|id| id == first || id == NONE)
        {
            // Nearly every pixel.
            let flood = self.find(first);
            self.of_pixel[pixel] = flood;
            self.floods[flood as usize].pixels += 1;
            return;
        }
        for id in beside.iter_mut().filter(|id| **id != NONE) {
            *id = self.find(*id);
        }
        let peak = |id: u32, floods: &[Flood]| floods[id as usize].peak;
        let floods = &self.floods;
        // Of floods alike the elder: the order of pixels alone decides.
        let widest = beside.into_iter().filter(|id| *id != NONE).reduce(|a, b| {
            match peak(a, floods).cmp(&peak(b, floods)) {
                std::cmp::Ordering::Less => b,
                std::cmp::Ordering::Greater => a,
                std::cmp::Ordering::Equal => a.min(b),
            }
        });
        let Some(mut widest) = widest else {
            let id = self.floods.len() as u32;
            self.floods.push(Flood { parent: id, peak: half_width, pixels: 1 });
            self.of_pixel[pixel] = id;
            return;
        };
        self.of_pixel[pixel] = widest;
        self.floods[widest as usize].pixels += 1;
        for other in beside.into_iter().filter(|id| *id != NONE) {
            let other = self.find(other);
            if other == widest {
                continue;
            }
            let narrower = peak(other, &self.floods).min(peak(widest, &self.floods));
            if f64::from(half_width) > rule.neck * f64::from(narrower) {
                widest = self.join(widest, other);
            }
        }
    }

    /// Makes two floods one, which keeps the name of the wider (of two alike: of the elder).
    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (peak_a, peak_b) = (self.floods[a as usize].peak, self.floods[b as usize].peak);
        let (keep, gone) = if (peak_a, b) > (peak_b, a) { (a, b) } else { (b, a) };
        self.floods[gone as usize].parent = keep;
        let pixels = self.floods[gone as usize].pixels;
        self.floods[keep as usize].pixels += pixels;
        keep
    }

    /// Joins parts of fewer pixels to a neighbour, the smallest first.
    fn join_small(&mut self, width: usize, least_px: f64) {
        let mut borders: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); self.floods.len()];
        for at in 0..self.of_pixel.len() {
            if self.of_pixel[at] == NONE {
                continue;
            }
            let a = self.find(self.of_pixel[at]);
            for next in [at + 1, at + width] {
                if self.of_pixel[next] != NONE {
                    let b = self.find(self.of_pixel[next]);
                    if a != b {
                        *borders[a as usize].entry(b).or_default() += 1;
                        *borders[b as usize].entry(a).or_default() += 1;
                    }
                }
            }
        }
        let is_part = |flood: &(usize, &Flood)| flood.1.parent as usize == flood.0;
        let mut by_size: BinaryHeap<Reverse<(u64, u32)>> = self
            .floods
            .iter()
            .enumerate()
            .filter(is_part)
            .map(|(id, flood)| Reverse((flood.pixels, id as u32)))
            .collect();
        while let Some(Reverse((pixels, small))) = by_size.pop() {
            if pixels as f64 >= least_px {
                return;
            }
            if self.find(small) != small || self.floods[small as usize].pixels != pixels {
                // It was joined, or grew: it is there again with its present size.
                continue;
            }
            let mut shared: BTreeMap<u32, u64> = BTreeMap::new();
            for (neighbour, length) in std::mem::take(&mut borders[small as usize]) {
                let neighbour = self.find(neighbour);
                if neighbour != small {
                    *shared.entry(neighbour).or_default() += length;
                }
            }
            let longest = shared.iter().max_by_key(|&(id, length)| (*length, Reverse(*id)));
            let Some((&neighbour, _)) = longest else { continue };
            self.floods[small as usize].parent = neighbour;
            self.floods[neighbour as usize].pixels += pixels;
            for (other, length) in shared.into_iter().filter(|(other, _)| *other != neighbour) {
                *borders[neighbour as usize].entry(other).or_default() += length;
            }
            by_size.push(Reverse((self.floods[neighbour as usize].pixels, neighbour)));
        }
    }

    fn labels(&mut self) -> Option<(Vec<u16>, u16)> {
        let mut names: HashMap<u32, u16> = HashMap::new();
        let mut labels = vec![0; self.of_pixel.len()];
        for (at, label) in labels.iter_mut().enumerate() {
            if self.of_pixel[at] != NONE {
                let id = self.find(self.of_pixel[at]);
                let next = u16::try_from(names.len() + 1).ok()?;
                *label = *names.entry(id).or_insert(next);
            }
        }
        (names.len() > 1).then_some((labels, names.len() as u16))
    }
}

/// Steps of a half width in a pixel's shorter side.
const STEPS: f64 = 16.0;

/// Pixels of the mask in the order in which floods reach them: by width, of places as wide the surer first, then in reading order.
fn widest_first(mask: &[bool], scores: &[u8], widths: &[u16]) -> Vec<u32> {
    let pixels = (0..mask.len() as u32).filter(|&i| mask[i as usize]);
    // Counting sorts keep the order of equals.
    let by_score = counted(pixels, 256, |pixel| 255 - usize::from(scores[pixel as usize]));
    let most = usize::from(widths.iter().copied().max().unwrap_or_default());
    counted(by_score.into_iter(), most + 1, |pixel| most - usize::from(widths[pixel as usize]))
}

fn counted(
    pixels: impl Iterator<Item = u32> + Clone,
    keys: usize,
    key: impl Fn(u32) -> usize,
) -> Vec<u32> {
    let mut starts = vec![0_usize; keys + 1];
    for pixel in pixels.clone() {
        starts[key(pixel) + 1] += 1;
    }
    for i in 0..keys {
        starts[i + 1] += starts[i];
    }
    let mut sorted = vec![0; starts[keys]];
    for pixel in pixels {
        let place = &mut starts[key(pixel)];
        sorted[*place] = pixel;
        *place += 1;
    }
    sorted
}

/// Distance of every pixel of the mask from the nearest pixel outside it, centre to centre, in [`STEPS`]; 0 outside.
///
/// By steps to the sixteen nearest directions (a chamfer, Borgefors 1986): at most 3 % off on square pixels, and a pixel costs next to nothing.
fn half_widths(mask: &[bool], width: usize, gsd_m: (f64, f64)) -> Vec<u16> {
    let shorter = gsd_m.0.min(gsd_m.1);
    let step = |x: f64, y: f64| (STEPS * (x * gsd_m.0).hypot(y * gsd_m.1) / shorter).round() as u16;
    let steps = Steps {
        right: step(1.0, 0.0),
        down: step(0.0, 1.0),
        diagonal: step(1.0, 1.0),
        flat: step(2.0, 1.0),
        steep: step(1.0, 2.0),
    };
    let height = mask.len() / width;
    // Two pixels more on every side: all of them outside.
    let stride = width + 2 * MARGIN;
    let mut widths = vec![0; (height + 2 * MARGIN) * stride];
    for (row, mask) in mask.chunks_exact(width).enumerate() {
        let line = &mut widths[(row + MARGIN) * stride + MARGIN..][..width];
        for (width, set) in line.iter_mut().zip(mask) {
            *width = if *set { u16::MAX } else { 0 };
        }
    }
    for row in MARGIN..height + MARGIN {
        let (above, line) = widths[(row - 2) * stride..(row + 1) * stride].split_at_mut(2 * stride);
        let (second, first) = above.split_at(stride);
        steps.lower(first, second, line);
    }
    for row in (MARGIN..height + MARGIN).rev() {
        let (line, below) = widths[row * stride..(row + 3) * stride].split_at_mut(stride);
        let (first, second) = below.split_at(stride);
        steps.lower(first, second, line);
    }
    let inner = widths.chunks_exact(stride).skip(MARGIN).take(height);
    inner.flat_map(|line| &line[MARGIN..MARGIN + width]).copied().collect()
}

/// Pixels around a raster that steps may reach.
const MARGIN: usize = 2;

/// Lengths of steps in [`STEPS`].
struct Steps {
    right: u16,
    down: u16,
    diagonal: u16,
    /// Two columns and a row.
    flat: u16,
    /// A column and two rows.
    steep: u16,
}

impl Steps {
    /// Lowers the distances of a line to what they are by way of the next line to one side, the second next, and the line itself.
    fn lower(&self, first: &[u16], second: &[u16], line: &mut [u16]) {
        let n = line.len() - 2 * MARGIN;
        let at = |from: usize| from..from + n;
        let around = (first[at(0)].iter().zip(&first[at(1)]))
            .zip(first[at(2)].iter().zip(&first[at(3)]))
            .zip(first[at(4)].iter().zip(second[at(1)].iter().zip(&second[at(3)])));
        for (value, (((a, b), (c, d)), (e, (f, g)))) in line[at(MARGIN)].iter_mut().zip(around) {
            let flat = (*a).min(*e).saturating_add(self.flat);
            let diagonal = (*b).min(*d).saturating_add(self.diagonal);
            let steep = (*f).min(*g).saturating_add(self.steep);
            *value = (*value).min(flat).min(diagonal).min(steep).min(c.saturating_add(self.down));
        }
        let mut before = 0;
        for value in &mut line[at(MARGIN)] {
            *value = (*value).min(u16::saturating_add(before, self.right));
            before = *value;
        }
        let mut before = 0;
        for value in line[at(MARGIN)].iter_mut().rev() {
            *value = (*value).min(u16::saturating_add(before, self.right));
            before = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn half_widths_are_those_of_the_definition(
            (width, inner) in (1_usize..24, 1_usize..24).prop_flat_map(|(w, h)| {
                (Just(w), prop::collection::vec(prop::bool::weighted(0.85), w * h))
            }),
            (gsd_m, off) in prop_oneof![
                (0.2_f64..1.0).prop_map(|gsd| ((gsd, gsd), 0.03)),
                (0.6_f64..1.0, 0.6_f64..1.0).prop_map(|gsd| (gsd, 0.1)),
            ],
        ) {
            let height = inner.len() / width;
            let (w, h) = (width + 2, height + 2);
            let mut mask = vec![false; w * h];
            for (i, set) in inner.iter().enumerate() {
                mask[(i / width + 1) * w + i % width + 1] = *set;
            }
            let found = half_widths(&mask, w, gsd_m);
            for (at, found) in found.iter().enumerate() {
                let outside = (0..mask.len()).filter(|&other| !mask[other]);
                let nearest = outside.map(|other| {
                    let dx = ((at % w) as f64 - (other % w) as f64) * gsd_m.0;
                    let dy = ((at / w) as f64 - (other / w) as f64) * gsd_m.1;
                    dx.hypot(dy)
                }).fold(f64::INFINITY, f64::min);
                let expected = nearest * STEPS / gsd_m.0.min(gsd_m.1);
                prop_assert!((f64::from(*found) - expected).abs() <= 1.0 + off * expected, "{} {}", found, expected);
            }
        }
    }

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
        let scores = vec![200; 40 * 20];
        let rule = Rule { neck: 0.6, min_part_m2: 10.0 };
        let (labels, count) = watershed(&picture(2), &scores, 40, (1.0, 1.0), &rule).unwrap();
        assert_eq!(count, 2);
        assert_eq!((labels[10 * 40 + 10], labels[10 * 40 + 29]), (1, 2));
        assert!(watershed(&picture(6), &scores, 40, (1.0, 1.0), &rule).is_none());
    }
}
