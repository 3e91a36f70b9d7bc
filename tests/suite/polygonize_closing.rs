//! Which pieces of buildings the closing joins.

use geoseg::geo::{GeoTransform, Grid};
use geoseg::polygonize::{FULL, NODATA, Outline, PolygonizeOptions, polygons_of};
use proptest::prelude::*;

const GSD_M: f64 = 0.3;

fn outlines(scores: &[u8], width: usize, options: &PolygonizeOptions) -> Vec<Outline> {
    let height = scores.len() / width;
    let transform = GeoTransform([500.0, GSD_M, 0.0, 900.0, 0.0, -GSD_M]);
    let grid = Grid { width, height, transform, crs: None, gsd_m: Some((GSD_M, GSD_M)) };
    polygons_of(&scores.to_vec().into(), &grid, options)
}

/// Two pieces of a roof, 8 m by 12 m together, with a band of so many metres and such scores between them, which may run at an
/// angle (radians).
fn pieces(band_m: f64, angle: f64, band: u8) -> Vec<u8> {
    let score = |i: usize| {
        let (x, y) = (((i % 60) as f64 + 0.5) * GSD_M, ((i / 60) as f64 + 0.5) * GSD_M);
        let (dx, dy) = (x - 9.0, y - 9.0);
        match () {
            () if dx.abs() > 6.0 || dy.abs() > 4.0 => 5,
            () if (dx * angle.cos() + dy * angle.sin()).abs() < 0.5 * band_m => band,
            () => 240,
        }
    };
    (0..60 * 60).map(score).collect()
}

/// As scores of 0..=1 are stored.
fn score(probability: f64) -> u8 {
    (probability * f64::from(FULL)) as u8
}

#[test]
fn a_closing_joins_the_pieces_of_a_roof_under_a_tree_but_no_houses_across_an_alley() {
    let none = PolygonizeOptions::default();
    let any = PolygonizeOptions { closing_m: 0.7, ..none.clone() };
    let likely = PolygonizeOptions { closing_threshold: 0.3, ..any.clone() };
    for band_m in [0.6, 0.9, 1.2] {
        for angle in [0.0, 0.4] {
            let tree = pieces(band_m, angle, score(0.4));
            let alley = pieces(band_m, angle, score(0.1));
            let found = |scores: &[u8], options| outlines(scores, 60, options).len();
            for (options, expected) in [(&none, [2, 2]), (&any, [1, 1]), (&likely, [1, 2])] {
                let found = [found(&tree, options), found(&alley, options)];
                assert_eq!(found, expected, "{band_m} m at {angle}, {options:?}");
            }
            let house = &outlines(&tree, 60, &likely)[0];
            assert!((house.area_m2 - 96.0).abs() < 4.0, "{} m2 instead of 96", house.area_m2);
        }
    }
}

#[test]
fn closing_joins_over_a_gap_but_never_over_no_data() {
    let closing = PolygonizeOptions { closing_m: 0.6, ..PolygonizeOptions::exact(0.5) };
    assert_eq!(outlines(&pieces(0.6, 0.0, 0), 60, &closing).len(), 1);
    assert_eq!(outlines(&pieces(0.6, 0.0, NODATA), 60, &closing).len(), 2);
    assert_eq!(outlines(&pieces(0.6, 0.0, 0), 60, &PolygonizeOptions::exact(0.5)).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scores_below_the_closing_threshold_close_like_no_data(
        scores in prop::collection::vec(any::<u8>(), 40 * 30),
        threshold in 0.0_f64..=1.0,
        closing_threshold in 0.0_f64..=1.0,
        closing_m in 0.3_f64..1.5,
    ) {
        let options = PolygonizeOptions { closing_m, closing_threshold, ..PolygonizeOptions::exact(threshold) };
        // What is building by itself is so under any closing threshold.
        let lowest = closing_threshold.min(threshold) * f64::from(FULL) - 1e-9;
        let unseen = |score: &u8| if f64::from(*score) < lowest { NODATA } else { *score };
        let without: Vec<u8> = scores.iter().map(unseen).collect();
        let plain = PolygonizeOptions { closing_threshold: 0.0, ..options.clone() };
        prop_assert_eq!(outlines(&scores, 40, &options), outlines(&without, 40, &plain));
    }
}
