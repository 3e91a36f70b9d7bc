//! Rasters of every awkward kind through the tiles stage: no panic, and either a set or one error.

use crate::support::shared::awkward_files;
use geoseg::config::dataset::{DatasetConfig, SceneEntry, SplitChoice, TilesSection};
use geoseg::progress::Progress;
use geoseg::tiles;

const NOTHING: &str = r#"{"type":"FeatureCollection","features":[]}"#;
const BOGUS: &str = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},
    "geometry":{"type":"Polygon","coordinates":[[[1,1],[2,2],[2,1],[1,2],[1,1]]]}}]}"#;

#[expect(clippy::print_stderr, reason = "shows what became of each raster")]
fn try_all(footprints: &str, tile_px: usize, gsd_m: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let buildings = folder.path().join("buildings.geojson");
    std::fs::write(&buildings, footprints).unwrap();
    let mut images = awkward_files();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "tif"));
    for (number, image) in images.into_iter().enumerate() {
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
