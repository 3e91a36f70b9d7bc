//! The chains of a traced component as rings of a valid polygon: one outer ring and its holes.

use std::collections::HashMap;

use super::sweep::{Corner, Neighbourhood, Traced};

/// A closed ring of pixel corners (the first is not repeated), starting at its upper-left one. It passes a corner once, unless pixels
/// are connected by corners. On a screen an
/// outer ring runs counter-clockwise and a hole clockwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    pub(super) corners: Vec<Corner>,
    /// Enclosed pixels: positive for an outer ring, negative for a hole.
    pub(super) area_px: i64,
}

/// The rings of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rings {
    pub(super) exterior: Ring,
    /// In reading order of their first corners.
    pub(super) holes: Vec<Ring>,
}

impl Rings {
    /// The outer ring, then the holes.
    pub(super) fn all(&self) -> Vec<&Ring> {
        std::iter::once(&self.exterior).chain(&self.holes).collect()
    }

    /// Splits chains that pass a corner twice there: what they enclose is a hole that touches another ring
    /// in one point. Where pixels are connected by corners, chains stay whole, for the foreground passes between. `None` only for an
    /// empty component.
    pub(super) fn new(traced: &Traced) -> Option<Self> {
        let mut rings = Vec::new();
        let mut start = 0;
        for &end in &traced.chain_ends {
            let chain = &traced.corners[start..end];
            match traced.neighbours {
                Neighbourhood::Sides => split(chain, &mut rings),
                Neighbourhood::Corners => rings.push(Ring::new(chain.to_vec())),
            }
            start = end;
        }
        rings.sort_unstable_by_key(|ring| {
            let first = ring.corners.first();
            (ring.area_px < 0, first.map(|corner| (corner.row, corner.col)))
        });
        let mut rings = rings.into_iter();
        let exterior = rings.next()?;
        Some(Self { exterior, holes: rings.collect() })
    }
}

fn split(chain: &[Corner], rings: &mut Vec<Ring>) {
    if !chain.iter().any(|corner| corner.pinch) {
        rings.push(Ring::new(chain.to_vec()));
        return;
    }
    // Corners walked, and where in them a pinch lies; at its second visit the loop between is cut off.
    let mut walked: Vec<Corner> = Vec::with_capacity(chain.len());
    let mut seen: HashMap<(u32, u32), usize> = HashMap::new();
    for &corner in chain {
        if corner.pinch {
            let key = (corner.col, corner.row);
            if let Some(&at) = seen.get(&key) {
                let cut: Vec<Corner> = walked.drain(at..).collect();
                for corner in cut.iter().filter(|corner| corner.pinch) {
                    seen.remove(&(corner.col, corner.row));
                }
                rings.push(Ring::new(cut));
            }
            seen.insert(key, walked.len());
        }
        walked.push(corner);
    }
    rings.push(Ring::new(walked));
}

