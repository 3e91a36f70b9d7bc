use geo::{BooleanOps, MultiPolygon, Rect};
use proptest::prelude::*;

use super::*;

fn rect(x: f64, y: f64, w: f64, h: f64) -> MultiPolygon<f64> {
    Rect::new((x, y), (x + w, y + h)).to_polygon().into()
}

fn shapes(polygons: &[MultiPolygon<f64>]) -> Vec<Shape> {
    polygons.iter().map(Shape::new).collect()
}

fn counts(predicted: &[MultiPolygon<f64>], truth: &[MultiPolygon<f64>]) -> BuildingCounts {
    let (p, t) = (shapes(predicted), shapes(truth));
    let matches = matched(pairs_above(&p, &t, 0.5), &p, &t);
    count(&matches, &vec![true; p.len()], &vec![true; t.len()])
}

#[test]
fn a_town_counted_by_hand() {
    let truth = [
        rect(0.0, 0.0, 10.0, 10.0),  // found exactly
        rect(20.0, 0.0, 10.0, 10.0), // found at IoU 80/120
        rect(40.0, 0.0, 10.0, 10.0), // half covered: IoU 0.5 is not above 0.5
        rect(60.0, 0.0, 10.0, 10.0), // missed
        rect(80.0, 0.0, 10.0, 10.0), // found twice: one is right
    ];
    let predicted = [
        rect(0.0, 0.0, 10.0, 10.0),
        rect(22.0, 0.0, 10.0, 10.0),
        rect(40.0, 0.0, 10.0, 5.0),
        rect(80.0, 0.0, 10.0, 9.0),
        rect(80.0, 0.0, 10.0, 8.0),
        rect(200.0, 0.0, 5.0, 5.0),
    ];
    let found = counts(&predicted, &truth);
    let by_hand = BuildingCounts { true_positive: 3, false_positive: 3, false_negative: 2 };
    assert_eq!(found, by_hand);
    assert_eq!((found.precision(), found.recall()), (0.5, 0.6));
    assert!((found.f1() - 6.0 / 11.0).abs() < 1e-12);
}

#[test]
fn one_prediction_over_two_row_houses_finds_neither() {
    let truth = [rect(0.0, 0.0, 10.0, 10.0), rect(10.0, 0.0, 10.0, 10.0)];
    let by_hand = BuildingCounts { true_positive: 0, false_positive: 1, false_negative: 2 };
    assert_eq!(counts(&[rect(0.0, 0.0, 20.0, 10.0)], &truth), by_hand);
}

#[test]
fn the_closest_proposal_wins_whatever_the_order() {
    // The first proposal is above the limit for both, the second for the first footprint only.
    let truth = [rect(0.0, 0.0, 10.0, 10.0), rect(2.0, 0.0, 10.0, 10.0)];
    let predicted = [rect(1.5, 0.0, 10.0, 10.0), rect(-1.0, 0.0, 10.0, 10.0)];
    let (p, t) = (shapes(&predicted), shapes(&truth));
    let matches = matched(pairs_above(&p, &t, 0.5), &p, &t);
    let mut found: Vec<_> = matches.iter().map(|m| (m.predicted, m.truth)).collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 1), (1, 0)]);
}

#[test]
fn empty_against_empty_is_perfect() {
    let nothing = counts(&[], &[]);
    assert_eq!((nothing.precision(), nothing.recall(), nothing.f1()), (1.0, 1.0, 1.0));
    let some = [rect(0.0, 0.0, 1.0, 1.0)];
    assert_eq!(counts(&[], &some).f1(), 0.0);
    assert_eq!(counts(&some, &[]).precision(), 0.0);
    assert_eq!(counts(&[MultiPolygon(vec![])], &some).false_positive, 1);
}

#[test]
fn buildings_outside_count_nowhere() {
    let town = [rect(0.0, 0.0, 1.0, 1.0), rect(5.0, 0.0, 1.0, 1.0), rect(9.0, 0.0, 1.0, 1.0)];
    let s = shapes(&town);
    let matches = matched(pairs_above(&s, &s, 0.5), &s, &s);
    // First: true building outside, its prediction in. Second: the reverse. Third: both in.
    let found = count(&matches, &[true, false, true], &[false, true, true]);
    let by_hand = BuildingCounts { true_positive: 2, false_positive: 0, false_negative: 0 };
    assert_eq!(found, by_hand);
}

/// Rectangles on a coarse lattice, so that ties and touching edges are common.
fn town() -> impl Strategy<Value = Vec<MultiPolygon<f64>>> {
    let building = (0u8..12, 0u8..12, 1u8..5, 1u8..5)
        .prop_map(|(x, y, w, h)| rect(x.into(), y.into(), w.into(), h.into()));
    proptest::collection::vec(building, 0..25)
}

/// Without tree or bound, and with intersections constructed by another algorithm.
fn brute_force(
    predicted: &[MultiPolygon<f64>],
    truth: &[MultiPolygon<f64>],
) -> Vec<(usize, usize)> {
    use geo::Area;
    let mut found = Vec::new();
    for (i, p) in predicted.iter().enumerate() {
        for (j, t) in truth.iter().enumerate() {
            let shared = p.intersection(t).unsigned_area();
            if shared / (p.unsigned_area() + t.unsigned_area() - shared) > 0.5 + 1e-9 {
                found.push((i, j));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_town_against_itself_is_perfect(town in town()) {
        let mut unique = town;
        unique.sort_by_key(|t| format!("{t:?}"));
        unique.dedup();
        let found = counts(&unique, &unique);
        prop_assert_eq!(found.true_positive, unique.len() as u64);
        prop_assert_eq!(found.f1(), 1.0);
    }

    #[test]
    fn the_tree_finds_what_brute_force_finds(predicted in town(), truth in town()) {
        let pairs = pairs_above(&shapes(&predicted), &shapes(&truth), 0.5);
        let pairs: Vec<_> = pairs.iter().map(|p| (p.predicted, p.truth)).collect();
        prop_assert_eq!(pairs, brute_force(&predicted, &truth));
    }

    #[test]
    fn order_does_not_matter(predicted in town(), truth in town(), by in 0usize..25) {
        let expected = counts(&predicted, &truth);
        let turned = |town: &[MultiPolygon<f64>]| {
            let mut town = town.to_vec();
            let by = by.min(town.len());
            town.rotate_left(by);
            town.reverse();
            town
        };
        prop_assert_eq!(counts(&turned(&predicted), &turned(&truth)), expected);
    }

    #[test]
    fn swapping_sides_swaps_precision_and_recall(truth in town(), shift in 0.0..0.4f64) {
        // Disjoint buildings: a lattice of its own for each.
        let apart: Vec<_> = truth.iter().enumerate()
            .map(|(i, _)| rect(10.0 * i as f64, 0.0, 3.0, 3.0)).collect();
        let moved: Vec<_> = apart.iter().step_by(2).enumerate()
            .map(|(i, _)| rect(20.0 * i as f64 + shift * 4.0, 0.0, 3.0, 3.0)).collect();
        let (a, b) = (counts(&moved, &apart), counts(&apart, &moved));
        prop_assert_eq!((a.precision(), a.recall()), (b.recall(), b.precision()));
        prop_assert_eq!(a.f1(), b.f1());
    }
}
