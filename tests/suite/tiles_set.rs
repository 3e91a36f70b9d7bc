//! The tiles stage from files to files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use geo::{Geometry, Rect};
use geoseg::config::dataset::{
    DatasetConfig, SceneEntry, SplitChoice, SplitMode, TileMode, TilesSection,
};
use geoseg::geo::vector::{FieldKind, LayerWriter, Value};
use geoseg::geo::{Compression, Crs, GeoTransform, Grid, write_geotiff};
use geoseg::progress::Progress;
use geoseg::tiles::{self, Split, TileSet};

/// Lower left corner of the test ground, UTM zone 45 north, metres.
const X0: f64 = 400_000.0;
const Y0: f64 = 3_000_000.0;

fn utm() -> Crs {
    Crs::from_epsg(32645).unwrap()
}

/// North-up square pixels; `x`, `y` is the lower left corner relative to the test ground.
fn grid(x: f64, y: f64, width: usize, height: usize, gsd_m: f64) -> Grid {
    let top = Y0 + y + height as f64 * gsd_m;
    Grid {
        width,
        height,
        transform: GeoTransform([X0 + x, gsd_m, 0.0, top, 0.0, -gsd_m]),
        crs: Some(utm()),
        gsd_m: Some((gsd_m, gsd_m)),
    }
}

/// Values without a pattern that compression could use, the same in every run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 12345_u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 | 1
        })
        .collect()
}

fn write_scene(path: &Path, grid: &Grid) {
    let data = noise(3 * grid.width * grid.height);
    write_geotiff(path, grid, 3, &data, None, Compression::Deflate).unwrap();
}

/// Square buildings of `side` metres whose lower left corners are given relative to the test ground.
fn write_buildings(path: &Path, corners: &[(f64, f64)], side: f64) {
    let mut layer =
        LayerWriter::create(path, "buildings", Some(&utm()), &[("kind", FieldKind::Text)]).unwrap();
    for &(x, y) in corners {
        let rect = Rect::new((X0 + x, Y0 + y), (X0 + x + side, Y0 + y + side));
        layer.push(&Geometry::Polygon(rect.to_polygon()), &[Value::Text("house")]).unwrap();
    }
    layer.finish().unwrap();
}

fn lattice(step: f64, to: (f64, f64)) -> Vec<(f64, f64)> {
    let count = |to: f64| (to / step) as usize;
    (0..count(to.1))
        .flat_map(|row| (0..count(to.0)).map(move |col| (col, row)))
        .map(|(col, row)| (col as f64 * step + 3.0, row as f64 * step + 3.0))
        .collect()
}

fn entry(folder: &Path, name: &str, split: SplitChoice) -> SceneEntry {
    SceneEntry {
        image: folder.join(format!("{name}.tif")),
        footprints: folder.join("buildings.gpkg"),
        split,
        ..SceneEntry::default()
    }
}

/// A folder with one scene of 300 x 260 px of 0.5 m and a building every 20 m.
fn town() -> (tempfile::TempDir, DatasetConfig) {
    let folder = tempfile::tempdir().unwrap();
    write_scene(&folder.path().join("town.tif"), &grid(0.0, 0.0, 300, 260, 0.5));
    write_buildings(&folder.path().join("buildings.gpkg"), &lattice(20.0, (150.0, 130.0)), 6.0);
    let config = DatasetConfig {
        tiles: TilesSection { tile_px: 64, ..TilesSection::default() },
        scene: vec![entry(folder.path(), "town", SplitChoice::Train)],
        ..DatasetConfig::default()
    };
    (folder, config)
}

fn run(config: &DatasetConfig, out: &Path) -> tiles::Report {
    tiles::run(config, out, false, Progress::Hidden).unwrap()
}

fn problem(config: &DatasetConfig, out: &Path) -> String {
    let message = tiles::run(config, out, false, Progress::Hidden).unwrap_err().to_string();
    assert!(!out.exists(), "nothing half-written");
    message
}

