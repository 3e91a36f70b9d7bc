//! Which ground is for learning and which for judging.
//!
//! A *group* is a split and, among training tiles, a fold. Tiles of different groups never share
//! ground: whole scenes belong to one group, or every scene is divided into blocks. A tile lies
//! inside one block and keeps half the gap from every neighbouring block of another group; since the
//! neighbour's tiles do the same, the whole gap lies between them.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::dataset::{SplitChoice, SplitSection};

use super::hash::fnv1a;
use super::set::Split;

/// A rectangle `[x0, y0, x1, y1]` in a scene's own pixels.
pub type PxRect = [f64; 4];

/// A split, and a fold among training tiles of a set with folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The split.
    pub split: Split,
    /// The fold, from 0.
    pub fold: Option<u32>,
}

impl Group {
    /// A group without a fold.
    pub fn of(split: Split) -> Self {
        Self { split, fold: None }
    }
}

/// How one scene is divided.
#[derive(Clone, Debug, PartialEq)]
pub enum Division {
    /// All of it is one group.
    Whole(Group),
    /// Every block is of one group.
    Blocks(Blocks),
}

/// The groups of whole scenes. `choices` are the scenes' own; `Auto` is drawn by the seed from the
/// fractions. Training scenes are dealt into folds where there are any.
pub fn by_scene(choices: &[SplitChoice], options: &SplitSection) -> Vec<Group> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut auto: Vec<usize> =
        (0..choices.len()).filter(|&i| choices[i] == SplitChoice::Auto).collect();
    auto.shuffle(&mut rng);
    let drawn = draw(auto.len(), options);
    let mut groups: Vec<Group> = choices
        .iter()
        .map(|choice| {
            Group::of(match choice {
                SplitChoice::Val => Split::Val,
                SplitChoice::Test => Split::Test,
                SplitChoice::Train | SplitChoice::Auto => Split::Train,
            })
        })
        .collect();
    for (&scene, split) in auto.iter().zip(drawn) {
        groups[scene] = Group::of(split);
    }
    let mut train: Vec<usize> =
        (0..groups.len()).filter(|&i| groups[i].split == Split::Train).collect();
    train.shuffle(&mut rng);
    deal_folds(&train, options.folds, |scene, fold| groups[scene].fold = Some(fold));
    groups
}

/// A regular grid of blocks over a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    columns: usize,
    rows: usize,
    /// Size of a block in the scene's pixels.
    block_px: (f64, f64),
    /// Half the gap in the scene's pixels.
    margin_px: (f64, f64),
    /// `[row][column]`.
    groups: Vec<Group>,
}

impl Blocks {
    /// Divides `size_px` (columns, rows) into equal blocks of at least `block_px`, `gap_px` apart
    /// where groups differ. All in the scene's pixels along (columns, rows). `name` makes scenes
    /// differ under one seed.
    pub fn draw(
        size_px: (usize, usize),
        block_px: (f64, f64),
        gap_px: (f64, f64),
        options: &SplitSection,
        name: &str,
    ) -> Self {
        let count = |size: usize, block: f64| ((size as f64 / block) as usize).max(1);
        let (columns, rows) = (count(size_px.0, block_px.0), count(size_px.1, block_px.1));
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed ^ fnv1a(name.as_bytes()));
        let mut order: Vec<usize> = (0..columns * rows).collect();
        order.shuffle(&mut rng);
        let mut groups = vec![Group::of(Split::Train); columns * rows];
        for (&block, split) in order.iter().zip(draw(columns * rows, options)) {
            groups[block] = Group::of(split);
        }
        let train: Vec<usize> =
            order.into_iter().filter(|&block| groups[block].split == Split::Train).collect();
        deal_folds(&train, options.folds, |block, fold| groups[block].fold = Some(fold));
        Self {
            columns,
            rows,
            block_px: (size_px.0 as f64 / columns as f64, size_px.1 as f64 / rows as f64),
            margin_px: (gap_px.0 / 2.0, gap_px.1 / 2.0),
            groups,
        }
    }

    /// Number of blocks, at least 1.
    pub fn count(&self) -> usize {
        self.groups.len()
    }

    /// The group of a block.
    pub fn group(&self, block: usize) -> Group {
        self.groups[block]
    }

    /// The block that holds a position.
    pub fn at(&self, x: f64, y: f64) -> usize {
        let place = |value: f64, block: f64, count: usize| {
            ((value / block).max(0.0) as usize).min(count - 1)
        };
        place(y, self.block_px.1, self.rows) * self.columns
            + place(x, self.block_px.0, self.columns)
    }

    /// The part of a block where its tiles lie: without half the gap along neighbours of other
    /// groups. May be empty (`x0 >= x1`).
    pub fn inner(&self, block: usize) -> PxRect {
        let [x0, y0, x1, y1] = self.rect(block);
        let (mx, my) = self.margin_px;
        let margin = |dc: isize, dr: isize, size: f64| {
            self.neighbour(block, dc, dr)
                .filter(|&other| self.groups[other] != self.groups[block])
                .map_or(0.0, |_| size)
        };
        [
            x0 + margin(-1, 0, mx),
            y0 + margin(0, -1, my),
            x1 - margin(1, 0, mx),
            y1 - margin(0, 1, my),
        ]
    }

    /// Whether a tile inside [`Blocks::inner`] also keeps half the gap from the blocks that touch its
    /// own at a corner.
    ///
    /// Half is enough there, too: where the two blocks beside the corner are of this block's group,
    /// the other one's tiles keep half the gap from both along their whole edges, and where one is
    /// not, this block's tiles do.
    pub fn keeps_corners(&self, block: usize, tile: PxRect) -> bool {
        let (mx, my) = self.margin_px;
        [(-1, -1), (1, -1), (-1, 1), (1, 1)].into_iter().all(|(dc, dr)| {
            let Some(other) = self.neighbour(block, dc, dr) else { return true };
            if self.groups[other] == self.groups[block] {
                return true;
            }
            let [x0, y0, x1, y1] = self.rect(other);
            tile[2] + mx <= x0 || tile[0] - mx >= x1 || tile[3] + my <= y0 || tile[1] - my >= y1
        })
    }

    fn rect(&self, block: usize) -> PxRect {
        let (column, row) = ((block % self.columns) as f64, (block / self.columns) as f64);
        let (w, h) = self.block_px;
        [column * w, row * h, (column + 1.0) * w, (row + 1.0) * h]
    }

    fn neighbour(&self, block: usize, dc: isize, dr: isize) -> Option<usize> {
        let column = (block % self.columns).checked_add_signed(dc)?;
        let row = (block / self.columns).checked_add_signed(dr)?;
        (column < self.columns && row < self.rows).then(|| row * self.columns + column)
    }
}

