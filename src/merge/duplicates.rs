//! Which of several buildings on the same ground stays.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::MergeOptions;
use crate::geo::boxes::Bounds;
use crate::geo::overlap::Shape;

/// What decides between two buildings.
#[derive(Clone, Copy, Debug)]
pub struct Rank {
    /// Number of its scene.
    pub scene: u32,
    /// Its own, or 0 where it has none.
    pub confidence: f64,
    /// In units of the common CRS, squared.
    pub area: f64,
}

/// Two buildings of different scenes on the same ground, by their places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edge {
    /// The same building twice.
    Duplicate(usize, usize),
    /// The second is a part of the first.
    Part(usize, usize),
}

/// Why a building is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A more confident one shows it.
    Duplicate,
    /// A larger one holds it.
    Part,
}

impl Edge {
    /// What two overlapping buildings are to each other.
    pub fn between(
        a: usize,
        b: usize,
        first: &Shape,
        second: &Shape,
        options: &MergeOptions,
    ) -> Option<Self> {
        let shared = first.shared_area(second);
        let smaller = first.area().min(second.area());
        let union = first.area() + second.area() - shared;
        if union <= 0.0 || shared <= 0.0 {
            return None;
        }
        if shared / union >= options.iou {
            return Some(Self::Duplicate(a, b));
        }
        let part = options.contained > 0.0 && shared / smaller >= options.contained;
        part.then_some(if first.area() >= second.area() {
            Self::Part(a, b)
        } else {
            Self::Part(b, a)
        })
    }
}

/// The buildings that are left out, by their places.
///
/// Parts go first: from the largest building on, each that stays takes its parts away. Of those that are left, the
/// most confident stays and takes its duplicates away, then the next. So in a chain of duplicates every second one
/// stays. Whatever only lost to buildings that are left out themselves comes back, the largest first.
pub fn losers(
    edges: &[Edge],
    ranks: &[Rank],
    boxes: &[Option<Bounds>],
    scenes: &[String],
) -> HashMap<usize, Loss> {
    let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut duplicates: HashMap<usize, Vec<usize>> = HashMap::new();
    for edge in edges {
        match *edge {
            Edge::Part(whole, part) => parts.entry(whole).or_default().push(part),
            Edge::Duplicate(a, b) => {
                duplicates.entry(a).or_default().push(b);
                duplicates.entry(b).or_default().push(a);
            }
        }
    }
    // What a building is decides, not where it stands in which file; places decide between equal twins only.
    let tie = |a: usize, b: usize| {
        let corner = |place: usize, side: usize| boxes[place].map_or(0.0, |bounds| bounds[side]);
        let scene = |place: usize| scenes.get(ranks[place].scene as usize);
        let corners = (0..4).map(|side| corner(a, side).total_cmp(&corner(b, side)));
        let by_corner = corners.fold(Ordering::Equal, Ordering::then);
        by_corner.then_with(|| scene(a).cmp(&scene(b))).then(a.cmp(&b))
    };
    let by_area = |&a: &usize, &b: &usize| {
        let area = ranks[b].area.total_cmp(&ranks[a].area);
        area.then_with(|| ranks[b].confidence.total_cmp(&ranks[a].confidence))
            .then_with(|| tie(a, b))
    };
    let by_confidence = |&a: &usize, &b: &usize| {
        let confidence = ranks[b].confidence.total_cmp(&ranks[a].confidence);
        confidence.then_with(|| ranks[b].area.total_cmp(&ranks[a].area)).then_with(|| tie(a, b))
    };
    let mut lost = HashMap::new();
    take(&parts, Loss::Part, &by_area, &mut lost);
    take(&duplicates, Loss::Duplicate, &by_confidence, &mut lost);
    // What took them may be lost itself by now.
    let mut neighbours: HashMap<usize, Vec<usize>> = HashMap::new();
    for edge in edges {
        let (Edge::Duplicate(a, b) | Edge::Part(a, b)) = *edge;
        neighbours.entry(a).or_default().push(b);
        neighbours.entry(b).or_default().push(a);
    }
    let mut again: Vec<usize> = lost.keys().copied().collect();
    again.sort_unstable_by(by_area);
    for place in again {
        if neighbours[&place].iter().all(|other| lost.contains_key(other)) {
            lost.remove(&place);
        }
    }
    lost
}