/// Every file below `root` by its relative name.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(
                    path.strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    files
}

#[test]
fn no_pixel_of_a_validation_tile_lies_in_a_training_tile_at_any_scale_in_any_mode() {
    // The finest scale's pixel; every coarser pixel is made of whole cells.
    const CELL_M: f64 = 0.25;
    let folder = tempfile::tempdir().unwrap();
    write_buildings(&folder.path().join("buildings.gpkg"), &lattice(14.0, (210.0, 210.0)), 5.0);
    // The second scene covers part of the first one's ground, the third all of the second's.
    write_scene(&folder.path().join("blocks.tif"), &grid(0.0, 0.0, 400, 400, 0.5));
    write_scene(&folder.path().join("held.tif"), &grid(120.0, 100.0, 100, 100, 0.5));
    write_scene(&folder.path().join("learned.tif"), &grid(110.0, 90.0, 160, 160, 0.5));
    for mode in [TileMode::Grid, TileMode::Buildings] {
        for split_mode in [SplitMode::Scene, SplitMode::Blocks] {
            let mut config = DatasetConfig {
                tiles: TilesSection {
                    tile_px: 32,
                    overlap_px: 4,
                    scales: vec![1.0, 2.0, 0.5],
                    mode,
                    padding_m: 1.0,
                    format: Compression::None,
                    ..TilesSection::default()
                },
                scene: vec![
                    entry(folder.path(), "blocks", SplitChoice::Auto),
                    entry(folder.path(), "held", SplitChoice::Val),
                    entry(folder.path(), "learned", SplitChoice::Train),
                ],
                ..DatasetConfig::default()
            };
            config.split.mode = split_mode;
            config.split.val_fraction = 0.3;
            config.split.test_fraction = 0.1;
            // Coarse tiles are 32 m: blocks of 66 m with a gap of 32 m.
            config.split.block_m = Some(66.0);
            let out = folder.path().join(format!("{mode:?}{split_mode:?}"));
            let report = run(&config, &out);
            let set = TileSet::open(&out).unwrap();
            let cells = (200.0 / CELL_M) as usize;
            let mut ground: Vec<u8> = vec![0; cells * cells];
            let mut scales = BTreeSet::new();
            for tile in &set.tiles {
                scales.insert((tile.split, tile.scale.clone()));
                // From the file itself, not from the plan.
                let raster = gdal::Dataset::open(out.join(&tile.image)).unwrap();
                let [x, dx, _, y, _, dy] = raster.geo_transform().unwrap();
                let (width, height) = raster.raster_size();
                let cell = |metres: f64| (metres / CELL_M).round() as usize;
                let columns = cell(x - X0)..cell(x - X0 + width as f64 * dx);
                let rows = cell(y - Y0 + height as f64 * dy)..cell(y - Y0);
                for row in rows {
                    for column in columns.clone() {
                        ground[row * cells + column] |= 1 << tile.split as u8;
                    }
                }
            }
            let shared = ground.iter().filter(|cell| cell.count_ones() > 1).count();
            assert_eq!(shared, 0, "{mode:?} {split_mode:?}\n{report}");
            for split in [Split::Train, Split::Val] {
                for scale in ["x1", "x2", "x0.5"] {
                    assert!(scales.contains(&(split, scale.into())), "{split} {scale}\n{report}");
                }
            }
            let dropped: usize = report.info.counts.iter().map(|line| line.skipped_overlap).sum();
            assert!(dropped > 0, "the overlap of the scenes is reported");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let (folder, mut config) = town();
    config.tiles.scales = vec![1.0, 0.5];
    config.tiles.overlap_px = 16;
    config.tiles.keep_empty = 0.5;
    config.truth.boundary_m = Some(1.0);
    let trees: Vec<_> = [1, 4]
        .into_iter()
        .map(|threads| {
            let out = folder.path().join(format!("out{threads}"));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&config, &out));
            tree(&out)
        })
        .collect();
    let names: Vec<_> = trees.iter().map(|tree| tree.keys().collect::<Vec<_>>()).collect();
    assert_eq!(names[0], names[1]);
    for (name, bytes) in &trees[0] {
        assert!(bytes == &trees[1][name], "{} differs", name.display());
    }
    assert!(trees[0].contains_key(Path::new("tiles.gpkg")));
    assert!(trees[0].contains_key(Path::new("contact_sheet.png")));
}

