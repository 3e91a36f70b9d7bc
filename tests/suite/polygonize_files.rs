//! From a raster file to a file of buildings, and against GDAL's own polygonizer.

use std::path::{Path, PathBuf};

use crate::support::shared::shared;
use gdal::vector::LayerAccess;
use geo::{Area, Validation};
use geoseg::geo::raster::{Compression, write_geotiff};
use geoseg::geo::vector::{OutputCrs, VectorSource, read_footprints};
use geoseg::geo::{Crs, GeoTransform, Grid};
use geoseg::polygonize::{FULL, NODATA, Outline, PolygonizeOptions, polygons_of, run};
use geoseg::progress::Progress;

fn utm_grid(width: usize, height: usize) -> Grid {
    Grid {
        width,
        height,
        transform: GeoTransform([330_000.0, 0.3, 0.0, 3_060_000.0, 0.0, -0.3]),
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: Some((0.3, 0.3)),
    }
}

/// A courtyard house, a plain one, and a wedge of no data.
fn village(width: usize, height: usize) -> Vec<u8> {
    let at = |i: usize| {
        let (x, y) = ((i % width) as i64, (i / width) as i64);
        match () {
            () if x + y < 30 => NODATA,
            () if (40..80).contains(&x) && (20..60).contains(&y) => {
                if (50..70).contains(&x) && (30..50).contains(&y) { 10 } else { 230 }
            }
            () if (x - 130).abs() + (y - 60).abs() < 25 => 180,
            () => 20,
        }
    };
    (0..width * height).map(at).collect()
}

fn write_village(folder: &Path, nodata: Option<f64>) -> PathBuf {
    let path = folder.join("scores.tif");
    let scores = village(200, 120);
    write_geotiff(&path, &utm_grid(200, 120), 1, &scores, nodata, Compression::Deflate).unwrap();
    path
}

#[test]
fn what_a_mask_of_the_file_covers_is_no_building() {
    let folder = tempfile::tempdir().unwrap();
    let grid = utm_grid(60, 40);
    let house = |i: usize| (10..50).contains(&(i % 60)) && (10..30).contains(&(i / 60));
    let bytes: Vec<u8> = (0..60 * 40).map(|i| if house(i) { 200 } else { 0 }).collect();
    let options = PolygonizeOptions::exact(0.5);
    for (name, nodata) in [("scores.tif", Some(255.0)), ("mask.tif", None)] {
        let path = folder.path().join(name);
        write_geotiff(&path, &grid, 1, &bytes, nodata, Compression::Deflate).unwrap();
        // A mask beside the file: its left half is nowhere.
        let options_of_gdal = gdal::DatasetOptions {
            open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE,
            ..gdal::DatasetOptions::default()
        };
        let dataset = gdal::Dataset::open_ex(&path, options_of_gdal).unwrap();
        let mut band = dataset.rasterband(1).unwrap();
        band.create_mask_band(true).unwrap();
        let there = (0..60 * 40).map(|i| if i % 60 < 30 { 0 } else { 255 }).collect();
        let mut buffer = gdal::raster::Buffer::new((60, 40), there);
        band.open_mask_band().unwrap().write((0, 0), (60, 40), &mut buffer).unwrap();
        drop(dataset);
        let out = folder.path().join("out.gpkg");
        let crs = OutputCrs::Native;
        run(&path, &options, &out, crs, true, name, Progress::Hidden).unwrap();
        let found = read_footprints(&VectorSource::file(&out), None).unwrap().polygons;
        let area: f64 = found.iter().map(Area::unsigned_area).sum();
        assert!((area - 20.0 * 20.0 * 0.09).abs() < 1e-6, "{name}: {area}");
    }
}

