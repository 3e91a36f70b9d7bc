//! Rasters of every awkward kind through the tiles stage: no panic, and either a set or one error.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::items_after_statements,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unnecessary_wraps,
    clippy::manual_is_multiple_of,
    clippy::many_single_char_names,
    clippy::needless_pass_by_value,
    clippy::naive_bytecount
)]

use std::path::{Path, PathBuf};

use geoseg::config::dataset::{DatasetConfig, SceneEntry, SplitChoice, TilesSection};
use geoseg::progress::Progress;
use geoseg::tiles;

const NOTHING: &str = r#"{"type":"FeatureCollection","features":[]}"#;
const BOGUS: &str = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},
    "geometry":{"type":"Polygon","coordinates":[[[1,1],[2,2],[2,1],[1,2],[1,1]]]}}]}"#;

fn rasters() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/robust");
    let Ok(folders) = std::fs::read_dir(&root) else {
        eprintln!("skipped: no {}", root.display());
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tif"))
        .collect();
    found.sort();
    found
}

fn try_all(footprints: &str, tile_px: usize, gsd_m: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let buildings = folder.path().join("buildings.geojson");
    std::fs::write(&buildings, footprints).unwrap();
    for (number, image) in rasters().into_iter().enumerate() {
        let config = DatasetConfig {
            tiles: TilesSection { tile_px, gsd_m: gsd_m.to_vec(), ..TilesSection::default() },
            scene: vec![SceneEntry {
                image: image.clone(),
                footprints: buildings.clone(),
                split: SplitChoice::Train,
                ..SceneEntry::default()
            }],
            ..DatasetConfig::default()
        };
        let out = folder.path().join(number.to_string());
        let name = image.file_name().unwrap().to_string_lossy().into_owned();
        match tiles::run(&config, &out, false, Progress::Hidden) {
            Ok(report) => {
                eprintln!("{name}: {} tiles", report.tiles(tiles::Split::Train));
                let set = tiles::TileSet::open(&out).unwrap();
                set.read(&set.tiles[0]).unwrap();
            }
            Err(error) => {
                let message = error.to_string();
                eprintln!("{name}: {message}");
                assert!(!message.contains("defect"), "{message}");
                assert!(!out.join("tileset.json").exists());
            }
        }
    }
}

#[test]
fn awkward_rasters_without_footprints_give_tiles_or_one_error() {
    try_all(NOTHING, 512, &[]);
}

#[test]
fn awkward_rasters_with_footprints_elsewhere_give_one_error() {
    try_all(BOGUS, 256, &[]);
}

#[test]
fn awkward_rasters_at_a_ground_sample_distance_far_from_their_own_give_tiles_or_one_error() {
    // From 0.3 m drone pictures to world maps and Mars.
    try_all(NOTHING, 512, &[20_000.0]);
}
