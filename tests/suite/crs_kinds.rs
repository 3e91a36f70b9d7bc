//! Lengths and areas are metres on the ground, whatever the units of the scene's CRS.

use geoseg::geo::raster::{Compression, write_geotiff};
use geoseg::geo::vector::OutputCrs;
use geoseg::geo::{Crs, GeoTransform, Grid};
use geoseg::polygonize::{FULL, PolygonizeOptions, run};
use geoseg::progress::Progress;

/// Side of a pixel on the ground, m.
const PIXEL_M: f64 = 0.3;
const SIDE: usize = 200;

/// Where a scene lies: name, EPSG code, easting and northing of its corner, units per metre along both.
type Place = (&'static str, u32, (f64, f64), (f64, f64));

/// Pixels of 0.3 m at 60 degrees north, in feet at 40.7.
fn places() -> Vec<Place> {
    // Radii of the ellipsoid at 60 degrees, along and across the parallel.
    let (a, e2) = (6_378_137.0_f64, 0.006_694_379_990_141_f64);
    let (sin, cos) = 60.0_f64.to_radians().sin_cos();
    let w = (1.0 - e2 * sin * sin).sqrt();
    let (across, along) = (a / w, a * (1.0 - e2) / w.powi(3));
    let degree = 1.0_f64.to_radians();
    let mercator_y = a * ((1.0 + sin) / (1.0 - sin)).sqrt().ln();
    let foot = 1200.0 / 3937.0;
    vec![
        // On the central meridian one metre counts 0.9996.
        ("UTM", 32632, (500_000.0, 6_651_000.0), (0.9996, 0.9996)),
        ("degrees", 4326, (10.0, 60.0), (1.0 / (degree * across * cos), 1.0 / (degree * along))),
        // The sphere's projection of the ellipsoid's latitude: unlike scales along both axes.
        ("web mercator", 3857, (1_113_194.9, mercator_y), (a / (across * cos), a / (along * cos))),
        ("feet", 2263, (985_000.0, 205_000.0), (1.0 / foot, 1.0 / foot)),
    ]
}

/// Rectangles (column, row, width, height), px, each a case for one parameter.
const HOUSE: [usize; 4] = [20, 20, 60, 40];
const COURTYARD: [usize; 4] = [30, 30, 6, 6];
const HUT: [usize; 4] = [120, 20, 6, 7];
const HALVES: [[usize; 4]; 2] = [[20, 90, 30, 30], [53, 90, 30, 30]];
const WIRE: [usize; 4] = [120, 60, 60, 2];
const TWINS: [[usize; 4]; 3] = [[110, 120, 30, 30], [140, 132, 8, 6], [148, 120, 30, 30]];

fn scores() -> Vec<u8> {
    let inside = |[col, row, width, height]: [usize; 4], x: usize, y: usize| {
        (col..col + width).contains(&x) && (row..row + height).contains(&y)
    };
    let score = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        let solid = [HOUSE, HUT, WIRE].into_iter().chain(HALVES).chain(TWINS);
        let built = solid.into_iter().any(|place| inside(place, x, y));
        if built && !inside(COURTYARD, x, y) { FULL } else { 0 }
    };
    (0..SIDE * SIDE).map(score).collect()
}

/// Buildings, those too small, filled holes, and the areas and numbers of vertices in order of area.
#[derive(Debug)]
struct Found {
    counts: [u64; 3],
    areas_m2: Vec<f64>,
    vertices: Vec<u64>,
}

