//! A scene in degrees that counts on beyond 180, with vectors that, as RFC 7946 wants, go on at -180.

use geo::{Area, BoundingRect, Polygon, Rect};
use geoseg::config::dataset::{DatasetConfig, SceneEntry, SplitChoice, TilesSection};
use geoseg::config::polygonize::PolygonizeOptions;
use geoseg::evaluate::{EvalOptions, SceneInputs, run as evaluate};
use geoseg::geo::vector::{Attribute, FeatureReader, OutputCrs, VectorSource, read_footprints};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};
use geoseg::polygonize;
use geoseg::progress::Progress;
use geoseg::tiles::{self, TileSet};

use crate::support::program::Place;
use crate::support::synthetic::run;
use crate::support::untrained;

/// Pixels of 0.3 m or so at 17 degrees south.
const STEP: f64 = 2.75e-6;
const WIDTH: usize = 256;
const HEIGHT: usize = 64;
/// Columns of the left edges of houses of 16 x 16 px; the line is in the middle of the third.
const HOUSES: [usize; 5] = [20, 70, 120, 170, 220];

fn grid() -> Grid {
    Grid {
        width: WIDTH,
        height: HEIGHT,
        transform: GeoTransform([180.0 - 128.0 * STEP, STEP, 0.0, -17.0, 0.0, -STEP]),
        crs: Some(Crs::wgs84().unwrap()),
        gsd_m: None,
    }
}

fn is_house(i: usize) -> bool {
    let (col, row) = (i % WIDTH, i / WIDTH);
    (24..40).contains(&row) && HOUSES.iter().any(|house| (*house..house + 16).contains(&col))
}

/// `scores.tif`, `scene.tif`, and the houses as `truth.geojson`.
fn place() -> Place {
    let place = Place::new();
    let scores: Vec<u8> = (0..WIDTH * HEIGHT).map(|i| if is_house(i) { 254 } else { 0 }).collect();
    let at = |name: &str| place.path().join(name);
    write_geotiff(&at("scores.tif"), &grid(), 1, &scores, Some(255.0), Compression::Deflate)
        .unwrap();
    let scene = vec![90; 3 * WIDTH * HEIGHT];
    write_geotiff(&at("scene.tif"), &grid(), 3, &scene, None, Compression::Deflate).unwrap();
    let exact = PolygonizeOptions::exact(0.5);
    let (crs, shown) = (OutputCrs::Auto, Progress::Hidden);
    polygonize::run(&at("scores.tif"), &exact, &at("truth.geojson"), crs, false, "s", shown)
        .unwrap();
    place
}

#[test]
fn houses_on_both_sides_are_there_with_names_of_their_own() {
    let place = place();
    let source = VectorSource::file(place.path().join("truth.geojson"));
    let houses = read_footprints(&source, None).unwrap().polygons;
    assert_eq!(houses.iter().map(|house| house.0.len()).collect::<Vec<_>>(), [1, 1, 2, 1, 1]);
    let mut reader = FeatureReader::open(&source).unwrap();
    let id = reader.field("id").unwrap();
    let mut ids = std::collections::BTreeSet::new();
    reader
        .each(|feature| {
            let Attribute::Text(id) = &feature.attributes[id] else { panic!("{feature:?}") };
            ids.insert(id.clone());
            Ok(())
        })
        .unwrap();
    assert_eq!(ids.len(), 5);
    // Read beside the raster, the third is one again.
    let beside = read_footprints(&source, grid().crs.as_ref()).unwrap().beside(&grid());
    let bounds = |shape: &geo::MultiPolygon<f64>| shape.bounding_rect().unwrap();
    for (shape, col) in beside.polygons.iter().zip(HOUSES) {
        let west = 180.0 + (col as f64 - 128.0) * STEP;
        assert!(shape.0.len() == 1 && (bounds(shape).min().x - west).abs() < 2e-7, "{shape:?}");
    }
}

#[test]
fn tiles_are_labelled_on_both_sides() {
    let place = place();
    let config = DatasetConfig {
        tiles: TilesSection { tile_px: 64, ..TilesSection::default() },
        scene: vec![SceneEntry {
            image: place.path().join("scene.tif"),
            footprints: place.path().join("truth.geojson"),
            split: SplitChoice::Train,
            ..SceneEntry::default()
        }],
        ..DatasetConfig::default()
    };
    let out = place.path().join("tiles");
    tiles::run(&config, &out, false, Progress::Hidden).unwrap();
    let set = TileSet::open(&out).unwrap();
    let mut labelled = 0;
    for tile in &set.tiles {
        for (at, label) in set.read(tile).unwrap().mask.iter().enumerate() {
            let (col, row) = (tile.col + at % 64, tile.row + at / 64);
            // Seven decimals of a degree are 0.04 px: an edge may touch a pixel beyond.
            if is_house(row * WIDTH + col) {
                assert_eq!(*label, 1, "{col} {row}");
                labelled += 1;
            }
        }
    }
    assert_eq!(labelled, 5 * 256);
}

/// That buildings judged by themselves, and the scores that they were made of, are right to the pixel.
fn assert_all_found(place: &Place, buildings: &str, scores: &str) {
    let truth = VectorSource::file(place.path().join(buildings));
    let inputs = SceneInputs {
        truth: truth.clone(),
        predicted: Some(truth),
        scores: Some(place.path().join(scores)),
        ..SceneInputs::default()
    };
    let options =
        EvalOptions { scenes: vec![inputs], all_touched: false, ..EvalOptions::default() };
    let report = evaluate(&options, Progress::Hidden).unwrap();
    assert_eq!(report.total.buildings.unwrap().true_positive, 5);
    for pixels in &report.total.pixels {
        assert_eq!(pixels.scores.true_positive, 5 * 256, "{pixels:?}");
    }
}

