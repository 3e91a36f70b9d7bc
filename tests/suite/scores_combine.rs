//! Scores rasters into one: means, weights, nodata, other grids, the outlier rule.

use std::path::{Path, PathBuf};

use crate::support::program::Place;
use geoseg::config::ensemble::Mean;
use geoseg::config::infer::ScoresType;
use geoseg::geo::{BLOCK_PX, Crs, GeoTransform, Grid, RasterWriter, Reprojection, Window};
use geoseg::interrupt::Interrupt;
use geoseg::progress::Progress;
use geoseg::scores::{Layer, Options, Part, Report, ScoresWriter, combine};

const UTM: u32 = 32645;

fn grid(width: usize, height: usize, transform: [f64; 6], epsg: u32) -> Grid {
    let crs = Some(Crs::from_epsg(epsg).unwrap());
    Grid { width, height, transform: GeoTransform(transform), crs, gsd_m: None }
}

/// `size` metres a pixel, beginning at a column and row of pixels of 1 m.
fn metres(width: usize, height: usize, size: f64, (col, row): (f64, f64)) -> Grid {
    let transform = [500_000.0 + col, size, 0.0, 3_000_000.0 - row, 0.0, -size];
    grid(width, height, transform, UTM)
}

fn write(path: &Path, grid: &Grid, scores: ScoresType, value: impl Fn(usize, usize) -> f32) {
    let mut writer = ScoresWriter::create(path, grid, 1, scores).unwrap();
    for row in 0..grid.height {
        let values: Vec<f32> = (0..grid.width).map(|col| value(col, row)).collect();
        writer.write_rows(row, &values).unwrap();
    }
    writer.finish().unwrap();
}

fn options() -> Options {
    Options {
        mean: Mean::Arithmetic,
        drop_outlier: false,
        scores: ScoresType::Float32,
        only_where_first: false,
    }
}

fn combined(files: &[(&Path, f64)], options: Options) -> (Report, Vec<f32>) {
    let parts: Vec<Part> =
        files.iter().map(|&(path, weight)| Part { path: path.to_owned(), weight }).collect();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("combined.tif");
    let report = combine(&parts, options, &out, &Interrupt::default(), Progress::Hidden).unwrap();
    (report, read(&out))
}

fn read(path: &Path) -> Vec<f32> {
    let layer = Layer::open(path).unwrap();
    layer.read(Window::whole(layer.grid().width, layer.grid().height)).unwrap()
}

#[test]
fn a_file_has_no_say_where_it_has_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.tif"), folder.path().join("b.tif"));
    let grid = metres(BLOCK_PX + 40, BLOCK_PX + 3, 1.0, (0.0, 0.0));
    let in_a =
        |col: usize, row: usize| if col < 20 { f32::NAN } else { (row % 200) as f32 / 254.0 };
    let in_b = |col: usize, row: usize| if row < 10 { f32::NAN } else { (col % 99) as f32 / 99.0 };
    write(&a, &grid, ScoresType::Uint8, in_a);
    write(&b, &grid, ScoresType::Float32, in_b);
    let check = |options: Options, expected: &dyn Fn(f32, f32) -> f32| {
        let (report, found) = combined(&[(&a, 3.0), (&b, 1.0)], options);
        let mut scored = 0;
        for (i, found) in found.into_iter().enumerate() {
            let (col, row) = (i % grid.width, i / grid.width);
            let expected = expected(in_a(col, row), in_b(col, row));
            scored += u64::from(!expected.is_nan());
            let near = (found - expected).abs() < 1e-6 || found.is_nan() && expected.is_nan();
            assert!(near, "({col}, {row}): {found} instead of {expected}");
        }
        assert_eq!((report.scored_pixels, report.blocks), (scored, 4));
    };
    let mean = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ => (3.0 * a + b) / 4.0,
    };
    check(options(), &mean);
    let only_where_first = Options { only_where_first: true, ..options() };
    check(only_where_first, &|a, b| if a.is_nan() { a } else { mean(a, b) });
}

#[test]
fn one_file_and_equal_files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let a = folder.path().join("a.tif");
    let grid = metres(300, 70, 0.3, (0.0, 0.0));
    let value = |col: usize, row: usize| ((col * 7 + row * 13) % 256) as f32 / 254.0;
    write(&a, &grid, ScoresType::Uint8, |col, row| {
        if value(col, row) > 1.0 { f32::NAN } else { value(col, row) }
    });
    let before = read(&a);
    for mean in [Mean::Arithmetic, Mean::Geometric, Mean::Logit] {
        let options = Options { mean, scores: ScoresType::Uint8, ..options() };
        for files in [vec![(a.as_path(), 0.3)], vec![(a.as_path(), 0.3), (a.as_path(), 2.0)]] {
            let after = combined(&files, options).1;
            assert!(before.iter().zip(&after).all(|(a, b)| a.to_bits() == b.to_bits()), "{mean:?}");
        }
    }
}