/// In an order, lets every building that stays take away what it has an edge to.
fn take(
    taken: &HashMap<usize, Vec<usize>>,
    loss: Loss,
    order: &dyn Fn(&usize, &usize) -> Ordering,
    lost: &mut HashMap<usize, Loss>,
) {
    let mut takers: Vec<usize> = taken.keys().copied().collect();
    takers.sort_unstable_by(order);
    for taker in takers {
        if lost.contains_key(&taker) {
            continue;
        }
        for &other in &taken[&taker] {
            lost.entry(other).or_insert(loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use geo::{MultiPolygon, polygon};
    use proptest::prelude::*;

    use super::*;

    fn rank(confidence: f64, area: f64) -> Rank {
        Rank { scene: 0, confidence, area }
    }

    fn lost(edges: &[Edge], ranks: &[Rank]) -> Vec<usize> {
        let boxes: Vec<_> = (0..ranks.len()).map(|i| Some([i as f64, 0.0, 1.0, 1.0])).collect();
        let mut places: Vec<usize> = losers(edges, ranks, &boxes, &[]).into_keys().collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn the_more_confident_of_two_stays() {
        let ranks = [rank(0.7, 9.0), rank(0.8, 8.0)];
        assert_eq!(lost(&[Edge::Duplicate(0, 1)], &ranks), [0]);
    }

    #[test]
    fn in_a_chain_the_ends_stay_unless_the_middle_is_the_surest() {
        let chain = [Edge::Duplicate(0, 1), Edge::Duplicate(1, 2)];
        assert_eq!(lost(&chain, &[rank(0.9, 1.0), rank(0.8, 1.0), rank(0.7, 1.0)]), [1]);
        assert_eq!(lost(&chain, &[rank(0.8, 1.0), rank(0.9, 1.0), rank(0.7, 1.0)]), [0, 2]);
    }

    #[test]
    fn a_part_goes_however_sure_it_is() {
        let ranks = [rank(0.6, 10.0), rank(0.99, 4.0)];
        assert_eq!(lost(&[Edge::Part(0, 1)], &ranks), [1]);
        // A part of a part that is gone already takes nothing with it.
        let ranks = [rank(0.6, 10.0), rank(0.9, 4.0), rank(0.9, 2.0)];
        assert_eq!(lost(&[Edge::Part(0, 1), Edge::Part(1, 2)], &ranks), [1]);
    }

    #[test]
    fn shapes_say_what_they_are_to_each_other() {
        let bar = |from: f64, to: f64| {
            let bar =
                polygon![(x: from, y: 0.0), (x: to, y: 0.0), (x: to, y: 1.0), (x: from, y: 1.0)];
            Shape::new(&MultiPolygon(vec![bar]))
        };
        let options = MergeOptions::default();
        let edge = |a: &Shape, b: &Shape| Edge::between(0, 1, a, b, &options);
        assert_eq!(edge(&bar(0.0, 10.0), &bar(1.0, 10.0)), Some(Edge::Duplicate(0, 1)));
        assert_eq!(edge(&bar(0.0, 3.0), &bar(0.0, 10.0)), Some(Edge::Part(1, 0)));
        assert_eq!(edge(&bar(0.0, 10.0), &bar(8.0, 18.0)), None);
        let none = MergeOptions { contained: 0.0, ..options };
        assert_eq!(Edge::between(0, 1, &bar(0.0, 3.0), &bar(0.0, 10.0), &none), None);
    }

    proptest! {
        #[test]
        fn whoever_is_lost_has_a_neighbour_that_stays_and_no_neighbours_stay(
            confidences in proptest::collection::vec((0..5u8, 1..4u8), 2..12),
            raw in proptest::collection::vec((0..12usize, 0..12usize, proptest::bool::ANY), 0..30),
        ) {
            let ranks: Vec<Rank> = confidences
                .iter()
                .map(|&(c, area)| rank(f64::from(c) / 5.0, f64::from(area)))
                .collect();
            let edges: Vec<Edge> = raw
                .iter()
                .map(|&(a, b, part)| (a % ranks.len(), b % ranks.len(), part))
                .filter(|(a, b, _)| a != b)
                .map(|(a, b, part)| if part { Edge::Part(a, b) } else { Edge::Duplicate(a, b) })
                .collect();
            let lost = lost(&edges, &ranks);
            let stays = |place: usize| !lost.contains(&place);
            let ends = |edge: &Edge| {
                let (Edge::Duplicate(a, b) | Edge::Part(a, b)) = *edge;
                (a, b)
            };
            for (a, b) in edges.iter().map(ends) {
                prop_assert!(!(stays(a) && stays(b)));
            }
            for &place in &lost {
                let to_a_winner =
                    |(a, b): (usize, usize)| (a == place && stays(b)) || (b == place && stays(a));
                prop_assert!(edges.iter().map(ends).any(to_a_winner));
            }
        }
    }

    #[test]
    fn a_part_of_a_building_that_lost_stays() {
        // A whole, a surer duplicate of it, and a part of the whole that the duplicate does not reach.
        let ranks = [rank(0.6, 10.0), rank(0.9, 6.0), rank(0.8, 3.0)];
        assert_eq!(lost(&[Edge::Duplicate(0, 1), Edge::Part(0, 2)], &ranks), [0]);
    }
}
