//! What holds for the outlines of any scores.

use geo::{Area, BoundingRect, Validation};
use geoseg::geo::{GeoTransform, Grid};
use geoseg::polygonize::{
    FULL, NODATA, Outline, PolygonizeOptions, Polygonizer, polygons_of, score_of,
};
use proptest::prelude::*;

fn grid(width: usize, height: usize, gsd_m: (f64, f64)) -> Grid {
    let transform = GeoTransform([500.0, gsd_m.0, 0.0, 900.0, 0.0, -gsd_m.1]);
    Grid { width, height, transform, crs: None, gsd_m: Some(gsd_m) }
}

#[derive(Clone, Debug)]
struct Picture {
    width: usize,
    height: usize,
    scores: Vec<u8>,
}

impl Picture {
    fn draw(width: usize, height: usize, score: impl Fn(f64, f64) -> u8) -> Self {
        let at = |i: usize| score((i % width) as f64 + 0.5, (i / width) as f64 + 0.5);
        Self { width, height, scores: (0..width * height).map(at).collect() }
    }

    fn outlines(&self, gsd_m: (f64, f64), options: &PolygonizeOptions) -> Vec<Outline> {
        let grid = grid(self.width, self.height, gsd_m);
        polygons_of(&self.scores, self.width, self.height, &grid, options)
    }

    fn set_pixels(&self) -> usize {
        self.scores.iter().filter(|score| (127..=FULL).contains(score)).count()
    }
}

/// Noise of several densities, with no data here and there.
fn noise() -> impl Strategy<Value = Picture> {
    (1_usize..90, 1_usize..60, prop_oneof![Just(0.1), Just(0.4), Just(0.6), Just(0.85)])
        .prop_flat_map(|(width, height, density)| {
            let score = (prop::bool::weighted(density), prop::bool::weighted(0.02), 0_u8..127)
                .prop_map(
                    |(set, nodata, low)| {
                        if nodata { NODATA } else { low + if set { 127 } else { 0 } }
                    },
                );
            prop::collection::vec(score, width * height).prop_map(move |scores| Picture {
                width,
                height,
                scores,
            })
        })
}