#[test]
fn geojson_follows_rfc_7946() {
    let folder = tempfile::tempdir().unwrap();
    let scores = write_village(folder.path(), Some(255.0));
    let out = folder.path().join("buildings.geojson");
    let report = run(
        &scores,
        &PolygonizeOptions::default(),
        &out,
        OutputCrs::Auto,
        false,
        "village",
        Progress::Hidden,
    )
    .unwrap();
    assert_eq!((report.buildings, report.size_px), (2, (200, 120)));
    let text = std::fs::read_to_string(&out).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json.get("crs").is_none(), "RFC 7946 knows WGS 84 only");
    let features = json["features"].as_array().unwrap();
    assert_eq!(features.len(), 2);
    let mut total = 0.0;
    let mut ids = std::collections::HashSet::new();
    for (i, feature) in features.iter().enumerate() {
        let properties = &feature["properties"];
        let id = properties["id"].as_str().unwrap();
        assert!(id.len() == 12 && id.starts_with("tu") && ids.insert(id.to_owned()), "{id}");
        assert!(properties["perimeter_m"].as_f64().unwrap() > 40.0);
        assert_eq!(properties["n_vertices"].as_u64(), Some([8, 4][i]));
        assert_eq!(properties["scene"], "village");
        let expected = [230.0 / 254.0, 180.0 / 254.0][i];
        assert!((properties["confidence"].as_f64().unwrap() - expected).abs() < 1e-3);
        total += properties["area_m2"].as_f64().unwrap();
        let rings = feature["geometry"]["coordinates"].as_array().unwrap();
        assert_eq!(rings.len(), [2, 1][i]);
        for (k, ring) in rings.iter().enumerate() {
            let points: Vec<[f64; 2]> = serde_json::from_value(ring.clone()).unwrap();
            assert_eq!(points.first(), points.last());
            let area: f64 = points.windows(2).map(|p| p[0][0] * p[1][1] - p[1][0] * p[0][1]).sum();
            assert_eq!(area > 0.0, k == 0, "outer rings counter-clockwise, holes clockwise");
            for [x, y] in points {
                assert!((85.0..86.0).contains(&x) && (27.0..28.0).contains(&y), "degrees");
            }
        }
    }
    for number in text.split(|c: char| !c.is_ascii_digit() && c != '.') {
        let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let is_coordinate = number.starts_with("85.") || number.starts_with("27.");
        assert!(!is_coordinate || decimals <= 7, "{number}");
    }
    let pixels = 1600.0 - 400.0 + 1201.0;
    assert!((total / (pixels * 0.09) - 1.0).abs() < 0.03, "{total} m2");
    assert!((report.area_m2_total - total).abs() < 0.1);
    let read = read_footprints(&VectorSource::file(&out), None).unwrap();
    assert!(read.polygons.iter().all(geo::Validation::is_valid));
}

