//! Buildings in every format and CRS, read back; across the antimeridian, too.

use std::path::Path;

use crate::support::program::Place;
use crate::support::synthetic::run;
use gdal::Dataset;
use gdal::vector::LayerAccess;
use geo::{Area, BoundingRect, Validation};
use geoseg::geo::raster::{Compression, write_geotiff};
use geoseg::geo::vector::{FeatureReader, Format, VectorSource, read_footprints};
use geoseg::geo::{Crs, GeoTransform, Grid};
use parquet::file::reader::{FileReader, SerializedFileReader};

/// Scores of a row of four square houses, 30 px wide and 10 px apart, from column 20 on.
fn houses(path: &Path, transform: [f64; 6], epsg: u32) {
    let (width, height) = (200, 60);
    let grid = Grid {
        width,
        height,
        transform: GeoTransform(transform),
        crs: Some(Crs::from_epsg(epsg).unwrap()),
        gsd_m: None,
    };
    let score = |i: usize| {
        let (x, y) = (i % width, i / width);
        let house = (20..180).contains(&x) && (x - 20) % 40 < 30 && (15..45).contains(&y);
        if house { 150 + (x / 40) as u8 * 20 } else { 10 }
    };
    let scores: Vec<u8> = (0..width * height).map(score).collect();
    write_geotiff(path, &grid, 1, &scores, Some(255.0), Compression::Deflate).unwrap();
}

/// Houses are as large as their pixels.
const ALONG_PIXELS: [&str; 2] = ["--set", "polygonize.outline=pixel"];

fn town() -> Place {
    let place = Place::new();
    let transform = [330_000.0, 0.5, 0.0, 3_060_000.0, 0.0, -0.5];
    houses(&place.path().join("scores.tif"), transform, 32645);
    place
}

fn reader(place: &Place, name: &str) -> FeatureReader {
    FeatureReader::open(&VectorSource::file(place.path().join(name))).unwrap()
}

#[test]
fn every_format_holds_the_same_buildings_in_every_crs() {
    let place = town();
    let utm = Crs::from_epsg(32645).unwrap();
    for name in ["b.geojson", "b.geojsonl", "b.gpkg", "b.fgb", "b.shp"] {
        for crs in ["auto", "native", "EPSG:3857", "EPSG:4326"] {
            let fixed = ["polygonize", "scores.tif", "--overwrite", "--crs", crs, "-o", name];
            let options = [&fixed[..], &ALONG_PIXELS].concat();
            if name == "b.geojsonl" && crs != "auto" {
                let ran = place.run(&options);
                assert!(ran.error().contains("--crs"), "{}", ran.stderr);
                continue;
            }
            run(&place, &options);
            let wanted = match (crs, name) {
                ("auto", "b.geojson" | "b.geojsonl") => Crs::wgs84(),
                ("auto" | "native", _) => Ok(utm.clone()),
                (code, _) => Crs::from_epsg(code[5..].parse().unwrap()),
            };
            let mut reader = reader(&place, name);
            assert!(reader.crs().unwrap().same_as(&wanted.unwrap()), "{name} {crs}");
            let mut count = 0;
            reader
                .each(|feature| {
                    count += usize::from(feature.geometry.is_some());
                    Ok(())
                })
                .unwrap();
            assert_eq!(count, 4, "{name} {crs}");
            let source = VectorSource::file(place.path().join(name));
            let read = read_footprints(&source, Some(&utm)).unwrap();
            let area: f64 = read.polygons.iter().map(Area::unsigned_area).sum();
            // A shapefile keeps more decimals of degrees than GeoJSON, whose 7 are a centimetre.
            assert!((area - 4.0 * 225.0).abs() < 2.0, "{name} {crs}: {area} m2");
            assert_eq!(read.repaired + read.dropped, 0);
        }
    }
}

#[test]
fn a_geopackage_brings_an_index_and_the_style_that_qgis_applies() {
    let place = town();
    run(&place, &["polygonize", "scores.tif", "-o", "b.gpkg"]);
    let dataset = Dataset::open(place.path().join("b.gpkg")).unwrap();
    let mut styles = dataset.layer_by_name("layer_styles").unwrap();
    let rows: Vec<Vec<String>> = styles
        .features()
        .map(|row| {
            let text = |name| row.field_as_string(row.field_index(name).unwrap()).unwrap();
            ["f_table_name", "f_geometry_column", "useAsDefault", "styleQML"]
                .map(|name| text(name).unwrap_or_default())
                .to_vec()
        })
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][..3], ["buildings", "geom", "1"]);
    assert!(rows[0][3].contains("attr=\"confidence\""), "{}", rows[0][3]);
    let index = dataset
        .execute_sql(
            "SELECT count(*) FROM rtree_buildings_geom",
            None,
            gdal::vector::sql::Dialect::DEFAULT,
        )
        .unwrap()
        .unwrap();
    assert_eq!(dataset.layer_by_name("buildings").unwrap().feature_count(), 4);
    drop(index);
}

