//! What has become of a building, from the pairs that share ground.

use crate::evaluate::buildings::{Pair, matched};
use crate::geo::overlap::Shape;

/// What a building is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Predicted, and known as about the same outline.
    Matched,
    /// Predicted and known, but not alike.
    Changed,
    /// Predicted where none is known.
    New,
    /// Known where none is predicted.
    Missing,
}

/// How a building has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One against one, of another outline.
    Shape,
    /// Several predicted ones on a known one.
    Split,
    /// A predicted one on several known ones.
    Merged,
}

impl Status {
    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Missing => "missing",
        }
    }
}

impl Change {
    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Split => "split",
            Self::Merged => "merged",
        }
    }
}

/// A predicted and a known building that are about the same ground.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link(pub Pair);

/// A building's class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class {
    pub status: Status,
    pub change: Option<Change>,
    /// The best of its pairs.
    pub iou: Option<f64>,
    /// Places of the buildings of the other side that it is about, ascending.
    pub others: Vec<usize>,
}

/// Classes of all buildings.
pub(super) struct Classes {
    pub predicted: Vec<Class>,
    /// `None` for a known building that a predicted one's class names.
    pub reference: Vec<Option<Class>>,
}

impl Classes {
    /// Pairs from `iou` on are matched first, one to one, the best first. What is left is changed where it shares
    /// ground with anything of the other side, matched or not.
    pub(super) fn of(links: &[Link], found: &[Shape], known: &[Shape], iou: f64) -> Self {
        let alike = links.iter().map(|link| link.0).filter(|pair| pair.iou >= iou).collect();
        let mut matches: Vec<Option<Pair>> = vec![None; found.len()];
        let mut named = vec![false; known.len()];
        for pair in matched(alike, found, known) {
            matches[pair.predicted] = Some(pair);
            named[pair.truth] = true;
        }
        let mut of_found: Vec<Vec<Pair>> = vec![Vec::new(); found.len()];
        let mut of_known: Vec<Vec<Pair>> = vec![Vec::new(); known.len()];
        for Link(pair) in links {
            of_found[pair.predicted].push(*pair);
            of_known[pair.truth].push(*pair);
        }
        let best = |pairs: &[Pair]| pairs.iter().map(|pair| pair.iou).reduce(f64::max);
        let predicted: Vec<Class> = of_found
            .iter()
            .zip(&matches)
            .map(|(pairs, matched)| {
                if let Some(pair) = matched {
                    let (iou, others) = (Some(pair.iou), vec![pair.truth]);
                    return Class { status: Status::Matched, change: None, iou, others };
                }
                let mut others: Vec<usize> = pairs.iter().map(|pair| pair.truth).collect();
                others.sort_unstable();
                let (status, change) = match others.as_slice() {
                    [] => (Status::New, None),
                    &[one] if of_known[one].len() > 1 => (Status::Changed, Some(Change::Split)),
                    [_] => (Status::Changed, Some(Change::Shape)),
                    _ => (Status::Changed, Some(Change::Merged)),
                };
                Class { status, change, iou: best(pairs), others }
            })
            .collect();
        for class in &predicted {
            class.others.iter().for_each(|&place| named[place] = true);
        }
        let reference = of_known
            .iter()
            .zip(named)
            .map(|(pairs, named)| {
                if named {
                    return None;
                }
                // Only matched ones are left to share its ground: it is a part of one of them.
                let mut others: Vec<usize> = pairs.iter().map(|pair| pair.predicted).collect();
                others.sort_unstable();
                let missing = others.is_empty();
                Some(Class {
                    status: if missing { Status::Missing } else { Status::Changed },
                    change: (!missing).then_some(Change::Merged),
                    iou: best(pairs),
                    others,
                })
            })
            .collect();
        Self { predicted, reference }
    }
}

#[cfg(test)]
mod tests {
    use geo::{MultiPolygon, polygon};

    use super::*;
    use crate::evaluate::buildings::pairs_above;

    /// A house of unit depth.
    fn house(from: f64, to: f64) -> Shape {
        let house =
            polygon![(x: from, y: 0.0), (x: to, y: 0.0), (x: to, y: 1.0), (x: from, y: 1.0)];
        Shape::new(&MultiPolygon(vec![house]))
    }

    fn classes(found: &[Shape], known: &[Shape]) -> Classes {
        let links: Vec<Link> = pairs_above(found, known, 0.0)
            .into_iter()
            .filter(|pair| {
                let (a, b) = (&found[pair.predicted], &known[pair.truth]);
                a.shared_area(b) / a.area().min(b.area()) >= 0.3
            })
            .map(Link)
            .collect();
        Classes::of(&links, found, known, 0.5)
    }

    #[test]
    fn one_to_one_is_matched_or_of_another_shape() {
        let found =
            classes(&[house(0.0, 10.0), house(20.0, 30.0)], &[house(1.0, 10.0), house(26.0, 36.0)]);
        assert_eq!(found.predicted[0].status, Status::Matched);
        assert_eq!(found.predicted[0].others, [0]);
        assert!((found.predicted[0].iou.unwrap() - 0.9).abs() < 1e-12);
        assert_eq!(found.predicted[1].status, Status::Changed);
        assert_eq!(found.predicted[1].change, Some(Change::Shape));
        assert_eq!(found.reference, [None, None]);
    }

    #[test]
    fn halves_of_a_known_building_are_split_and_a_block_of_three_is_merged() {
        let found = classes(
            &[house(0.0, 4.0), house(5.0, 9.0), house(20.0, 50.0)],
            &[house(0.0, 9.0), house(20.0, 29.0), house(30.0, 39.0), house(40.0, 50.0)],
        );
        assert_eq!(found.predicted[0].change, Some(Change::Split));
        assert_eq!(found.predicted[1].change, Some(Change::Split));
        assert_eq!(found.predicted[2].change, Some(Change::Merged));
        assert_eq!(found.predicted[2].others, [1, 2, 3]);
        assert!(found.reference.iter().all(Option::is_none));
    }

    #[test]
    fn a_match_keeps_its_partner_and_what_it_swallows_is_told_apart() {
        // The found one matches the large known one, and covers the small one beside it, too.
        let found = classes(&[house(0.0, 10.0)], &[house(0.0, 8.0), house(8.0, 10.0)]);
        assert_eq!(found.predicted[0].status, Status::Matched);
        assert_eq!(found.reference[0], None);
        let swallowed = found.reference[1].as_ref().unwrap();
        assert_eq!((swallowed.status, swallowed.change), (Status::Changed, Some(Change::Merged)));
        assert_eq!(swallowed.others, [0]);
    }

    #[test]
    fn what_stands_alone_is_new_or_missing() {
        let found = classes(&[house(0.0, 1.0)], &[house(5.0, 6.0)]);
        assert_eq!(found.predicted[0].status, Status::New);
        assert_eq!(found.reference[0].as_ref().unwrap().status, Status::Missing);
    }
}
