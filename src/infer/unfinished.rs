//! What a run has scored, beside its output until the run is done, so that it can be ended at any moment and taken up again.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::infer::InferConfig;
use crate::error::{Error, Result};
use crate::geo;
use crate::output::{Begin, write_whole};

/// What a run is about: only one that is about the same may take it up.
#[derive(Debug, Serialize)]
pub struct Identity<'a> {
    /// Version of this program.
    pub geoseg: &'a str,
    /// All keys.
    pub config: &'a InferConfig,
    /// Files and SHA-256.
    pub models: Vec<(&'a str, &'a str)>,
    /// Scenes and the files that these name.
    pub scenes: Vec<Stamp>,
    /// Degrees.
    pub bbox: Option<[f64; 4]>,
    /// The file.
    pub aoi: Option<Stamp>,
}

/// A path with its size in bytes and time of change in nanoseconds, where it is a file.
pub type Stamp = (PathBuf, Option<u64>, Option<u128>);

/// What tells a file from what it was before.
pub fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok();
    let changed = meta.as_ref().and_then(|meta| {
        let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(since.as_nanos())
    });
    (file.to_owned(), meta.map(|meta| meta.len()), changed)
}

/// Those of a scene and of all files that it is made of: the sources of a virtual raster, masks, georeferences.
pub fn stamps(scene: &Path) -> Vec<Stamp> {
    let mut files = geo::files_of(scene, false);
    files.retain(|file| file != scene);
    files.sort();
    std::iter::once(stamp(scene)).chain(files.iter().map(|file| stamp(file))).collect()
}

/// The folder of a run's work: the output's name with `.unfinished`.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
}

impl Unfinished {
    /// Makes or finds the folder beside `output`.
    ///
    /// # Errors
    /// Work is there that may not be taken up: `begin` is [`Begin::New`], or it is about something else. The folder cannot be written.
    pub fn open(output: &Path, identity: &Identity, begin: Begin) -> Result<Self> {
        let folder = Self::folder_of(output);
        let path = folder.join("run.json");
        let json = serde_json::to_string_pretty(identity).map_err(std::io::Error::from);
        let json = json.map_err(Error::io(&path))?;
        if folder.is_dir() {
            let refused = |found: &str, hint: &str| {
                Err(Error::input(&folder, "no work of a run that did not end", found, hint))
            };
            match begin {
                Begin::New => {
                    return refused(
                        "some",
                        "pass --resume to go on with it, or --overwrite to begin anew",
                    );
                }
                Begin::Anew => std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?,
                Begin::Resume => match std::fs::read_to_string(&path) {
                    Ok(before) if before == json => return Ok(Self { folder }),
                    // It ended before it had said what it was about.
                    Err(_) => {}
                    Ok(_) => {
                        return refused(
                            "that of a run with other scenes, models or settings (run.json in it names them)",
                            "run with the same ones, or pass --overwrite in place of --resume to begin anew",
                        );
                    }
                },
            }
        }
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        write_whole(&path, json.as_bytes(), true)?;
        Ok(Self { folder })
    }

    /// Where the work on `output` lies, if there is any.
    pub fn folder_of(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        output.with_file_name(name)
    }

    /// Whether anything was scored.
    pub fn holds_scores(&self) -> bool {
        let folder = glob::Pattern::escape(&self.folder.to_string_lossy());
        let strips = glob::glob(&format!("{folder}/scene-*/**/rows_*.tif"));
        strips.into_iter().flatten().next().is_some()
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the work on the `index`-th scene.
    pub fn scene(&self, index: usize) -> PathBuf {
        self.folder.join(format!("scene-{index}"))
    }

    /// Removes it: the run is done.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).map_err(Error::io(&self.folder))
    }
}
