//! Typed configuration files: TOML layers, `--set` overrides, and errors that name the key.
//!
//! A stage's configuration is a struct that derives `Serialize` and `Deserialize` with
//! `#[serde(default, deny_unknown_fields)]`; its `Default` is the only place where defaults stand.

pub mod conflate;
pub mod dataset;
pub mod ensemble;
pub mod infer;
pub mod merge;
pub mod output;
pub mod polygonize;
pub mod precision;
pub mod regularize;
pub mod search;
pub mod synth;
pub mod train;
pub mod tta;
pub mod validate;

mod layers;
mod unknown;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use layers::Layers;
pub use polygonize::PolygonizeOptions;
pub use precision::Precision;

use crate::error::{Error, Result};

/// Reads `files` in order (a later file overrides an earlier one, table by table; arrays are replaced
/// whole), applies `sets` (`key.path=value`) and returns the typed configuration.
///
/// # Errors
/// A file that cannot be read or is not TOML, an unknown key (the error names the nearest valid one),
/// a value of the wrong type.
pub fn load<T>(files: &[PathBuf], sets: &[String]) -> Result<T>
where
    T: DeserializeOwned + Serialize + Default,
{
    Layers::read(files, sets)?.parse()
}

/// The configuration as TOML, below a line that says what wrote it.
///
/// # Errors
/// A value that TOML cannot hold, such as an integer above `i64::MAX`.
pub fn to_toml<T: Serialize>(config: &T) -> Result<String> {
    let body = toml::to_string(config)
        .map_err(|source| Error::config("", format!("cannot be written as TOML: {source}")))?;
    Ok(format!("{EFFECTIVE} {}.\n\n{body}", env!("CARGO_PKG_VERSION")))
}

/// How every effective configuration begins.
const EFFECTIVE: &str = "# The effective configuration, written by geoseg";

/// Writes the effective configuration beside an output: `beside` itself where it ends in `.toml`,
/// otherwise `beside` with `.toml` appended (`scores.tif` gets `scores.tif.toml`).
/// An older one is replaced: whether the output may be replaced was settled before.
///
/// # Errors
/// As [`to_toml`], and what the file system says.
pub fn write_effective<T: Serialize>(config: &T, beside: &Path) -> Result<()> {
    crate::output::write_whole(effective_path(beside), to_toml(config)?.as_bytes(), true)
}

/// Refuses, before any work is done, to replace a file that [`write_effective`] has not written.
///
/// # Errors
/// There is one, and `overwrite` is false.
pub fn check_effective(beside: &Path, overwrite: bool) -> Result<()> {
    let path = effective_path(beside);
    match std::fs::read_to_string(&path) {
        Ok(text) if !overwrite && !text.starts_with(EFFECTIVE) => Err(Error::Exists { path }),
        _ => Ok(()),
    }
}