/// A score that is a plane in metres of the zone.
fn plane(x: f64, y: f64) -> f32 {
    (0.2 + (x - 500_000.0) * 1.5e-3 + (3_000_000.0 - y) * 0.7e-3) as f32
}

fn on_plane(grid: &Grid, epsg: u32) -> impl Fn(usize, usize) -> f32 + use<> {
    let way = Reprojection::new(&Crs::from_epsg(epsg).unwrap(), &Crs::from_epsg(UTM).unwrap());
    let (way, map) = (way.unwrap(), grid.transform);
    move |col, row| {
        let (x, y) = map.apply(col as f64 + 0.5, row as f64 + 0.5);
        let (x, y) = way.point(x, y).unwrap();
        plane(x, y)
    }
}

#[test]
fn a_file_on_another_grid_is_brought_to_the_first_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.tif"), folder.path().join("b.tif"));
    let first = metres(120, 90, 1.0, (0.0, 0.0));
    // Nothing but b has a say.
    write(&a, &first, ScoresType::Float32, |_, _| f32::NAN);
    let (s, c) = 0.6f64.sin_cos();
    let (lon, lat) = Reprojection::new(&Crs::from_epsg(UTM).unwrap(), &Crs::wgs84().unwrap())
        .unwrap()
        .point(499_980.0, 3_000_020.0)
        .unwrap();
    let others = [
        ("coarser", metres(60, 50, 3.7, (-20.0, -15.0)), UTM),
        ("finer", metres(700, 500, 0.23, (-10.0, -10.0)), UTM),
        ("much finer", metres(2600, 2100, 0.05, (-2.0, -2.0)), UTM),
        ("turned", grid(400, 400, [500_000.0, c, -s, 3_000_100.0, -s, -c], UTM), UTM),
        ("south-up", grid(160, 140, [499_980.0, 1.0, 0.0, 2_999_890.0, 0.0, 1.0], UTM), UTM),
        ("geographic", grid(200, 180, [lon, 12e-6, 0.0, lat, 0.0, -12e-6], 4326), 4326),
    ];
    for (name, other, epsg) in others {
        write(&b, &other, ScoresType::Float32, on_plane(&other, epsg));
        let (report, found) = combined(&[(&a, 1.0), (&b, 1.0)], options());
        assert_eq!(report.grid, Layer::open(&a).unwrap().grid().clone(), "{name}");
        let expected = on_plane(&first, UTM);
        let known = found.iter().filter(|value| !value.is_nan()).count();
        assert!(known > 9000, "{name}: {known}");
        // Half a pixel of b from its edge, there is nothing on the other side.
        let mut far = 0;
        for (i, found) in found.iter().enumerate().filter(|(_, found)| !found.is_nan()) {
            let expected = expected(i % first.width, i / first.width);
            far += usize::from((found - expected).abs() > 2e-5);
        }
        assert!(far * 50 < known, "{name}: {far} of {known}");
    }
}

#[test]
fn resampled_scores_stay_inside_their_data() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.tif"), folder.path().join("b.tif"));
    let first = metres(100, 100, 1.0, (0.0, 0.0));
    write(&a, &first, ScoresType::Float32, |_, _| f32::NAN);
    // Pixels of 2 m; a hole of 20 m from (40, 40).
    let hole = |col: usize, row: usize| (20..30).contains(&col) && (20..30).contains(&row);
    let other = metres(40, 60, 2.0, (0.0, 0.0));
    write(&b, &other, ScoresType::Uint8, |col, row| if hole(col, row) { f32::NAN } else { 0.5 });
    let (_, found) = combined(&[(&a, 1.0), (&b, 1.0)], options());
    for (i, value) in found.iter().enumerate() {
        let (col, row) = (i % 100, i / 100);
        let expected = if col >= 80 || hole(col / 2, row / 2) { f32::NAN } else { 0.5 };
        assert!(
            *value == expected || value.is_nan() && expected.is_nan(),
            "({col}, {row}): {value}"
        );
    }
}

#[test]
fn the_outlier_rule_looks_at_one_block_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.tif"), folder.path().join("b.tif"));
    let grid = metres(2 * BLOCK_PX, 100, 1.0, (0.0, 0.0));
    // A sure map; a second that knows half as much, and agrees with it in the second block.
    let sure = |col: usize, _: usize| if col % 10 < 3 { 0.98 } else { 0.02 };
    let flat = |col: usize, row: usize| match (col < BLOCK_PX, col % 10 < 3) {
        (true, is_building) => {
            if is_building {
                0.6
            } else {
                0.4
            }
        }
        _ => sure(col, row) * 0.9,
    };
    write(&a, &grid, ScoresType::Float32, sure);
    write(&b, &grid, ScoresType::Float32, flat);
    let (plain, _) = combined(&[(&a, 1.0), (&b, 1.0)], options());
    assert_eq!(plain.left_out, [0, 0]);
    let rule = Options { drop_outlier: true, ..options() };
    let (report, found) = combined(&[(&a, 1.0), (&b, 1.0)], rule);
    assert_eq!((report.left_out, report.blocks), (vec![0, 1], 2));
    for (i, found) in found.into_iter().enumerate() {
        let (col, row) = (i % grid.width, i / grid.width);
        let mean = f32::midpoint(sure(col, row), flat(col, row));
        let expected = if col < BLOCK_PX { sure(col, row) } else { mean };
        assert!((found - expected).abs() < 1e-6, "({col}, {row}): {found} {expected}");
    }
}

