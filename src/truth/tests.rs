//! Masks against GDAL in world coordinates, against point-in-polygon, and against distances.

use gdal::raster::{RasterizeOptions, rasterize};
use gdal::vector::ToGdal;
use geo::{Contains, MultiPolygon, Point, polygon};
use proptest::prelude::*;

use super::*;
use crate::geo::GeoTransform;

fn grid(width: usize, height: usize, transform: [f64; 6]) -> Grid {
    let [_, a, b, _, c, d] = transform;
    let gsd_m = Some((a.hypot(c), b.hypot(d)));
    Grid { width, height, transform: GeoTransform(transform), crs: None, gsd_m }
}

/// A rectangle with a courtyard, turned by `angle`, in world coordinates.
fn house(x: f64, y: f64, w: f64, h: f64, angle: f64) -> MultiPolygon<f64> {
    use geo::MapCoords;
    let ring = polygon![
        exterior: [(x: -w, y: -h), (x: w, y: -h), (x: w, y: h), (x: -w, y: h), (x: -w, y: -h)],
        interiors: [[
            (x: -w / 3.0, y: -h / 3.0), (x: w / 3.0, y: -h / 3.0),
            (x: w / 3.0, y: h / 3.0), (x: -w / 3.0, y: h / 3.0), (x: -w / 3.0, y: -h / 3.0),
        ]],
    ];
    let (s, c) = angle.sin_cos();
    MultiPolygon(vec![
        ring.map_coords(|p| geo::Coord { x: x + c * p.x - s * p.y, y: y + s * p.x + c * p.y }),
    ])
}

fn labels(
    shapes: &[MultiPolygon<f64>],
    native: &Grid,
    at: &Grid,
    window: Window,
    options: TruthOptions,
) -> Vec<u8> {
    let truth = Truth::prepare(shapes, None, native, &options).unwrap();
    truth.rasterize(at, window, &vec![true; window.area()]).unwrap()
}