#[test]
fn a_run_that_stopped_goes_on_and_ends_like_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("town.tif");
    write_scene(&image, &grid(0.0, 0.0, 1024, 1024, 0.5));
    write_buildings(&folder.path().join("buildings.gpkg"), &lattice(40.0, (500.0, 500.0)), 9.0);
    let config = DatasetConfig {
        tiles: TilesSection { tile_px: 128, ..TilesSection::default() },
        scene: vec![entry(folder.path(), "town", SplitChoice::Train)],
        ..DatasetConfig::default()
    };
    let unbroken = folder.path().join("unbroken");
    run(&config, &unbroken);

    // A damaged block in the middle, which the fingerprint does not look at, stops the run.
    let sound = std::fs::read(&image).unwrap();
    assert!(sound.len() > 2 << 20, "noise does not compress");
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0xff);
    std::fs::write(&image, damaged).unwrap();
    let out = folder.path().join("out");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let error = pool
        .install(|| tiles::run(&config, &out, false, Progress::Hidden))
        .unwrap_err()
        .to_string();
    assert!(error.contains("town.tif") && error.contains("damaged"), "{error}");
    let error = TileSet::open(&out).unwrap_err().to_string();
    assert!(error.contains("unfinished"), "{error}");

    // Another configuration may not go on with it.
    let mut other = config.clone();
    other.truth.all_touched = false;
    let error = tiles::run(&other, &out, false, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("--overwrite"), "{error}");

    std::fs::write(&image, sound).unwrap();
    let report = run(&config, &out);
    assert!(report.resumed > 0 && report.resumed < 64, "{}", report.resumed);
    assert!(tree(&out) == tree(&unbroken), "resumed and unbroken runs differ");
    assert!(run(&config, &out).already_complete);
}

#[test]
fn another_configuration_needs_overwrite_and_foreign_files_are_never_touched() {
    let (folder, mut config) = town();
    let out = folder.path().join("out");
    run(&config, &out);
    config.tiles.tile_px = 128;
    let error = tiles::run(&config, &out, false, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("--overwrite"), "{error}");
    tiles::run(&config, &out, true, Progress::Hidden).unwrap();
    assert_eq!(TileSet::open(&out).unwrap().info.tile_px, 128);

    let foreign = folder.path().join("photos");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("cat.jpg"), "meow").unwrap();
    let error = tiles::run(&config, &foreign, true, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("other files"), "{error}");
    assert_eq!(tree(&foreign).len(), 1);
}

#[test]
fn a_set_that_is_replaced_stays_until_the_new_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("town.tif");
    write_scene(&image, &grid(0.0, 0.0, 1024, 1024, 0.5));
    write_buildings(&folder.path().join("buildings.gpkg"), &lattice(40.0, (500.0, 500.0)), 9.0);
    let mut config = DatasetConfig {
        tiles: TilesSection { tile_px: 256, ..TilesSection::default() },
        scene: vec![entry(folder.path(), "town", SplitChoice::Train)],
        ..DatasetConfig::default()
    };
    let out = folder.path().join("out");
    run(&config, &out);
    let before = tree(&out);
    std::fs::write(out.join("notes.txt"), "mine").unwrap();

    let sound = std::fs::read(&image).unwrap();
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0xff);
    std::fs::write(&image, damaged).unwrap();
    config.tiles.tile_px = 128;
    tiles::run(&config, &out, true, Progress::Hidden).unwrap_err();
    let mut after = tree(&out);
    after.retain(|name, _| before.contains_key(name));
    assert!(after == before, "the old set is as it was");
    assert_eq!(TileSet::open(&out).unwrap().info.tile_px, 256);

    // Leave to replace it was given when this was begun.
    std::fs::write(&image, sound).unwrap();
    assert!(!run(&config, &out).already_complete);
    assert_eq!(TileSet::open(&out).unwrap().info.tile_px, 128);
    let unbroken = folder.path().join("unbroken");
    run(&config, &unbroken);
    tiles::run(&config, &out, true, Progress::Hidden).unwrap();
    let mut replaced = tree(&out);
    assert!(replaced.remove(Path::new("notes.txt")).is_some(), "what is not the set's stays");
    assert!(replaced == tree(&unbroken));
}