fn sample(place: &Place, name: &str, values: &[u8], nodata: Option<f64>) -> PathBuf {
    let path = place.path().join(name);
    let grid = metres(values.len(), 1, 1.0, (0.0, 0.0));
    let compression = geoseg::geo::Compression::Deflate;
    let mut writer =
        RasterWriter::<u8>::create(&path, &grid, &["building"], nodata, compression).unwrap();
    writer.write_rows(0, values).unwrap();
    writer.finish().unwrap();
    path
}

#[test]
fn the_command_writes_a_raster_that_says_what_it_was_made_of() {
    let place = Place::new();
    sample(&place, "a.tif", &[0, 100, 255, 255], Some(255.0));
    sample(&place, "b.tif", &[254, 50, 10, 255], Some(255.0));
    let ran = place.run(&["combine", "a.tif", "b.tif", "-o", "c.tif", "--weight", "1,3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("4 x 1 px, 3 scored"), "{}", ran.stdout);
    assert_eq!(place.names(), ["a.tif", "b.tif", "c.tif", "c.tif.toml"]);
    let layer = Layer::open(&place.path().join("c.tif")).unwrap();
    let found: Vec<f32> = read(&place.path().join("c.tif")).iter().map(|p| p * 254.0).collect();
    assert!(found[3].is_nan());
    assert_eq!(found[..3].iter().map(|v| v.round()).collect::<Vec<_>>(), [191.0, 63.0, 10.0]);
    let json = layer.metadata("GEOSEG_PROVENANCE").unwrap();
    let provenance: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(provenance["geoseg"], env!("CARGO_PKG_VERSION"));
    assert_eq!(provenance["mean"], "arithmetic");
    assert_eq!(provenance["parts"][1]["file"], "b.tif");
    assert_eq!(provenance["parts"][1]["weight"], 3.0);
    // What was combined is kept when it is combined again.
    let ran = place.run(&["combine", "c.tif", "a.tif", "-o", "d.tif", "--mean", "logit"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let json = Layer::open(&place.path().join("d.tif")).unwrap().metadata("GEOSEG_PROVENANCE");
    let nested: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(nested["parts"][0]["provenance"], provenance);
}

#[test]
fn what_cannot_be_combined_is_refused_by_name() {
    let place = Place::new();
    sample(&place, "a.tif", &[0, 100, 255], Some(255.0));
    sample(&place, "mask.tif", &[0, 1, 1], None);
    let grid = Grid { crs: None, transform: GeoTransform::PIXEL, ..metres(9, 9, 1.0, (0.0, 0.0)) };
    write(&place.path().join("nowhere.tif"), &grid, ScoresType::Uint8, |_, _| 0.5);
    let mut writer = ScoresWriter::create(
        &place.path().join("large.tif"),
        &metres(3, 1, 1.0, (0.0, 0.0)),
        1,
        ScoresType::Float32,
    )
    .unwrap();
    writer.write_rows(0, &[0.5, 37.5, f32::NAN]).unwrap();
    writer.finish().unwrap();
    let before = place.names();
    for (arguments, parts) in [
        ("a.tif mask.tif", ["mask.tif", "255 as no data"]),
        ("a.tif nowhere.tif", ["nowhere.tif", "georeference"]),
        ("a.tif large.tif", ["large.tif", "found 37.5"]),
        ("a.tif a.tif --weight 1", ["ensemble.weights", "each of 2 files, found 1"]),
        ("a.tif a.tif --weight 1,-1", ["ensemble.weights", "above 0"]),
        ("a.tif a.tif --weight 5e-324,1", ["ensemble.weights", "found 5"]),
        ("a.tif a.tif --weight 1e308,1e308", ["ensemble.weights", "found 1"]),
        ("a.tif gone.tif", ["gone.tif", "no such file"]),
    ] {
        let arguments = format!("combine {arguments} -o c.tif");
        let ran = place.run(&arguments.split_whitespace().collect::<Vec<_>>());
        for part in parts {
            assert!(ran.error().contains(part), "{arguments}: {}", ran.error());
        }
        assert_eq!(place.names(), before, "{arguments}");
    }
}