#[test]
fn every_format_holds_the_same_buildings() {
    let folder = tempfile::tempdir().unwrap();
    let scores = write_village(folder.path(), Some(255.0));
    for name in ["b.gpkg", "b.fgb", "b.geojsonl", "b.shp", "b.geojson"] {
        let out = folder.path().join(name);
        run(
            &scores,
            &PolygonizeOptions::default(),
            &out,
            OutputCrs::Auto,
            false,
            "v",
            Progress::Hidden,
        )
        .unwrap();
        let crs = Crs::from_epsg(32645).unwrap();
        let read = read_footprints(&VectorSource::file(&out), Some(&crs)).unwrap();
        assert_eq!(read.polygons.len(), 2, "{name}");
        let area: f64 = read.polygons.iter().map(Area::unsigned_area).sum();
        assert!((area / (2401.0 * 0.09) - 1.0).abs() < 0.03, "{name}: {area} m2");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn bytes_without_255_as_no_data_are_a_mask_and_floats_are_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("b.fgb");
    let grid = utm_grid(50, 50);
    let is_house = |i: usize| (10..30).contains(&(i % 50)) && (10..30).contains(&(i / 50));
    let mask: Vec<u8> = (0..2500).map(|i| u8::from(is_house(i))).collect();
    let path = folder.path().join("mask.tif");
    write_geotiff(&path, &grid, 1, &mask, None, Compression::Deflate).unwrap();
    let options = PolygonizeOptions { threshold: 0.9, ..Default::default() };
    let report = run(&path, &options, &out, OutputCrs::Auto, false, "m", Progress::Hidden).unwrap();
    assert_eq!(report.buildings, 1);

    let path = folder.path().join("float.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset = driver.create_with_band_type::<f32, _>(&path, 50, 50, 1).unwrap();
    dataset.set_geo_transform(&grid.transform.0).unwrap();
    let value = |i: usize| match i {
        0..100 => f32::NAN,
        i if is_house(i) => 0.8,
        _ => 0.1,
    };
    let values: Vec<f32> = (0..2500).map(value).collect();
    let mut buffer = gdal::raster::Buffer::new((50, 50), values);
    dataset.rasterband(1).unwrap().write((0, 0), (50, 50), &mut buffer).unwrap();
    dataset.close().unwrap();
    let error =
        run(&path, &options, &out, OutputCrs::Auto, false, "f", Progress::Hidden).unwrap_err();
    assert!(error.to_string().contains("--overwrite"), "{error}");
    assert_eq!(
        run(&path, &options, &out, OutputCrs::Auto, true, "f", Progress::Hidden).unwrap().buildings,
        0
    );
    let options = PolygonizeOptions { threshold: 0.75, ..options };
    assert_eq!(
        run(&path, &options, &out, OutputCrs::Auto, true, "f", Progress::Hidden).unwrap().buildings,
        1
    );
}

#[test]
fn bad_input_is_one_clear_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let scores = write_village(folder.path(), Some(255.0));
    let default = PolygonizeOptions::default();
    let tell = |scores: &Path, options: &PolygonizeOptions, out: &Path| {
        run(scores, options, out, OutputCrs::Auto, false, "x", Progress::Hidden)
            .unwrap_err()
            .to_string()
    };
    let out = folder.path().join("b.gpkg");
    assert!(tell(&folder.path().join("missing.tif"), &default, &out).contains("missing.tif"));
    assert!(tell(&scores, &default, &folder.path().join("b.dwg")).contains(".dwg"));
    assert!(tell(&scores, &default, &folder.path().join("no/b.gpkg")).contains("folder"));
    let options = PolygonizeOptions { threshold: 7.0, ..default.clone() };
    assert!(tell(&scores, &options, &out).contains("polygonize.threshold"));
    let cut = folder.path().join("cut.tif");
    let bytes = std::fs::read(&scores).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(tell(&cut, &default, &out).contains("cut.tif"));
    assert!(!out.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A polygon by its rings' corners, (column, row).
type Rings = Vec<Vec<(i64, i64)>>;

/// Rings that begin at their first corner in reading order and run one way, in order: equal for equal polygons.
fn in_order(rings: impl Iterator<Item = Vec<(i64, i64)>>) -> Rings {
    let mut rings: Rings = rings
        .map(|mut ring| {
            assert_eq!(ring.first(), ring.last(), "rings are closed");
            ring.pop();
            let reading = |at: &(i64, i64)| (at.1, at.0);
            let first = (0..ring.len()).min_by_key(|&i| reading(&ring[i])).unwrap();
            ring.rotate_left(first);
            if reading(&ring[1]) > reading(ring.last().unwrap()) {
                ring[1..].reverse();
            }
            ring
        })
        .collect();
    rings.sort_unstable();
    rings
}

/// The polygons that GDAL makes of a mask, sorted.
fn by_gdal(mask: &[u8], width: usize, height: usize, connectivity: u8) -> Vec<Rings> {
    let memory = gdal::DriverManager::get_driver_by_name("MEM").unwrap();
    let dataset = memory.create_with_band_type::<u8, _>("", width, height, 1).unwrap();
    let mut band = dataset.rasterband(1).unwrap();
    let mut buffer = gdal::raster::Buffer::new((width, height), mask.to_vec());
    band.write((0, 0), (width, height), &mut buffer).unwrap();
    let driver = gdal::DriverManager::get_driver_by_name("Memory").unwrap();
    let mut vectors = driver.create_vector_only("").unwrap();
    let mut layer = vectors.create_layer(gdal::vector::LayerOptions::default()).unwrap();
    let eight = c"8CONNECTED=8".as_ptr().cast_mut();
    let mut options =
        [if connectivity == 8 { eight } else { std::ptr::null_mut() }, std::ptr::null_mut()];
    // SAFETY: both handles outlive the call; the band serves as its own mask; the list of options ends with null; no progress.
    let code = unsafe {
        let band = band.c_rasterband();
        gdal_sys::GDALPolygonize(
            band,
            band,
            layer.c_layer(),
            -1,
            options.as_mut_ptr(),
            None,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(code, gdal_sys::CPLErr::CE_None);
    let mut found: Vec<Rings> = layer
        .features()
        .map(|feature| {
            let polygon = feature.geometry().unwrap();
            in_order((0..polygon.geometry_count()).map(|ring| {
                let ring = polygon.get_geometry(ring);
                let points = (0..ring.point_count() as i32).map(|i| ring.get_point(i));
                points.map(|(x, y, _)| (x as i64, y as i64)).collect()
            }))
        })
        .collect();
    found.sort_unstable();
    found
}

fn by_us(mask: &[u8], width: usize, height: usize, connectivity: u8) -> Vec<Rings> {
    let grid =
        Grid { transform: GeoTransform::PIXEL, crs: None, gsd_m: None, ..utm_grid(width, height) };
    let options = PolygonizeOptions { connectivity, ..PolygonizeOptions::exact(0.5) };
    let outlines: Vec<Outline> = polygons_of(&mask.to_vec().into(), &grid, &options);
    assert!(outlines.iter().all(|outline| outline.polygon.is_valid()));
    let mut found: Vec<Rings> = outlines
        .iter()
        .map(|outline| {
            let rings =
                std::iter::once(outline.polygon.exterior()).chain(outline.polygon.interiors());
            in_order(rings.map(|ring| {
                // Bridges begin an eighth of a pixel from corners.
                let corners = ring.coords().map(|c| (c.x.round() as i64, c.y.round() as i64));
                corners.collect()
            }))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Noise of several densities.
fn noises() -> impl Iterator<Item = (u64, usize, usize, Vec<u8>)> {
    let mut state = 7_u64;
    let densities = [2_u64, 20, 41, 50, 59, 80, 98].into_iter().enumerate();
    densities.map(move |(k, density)| {
        let (width, height) = (150 + 7 * k, 120 - k);
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) % 100 < density { FULL } else { 0 }
        };
        let mask = (0..width * height).map(|_| noise()).collect();
        (density, width, height, mask)
    })
}

#[test]
fn gdal_finds_the_same_polygons_in_noise_of_any_density() {
    geoseg::geo::init();
    for (density, width, height, mask) in noises() {
        let (ours, theirs) = (by_us(&mask, width, height, 4), by_gdal(&mask, width, height, 4));
        assert_eq!(ours, theirs, "density {density} %");
    }
}

/// The pixel edges of each polygon, whatever the rings that they make where corners touch.
fn edges(polygons: Vec<Rings>) -> Vec<Vec<[(i64, i64); 2]>> {
    let mut all: Vec<Vec<[(i64, i64); 2]>> = polygons
        .into_iter()
        .map(|rings| {
            let mut edges = Vec::new();
            for ring in &rings {
                for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                    let length = (b.0 - a.0).abs() + (b.1 - a.1).abs();
                    let step = ((b.0 - a.0).signum(), (b.1 - a.1).signum());
                    let at = |k: i64| (a.0 + k * step.0, a.1 + k * step.1);
                    edges.extend((0..length).map(|k| {
                        let (from, to) = (at(k), at(k + 1));
                        [from.min(to), from.max(to)]
                    }));
                }
            }
            edges.sort_unstable();
            edges
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn gdal_finds_the_same_polygons_of_pixels_connected_by_corners() {
    geoseg::geo::init();
    for (density, width, height, mask) in noises() {
        let (ours, theirs) = (by_us(&mask, width, height, 8), by_gdal(&mask, width, height, 8));
        assert_eq!(ours.len(), theirs.len(), "density {density} %");
        assert_eq!(edges(ours), edges(theirs), "density {density} %");
    }
}

#[test]
fn gdal_finds_the_same_polygons_in_a_real_mask() {
    let Some(path) = shared("data/robust/misc/spacenet2_vegas_mask.tif") else { return };
    let band = geoseg::geo::Band::open(&path).unwrap();
    let (width, height) = (band.grid().width, band.grid().height);
    let values = band.read_u8(geoseg::geo::Window::whole(width, height)).unwrap();
    let mask: Vec<u8> = values.iter().map(|&v| if v == 0 { 0 } else { FULL }).collect();
    let (ours, theirs) = (by_us(&mask, width, height, 4), by_gdal(&mask, width, height, 4));
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs);
    let outlines = polygons_of(&mask.into(), band.grid(), &PolygonizeOptions::default());
    assert!(outlines.iter().all(|outline| outline.polygon.is_valid()));
}

#[test]
fn all_threads_of_the_pool_at_once_do_not_wait_for_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let scores = write_village(folder.path(), Some(255.0));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let counts = rayon::broadcast(|thread| {
            let out = folder.path().join(format!("{}.geojson", thread.index()));
            let options = PolygonizeOptions::default();
            let crs = OutputCrs::Auto;
            run(&scores, &options, &out, crs, false, "scene", Progress::Hidden).unwrap().buildings
        });
        sender.send(counts).unwrap();
    });
    // Less than a second, unless it is for ever.
    let counts = receiver.recv_timeout(std::time::Duration::from_mins(2)).unwrap();
    assert!(counts.iter().all(|count| *count == 2), "{counts:?}");
}

#[test]
fn no_data_of_a_mask_is_no_building_and_percent_are_no_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tif");
    let value = |i: usize| match (i % 40, i / 40) {
        (10..20, 10..20) => 1,
        (25.., _) => 99,
        _ => 0,
    };
    let mask: Vec<u8> = (0..1600).map(value).collect();
    write_geotiff(&path, &utm_grid(40, 40), 1, &mask, Some(99.0), Compression::Deflate).unwrap();
    let out = folder.path().join("b.gpkg");
    let polygonize = |path: &Path| {
        let options = PolygonizeOptions::default();
        run(path, &options, &out, OutputCrs::Auto, true, "m", Progress::Hidden)
    };
    assert_eq!(polygonize(&path).unwrap().buildings, 1);

    let path = folder.path().join("percent.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").unwrap();
    let dataset = driver.create_with_band_type::<f32, _>(&path, 40, 40, 1).unwrap();
    let values = mask.iter().map(|v| f32::from(*v) * 0.5).collect();
    let mut buffer = gdal::raster::Buffer::new((40, 40), values);
    dataset.rasterband(1).unwrap().write((0, 0), (40, 40), &mut buffer).unwrap();
    dataset.close().unwrap();
    let error = polygonize(&path).unwrap_err().to_string();
    assert!(error.contains("percent.tif") && error.contains("49.5"), "{error}");
}