#[test]
fn a_run_that_ended_while_its_set_was_moved_is_taken_up() {
    let (folder, config) = town();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    run(&config, &whole);
    let expected = tree(&whole);
    let work = out.join(".unfinished");
    std::fs::create_dir_all(&work).unwrap();
    for name in ["tileset.json", "tiles.gpkg", "contact_sheet.png"] {
        std::fs::rename(whole.join(name), work.join(name)).unwrap();
    }
    for name in ["train", "dataset.toml"] {
        std::fs::rename(whole.join(name), out.join(name)).unwrap();
    }
    assert!(TileSet::open(&out).unwrap_err().to_string().contains("unfinished"));
    assert!(run(&config, &out).already_complete);
    assert!(tree(&out) == expected);
}

#[test]
fn attributes_in_a_file_of_their_own_are_part_of_the_input() {
    let (folder, mut config) = town();
    let footprints = folder.path().join("buildings.shp");
    let write = |kinds: [&str; 2]| {
        let mut layer =
            LayerWriter::create(&footprints, "b", Some(&utm()), &[("kind", FieldKind::Text)])
                .unwrap();
        for (kind, x) in kinds.into_iter().zip([X0 + 10.0, X0 + 50.0]) {
            let rect = Rect::new((x, Y0 + 10.0), (x + 9.0, Y0 + 19.0));
            layer.push(&Geometry::Polygon(rect.to_polygon()), &[Value::Text(kind)]).unwrap();
        }
        layer.finish().unwrap();
    };
    write(["house", "shed"]);
    config.scene[0].footprints.clone_from(&footprints);
    config.scene[0].filter = Some("kind = 'house'".into());
    let out = folder.path().join("out");
    assert_eq!(run(&config, &out).info.scenes[0].footprints, 1);
    write(["house", "house"]);
    let error = tiles::run(&config, &out, false, Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("--overwrite"), "{error}");
}

#[test]
fn a_footprint_of_a_whole_country_needs_no_more_tiles_than_the_scene_has() {
    let (folder, mut config) = town();
    write_buildings(&folder.path().join("buildings.gpkg"), &[(-2e5, -2e5)], 4e5);
    config.tiles.mode = TileMode::Buildings;
    config.tiles.padding_m = 1e300;
    let report = run(&config, &folder.path().join("out"));
    assert!((1..=100).contains(&report.tiles(Split::Train)));
}