#[test]
fn a_shapefile_has_short_names_that_differ() {
    let place = town();
    run(&place, &["polygonize", "scores.tif", "-o", "b.shp"]);
    let reader = reader(&place, "b.shp");
    let mut names: Vec<&str> = reader.fields().iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"confidence") && names.contains(&"area_m2"), "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 10));
    names.dedup();
    assert_eq!(names.len(), reader.fields().len());
}

#[test]
fn geoparquet_names_its_crs_and_its_boxes() {
    let place = town();
    for (crs, code) in [("auto", 32645), ("EPSG:3857", 3857)] {
        run(&place, &["polygonize", "scores.tif", "--overwrite", "--crs", crs, "-o", "b.parquet"]);
        let file = std::fs::File::open(place.path().join("b.parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.num_rows(), 4);
        let pairs = metadata.key_value_metadata().unwrap();
        let geo = pairs.iter().find(|pair| pair.key == "geo").unwrap().value.clone().unwrap();
        let geo: serde_json::Value = serde_json::from_str(&geo).unwrap();
        assert_eq!(geo["columns"]["geometry"]["crs"]["id"]["code"], code);
        let names: Vec<&str> =
            metadata.schema_descr().root_schema().get_fields().iter().map(|f| f.name()).collect();
        assert!(names.ends_with(&["bbox", "geometry"]), "{names:?}");
    }
}

#[test]
fn vector_tiles_are_written_where_gdal_can_and_refused_clearly_elsewhere() {
    let place = town();
    run(&place, &["polygonize", "scores.tif", "-o", "b.mbtiles"]);
    let dataset = Dataset::open(place.path().join("b.mbtiles")).unwrap();
    assert!(dataset.layer_by_name("buildings").unwrap().feature_count() >= 4);
    let words = ["polygonize", "scores.tif", "-o", "b.pmtiles"];
    if Format::of(Path::new("b.pmtiles")).is_ok() {
        run(&place, &words);
    } else {
        let ran = place.run(&words);
        assert!(ran.error().contains("GDAL 3.8"), "{}", ran.stderr);
        assert!(!place.path().join("b.pmtiles").exists());
    }
}

/// Fiji, where the antimeridian runs across the third house.
fn across_the_antimeridian(epsg: u32) -> (Place, f64) {
    let place = Place::new();
    let wgs84 = Crs::wgs84().unwrap();
    let crs = Crs::from_epsg(epsg).unwrap();
    let way = geoseg::geo::Reprojection::new(&wgs84, &crs).unwrap();
    let (x, y) = way.point(179.999_999_9, -16.8).unwrap();
    // The line lies in the middle of columns 100..130.
    let transform = [x - 115.0 * 0.5, 0.5, 0.0, y, 0.0, -0.5];
    houses(&place.path().join("scores.tif"), transform, epsg);
    let unit = crs.metres_per_unit(x - 1.0, y).unwrap();
    (place, unit.0 * unit.1 * 225.0)
}

#[test]
fn a_building_on_the_antimeridian_is_cut_in_two_whatever_the_scene_and_the_format() {
    for epsg in [32760, 32701, 3857, 3460] {
        let (place, house_m2) = across_the_antimeridian(epsg);
        for name in ["b.geojson", "b.geojsonl", "b.gpkg"] {
            let crs = if name == "b.gpkg" { "EPSG:4326" } else { "auto" };
            let fixed = ["polygonize", "scores.tif", "--crs", crs, "-o", name, "--overwrite"];
            run(&place, &[&fixed[..], &ALONG_PIXELS].concat());
            let mut parts = Vec::new();
            let mut reader = reader(&place, name);
            reader
                .each(|feature| {
                    let shape = match feature.geometry.unwrap() {
                        geo::Geometry::Polygon(polygon) => geo::MultiPolygon(vec![polygon]),
                        geo::Geometry::MultiPolygon(polygons) => polygons,
                        other => panic!("{other:?}"),
                    };
                    assert!(shape.is_valid());
                    parts.push(shape);
                    Ok(())
                })
                .unwrap();
            assert_eq!(parts.len(), 4, "EPSG:{epsg} {name}");
            let counts: Vec<usize> = parts.iter().map(|shape| shape.0.len()).collect();
            assert_eq!(counts, [1, 1, 2, 1], "EPSG:{epsg} {name}");
            for shape in &parts {
                let mut area_m2 = 0.0;
                for part in shape {
                    let bounds = part.bounding_rect().unwrap();
                    assert!(bounds.width() < 1.0, "EPSG:{epsg} {name}: {bounds:?}");
                    assert!(bounds.min().x >= -180.0 && bounds.max().x <= 180.0);
                    area_m2 += geoseg::geo::vector::area_m2(part, Some(&Crs::wgs84().unwrap()));
                }
                assert!(
                    (area_m2 / house_m2 - 1.0).abs() < 0.02,
                    "EPSG:{epsg} {name}: {area_m2} m2"
                );
            }
            let line: Vec<f64> = parts[2]
                .iter()
                .map(|part| {
                    let bounds = part.bounding_rect().unwrap();
                    if bounds.min().x > 0.0 { bounds.max().x } else { bounds.min().x }
                })
                .collect();
            assert_eq!(line, [180.0, -180.0], "both halves reach the line");
        }
    }
}
