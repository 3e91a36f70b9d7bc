//! Scenes read at any resolution, and every awkward raster.

use std::path::{Path, PathBuf};

use crate::support::shared::shared;
use gdal::raster::{
    Buffer, ColorEntry, ColorInterpretation, ColorTable, GdalType, PaletteInterpretation,
};
use gdal::{Dataset, DriverManager};
use geoseg::geo::{
    Compression, Crs, GeoTransform, Grid, Scene, SceneOptions, Window, write_geotiff,
};

fn noise_scene(folder: &Path, width: usize, height: usize, transform: GeoTransform) -> PathBuf {
    let path = folder.join("noise.tif");
    let grid = Grid {
        width,
        height,
        transform,
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: Some((0.3, 0.3)),
    };
    let data: Vec<u8> = (0..3 * width * height)
        .map(|i| ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    write_geotiff(&path, &grid, 3, &data, None, Compression::Deflate).unwrap();
    path
}

const NORTH_UP: GeoTransform = GeoTransform([500_000.0, 0.3, 0.0, 3_000_000.0, 0.0, -0.3]);

#[test]
fn a_window_of_a_resampled_scene_equals_that_part_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::open(noise_scene(folder.path(), 301, 207, NORTH_UP)).unwrap();
    for gsd_m in [0.15, 0.21, 0.3, 0.45, 0.6, 1.2] {
        let grid = scene.grid_at(gsd_m).unwrap();
        let whole = scene.read(&grid, Window::whole(grid.width, grid.height)).unwrap();
        for (col, row, width, height) in
            [(0, 0, 20, 20), (13, 7, 31, 17), (grid.width - 9, grid.height - 11, 9, 11)]
        {
            let window = Window { col, row, width, height };
            let part = scene.read(&grid, window).unwrap();
            for band in 0..3 {
                for r in 0..height {
                    for c in 0..width {
                        let a = part.data[(band * height + r) * width + c];
                        let b = whole.data[(band * grid.height + row + r) * grid.width + col + c];
                        assert!(a.abs_diff(b) <= 1, "{gsd_m} m, {window:?}, ({c}, {r}): {a} {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn native_resolution_returns_the_files_own_values() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::open(noise_scene(folder.path(), 40, 30, NORTH_UP)).unwrap();
    assert!((scene.grid().gsd_m.unwrap().0 - 0.3).abs() < 1e-3);
    let pixels = scene.read(scene.grid(), Window::whole(40, 30)).unwrap();
    let expected: Vec<u8> =
        (0..3600_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    assert_eq!(pixels.data, expected);
    assert!(pixels.valid.iter().all(|v| *v));
}

#[test]
fn a_rotated_grid_knows_its_ground_sample_distance() {
    let folder = tempfile::tempdir().unwrap();
    let (s, c) = (0.3 * 0.5, 0.3 * 0.866_025_403_784);
    let rotated = GeoTransform([500_000.0, c, s, 3_000_000.0, s, -c]);
    let scene = Scene::open(noise_scene(folder.path(), 40, 30, rotated)).unwrap();
    let (x, y) = scene.grid().gsd_m.unwrap();
    assert!((x - 0.3).abs() < 1e-3 && (y - 0.3).abs() < 1e-3, "{x} {y}");
}

#[test]
fn awkward_rasters_open_and_read_or_say_what_is_wrong() {
    let Some(root) = shared("data/robust") else { return };
    let mut seen = 0;
    for folder in ["rasterio", "rio-tiler", "solaris_spacenet", "misc"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "tif") {
                continue;
            }
            seen += 1;
            let outcome = Scene::open(&path).and_then(|scene| {
                let grid = scene.grid().clone();
                let window = Window::whole(grid.width.min(300), grid.height.min(300));
                scene.read(&grid, window).map(|pixels| {
                    (
                        scene.bands(),
                        scene.dtype(),
                        scene.grid().gsd_m,
                        scene.value_range(),
                        pixels.valid.iter().filter(|v| **v).count() as f64 / window.area() as f64,
                    )
                })
            });
            match outcome {
                Ok(found) => println!("{}: {found:?}", path.file_name().unwrap().display()),
                Err(error) => {
                    println!("{}: error: {error}", path.file_name().unwrap().display());
                    assert!(error.to_string().contains(&*path.to_string_lossy()));
                }
            }
        }
    }
    assert!(seen > 30);
}

#[test]
fn nodata_alpha_and_masks_are_invalid() {
    let Some(robust) = shared("data/robust") else { return };
    for name in [
        "rasterio/all-nodata.tif",
        "rio-tiler/cog_rgba.tif",
        "rio-tiler/cog_rgb_mask.tif",
        "rio-tiler/cog_nodata.tif",
        "rio-tiler/cog_nodata_nan.tif",
        "rasterio/float_nan.tif",
    ] {
        let scene = Scene::open(robust.join(name)).unwrap();
        let grid = scene.grid().clone();
        let pixels = scene.read(&grid, Window::whole(grid.width, grid.height)).unwrap();
        assert!(pixels.valid.iter().any(|v| !v), "{name}: every pixel counts as valid");
    }
}

#[test]
fn a_missing_band_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = noise_scene(folder.path(), 10, 10, NORTH_UP);
    let options = SceneOptions { bands: Some(vec![1, 7]), ..SceneOptions::default() };
    let error = Scene::open_with(&path, &options).err().unwrap().to_string();
    assert!(error.contains("band 7") && error.contains("3 bands"), "{error}");
}

/// A scene of 64 x 64 pixels of one GDAL type, made in code, with all that GDAL lets one say of it.
fn made<T: GdalType + Copy>(path: &Path, bands: usize, fill: T, finish: impl FnOnce(&mut Dataset)) {
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset = driver.create_with_band_type::<T, _>(path, 64, 64, bands).unwrap();
    for band in 1..=bands {
        let mut buffer = Buffer::new((64, 64), vec![fill; 64 * 64]);
        dataset.rasterband(band).unwrap().write((0, 0), (64, 64), &mut buffer).unwrap();
    }
    finish(&mut dataset);
    dataset.close().unwrap();
}

#[test]
fn alpha_counts_beside_a_nodata_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rgba.tif");
    for (of_file, of_options) in [(None, None), (Some(0.0), None), (None, Some(0.0))] {
        made::<u8>(&path, 4, 90, |dataset| {
            let mut alpha = dataset.rasterband(4).unwrap();
            alpha.set_color_interpretation(ColorInterpretation::AlphaBand).unwrap();
            let mut left = Buffer::new((32, 64), vec![0_u8; 32 * 64]);
            alpha.write((0, 0), (32, 64), &mut left).unwrap();
            let mut buffer = Buffer::new((8, 64), vec![0_u8; 8 * 64]);
            for band in 1..=3 {
                let mut band = dataset.rasterband(band).unwrap();
                band.write((56, 0), (8, 64), &mut buffer).unwrap();
                band.set_no_data_value(of_file).unwrap();
            }
        });
        let options = SceneOptions { nodata: of_options, ..SceneOptions::default() };
        let scene = Scene::open_with(&path, &options).unwrap();
        let valid = scene.read(scene.grid(), Window::whole(64, 64)).unwrap().valid;
        let count = valid.iter().filter(|valid| **valid).count();
        let black = if of_file.or(of_options).is_some() { 8 } else { 0 };
        assert_eq!(count, (32 - black) * 64, "{of_file:?} {of_options:?}");
        assert!(!valid[0] && valid[33]);
    }
}

#[test]
fn values_that_are_no_grey_levels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.tif");
    let error = |options: &SceneOptions| match Scene::open_with(&path, options) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    };
    made::<u8>(&path, 1, 7, |_| ());
    for nodata in [-1.0, 256.0, 0.4, f64::NAN] {
        let options = SceneOptions { nodata: Some(nodata), ..SceneOptions::default() };
        assert!(error(&options).contains("Byte values"), "{}", error(&options));
    }
    made::<u16>(&path, 1, 300, |dataset| {
        let mut colours = ColorTable::new(PaletteInterpretation::Rgba);
        colours.set_color_entry(300, &ColorEntry::rgba(10, 20, 30, 255));
        dataset.rasterband(1).unwrap().set_color_table(&colours);
    });
    let problem = error(&SceneOptions::default());
    assert!(problem.contains("odd.tif") && problem.contains("palette"), "{problem}");
    let options = ["CInt16", "complex.tif"];
    let status = std::process::Command::new("gdal_translate")
        .args(["-q", "-ot", options[0]])
        .arg(&path)
        .arg(folder.path().join(options[1]))
        .status();
    // Only where GDAL's programs are installed: its bindings cannot make such a file.
    if status.is_ok_and(|status| status.success()) {
        let scene = Scene::open(folder.path().join(options[1]));
        assert!(scene.err().unwrap().to_string().contains("CInt16"));
    }
}