#[test]
fn a_tile_reads_back_as_it_was_cut_and_its_row_tells_the_truth() {
    let (folder, mut config) = town();
    config.tiles.overlap_px = 8;
    let out = folder.path().join("out");
    let report = run(&config, &out);
    let set = TileSet::open(&out).unwrap();
    assert_eq!(set.info, report.info);
    assert_eq!(set.tiles.len(), report.tiles(Split::Train));
    assert_eq!(set.info.band_names, ["red", "green", "blue"]);
    assert!(set.info.band_mean.iter().all(|mean| (mean - 0.5).abs() < 0.02));
    assert!(set.info.band_std.iter().all(|std| (std - 0.289).abs() < 0.02));
    let source = noise(3 * 300 * 260);
    for tile in &set.tiles {
        let pixels = set.read(tile).unwrap();
        assert_eq!(pixels.mask.len(), 64 * 64);
        let building: f64 = pixels.mask.iter().map(|&label| f64::from(label == 1)).sum();
        assert!((building / 4096.0 - tile.building_fraction).abs() < 1e-12);
        assert_eq!((tile.valid_fraction, tile.fold), (1.0, None));
        // Not quite 0.5: UTM stretches the ground by up to 4 in 10,000.
        assert!((tile.gsd_m - 0.5).abs() < 3e-4, "{}", tile.gsd_m);
        for (at, value) in pixels.image.iter().enumerate() {
            let (band, row, col) = (at / 4096, at % 4096 / 64, at % 64);
            let from = (band * 260 + tile.row + row) * 300 + tile.col + col;
            assert_eq!(*value, source[from]);
        }
    }
    let most = set.tiles.iter().map(|tile| tile.building_count).max().unwrap();
    assert!((4..=9).contains(&most), "32 m tiles, a building every 20 m: {most}");
}

#[test]
fn a_scene_smaller_than_a_tile_is_padded_with_ignore() {
    let (folder, mut config) = town();
    config.tiles.tile_px = 320;
    let out = folder.path().join("out");
    run(&config, &out);
    let set = TileSet::open(&out).unwrap();
    assert_eq!(set.tiles.len(), 1);
    let pixels = set.read(&set.tiles[0]).unwrap();
    for (at, label) in pixels.mask.iter().enumerate() {
        assert_eq!(*label == 255, at % 320 >= 300 || at / 320 >= 260);
    }
    let valid = pixels.valid();
    assert_eq!(valid.iter().filter(|valid| **valid).count(), 300 * 260);
}

#[test]
fn zero_footprints_are_allowed_with_a_warning() {
    let (folder, config) = town();
    std::fs::remove_file(folder.path().join("buildings.gpkg")).unwrap();
    write_buildings(&folder.path().join("buildings.gpkg"), &[], 1.0);
    let report = run(&config, &folder.path().join("out"));
    assert!(report.warnings().iter().any(|text| text.contains("no footprints")));
    assert!(report.tiles(Split::Train) > 0);
}

#[test]
fn footprints_that_miss_the_scene_are_refused_with_both_extents() {
    let (folder, config) = town();
    std::fs::remove_file(folder.path().join("buildings.gpkg")).unwrap();
    write_buildings(&folder.path().join("buildings.gpkg"), &[(5000.0, 0.0)], 6.0);
    let message = problem(&config, &folder.path().join("out"));
    assert!(message.contains("405000") && message.contains("400000"), "{message}");
    assert!(message.contains("EPSG:32645"), "{message}");
}

#[test]
fn inputs_that_cannot_serve_get_one_clear_error_each() {
    let (folder, config) = town();
    let out = folder.path().join("out");
    let with = |change: &dyn Fn(&mut DatasetConfig)| {
        let mut config = config.clone();
        change(&mut config);
        problem(&config, &out)
    };
    let missing = with(&|c| c.scene[0].image = folder.path().join("none.tif"));
    assert!(missing.contains("none.tif") && missing.contains("no such file"), "{missing}");
    let layer = with(&|c| c.scene[0].layer = Some("roads".into()));
    assert!(layer.contains("roads") && layer.contains("buildings"), "{layer}");
    let filter = with(&|c| c.scene[0].filter = Some("height >".into()));
    assert!(filter.contains("height >"), "{filter}");
    let gap = with(&|c| {
        c.scene[0].split = SplitChoice::Auto;
        c.split.mode = SplitMode::Blocks;
        c.split.gap_m = Some(3.0);
    });
    assert!(gap.contains("split.gap_m") && gap.contains("32.0"), "{gap}");
    let block = with(&|c| {
        c.scene[0].split = SplitChoice::Auto;
        c.split.mode = SplitMode::Blocks;
        c.split.block_m = Some(40.0);
    });
    assert!(block.contains("split.block_m") && block.contains("64.0"), "{block}");
    let many = with(&|c| c.tiles.gsd_m = vec![1e-4]);
    assert!(many.contains("tiles"), "{many}");
    let bands = with(&|c| c.tiles.bands = Some(vec![1, 9]));
    assert!(bands.contains("band 9"), "{bands}");
    let twice = with(&|c| c.scene.push(c.scene[0].clone()));
    assert!(twice.contains("name"), "{twice}");
    let aoi = with(&|c| c.scene[0].aoi = Some(folder.path().join("no_aoi.gpkg")));
    assert!(aoi.contains("no_aoi.gpkg"), "{aoi}");
    let parent = problem(&config, &folder.path().join("missing/out"));
    assert!(parent.contains("no folder"), "{parent}");
}

