//! Synthetic scenes: the same bytes however they are drawn, and a truth that agrees with the pixels.

use std::path::Path;

use geo::{Area, BooleanOps, BoundingRect, Contains, Intersects, Point, Polygon, Validation};
use geoseg::geo::vector::{VectorSource, area_m2, read_footprints};
use geoseg::geo::{Scene, Window};
use geoseg::progress::Progress;
use geoseg::synth::{self, Bounds, Frame, ScenePacking, StyleName, SynthOptions};

const GSD_M: f64 = 0.3;

fn options(name: &str) -> SynthOptions {
    SynthOptions { name: name.into(), width_px: 640, height_px: 560, ..SynthOptions::default() }
}

fn draw(options: &SynthOptions, folder: &Path) -> synth::Report {
    synth::run(options, folder, false, Progress::Hidden).unwrap()
}

/// Outlines of a town's first `side_m` metres, in ground metres.
fn outlines(seed: u64, style: StyleName, side_m: f64) -> Vec<Polygon<f64>> {
    let town = synth::town(&SynthOptions { seed, style, ..SynthOptions::default() });
    let mut found = Vec::new();
    let corner = geo::Coord { x: side_m, y: side_m };
    let bounds = Bounds { min: geo::Coord { x: 0.0, y: 0.0 }, max: corner };
    synth::outlines(&town, &bounds, |outline| {
        found.push(outline);
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn any_strip_height_and_any_number_of_threads_give_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (threads, strip_px) in [(1, 256), (3, 512), (2, 1024)] {
        let name = format!("t{threads}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = SynthOptions {
            strip_px,
            nodata_wedge: true,
            footprints: "geojsonl".into(),
            ..options(&name)
        };
        let report = pool.install(|| draw(&options, folder.path()));
        files.push((
            std::fs::read(report.image).unwrap(),
            std::fs::read(report.footprints).unwrap(),
        ));
    }
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn degrees_need_an_origin_in_degrees_and_a_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("towns");
    for (epsg, key) in [(4326, "origin"), (5703, "epsg"), (4978, "epsg")] {
        let options = SynthOptions { epsg, ..options("t") };
        let error = synth::run(&options, &out, false, Progress::Hidden).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
    assert!(!out.exists());
    let options = SynthOptions { epsg: 4326, origin: [85.3, 27.7], ..options("t") };
    assert!(draw(&options, &out).image.is_file());
}

#[test]
fn a_window_is_the_same_whatever_window_it_is_drawn_in() {
    let town = synth::town(&SynthOptions { seed: 3, ..SynthOptions::default() });
    let whole = Frame { col: 900, row: -40, width: 400, height: 300 };
    let all = synth::window(&town, GSD_M, whole);
    for part in [
        Frame { col: 900, row: -40, width: 1, height: 1 },
        Frame { col: 1001, row: 17, width: 133, height: 91 },
        Frame { col: 1299, row: 200, width: 1, height: 60 },
    ] {
        let pixels = synth::window(&town, GSD_M, part);
        for y in 0..part.height {
            let (x0, y0) = ((part.col - whole.col) as usize, (part.row - whole.row) as usize + y);
            let start = (y0 * whole.width + x0) * 3;
            let row = &pixels[y * part.width * 3..(y + 1) * part.width * 3];
            assert!(all[start..start + part.width * 3] == *row, "{part:?} row {y}");
        }
    }
}

#[test]
fn footprints_are_valid_inside_the_extent_and_never_overlap() {
    for (seed, style) in [
        (1, StyleName::Highland),
        (2, StyleName::Coast),
        (3, StyleName::Valley),
        (4, StyleName::Auto),
    ] {
        let side_m = 420.0;
        let all = outlines(seed, style, side_m);
        assert!(all.len() > 120, "seed {seed}: {} buildings", all.len());
        let boxes: Vec<_> = all.iter().map(|p| p.bounding_rect().unwrap()).collect();
        for (i, outline) in all.iter().enumerate() {
            assert!(outline.is_valid(), "seed {seed} building {i}");
            let (min, max) = (boxes[i].min(), boxes[i].max());
            assert!(min.x >= 0.0 && min.y >= 0.0 && max.x <= side_m && max.y <= side_m);
            for j in 0..i {
                if boxes[i].intersects(&boxes[j]) && outline.intersects(&all[j]) {
                    let shared = outline.intersection(&all[j]).unsigned_area();
                    // Walls of different length on one line meet to the last bits only.
                    assert!(shared < 1e-4, "seed {seed}: {i} and {j} share {shared} m2");
                }
            }
        }
    }
}

#[test]
fn a_town_has_row_houses_that_share_walls_and_courtyards() {
    let (mut touching, mut courtyards) = (0, 0);
    for seed in 1..4 {
        let all = outlines(seed, StyleName::Auto, 450.0);
        courtyards += all.iter().filter(|p| !p.interiors().is_empty()).count();
        touching += all.windows(2).filter(|pair| pair[0].intersects(&pair[1])).count();
    }
    assert!(touching > 20, "{touching} walls are shared");
    assert!(courtyards > 0, "no courtyard");
}

/// Mean brightness (0 to 255) at points given in ground metres, where no building stands.
fn brightness(
    pixels: &[u8],
    width: usize,
    points: impl Iterator<Item = Point<f64>>,
) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for p in points {
        let (col, row) = ((p.x() / GSD_M) as usize, (p.y() / GSD_M) as usize);
        if col < width && (row * width + col) * 3 + 2 < pixels.len() {
            let pixel = &pixels[(row * width + col) * 3..][..3];
            sum += pixel.iter().map(|&c| f64::from(c)).sum::<f64>() / 3.0;
            count += 1;
        }
    }
    (sum, count)
}

#[test]
fn shadows_fall_away_from_the_sun() {
    for seed in 1..5 {
        let town = synth::town(&SynthOptions { seed, ..SynthOptions::default() });
        let side_px = 900;
        let frame = Frame { col: 0, row: 0, width: side_px, height: side_px };
        let pixels = synth::window(&town, GSD_M, frame);
        let all = outlines(seed, StyleName::Auto, side_px as f64 * GSD_M);
        let away = town.style.shadow_per_m();
        let step = away / away.x.hypot(away.y);
        let side = |sign: f64| {
            let beside: Vec<Point<f64>> =
                all.iter()
                    .flat_map(|outline| {
                        outline.exterior().lines().map(move |wall| {
                            Point((wall.start + wall.end) / 2.0 + step * (sign * 0.9))
                        })
                    })
                    .filter(|p| !all.iter().any(|other| other.contains(p)))
                    .collect();
            let (sum, count) = brightness(&pixels, side_px, beside.into_iter());
            sum / count as f64
        };
        let (shady, sunny) = (side(1.0), side(-1.0));
        assert!(
            shady < 0.8 * sunny,
            "seed {seed}: {shady:.0} beside shaded walls, {sunny:.0} sunny"
        );
    }
}

#[test]
fn the_truth_lies_on_edges_in_the_picture() {
    let town = synth::town(&SynthOptions { seed: 6, ..SynthOptions::default() });
    let side_px = 900;
    let frame = Frame { col: 0, row: 0, width: side_px, height: side_px };
    let pixels = synth::window(&town, GSD_M, frame);
    let all = outlines(6, StyleName::Auto, side_px as f64 * GSD_M);
    // The step of brightness across each wall, when the truth is moved east by some metres.
    let contrast = |moved_m: f64| {
        let (mut sum, mut count) = (0.0, 0);
        for wall in all.iter().flat_map(|outline| outline.exterior().lines()) {
            let along = wall.delta() / wall.delta().x.hypot(wall.delta().y);
            let across = geo::Coord { x: -along.y, y: along.x } * 0.6;
            let middle = (wall.start + wall.end) / 2.0 + geo::Coord { x: moved_m, y: 0.0 };
            let value =
                |p: geo::Coord<f64>| brightness(&pixels, side_px, std::iter::once(Point(p)));
            let (a, b) = (value(middle + across), value(middle - across));
            if a.1 + b.1 == 2 {
                sum += (a.0 - b.0).abs();
                count += 1;
            }
        }
        sum / f64::from(count)
    };
    let (here, moved) = (contrast(0.0), contrast(2.0));
    assert!(here > 2.0 * moved, "{here:.1} levels on the walls, {moved:.1} beside them");
}

#[test]
fn files_are_georeferenced_and_areas_are_ground_areas() {
    let folder = tempfile::tempdir().unwrap();
    let mercator = SynthOptions {
        epsg: 3857,
        origin: [-7_859_000.0, -3_950_000.0],
        footprints: "gpkg".into(),
        packing: ScenePacking::Deflate,
        nodata_wedge: true,
        aoi: true,
        ..options("mercator")
    };
    let utm = SynthOptions { epsg: 32736, origin: [453_000.0, 9_970_000.0], ..options("utm") };
    for options in [mercator, utm] {
        let report = draw(&options, folder.path());
        let scene = Scene::open(&report.image).unwrap();
        let gsd_m = scene.grid().mean_gsd_m().unwrap();
        assert!((gsd_m / GSD_M - 1.0).abs() < 0.005, "{gsd_m} m");
        let corner = Window { col: 0, row: 0, width: 8, height: 8 };
        let valid = scene.read(scene.grid(), corner).unwrap().valid;
        assert_eq!(valid[0], !options.nodata_wedge);

        let crs = scene.grid().crs.as_ref();
        let truth = read_footprints(&VectorSource::file(&report.footprints), crs).unwrap();
        assert_eq!((truth.polygons.len(), truth.repaired), (report.buildings, 0));
        let [x0, y0, x1, y1] = scene.grid().bounds();
        let side_m = (options.width_px as f64 * GSD_M, options.height_px as f64 * GSD_M);
        let bounds = Bounds {
            min: geo::Coord { x: 0.0, y: 0.0 },
            max: geo::Coord { x: side_m.0, y: side_m.1 },
        };
        let mut expected = Vec::new();
        synth::outlines(&synth::town(&options), &bounds, |p| {
            expected.push(p.unsigned_area());
            Ok(())
        })
        .unwrap();
        for (polygons, ground_m2) in truth.polygons.iter().zip(expected) {
            let area: f64 = polygons.iter().map(|p| area_m2(p, crs)).sum();
            assert!((area / ground_m2 - 1.0).abs() < 0.01, "{area} m2, drawn {ground_m2} m2");
            let rect = polygons.bounding_rect().unwrap();
            // GeoJSON has 7 decimals of a degree: a centimetre.
            assert!(rect.min().x > x0 - 0.02 && rect.max().x < x1 + 0.02);
            assert!(rect.min().y > y0 - 0.02 && rect.max().y < y1 + 0.02);
        }
        assert_eq!(report.aoi.is_some_and(|path| path.is_file()), options.aoi);
    }
}

#[test]
fn an_existing_scene_is_kept_and_a_failed_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let small = SynthOptions { width_px: 64, height_px: 64, ..options("kept") };
    draw(&small, folder.path());
    let again = synth::run(&small, folder.path(), false, Progress::Hidden);
    assert!(again.unwrap_err().to_string().contains("--overwrite"));
    let wrong = SynthOptions { name: "wrong".into(), epsg: 99_999, ..small.clone() };
    assert!(synth::run(&wrong, folder.path(), false, Progress::Hidden).is_err());
    let odd = SynthOptions { name: "odd".into(), footprints: "docx".into(), ..small };
    assert!(synth::run(&odd, folder.path(), false, Progress::Hidden).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