impl Ring {
    fn new(mut corners: Vec<Corner>) -> Self {
        let first = (0..corners.len()).min_by_key(|&i| (corners[i].row, corners[i].col));
        corners.rotate_left(first.unwrap_or(0));
        let mut doubled = 0;
        let mut last = corners.last().copied();
        for &b in &corners {
            if let Some(a) = last {
                doubled +=
                    i64::from(b.col) * i64::from(a.row) - i64::from(a.col) * i64::from(b.row);
            }
            last = Some(b);
        }
        Self { corners, area_px: doubled / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::patch::Known;
    use super::super::sweep::{Block, Run, Sweep};
    use super::*;
    use proptest::prelude::*;

    fn runs(mask: &[Vec<bool>]) -> Vec<Vec<Run>> {
        let rows = mask.iter().map(|row| {
            let mut runs: Vec<Run> = Vec::new();
            for (x, _) in row.iter().enumerate().filter(|(_, set)| **set) {
                let x = x as u32;
                match runs.last_mut().filter(|run| run.end == x) {
                    Some(run) => (run.end, run.score_sum) = (x + 1, run.score_sum + 1),
                    None => runs.push(Run { start: x, end: x + 1, score_sum: 1, score_min: 1 }),
                }
            }
            runs
        });
        rows.collect()
    }

    fn trace(mask: &[Vec<bool>]) -> Vec<(Traced, Rings)> {
        let mut sweep = Sweep::default();
        trace_with(&mut sweep, |sweep, done| {
            for runs in runs(mask) {
                sweep.push(&runs, Known::default(), &mut |traced| done(traced));
            }
        })
    }

    fn trace_with(
        sweep: &mut Sweep,
        push: impl FnOnce(&mut Sweep, &mut dyn FnMut(Traced)),
    ) -> Vec<(Traced, Rings)> {
        let mut all = Vec::new();
        let mut done = |traced: Traced| {
            let rings = Rings::new(&traced).unwrap();
            all.push((traced, rings));
        };
        push(sweep, &mut done);
        sweep.finish(&mut done);
        assert_eq!(sweep.earliest_open(), None);
        all.sort_by_key(|(traced, _)| traced.first);
        all
    }

    fn parse(picture: &[&str]) -> Vec<Vec<bool>> {
        picture.iter().map(|row| row.chars().map(|c| c == '#').collect()).collect()
    }

    /// Component numbers by flood fill, in reading order; 0 is background.
    fn flood(mask: &[Vec<bool>]) -> (Vec<Vec<usize>>, usize) {
        let (height, width) = (mask.len(), mask[0].len());
        let mut labels = vec![vec![0; width]; height];
        let mut count = 0;
        for y in 0..height {
            for x in 0..width {
                if !mask[y][x] || labels[y][x] != 0 {
                    continue;
                }
                count += 1;
                let mut todo = vec![(y, x)];
                while let Some((y, x)) = todo.pop() {
                    if y < height && x < width && mask[y][x] && labels[y][x] == 0 {
                        labels[y][x] = count;
                        todo.extend([
                            (y + 1, x),
                            (y, x + 1),
                            (y.wrapping_sub(1), x),
                            (y, x.wrapping_sub(1)),
                        ]);
                    }
                }
            }
        }
        (labels, count)
    }

    /// Even-odd fill of vertical edges.
    fn burn(rings: &Rings, number: usize, labels: &mut [Vec<usize>]) {
        let width = labels[0].len();
        for (y, row) in labels.iter_mut().enumerate() {
            let mut crossings = Vec::new();
            for ring in std::iter::once(&rings.exterior).chain(&rings.holes) {
                for (i, a) in ring.corners.iter().enumerate() {
                    let b = ring.corners[(i + 1) % ring.corners.len()];
                    assert!((a.col == b.col) != (a.row == b.row), "edges follow pixel edges");
                    if (a.row.min(b.row)..a.row.max(b.row)).contains(&(y as u32)) {
                        crossings.push(a.col as usize);
                    }
                }
            }
            crossings.sort_unstable();
            for pair in crossings.chunks(2) {
                assert!(pair[1] <= width, "no ring leaves the mask");
                for label in &mut row[pair[0]..pair[1]] {
                    assert_eq!(*label, 0, "no pixel is covered twice");
                    *label = number;
                }
            }
        }
    }

    fn check(mask: &[Vec<bool>]) -> Vec<Rings> {
        let traced = trace(mask);
        let (expected, count) = flood(mask);
        assert_eq!(traced.len(), count);
        let mut burnt = vec![vec![0; mask[0].len()]; mask.len()];
        for (number, (traced, rings)) in traced.iter().enumerate() {
            burn(rings, number + 1, &mut burnt);
            let area =
                rings.exterior.area_px + rings.holes.iter().map(|hole| hole.area_px).sum::<i64>();
            assert_eq!(area, traced.pixels as i64);
            assert_eq!(traced.score_sum, traced.pixels);
            assert!(rings.exterior.area_px > 0 && rings.holes.iter().all(|hole| hole.area_px < 0));
            for ring in std::iter::once(&rings.exterior).chain(&rings.holes) {
                let mut corners: Vec<_> = ring.corners.iter().map(|c| (c.row, c.col)).collect();
                assert_eq!(corners.iter().min(), corners.first());
                corners.sort_unstable();
                corners.dedup();
                assert_eq!(corners.len(), ring.corners.len(), "a ring passes a corner once");
            }
        }
        assert_eq!(burnt, expected);
        traced.into_iter().map(|(_, rings)| rings).collect()
    }

    fn mask() -> impl Strategy<Value = Vec<Vec<bool>>> {
        (1_usize..70, 1_usize..40, prop_oneof![Just(0.1), Just(0.4), Just(0.6), Just(0.9)])
            .prop_flat_map(|(width, height, density)| {
                let row = prop::collection::vec(prop::bool::weighted(density), width);
                prop::collection::vec(row, height)
            })
    }

    proptest! {
        #[test]
        fn rings_filled_again_are_the_components_of_the_mask(mask in mask()) {
            check(&mask);
        }
    }

    fn known<'a>(scores: &'a [u8], walls: &'a [(u32, u32)]) -> Known<'a> {
        Known { scores, walls }
    }

    proptest! {
        #[test]
        fn blocks_swept_apart_are_the_scene_swept_as_one(
            mask in mask(),
            heights in prop::collection::vec(1_usize..9, 1..40),
            neighbours in prop_oneof![Just(Neighbourhood::Sides), Just(Neighbourhood::Corners)],
        ) {
            let scores: Vec<Vec<u8>> =
                mask.iter().map(|row| row.iter().map(|set| if *set { 200 } else { 100 }).collect()).collect();
            let is_wall = |col: i64, row: i64| (col - row).rem_euclid(3) < 2;
            let walls: Vec<Vec<bool>> = (0..mask.len())
                .map(|row| (0..mask[row].len()).map(|col| is_wall(col as i64, row as i64)).collect())
                .collect();
            let walls = runs(&walls).into_iter().map(|row| row.iter().map(|run| (run.start, run.end)).collect::<Vec<_>>());
            let rows: Vec<_> = runs(&mask).into_iter().zip(scores).zip(walls).collect();
            let mut sweep = Sweep::new(neighbours, true);
            let one = trace_with(&mut sweep, |sweep, done| {
                for ((runs, scores), walls) in &rows {
                    sweep.push(runs, known(scores, walls), &mut |traced| done(traced));
                }
            });
            let mut sweep = Sweep::new(neighbours, true);
            let blocks = trace_with(&mut sweep, |sweep, done| {
                let mut left = rows.as_slice();
                let mut inside = Vec::new();
                for height in heights.iter().cycle() {
                    let Some((((runs, scores), walls), _)) = left.split_first() else { break };
                    let (rows, below) = left.split_at((*height).min(left.len()));
                    let mut block = Block::new(sweep, sweep.row(), runs, known(scores, walls));
                    for ((runs, scores), walls) in &rows[1..] {
                        block.push(runs, known(scores, walls), &mut |traced| inside.push(traced));
                    }
                    sweep.append(block, &mut |traced| done(traced));
                    left = below;
                }
                inside.into_iter().for_each(done);
            });
            prop_assert_eq!(one.len(), blocks.len());
            for ((a, rings_a), (b, rings_b)) in one.iter().zip(&blocks) {
                prop_assert_eq!((a.first, a.pixels, a.score_sum, a.score_min), (b.first, b.pixels, b.score_sum, b.score_min));
                prop_assert_eq!(rings_a, rings_b);
                let [a, b] = [a, b].map(|traced| traced.patch.window().unwrap());
                prop_assert_eq!(&a.scores, &b.scores);
                prop_assert_eq!(&a.walls, &b.walls);
                let wall = |at: usize| {
                    let (col, row) = (a.col + (at % a.width) as i64, a.row + (at / a.width) as i64);
                    is_wall(col, row)
                };
                let walls = (0..a.scores.len()).map(|at| a.scores[at] == 200 && wall(at));
                prop_assert!(a.walls.unwrap_or(vec![false; a.scores.len()]).into_iter().eq(walls));
            }
        }
    }

    #[test]
    fn one_pixel_is_one_square() {
        let rings = check(&parse(&["...", ".#.", "..."]));
        let corners: Vec<_> = rings[0].exterior.corners.iter().map(|c| (c.col, c.row)).collect();
        assert_eq!(corners, [(1, 1), (1, 2), (2, 2), (2, 1)]);
    }

    #[test]
    fn an_empty_mask_has_no_ring_and_a_full_one_has_one() {
        assert!(check(&parse(&["...", "..."])).is_empty());
        assert_eq!(check(&parse(&["###", "###"]))[0].exterior.corners.len(), 4);
    }

    #[test]
    fn pixels_that_touch_by_corners_are_apart() {
        assert_eq!(check(&parse(&["#.", ".#"])).len(), 2);
        assert_eq!(check(&parse(&[".#", "#."])).len(), 2);
        let board: Vec<Vec<bool>> =
            (0..9).map(|y| (0..9).map(|x| (x + y) % 2 == 0).collect()).collect();
        assert_eq!(check(&board).len(), 41);
    }

    #[test]
    fn an_arm_that_touches_itself_by_a_corner_encloses_a_hole() {
        let rings = check(&parse(&["###.", "#.#.", "##.#", ".###"]));
        assert_eq!(rings.len(), 1);
        // Two: holes that touch by a corner are two holes of one pixel.
        assert_eq!(rings[0].holes.len(), 2);
    }

    #[test]
    fn an_island_in_a_hole_is_a_building_of_its_own() {
        let rings = check(&parse(&["#####", "#...#", "#.#.#", "#...#", "#####"]));
        assert_eq!((rings.len(), rings[0].holes.len(), rings[1].holes.len()), (2, 1, 0));
        assert_eq!(rings[0].holes[0].area_px, -9);
    }

    #[test]
    fn a_spiral_is_one_ring() {
        let rings = check(&parse(&[
            "#########",
            "........#",
            "#######.#",
            "#.....#.#",
            "#.###.#.#",
            "#.#...#.#",
            "#.#####.#",
            "#.......#",
            "#########",
        ]));
        assert_eq!((rings.len(), rings[0].holes.len()), (1, 0));
    }
}