#[test]
fn a_scene_without_georeference_takes_footprints_in_pixels_but_not_in_degrees() {
    let (folder, mut config) = town();
    let picture = image::RgbImage::from_fn(200, 150, |x, y| image::Rgb([x as u8, y as u8, 7]));
    config.scene[0].image = folder.path().join("picture.png");
    picture.save(&config.scene[0].image).unwrap();
    let out = folder.path().join("out");
    let message = problem(&config, &out);
    assert!(message.contains("no georeference") && message.contains("pixel"), "{message}");

    let footprints = folder.path().join("pixels.gpkg");
    let mut layer = LayerWriter::create(&footprints, "b", None, &[]).unwrap();
    let rect = Rect::new((10.0, 20.0), (30.0, 50.0));
    layer.push(&Geometry::Polygon(rect.to_polygon()), &[]).unwrap();
    layer.finish().unwrap();
    config.scene[0].footprints = footprints;
    let report = run(&config, &out);
    assert!(report.warnings().iter().any(|text| text.contains("no georeference")));
    let set = TileSet::open(&out).unwrap();
    let first = &set.tiles[0];
    let mask = set.read(first).unwrap().mask;
    assert_eq!((first.row, first.col), (0, 0));
    assert!(first.gsd_m.is_nan());
    assert_eq!(mask[25 * 64 + 15], 1);
    assert_eq!(mask[15 * 64 + 15], 0);
}

#[test]
fn an_empty_scene_is_refused_and_leaves_nothing() {
    let (folder, config) = town();
    let at = grid(0.0, 0.0, 300, 260, 0.5);
    let data = vec![0; 3 * 300 * 260];
    write_geotiff(&config.scene[0].image, &at, 3, &data, Some(0.0), Compression::Deflate).unwrap();
    let message = problem(&config, &folder.path().join("out"));
    assert!(message.contains("town.tif") && message.contains("nodata"), "{message}");
}

#[test]
fn folds_divide_training_blocks_and_never_touch() {
    let (folder, mut config) = town();
    config.tiles.tile_px = 16;
    config.scene[0].split = SplitChoice::Auto;
    config.split.mode = SplitMode::Blocks;
    config.split.block_m = Some(20.0);
    config.split.folds = 3;
    let out = folder.path().join("out");
    let report = run(&config, &out);
    let set = TileSet::open(&out).unwrap();
    assert_eq!(set.info.folds, 3);
    let folds: BTreeSet<_> = set.of(Split::Train).map(|tile| tile.fold).collect();
    assert_eq!(folds, BTreeSet::from([Some(0), Some(1), Some(2)]), "{report}");
    for a in &set.tiles {
        for b in set.tiles.iter().filter(|b| (b.split, b.fold) != (a.split, a.fold)) {
            let apart = a.row.abs_diff(b.row).max(a.col.abs_diff(b.col));
            assert!(apart >= 2 * 16, "{} and {}", a.name(), b.name());
        }
    }
}