/// Where [`write_effective`] writes.
pub fn effective_path(beside: &Path) -> PathBuf {
    if beside.extension().is_some_and(|extension| extension == "toml") {
        return beside.to_owned();
    }
    let mut name = beside.as_os_str().to_owned();
    name.push(".toml");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        seed: u64,
        tile: Tile,
        mode: Mode,
        scene: Vec<Scene>,
        weights: BTreeMap<String, f64>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Tile {
        size_px: usize,
        overlap_px: usize,
        scales: Vec<f64>,
        gsd_m: Option<f64>,
    }

    impl Default for Tile {
        fn default() -> Self {
            Self { size_px: 512, overlap_px: 64, scales: vec![1.0, 2.0], gsd_m: None }
        }
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        Grid,
        Building,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Scene {
        image: String,
    }

    fn sets(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn files(texts: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = folder.path().join(format!("{index}.toml"));
            std::fs::write(&path, text).unwrap();
            paths.push(path);
        }
        (folder, paths)
    }

    fn problem(texts: &[&str], overrides: &[&str]) -> String {
        let (_folder, paths) = files(texts);
        load::<Config>(&paths, &sets(overrides)).unwrap_err().to_string()
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(load::<Config>(&[], &[]).unwrap(), Config::default());
    }

    #[test]
    fn later_files_override_earlier_ones_key_by_key() {
        let (_folder, paths) = files(&[
            "seed = 1\n[tile]\nsize_px = 256\noverlap_px = 32\n[[scene]]\nimage = 'a'\n",
            "[tile]\nsize_px = 128\n[[scene]]\nimage = 'b'\n",
        ]);
        let config = load::<Config>(&paths, &[]).unwrap();
        assert_eq!((config.seed, config.tile.size_px, config.tile.overlap_px), (1, 128, 32));
        assert_eq!(config.scene, [Scene { image: "b".into() }], "arrays are replaced whole");
    }

    #[test]
    fn set_overrides_files_and_reads_its_value_as_toml_or_else_as_text() {
        let (_folder, paths) = files(&["[[scene]]\nimage = 'a'\n"]);
        let overrides = sets(&[
            "tile.scales=[0.5, 1]",
            "tile.gsd_m=0.3",
            "mode=building",
            "scene.0.image=b c.tif",
            "scene.1.image=2020-01-01",
            "weights.dice=1",
        ]);
        let config = load::<Config>(&paths, &overrides).unwrap();
        assert_eq!(config.tile.scales, [0.5, 1.0]);
        assert_eq!(config.tile.gsd_m, Some(0.3));
        assert_eq!(config.mode, Mode::Building);
        assert_eq!(config.scene[0].image, "b c.tif");
        assert_eq!(config.scene[1].image, "2020-01-01", "a date is text, too");
        assert_eq!(config.weights["dice"], 1.0);
    }

    #[test]
    fn set_reaches_into_a_default_array() {
        let config = load::<Config>(&[], &sets(&["tile.scales.1=4"])).unwrap();
        assert_eq!(config.tile.scales, [1.0, 4.0]);
    }

    #[test]
    fn an_unknown_key_names_itself_the_nearest_valid_one_and_its_file() {
        let message = problem(&["[tile]\nsise_px = 1\n"], &[]);
        assert!(message.contains("`tile.sise_px`"), "{message}");
        assert!(message.contains("did you mean `tile.size_px`?"), "{message}");
        assert!(message.contains("0.toml"), "{message}");
    }

    #[test]
    fn an_unknown_key_on_the_command_line_says_so() {
        let message = problem(&[], &["sed=1"]);
        assert!(message.contains("`sed`") && message.contains("`seed`"), "{message}");
        assert!(message.contains("--set"), "{message}");
    }

    #[test]
    fn a_key_that_stands_one_level_too_high_is_pointed_to_its_table() {
        let message = problem(&[], &["overlap_px=1"]);
        assert!(message.contains("did you mean `tile.overlap_px`?"), "{message}");
    }

    #[test]
    fn an_unknown_key_in_a_list_of_tables_names_the_index() {
        let message = problem(&["[[scene]]\nimage = 'a'\n[[scene]]\nimgae = 'b'\n"], &[]);
        assert!(message.contains("`scene.1.imgae`"), "{message}");
        assert!(message.contains("`scene.1.image`"), "{message}");
    }

    #[test]
    fn a_wrong_type_names_the_key_what_was_expected_and_what_was_found() {
        let message = problem(&["[tile]\nsize_px = 'big'\n"], &[]);
        assert!(message.contains("`tile.size_px`"), "{message}");
        assert!(message.contains("expected an integer of at least 0"), "{message}");
        assert!(message.contains("found string \"big\""), "{message}");
        assert!(message.contains("0.toml"), "{message}");
    }

    #[test]
    fn an_unknown_variant_names_the_nearest_one() {
        let message = problem(&[], &["mode=gird"]);
        assert!(message.contains("`mode`") && message.contains("`grid`"), "{message}");
    }

    #[test]
    fn broken_toml_names_file_and_line_on_one_line() {
        let message = problem(&["seed = 1\nseed = = 2\n"], &[]);
        assert!(message.contains("0.toml") && message.contains("line 2"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn broken_sets_are_refused() {
        assert!(problem(&[], &["seed"]).contains("key.path=value"));
        assert!(problem(&[], &["tile.scales.7=1"]).contains("2 entries"));
        assert!(problem(&["seed = 1"], &["seed.x=1"]).contains("`seed` is"));
    }

    #[test]
    fn the_folder_of_a_key_is_that_of_the_last_file_that_sets_it() {
        let (folder, paths) = files(&["[[scene]]\nimage = 'a'\n", "seed = 3\n"]);
        let layers = Layers::read(&paths, &[]).unwrap();
        assert_eq!(layers.folder_of("scene"), Some(folder.path()));
        assert_eq!(layers.folder_of("tile"), None);
    }

    #[test]
    fn the_effective_configuration_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let config = load::<Config>(&[], &sets(&["seed=7", "tile.gsd_m=0.1"])).unwrap();
        let output = folder.path().join("scores.tif");
        write_effective(&config, &output).unwrap();
        let back = load::<Config>(&[folder.path().join("scores.tif.toml")], &[]).unwrap();
        assert_eq!(back, config);
    }
}