fn houses() -> impl Strategy<Value = Vec<MultiPolygon<f64>>> {
    let one = (5.0..45f64, 5.0..45f64, 1.0..9f64, 1.0..9f64, 0.0..6.3f64);
    prop::collection::vec(one.prop_map(|(x, y, w, h, a)| house(x, y, w, h, a)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_north_up_mask_is_what_gdal_burns_in_world_coordinates(
        shapes in houses(), all_touched in any::<bool>(), factor in 1usize..4,
    ) {
        let native = grid(100, 100, [0.0, 0.5, 0.0, 50.0, 0.0, -0.5]);
        let at = native.resized(100 / factor, 100 / factor);
        let window = Window { col: 3, row: 5, width: 20, height: 25 };
        let found =
            labels(&shapes, &native, &at, window, TruthOptions { all_touched, ..Default::default() });
        let driver = gdal::DriverManager::get_driver_by_name("MEM").unwrap();
        let mut raster =
            driver.create_with_band_type::<u8, _>("", at.width, at.height, 1).unwrap();
        raster.set_geo_transform(&at.transform.0).unwrap();
        let geometries: Vec<_> = shapes.iter().map(|shape| shape.to_gdal().unwrap()).collect();
        let options = RasterizeOptions { all_touched, ..Default::default() };
        let values = vec![1.0; geometries.len()];
        rasterize(&mut raster, &[1], &geometries, &values, Some(options)).unwrap();
        let expected = raster
            .rasterband(1)
            .unwrap()
            .read_as::<u8>((3, 5), (20, 25), (20, 25), None)
            .unwrap();
        prop_assert_eq!(found, expected.data());
    }

    #[test]
    fn any_affine_mask_holds_the_pixels_whose_centres_lie_in_a_footprint(
        shapes in houses(), angle in 0.0..6.3f64, south_up in any::<bool>(),
    ) {
        let flip = if south_up { 1.0 } else { -1.0 };
        let (s, c) = (0.7 * angle.sin(), 0.7 * angle.cos());
        let mut native = grid(60, 60, [0.0, c, -s * flip, 0.0, s, c * flip]);
        // The middle of the raster on the middle of the houses.
        let (x, y) = native.transform.apply(30.0, 30.0);
        native.transform.0[0] += 25.0 - x;
        native.transform.0[3] += 25.0 - y;
        let window = Window::whole(60, 60);
        let options = TruthOptions { all_touched: false, ..Default::default() };
        let found = labels(&shapes, &native, &native, window, options);
        for (at, label) in found.iter().enumerate() {
            let (col, row) = ((at % 60) as f64 + 0.5, (at / 60) as f64 + 0.5);
            let (x, y) = native.transform.apply(col, row);
            let inside = shapes.iter().any(|shape| shape.contains(&Point::new(x, y)));
            prop_assert_eq!(*label == BUILDING, inside, "col {} row {}", col, row);
        }
    }
}

#[test]
fn windows_of_a_mask_are_parts_of_the_whole_mask() {
    let native = grid(100, 100, [0.0, 0.5, 0.1, 50.0, 0.1, -0.5]);
    let shapes: Vec<_> =
        (0..8).map(|i| house(5.0 + 6.0 * f64::from(i), 25.0, 2.0, 9.0, f64::from(i))).collect();
    let options = TruthOptions { all_touched: true, boundary_m: Some(0.8), contact_m: Some(2.5) };
    let at = native.resized(70, 70);
    let whole = labels(&shapes, &native, &at, Window::whole(70, 70), options);
    let seen: std::collections::BTreeSet<u8> = whole.iter().copied().collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [BACKGROUND, BUILDING, BOUNDARY, CONTACT]);
    for (col, row) in [(0, 0), (20, 20), (33, 41), (50, 50)] {
        let window = Window { col, row, width: 20, height: 20 };
        let part = labels(&shapes, &native, &at, window, options);
        for (i, label) in part.iter().enumerate() {
            assert_eq!(*label, whole[(row + i / 20) * 70 + col + i % 20]);
        }
    }
}

#[test]
fn a_boundary_is_as_wide_as_asked_and_lies_inside() {
    // 20 m by 20 m of 0.5 m pixels, wider than high on the ground: 1 m by 0.5 m.
    let mut native = grid(40, 40, [0.0, 0.5, 0.0, 20.0, 0.0, -0.5]);
    native.gsd_m = Some((1.0, 0.5));
    let shape = MultiPolygon(vec![geo::Rect::new((5.0, 5.0), (15.0, 15.0)).to_polygon()]);
    let options = TruthOptions { all_touched: false, boundary_m: Some(2.0), contact_m: None };
    let found = labels(&[shape], &native, &native, Window::whole(40, 40), options);
    let line = |of: &dyn Fn(usize) -> u8| (0..40).map(of).collect::<Vec<u8>>();
    let row = line(&|col| found[20 * 40 + col]);
    let col = line(&|row| found[row * 40 + 20]);
    let expected = |ring: usize| {
        line(&|i| match i {
            i if !(10..30).contains(&i) => BACKGROUND,
            i if i < 10 + ring || i >= 30 - ring => BOUNDARY,
            _ => BUILDING,
        })
    };
    assert_eq!(row, expected(2), "two columns of 1 m");
    assert_eq!(col, expected(4), "four rows of 0.5 m");
}

#[test]
fn contact_fills_narrow_gaps_only() {
    let native = grid(60, 40, [0.0, 0.5, 0.0, 20.0, 0.0, -0.5]);
    let block =
        |x0: f64, x1: f64| MultiPolygon(vec![geo::Rect::new((x0, 5.0), (x1, 15.0)).to_polygon()]);
    // Gaps of 1.5 m and 4 m.
    let shapes = [block(2.0, 8.0), block(9.5, 15.0), block(19.0, 25.0)];
    let options = TruthOptions { all_touched: false, boundary_m: None, contact_m: Some(2.0) };
    let found = labels(&shapes, &native, &native, Window::whole(60, 40), options);
    let row = &found[20 * 60..21 * 60];
    assert!(row[16..19].iter().all(|label| *label == CONTACT), "{row:?}");
    assert!(row[30..38].iter().all(|label| *label == BACKGROUND), "{row:?}");
    assert!(found[2 * 60..3 * 60].iter().all(|label| *label != CONTACT), "far beyond the ends");
    assert_eq!(options.classes(), ["background", "building", "boundary", "contact"]);
}

#[test]
fn what_is_unknown_is_never_background() {
    let native = grid(20, 20, [0.0, 1.0, 0.0, 20.0, 0.0, -1.0]);
    let shape = house(10.0, 10.0, 6.0, 6.0, 0.3);
    let aoi = [MultiPolygon(vec![geo::Rect::new((0.0, 0.0), (12.0, 20.0)).to_polygon()])];
    let truth = Truth::prepare(&[shape], Some(&aoi), &native, &TruthOptions::default()).unwrap();
    let valid: Vec<bool> = (0..400).map(|i| i / 20 != 3).collect();
    let found = truth.rasterize(&native, Window::whole(20, 20), &valid).unwrap();
    for (i, label) in found.iter().enumerate() {
        let unknown = i % 20 >= 12 || i / 20 == 3;
        assert_eq!(*label == IGNORE, unknown, "col {} row {}", i % 20, i / 20);
    }
    assert!(found.contains(&BUILDING) && found.contains(&BACKGROUND));
}

#[test]
fn metres_need_a_georeference() {
    let mut native = grid(20, 20, [0.0, 1.0, 0.0, 20.0, 0.0, -1.0]);
    native.gsd_m = None;
    let options = TruthOptions { boundary_m: Some(1.0), ..Default::default() };
    let error = Truth::prepare(&[], None, &native, &options).unwrap_err().to_string();
    assert!(error.contains("boundary_m"), "{error}");
}

#[test]
fn footprints_that_touch_a_window_are_counted() {
    let native = grid(100, 100, [0.0, 1.0, 0.0, 100.0, 0.0, -1.0]);
    let shapes = [house(10.0, 90.0, 5.0, 5.0, 0.0), house(80.0, 20.0, 5.0, 5.0, 0.0)];
    let truth = Truth::prepare(&shapes, None, &native, &TruthOptions::default()).unwrap();
    let window = |col, row| Window { col, row, width: 30, height: 30 };
    assert_eq!(truth.buildings_in(&native, window(0, 0)), [0]);
    assert_eq!(truth.buildings_in(&native, window(70, 60)), [1]);
    assert!(truth.buildings_in(&native, window(40, 40)).is_empty());
    assert_eq!(truth.boxes().len(), 2);
}
