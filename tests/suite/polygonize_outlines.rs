//! What holds for the outlines of any scores.

use geo::{Area, BoundingRect, Validation};
use geoseg::geo::overlap::Shape;
use geoseg::geo::{GeoTransform, Grid};
use geoseg::polygonize::{
    FULL, NODATA, Outline, OutlineForm, PolygonizeOptions, Polygonizer, Rows, Status, polygons_of,
    score_of,
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

    fn rows(&self) -> Rows {
        self.scores.clone().into()
    }

    fn outlines(&self, gsd_m: (f64, f64), options: &PolygonizeOptions) -> Vec<Outline> {
        let grid = grid(self.width, self.height, gsd_m);
        polygons_of(&self.rows(), &grid, options)
    }

    /// Components of set pixels that touch by sides or corners.
    fn components_by_corners(&self) -> usize {
        let mut left: Vec<bool> =
            self.scores.iter().map(|score| (127..=FULL).contains(score)).collect();
        let mut count = 0;
        for start in 0..left.len() {
            count += usize::from(left[start]);
            let mut todo = vec![start];
            while let Some(at) = todo.pop() {
                if !std::mem::take(&mut left[at]) {
                    continue;
                }
                let (x, y) = (at % self.width, at / self.width);
                for y in y.saturating_sub(1)..(y + 2).min(self.height) {
                    let cols = x.saturating_sub(1)..(x + 2).min(self.width);
                    todo.extend(cols.map(|x| y * self.width + x));
                }
            }
        }
        count
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
    let options = PolygonizeOptions { min_area_m2: 0.0, min_hole_m2: 0.0, ..Default::default() };
    PolygonizeOptions { min_width_m: 0.0, split_neck: 0.0, ..options }
}

fn form() -> impl Strategy<Value = OutlineForm> {
    prop_oneof![Just(OutlineForm::Pixel), Just(OutlineForm::Subpixel)]
}

fn assert_apart(outlines: &[Outline]) {
    let shape = |o: &Outline| Shape::new(&geo::MultiPolygon::new(vec![o.polygon.clone()]));
    let shapes: Vec<Shape> = outlines.iter().map(shape).collect();
    for (i, a) in shapes.iter().enumerate() {
        for b in &shapes[i + 1..] {
            assert!(a.shared_area(b) < 1e-6, "two buildings share {} m2", a.shared_area(b));
        }
    }
}

fn assert_valid(outlines: &[Outline]) {
    for outline in outlines {
        assert!(outline.polygon.is_valid(), "{:?}", outline.polygon);
        assert!(outline.polygon.signed_area() > 0.0, "outer rings run counter-clockwise on a map");
        assert!((0.0..=1.0).contains(&outline.confidence.mean));
        assert!(outline.confidence.min <= outline.confidence.mean + 1e-6);
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
    fn pixels_connected_by_corners_are_one_valid_building(
        picture in prop_oneof![noise(), town()],
        simplify_m in prop_oneof![Just(0.0), 0.1_f64..3.0],
        outline in form(),
    ) {
        let options = PolygonizeOptions { connectivity: 8, simplify_m, outline, ..everything_kept() };
        let outlines = picture.outlines((0.5, 0.5), &options);
        assert_valid(&outlines);
        assert_apart(&outlines);
        let sides = PolygonizeOptions { connectivity: 4, simplify_m: 0.0, ..options.clone() };
        prop_assert!(outlines.len() <= picture.outlines((0.5, 0.5), &sides).len());
        if simplify_m == 0.0 {
            prop_assert_eq!(outlines.len(), picture.components_by_corners());
        }
    }

    #[test]
    fn simplified_outlines_are_valid_at_any_tolerance(
        picture in prop_oneof![noise(), town()],
        simplify_m in prop_oneof![Just(0.5), 0.1_f64..6.0],
        gsd_m in prop_oneof![Just((0.3, 0.3)), (0.2_f64..1.5, 0.2_f64..1.5)],
        min_hole_m2 in prop_oneof![Just(0.0), Just(2.0)],
        outline in form(),
    ) {
        let exact = picture.outlines(gsd_m, &PolygonizeOptions::exact(0.5));
        let options = PolygonizeOptions { simplify_m, min_hole_m2, outline, ..everything_kept() };
        let simple = picture.outlines(gsd_m, &options);
        assert_valid(&simple);
        assert_apart(&simple);
        // What a tolerance of its own size makes of a speck may lie within its neighbour.
        prop_assert!(simple.len() <= exact.len());
        let specks = exact.iter().filter(|o| o.area_m2 < 40.0 * simplify_m.max(gsd_m.0).max(gsd_m.1).powi(2));
        prop_assert!(exact.len() - simple.len() <= specks.count());
        if simple.len() < exact.len() {
            return Ok(());
        }
        let reach = 2.0 * simplify_m.max(gsd_m.0.max(gsd_m.1)) + 1e-6;
        for (exact, simple) in exact.iter().zip(&simple) {
            prop_assert_eq!(exact.confidence, simple.confidence);
            // A regular outline may leave out a spike.
            if simple.status != Status::Simplified {
                continue;
            }
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
        closing_threshold in prop_oneof![Just(0.0), Just(0.2)],
        opening_m in prop_oneof![Just(0.0), Just(0.4)],
        outline in form(),
        split_neck in prop_oneof![Just(0.0), Just(0.8)],
        walls in any::<bool>(),
    ) {
        let options = PolygonizeOptions {
            closing_m, closing_threshold, opening_m, outline, split_neck, split_min_m2: 1.0, min_area_m2: 0.3,
            ..everything_kept()
        };
        let grid = grid(picture.width, picture.height, (0.3, 0.3));
        let walls = walls.then(|| {
            let is_wall = |i: usize| (i % picture.width + 2 * (i / picture.width)).is_multiple_of(7);
            (0..picture.scores.len()).map(|i| if is_wall(i) { FULL } else { 0 }).collect()
        });
        let all = Rows { walls, ..picture.rows() };
        let whole = polygons_of(&all, &grid, &options);
        assert_valid(&whole);
        assert_apart(&whole);
        let mut polygonizer = Polygonizer::new(&grid, &options);
        let mut strips = Vec::new();
        let size = rows * picture.width;
        for (strip, scores) in picture.scores.chunks(size).enumerate() {
            let walls = all.walls.as_ref().map(|walls| walls[strip * size..][..scores.len()].to_vec());
            strips.extend(polygonizer.push_rows(&Rows { scores: scores.to_vec(), walls }));
        }
        strips.extend(polygonizer.finish());
        prop_assert_eq!(polygonizer.counts().buildings, strips.len() as u64);
        prop_assert_eq!(whole, strips);
    }
}

#[test]
fn the_contour_of_a_smooth_hill_is_right_to_a_tenth_of_a_pixel() {
    let (cx, cy, radius) = (25.3, 24.8, 15.4);
    let hill = Picture::draw(50, 50, |x, y| {
        (127.0 + 20.0 * (radius - (x - cx).hypot(y - cy))).clamp(0.0, 254.0).round() as u8
    });
    let options = PolygonizeOptions { simplify_m: 0.0, ..everything_kept() };
    let outlines = hill.outlines((1.0, 1.0), &options);
    assert_valid(&outlines);
    assert_eq!(outlines.len(), 1);
    for corner in &outlines[0].polygon.exterior().0 {
        let r = (corner.x - 500.0 - cx).hypot(900.0 - corner.y - cy);
        assert!((r - radius).abs() < 0.1, "{r} instead of {radius}");
    }
}

/// Discs (x, y, radius) as one mask.
fn discs(discs: &[(f64, f64, f64)]) -> Picture {
    Picture::draw(90, 60, |x, y| {
        if discs.iter().any(|(cx, cy, r)| (x - cx).hypot(y - cy) < *r) { FULL } else { 0 }
    })
}

#[test]
fn houses_that_touch_by_a_narrow_neck_come_apart_and_share_their_wall() {
    let picture = discs(&[(25.0, 30.0, 15.0), (50.0, 31.0, 14.0), (70.0, 30.0, 11.0)]);
    for outline in [OutlineForm::Pixel, OutlineForm::Subpixel] {
        for simplify_m in [0.0, 1.5] {
            let apart =
                PolygonizeOptions { outline, simplify_m, split_neck: 0.8, ..everything_kept() };
            let parts = picture.outlines((1.0, 1.0), &apart);
            assert_valid(&parts);
            assert_apart(&parts);
            assert_eq!(parts.len(), 3);
            let one = PolygonizeOptions { split_neck: 0.0, ..apart.clone() };
            let whole = picture.outlines((1.0, 1.0), &one);
            assert_eq!(whole.len(), 1);
            let sum: f64 = parts.iter().map(|o| o.area_m2).sum();
            let off = (sum - whole[0].area_m2).abs() / sum;
            assert!(off < if simplify_m > 0.0 { 0.02 } else { 1e-3 }, "{off}");
            // The wall between the first two is one line: each has its vertices.
            let of = |i: usize| parts[i].polygon.exterior().0.clone();
            let common = of(0).into_iter().filter(|c| of(1).contains(c)).count();
            assert!(common >= 2, "{common} common vertices");
        }
    }
}

#[test]
fn wings_of_a_house_and_small_parts_stay() {
    let wings = Picture::draw(90, 60, |x, y| {
        let long = (10.0..70.0).contains(&x) && (10.0..24.0).contains(&y);
        let wing = (10.0..24.0).contains(&x) && (10.0..50.0).contains(&y);
        if long || wing { FULL } else { 0 }
    });
    let options = PolygonizeOptions { split_neck: 0.7, split_min_m2: 300.0, ..everything_kept() };
    assert_eq!(wings.outlines((1.0, 1.0), &options).len(), 1);
    // The smallest disc is too small to be a house, and goes to its neighbour.
    let picture = discs(&[(25.0, 30.0, 15.0), (50.0, 31.0, 14.0), (67.0, 30.0, 7.0)]);
    assert_eq!(picture.outlines((1.0, 1.0), &options).len(), 2);
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
            for outline in [OutlineForm::Pixel, OutlineForm::Subpixel] {
                let options = PolygonizeOptions { outline, ..PolygonizeOptions::default() };
                let outlines = picture.outlines((0.3, 0.3), &options);
                assert_eq!(outlines.len(), 1);
                let walls = outlines[0].polygon.exterior().0.len() - 1;
                assert!((4..=8).contains(&walls), "{walls} walls at {degrees} degrees");
                let expected = 4.0 * a * b * 0.09;
                let error = (outlines[0].area_m2 - expected).abs() / expected;
                assert!(error < 0.05, "area off by {:.1} % at {degrees} degrees", error * 100.0);
            }
        }
    }
}

#[test]
fn a_house_along_the_pixels_keeps_its_corners() {
    let picture = Picture::draw(40, 30, |x, y| {
        if (5.0..25.0).contains(&x) && (4.0..20.0).contains(&y) { 200 } else { 3 }
    });
    let options = PolygonizeOptions { outline: OutlineForm::Pixel, ..Default::default() };
    let outlines = picture.outlines((0.5, 0.5), &options);
    assert_eq!(outlines.len(), 1);
    assert_eq!(outlines[0].area_m2, 20.0 * 16.0 * 0.25);
    assert_eq!(outlines[0].polygon.exterior().0.len(), 5);
    assert!((outlines[0].confidence.mean - 200.0 / 254.0).abs() < 1e-6);
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
    let options = PolygonizeOptions {
        min_area_m2: 17.0,
        min_hole_m2: 10.0,
        outline: OutlineForm::Pixel,
        ..Default::default()
    };
    let mut polygonizer = Polygonizer::new(&grid(60, 40, (1.0, 1.0)), &options);
    let mut outlines = polygonizer.push_rows(&picture.rows());
    outlines.extend(polygonizer.finish());
    assert_eq!(outlines.len(), 1);
    assert_eq!(outlines[0].polygon.interiors().len(), 1);
    assert_eq!(outlines[0].area_m2, 900.0 - 64.0);
    let counts = polygonizer.counts();
    assert_eq!((counts.buildings, counts.dropped_small, counts.holes_filled), (1, 1, 1));
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
        let outlines = polygons_of(&picture.rows(), &grid, &PolygonizeOptions::default());
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
    let options = PolygonizeOptions { outline: OutlineForm::Pixel, ..Default::default() };
    let outlines = picture.outlines((1.0, 1.0), &options);
    let tops: Vec<f64> =
        outlines.iter().map(|o| o.polygon.bounding_rect().unwrap().max().y).collect();
    assert_eq!(tops, [900.0, 897.0, 887.0, 877.0, 867.0, 857.0]);
}

#[test]
fn floating_point_scores_round_to_the_bytes_of_the_scores_raster() {
    assert_eq!(score_of(0.5), 127);
    assert_eq!(score_of(f32::NAN), NODATA);
}