#[test]
fn scores_and_buildings_are_judged_on_both_sides() {
    let place = place();
    assert_all_found(&place, "truth.geojson", "scores.tif");
}

#[test]
fn a_town_on_the_line_is_judged_without_a_raster_as_with_one() {
    let place = place();
    let truth = VectorSource::file(place.path().join("truth.geojson"));
    let inputs =
        SceneInputs { truth: truth.clone(), predicted: Some(truth), ..SceneInputs::default() };
    let report =
        evaluate(&EvalOptions { scenes: vec![inputs], ..EvalOptions::default() }, Progress::Hidden);
    assert_eq!(report.unwrap().total.buildings.unwrap().true_positive, 5);
}

#[test]
fn web_mercator_counts_on_as_degrees_do() {
    let place = place();
    let at = |name: &str| place.path().join(name);
    let step = STEP.to_radians() * 6_378_137.0;
    let north = {
        let crs = Crs::from_epsg(3857).unwrap();
        let way = geoseg::geo::Reprojection::new(&Crs::wgs84().unwrap(), &crs).unwrap();
        way.point(179.0, -17.0).unwrap().1
    };
    let grid = Grid {
        transform: GeoTransform([20_037_508.342_789 - 128.0 * step, step, 0.0, north, 0.0, -step]),
        crs: Some(Crs::from_epsg(3857).unwrap()),
        ..grid()
    };
    let scores: Vec<u8> = (0..WIDTH * HEIGHT).map(|i| if is_house(i) { 254 } else { 0 }).collect();
    write_geotiff(&at("w.tif"), &grid, 1, &scores, Some(255.0), Compression::Deflate).unwrap();
    let exact = PolygonizeOptions::exact(0.5);
    let (crs, shown) = (OutputCrs::Auto, Progress::Hidden);
    polygonize::run(&at("w.tif"), &exact, &at("w.geojson"), crs, false, "w", shown).unwrap();
    assert_all_found(&place, "w.geojson", "w.tif");
}

#[test]
fn areas_and_boxes_reach_across() {
    let place = place();
    untrained::model(&place.path().join("m.safetensors"), 3, 0.3);
    // Twenty columns on both sides of the line.
    let side = |west: f64| -> Polygon<f64> {
        let corner = (west, -17.0 - 40.0 * STEP);
        Rect::new(corner, (west + 20.0 * STEP, -17.0 - 10.0 * STEP)).to_polygon()
    };
    let ring = |polygon: &Polygon<f64>| {
        let corners = polygon.exterior().0.iter().map(|c| format!("[{:.9},{:.9}]", c.x, c.y));
        format!("[[{}]]", corners.collect::<Vec<_>>().join(","))
    };
    let (west, east) = (ring(&side(180.0 - 20.0 * STEP)), ring(&side(-180.0)));
    place.write(
        "aoi.geojson",
        &format!("{{\"type\":\"MultiPolygon\",\"coordinates\":[{west},{east}]}}"),
    );
    let scored = |arguments: &[&str]| -> f64 {
        let fixed = ["infer", "scene.tif", "--model", "m.safetensors", "--device", "cpu"];
        let more = ["--set", "inference.window_px=64", "--set", "inference.overlap_px=16"];
        let to = ["--scores", "out.tif", "--overwrite"];
        run(&place, &[&fixed[..], &more, &to, arguments].concat());
        let band = geoseg::geo::Band::open(place.path().join("out.tif")).unwrap();
        let (width, height) = (band.grid().width, band.grid().height);
        let values = band.read_u8(geoseg::geo::Window::whole(width, height)).unwrap();
        values.iter().filter(|value| **value != 255).count() as f64
    };
    let area = scored(&["--aoi", "aoi.geojson"]);
    assert!((area / (40.0 * 30.0) - 1.0).abs() < 0.1, "{area}");
    let bounds = |west: f64, east: f64| {
        format!("--bbox={west:.9},{:.9},{east:.9},{:.9}", -17.0 - 40.0 * STEP, -17.0 - 10.0 * STEP)
    };
    let across = scored(&[&bounds(180.0 - 20.0 * STEP, 180.0 + 20.0 * STEP)]);
    assert!((across / (40.0 * 30.0) - 1.0).abs() < 0.1, "{across}");
    let east = scored(&[&bounds(-180.0, -180.0 + 20.0 * STEP)]);
    assert!((east / (20.0 * 30.0) - 1.0).abs() < 0.15, "{east}");
}

#[test]
fn other_projections_get_halves_at_both_ends_of_the_world() {
    let place = place();
    let polygonize = ["polygonize", "scores.tif", "--set", "polygonize.outline=pixel"];
    run(&place, &[&polygonize[..], &["--crs", "EPSG:3857", "-o", "b.gpkg"]].concat());
    let source = VectorSource::file(place.path().join("b.gpkg"));
    let houses = read_footprints(&source, None).unwrap().polygons;
    assert_eq!(houses.len(), 5);
    let areas: Vec<f64> = houses.iter().map(Area::unsigned_area).collect();
    for (house, area) in houses.iter().zip(&areas) {
        assert!((area / areas[0] - 1.0).abs() < 0.01, "{areas:?}");
        for part in house {
            assert!(part.bounding_rect().unwrap().width() < 10.0, "{part:?}");
        }
    }
    assert_eq!(houses.iter().filter(|house| house.0.len() == 2).count(), 1);
}
