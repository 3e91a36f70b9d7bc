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
    width: usize,
    gsd_m: (f64, f64),
    rule: &Rule,
) -> Option<(Vec<u16>, u16)> {
    let heights = distances_m(mask, width, gsd_m);
    let mut order: Vec<u32> = (0..mask.len() as u32).filter(|&i| mask[i as usize]).collect();
    order.sort_by(|&a, &b| heights[b as usize].total_cmp(&heights[a as usize]));
    let mut floods = Floods { of_pixel: vec![NONE; mask.len()], floods: Vec::new() };
    for &pixel in &order {
        floods.reach(pixel as usize, width, heights[pixel as usize], rule);
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
    /// Half the width of its widest place, metres.
    peak_m: f32,
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
    fn reach(&mut self, pixel: usize, width: usize, height_m: f32, rule: &Rule) {
        let mut beside = [NONE; 4];
        for (slot, at) in
            [pixel - 1, pixel + 1, pixel - width, pixel + width].into_iter().enumerate()
        {
            if self.of_pixel[at] != NONE {
                beside[slot] = self.find(self.of_pixel[at]);
            }
        }
        let peak = |id: u32, floods: &[Flood]| floods[id as usize].peak_m;
        let floods = &self.floods;
        // Of floods alike the elder: the order of pixels alone decides.
        let widest = beside.into_iter().filter(|id| *id != NONE).reduce(|a, b| {
            match peak(a, floods).total_cmp(&peak(b, floods)) {
                std::cmp::Ordering::Less => b,
                std::cmp::Ordering::Greater => a,
                std::cmp::Ordering::Equal => a.min(b),
            }
        });
        let Some(mut widest) = widest else {
            let id = self.floods.len() as u32;
            self.floods.push(Flood { parent: id, peak_m: height_m, pixels: 1 });
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
            if f64::from(height_m) > rule.neck * f64::from(narrower) {
                widest = self.join(widest, other);
            }
        }
    }

    /// Makes two floods one, which keeps the name of the wider (of two alike: of the elder).
    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (peak_a, peak_b) = (self.floods[a as usize].peak_m, self.floods[b as usize].peak_m);
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
        for at in 0..labels.len() {
            if self.of_pixel[at] != NONE {
                let id = self.find(self.of_pixel[at]);
                let next = u16::try_from(names.len() + 1).ok()?;
                labels[at] = *names.entry(id).or_insert(next);
            }
        }
        (names.len() > 1).then_some((labels, names.len() as u16))
    }
}

/// Distance of every pixel of the mask from the nearest pixel outside it, centre to centre; 0 outside.
///
/// Exact, by the lower envelope of parabolas along columns, then rows (Felzenszwalb and Huttenlocher, 2012).
fn distances_m(mask: &[bool], width: usize, gsd_m: (f64, f64)) -> Vec<f32> {
    let height = mask.len() / width;
    let mut squares: Vec<f32> = mask.iter().map(|set| if *set { f32::MAX } else { 0.0 }).collect();
    let mut envelope = Envelope::default();
    let mut column = vec![0.0; height];
    for col in 0..width {
        for (row, value) in column.iter_mut().enumerate() {
            *value = squares[row * width + col];
        }
        envelope.transform(&mut column, gsd_m.1);
        for (row, value) in column.iter().enumerate() {
            squares[row * width + col] = *value;
        }
    }
    for row in squares.chunks_exact_mut(width) {
        envelope.transform(row, gsd_m.0);
    }
    squares.into_iter().map(f32::sqrt).collect()
}

/// The lower envelope of parabolas `values[i] + (step (x - i))^2`.
#[derive(Default)]
struct Envelope {
    /// Where each parabola has its lowest point, and from where on it is the lowest.
    parabolas: Vec<(usize, f64)>,
    before: Vec<f32>,
}

impl Envelope {
    fn transform(&mut self, values: &mut [f32], step: f64) {
        self.before.clear();
        self.before.extend_from_slice(values);
        self.parabolas.clear();
        let square = step * step;
        for (i, &value) in self.before.iter().enumerate().filter(|(_, value)| **value < f32::MAX) {
            let top = |j: usize| f64::from(self.before[j]) / square + (j * j) as f64;
            let mut from = f64::NEG_INFINITY;
            while let Some(&(j, begins)) = self.parabolas.last() {
                from = ((f64::from(value) / square + (i * i) as f64) - top(j))
                    / (2.0 * (i - j) as f64);
                if from > begins {
                    break;
                }
                self.parabolas.pop();
                from = f64::NEG_INFINITY;
            }
            self.parabolas.push((i, from));
        }
        let mut at = 0;
        for (x, value) in values.iter_mut().enumerate() {
            while self.parabolas.get(at + 1).is_some_and(|next| next.1 <= x as f64) {
                at += 1;
            }
            if let Some(&(i, _)) = self.parabolas.get(at) {
                let away = step * (x as f64 - i as f64);
                *value = (f64::from(self.before[i]) + away * away) as f32;
            }
        }
    }
}