/// Overlapping slanted rectangles: like buildings, with narrow gaps, courtyards and corners that touch.
fn town() -> impl Strategy<Value = Picture> {
    let house = (0.0..120.0, 0.0..90.0, 1.0..25.0, 1.0..15.0, 0.0..3.2, any::<bool>());
    prop::collection::vec(house, 1..14).prop_map(|houses| {
        Picture::draw(120, 90, |x, y| {
            let mut score = 0;
            for &(cx, cy, a, b, angle, solid) in &houses {
                let (s, c) = f64::sin_cos(angle);
                let (u, v): (f64, f64) = ((x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s);
                let inner = u.abs() < a - 3.0 && v.abs() < b - 3.0;
                if u.abs() < a && v.abs() < b && (solid || !inner) {
                    score = FULL;
                }
            }
            score
        })
    })
}

fn everything_kept() -> PolygonizeOptions {
    PolygonizeOptions { min_area_m2: 0.0, min_hole_m2: 0.0, ..PolygonizeOptions::default() }
}

fn assert_valid(outlines: &[Outline]) {
    for outline in outlines {
        assert!(outline.polygon.is_valid(), "{:?}", outline.polygon);
        assert!(outline.polygon.signed_area() > 0.0, "outer rings run counter-clockwise on a map");
        assert!((0.0..=1.0).contains(&outline.confidence));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exact_outlines_are_valid_and_cover_the_pixels(picture in prop_oneof![noise(), town()]) {
        let outlines = picture.outlines((1.0, 1.0), &PolygonizeOptions::exact(0.5));
        assert_valid(&outlines);
        let area: f64 = outlines.iter().map(|o| o.polygon.unsigned_area()).sum();
        prop_assert!((area - picture.set_pixels() as f64).abs() < 1e-6);
        for outline in outlines {
            prop_assert!((outline.area_m2 - outline.polygon.unsigned_area()).abs() < 1e-6);
        }
    }

    #[test]
    fn simplified_outlines_are_valid_at_any_tolerance(
        picture in prop_oneof![noise(), town()],
        simplify_m in prop_oneof![Just(0.5), 0.1_f64..6.0],
        gsd_m in prop_oneof![Just((0.3, 0.3)), (0.2_f64..1.5, 0.2_f64..1.5)],
        min_hole_m2 in prop_oneof![Just(0.0), Just(2.0)],
    ) {
        let exact = picture.outlines(gsd_m, &PolygonizeOptions::exact(0.5));
        let options = PolygonizeOptions { simplify_m, min_hole_m2, ..everything_kept() };
        let simple = picture.outlines(gsd_m, &options);
        assert_valid(&simple);
        prop_assert_eq!(exact.len(), simple.len());
        let reach = 2.0 * simplify_m.max(gsd_m.0.max(gsd_m.1)) + 1e-6;
        for (exact, simple) in exact.iter().zip(&simple) {
            prop_assert_eq!(exact.confidence, simple.confidence);
            let (a, b) = (exact.polygon.bounding_rect().unwrap(), simple.polygon.bounding_rect().unwrap());
            for (p, q) in [(a.min(), b.min()), (a.max(), b.max())] {
                prop_assert!((p.x - q.x).abs() <= reach && (p.y - q.y).abs() <= reach);
            }
        }
    }

    #[test]
    fn strips_of_any_height_give_the_outlines_of_one_piece(
        picture in prop_oneof![noise(), town()],
        rows in 1_usize..20,
        closing_m in prop_oneof![Just(0.0), Just(0.7)],
        opening_m in prop_oneof![Just(0.0), Just(0.4)],
    ) {
        let options = PolygonizeOptions { closing_m, opening_m, min_area_m2: 0.3, ..everything_kept() };
        let whole = picture.outlines((0.3, 0.3), &options);
        assert_valid(&whole);
        let mut polygonizer =
            Polygonizer::new(&grid(picture.width, picture.height, (0.3, 0.3)), &options);
        let mut strips = Vec::new();
        for strip in picture.scores.chunks(rows * picture.width) {
            strips.extend(polygonizer.push_rows(strip));
        }
        strips.extend(polygonizer.finish());
        prop_assert_eq!(polygonizer.counts().buildings, strips.len() as u64);
        prop_assert_eq!(whole, strips);
    }
}

/// A rectangle of half sides `a`, `b` around (cx, cy).
fn slanted(cx: f64, cy: f64, a: f64, b: f64, angle: f64) -> Picture {
    let (s, c) = angle.sin_cos();
    Picture::draw(100, 100, move |x, y| {
        let (u, v) = ((x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s);
        if u.abs() < a && v.abs() < b { FULL } else { 0 }
    })
}

#[test]
fn a_slanted_house_has_straight_walls_and_its_true_area() {
    for degrees in 0..90 {
        for (a, b) in [(15.0, 9.0), (30.0, 14.0)] {
            let picture = slanted(50.2, 49.7, a, b, f64::from(degrees).to_radians());
            let outlines = picture.outlines((0.3, 0.3), &PolygonizeOptions::default());
            assert_eq!(outlines.len(), 1);
            let walls = outlines[0].polygon.exterior().0.len() - 1;
            assert!((4..=8).contains(&walls), "{walls} walls at {degrees} degrees");
            let expected = 4.0 * a * b * 0.09;
            let error = (outlines[0].area_m2 - expected).abs() / expected;
            assert!(error < 0.05, "area off by {:.1} % at {degrees} degrees", error * 100.0);
        }
    }
}

#[test]
fn a_house_along_the_pixels_keeps_its_corners() {
    let picture = Picture::draw(40, 30, |x, y| {
        if (5.0..25.0).contains(&x) && (4.0..20.0).contains(&y) { 200 } else { 3 }
    });
    let outlines = picture.outlines((0.5, 0.5), &PolygonizeOptions::default());
    assert_eq!(outlines.len(), 1);
    assert_eq!(outlines[0].area_m2, 20.0 * 16.0 * 0.25);
    assert_eq!(outlines[0].polygon.exterior().0.len(), 5);
    assert!((outlines[0].confidence - 200.0 / 254.0).abs() < 1e-6);
}

#[test]
fn small_buildings_go_and_small_holes_are_filled() {
    let inside = |x: f64, y: f64, (x0, y0, side): (f64, f64, f64)| {
        (x0..x0 + side).contains(&x) && (y0..y0 + side).contains(&y)
    };
    let picture = Picture::draw(60, 40, |x, y| {
        let house = inside(x, y, (2.0, 2.0, 30.0));
        let holes = inside(x, y, (5.0, 5.0, 3.0)) || inside(x, y, (15.0, 15.0, 8.0));
        if (house && !holes) || inside(x, y, (40.0, 10.0, 4.0)) { FULL } else { 0 }
    });
    let options = PolygonizeOptions { min_area_m2: 17.0, min_hole_m2: 10.0, ..Default::default() };
    let mut polygonizer = Polygonizer::new(&grid(60, 40, (1.0, 1.0)), &options);
    let mut outlines = polygonizer.push_rows(&picture.scores);
    outlines.extend(polygonizer.finish());
    assert_eq!(outlines.len(), 1);
    assert_eq!(outlines[0].polygon.interiors().len(), 1);
    assert_eq!(outlines[0].area_m2, 900.0 - 64.0);
    let counts = polygonizer.counts();
    assert_eq!((counts.buildings, counts.dropped_small, counts.holes_filled), (1, 1, 1));
}

#[test]
fn closing_joins_over_a_gap_but_never_over_no_data() {
    let two_halves = |gap: u8| {
        Picture::draw(40, 20, move |x, y| match () {
            () if !(4.0..16.0).contains(&y) || !(4.0..36.0).contains(&x) => 0,
            () if (19.0..21.0).contains(&x) => gap,
            () => FULL,
        })
    };
    let options = PolygonizeOptions { closing_m: 2.0, ..PolygonizeOptions::exact(0.5) };
    assert_eq!(two_halves(0).outlines((1.0, 1.0), &options).len(), 1);
    assert_eq!(two_halves(NODATA).outlines((1.0, 1.0), &options).len(), 2);
    assert_eq!(two_halves(0).outlines((1.0, 1.0), &PolygonizeOptions::exact(0.5)).len(), 2);
}

#[test]
fn rotated_and_south_up_scenes_give_buildings_that_turn_the_right_way() {
    let picture = slanted(40.0, 50.0, 20.0, 10.0, 0.3);
    for transform in [
        GeoTransform([10.0, 0.3, 0.0, 20.0, 0.0, 0.3]),
        GeoTransform([10.0, 0.2, 0.1, 20.0, 0.1, -0.2]),
        GeoTransform::PIXEL,
    ] {
        let grid = Grid { transform, gsd_m: None, ..grid(100, 100, (1.0, 1.0)) };
        let outlines = polygons_of(&picture.scores, 100, 100, &grid, &PolygonizeOptions::default());
        assert_eq!(outlines.len(), 1);
        assert_valid(&outlines);
        let centre = outlines[0].polygon.bounding_rect().unwrap().center();
        let (x, y) = transform.apply(40.0, 50.0);
        assert!((centre.x - x).abs() < 1.0 && (centre.y - y).abs() < 1.0);
    }
}

#[test]
fn buildings_come_in_reading_order_even_where_a_later_one_ends_first() {
    // The comb's tooth at the left starts first and ends last.
    let picture = Picture::draw(50, 50, |x, y| {
        let tall = x < 5.0;
        let small = (20.0..30.0).contains(&x) && (f64::rem_euclid(y, 10.0) > 3.0);
        if tall || small { FULL } else { 0 }
    });
    let outlines = picture.outlines((1.0, 1.0), &PolygonizeOptions::default());
    let tops: Vec<f64> =
        outlines.iter().map(|o| o.polygon.bounding_rect().unwrap().max().y).collect();
    assert_eq!(tops, [900.0, 897.0, 887.0, 877.0, 867.0, 857.0]);
}

#[test]
fn floating_point_scores_round_to_the_bytes_of_the_scores_raster() {
    assert_eq!(score_of(0.5), 127);
    assert_eq!(score_of(f32::NAN), NODATA);
}