fn polygonized(place: &Place, options: &PolygonizeOptions) -> Found {
    let (_, epsg, (x, y), per_metre) = *place;
    let folder = tempfile::tempdir().unwrap();
    let (scores_path, out) = (folder.path().join("s.tif"), folder.path().join("b.geojson"));
    let step = (PIXEL_M * per_metre.0, PIXEL_M * per_metre.1);
    let grid = Grid {
        width: SIDE,
        height: SIDE,
        transform: GeoTransform([x, step.0, 0.0, y, 0.0, -step.1]),
        crs: Some(Crs::from_epsg(epsg).unwrap()),
        // The file is opened anew: what it measures on the ground is found out there.
        gsd_m: None,
    };
    write_geotiff(&scores_path, &grid, 1, &scores(), Some(255.0), Compression::Deflate).unwrap();
    let crs = OutputCrs::Auto;
    let report = run(&scores_path, options, &out, crs, false, "scene", Progress::Hidden).unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    let buildings: geojson::FeatureCollection =
        text.parse::<geojson::GeoJson>().unwrap().try_into().unwrap();
    let mut found: Vec<(f64, u64)> = buildings
        .features
        .iter()
        .map(|feature| {
            let number = |key: &str| feature.property(key).unwrap().as_f64().unwrap();
            (number("area_m2"), number("n_vertices") as u64)
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    Found {
        counts: [report.buildings, report.dropped_small, report.holes_filled],
        areas_m2: found.iter().map(|(area, _)| *area).collect(),
        vertices: found.iter().map(|(_, vertices)| *vertices).collect(),
    }
}

/// The same scores in every CRS, with one parameter changed.
fn same_everywhere(change: impl FnOnce(&mut PolygonizeOptions)) -> Found {
    let mut options = PolygonizeOptions {
        min_area_m2: 0.0,
        min_width_m: 0.0,
        min_hole_m2: 0.0,
        split_neck: 0.0,
        ..PolygonizeOptions::default()
    };
    change(&mut options);
    let mut places = places().into_iter();
    let first = polygonized(&places.next().unwrap(), &options);
    for place in places {
        let found = polygonized(&place, &options);
        assert_eq!((found.counts, &found.vertices), (first.counts, &first.vertices), "{}", place.0);
        for (a, b) in found.areas_m2.iter().zip(&first.areas_m2) {
            assert!((a / b - 1.0).abs() < 0.005, "{}: {a} m2 instead of {b}", place.0);
        }
    }
    first
}

#[test]
fn nothing_but_the_units_differs() {
    let found = same_everywhere(|_| ());
    // House, hut, two halves, wire, twins in one.
    assert_eq!(found.counts, [6, 0, 0]);
    let house_m2 = (60.0 * 40.0 - 36.0) * PIXEL_M * PIXEL_M;
    let off = found.areas_m2.iter().map(|area| (area / house_m2 - 1.0).abs());
    assert!(off.fold(f64::INFINITY, f64::min) < 0.01, "{found:?}");
}

#[test]
fn least_areas_are_square_metres() {
    // The hut has 42 pixels, 3.8 m2; the courtyard 36, 3.2 m2; the wire 120, 10.8 m2.
    assert_eq!(same_everywhere(|options| options.min_area_m2 = 4.2).counts, [5, 1, 0]);
    assert_eq!(same_everywhere(|options| options.min_area_m2 = 3.0).counts, [6, 0, 0]);
    assert_eq!(same_everywhere(|options| options.min_hole_m2 = 3.6).counts, [6, 0, 1]);
    // The wire is 0.58 m wide on average (its ends count).
    assert_eq!(same_everywhere(|options| options.min_width_m = 0.65).counts, [5, 1, 0]);
    assert_eq!(same_everywhere(|options| options.min_width_m = 0.5).counts, [6, 0, 0]);
    assert_eq!(same_everywhere(|options| options.min_hole_m2 = 2.8).counts, [6, 0, 0]);
}

#[test]
fn closing_and_opening_are_metres() {
    // The halves stand three pixels apart, 0.9 m; the wire is two pixels wide.
    assert_eq!(same_everywhere(|options| options.closing_m = 0.75).counts, [5, 0, 0]);
    assert_eq!(same_everywhere(|options| options.closing_m = 0.4).counts, [6, 0, 0]);
    assert_eq!(same_everywhere(|options| options.opening_m = 0.5).counts[0], 5);
}

#[test]
fn parts_and_tolerances_are_metres() {
    // The twins have 81 m2 each, and a neck of a fifth of their width.
    let split = |least| {
        move |options: &mut PolygonizeOptions| {
            (options.split_neck, options.split_min_m2) = (0.7, least);
        }
    };
    assert_eq!(same_everywhere(split(70.0)).counts[0], 7);
    assert_eq!(same_everywhere(split(95.0)).counts[0], 6);
    // The neck's corners go where the tolerance is coarser than the step beside it.
    let fine = same_everywhere(|options| options.simplify_m = 0.3);
    let coarse = same_everywhere(|options| {
        (options.simplify_m, options.regularize.enabled) = (6.0, false);
    });
    assert!(
        coarse.vertices.iter().sum::<u64>() < fine.vertices.iter().sum(),
        "{coarse:?} {fine:?}"
    );
}