/// Splits for `count` things in random order: validation first, then test, then training. A fraction
/// above 0 gets at least one thing as long as one is left for training.
fn draw(count: usize, options: &SplitSection) -> Vec<Split> {
    let wanted = |fraction: f64| {
        let share = (fraction * count as f64).round() as usize;
        if fraction > 0.0 { share.max(1) } else { 0 }
    };
    let room = if options.val_fraction + options.test_fraction < 1.0 {
        count.saturating_sub(1)
    } else {
        count
    };
    let val = wanted(options.val_fraction).min(room);
    let test = wanted(options.test_fraction).min(room - val);
    (0..count)
        .map(|i| match i {
            i if i < val => Split::Val,
            i if i < val + test => Split::Test,
            _ => Split::Train,
        })
        .collect()
}

fn deal_folds(shuffled: &[usize], folds: u32, mut put: impl FnMut(usize, u32)) {
    if folds > 1 {
        for (turn, &thing) in shuffled.iter().enumerate() {
            put(thing, (turn % folds as usize) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fraction_above_zero_gets_a_scene_and_training_keeps_one() {
        let options = SplitSection { val_fraction: 0.1, test_fraction: 0.1, ..Default::default() };
        let groups = by_scene(&[SplitChoice::Auto; 3], &options);
        let count = |split| groups.iter().filter(|group| group.split == split).count();
        assert_eq!((count(Split::Train), count(Split::Val), count(Split::Test)), (1, 1, 1));
        assert_eq!(by_scene(&[SplitChoice::Auto], &options), [Group::of(Split::Train)]);
    }

    #[test]
    fn a_scenes_own_choice_is_kept() {
        let choices = [SplitChoice::Test, SplitChoice::Train, SplitChoice::Val];
        let groups = by_scene(&choices, &SplitSection { folds: 2, ..Default::default() });
        assert_eq!(groups[0], Group::of(Split::Test));
        assert_eq!((groups[1].split, groups[1].fold.is_some()), (Split::Train, true));
        assert_eq!(groups[2], Group::of(Split::Val));
    }

    proptest! {
        #[test]
        fn tiles_of_different_groups_keep_the_gap(
            seed in 0u64..1000, columns in 1usize..6, rows in 1usize..6, folds in 0u32..4,
            tile in 5.0..30f64, places in prop::collection::vec((0.0..1f64, 0.0..1f64), 60),
        ) {
            let folds = if folds == 1 { 0 } else { folds };
            let options = SplitSection {
                seed, folds, val_fraction: 0.3, test_fraction: 0.2, ..Default::default()
            };
            let (gap, size) = (30.0, (columns * 100, rows * 100));
            let blocks = Blocks::draw(size, (100.0, 100.0), (gap, gap), &options, "x");
            let tiles: Vec<(Group, PxRect)> = places
                .iter()
                .enumerate()
                .filter_map(|(i, (u, v))| {
                    let block = i % blocks.count();
                    let [x0, y0, x1, y1] = blocks.inner(block);
                    let (x, y) = (x0 + u * (x1 - x0 - tile), y0 + v * (y1 - y0 - tile));
                    let rect = [x, y, x + tile, y + tile];
                    let inside = x >= x0 && y >= y0 && rect[2] <= x1 && rect[3] <= y1;
                    (inside && blocks.keeps_corners(block, rect))
                        .then(|| (blocks.group(block), rect))
                })
                .collect();
            for (ga, a) in &tiles {
                for (gb, b) in tiles.iter().filter(|(gb, _)| gb != ga) {
                    let apart_x = (b[0] - a[2]).max(a[0] - b[2]);
                    let apart_y = (b[1] - a[3]).max(a[1] - b[3]);
                    prop_assert!(
                        apart_x.max(apart_y) >= gap - 1e-9,
                        "{ga:?} {a:?} and {gb:?} {b:?}"
                    );
                }
            }
        }
    }
}
