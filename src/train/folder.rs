//! The folder of a training: where everything lies, and what may be overwritten.

use std::path::{Path, PathBuf};

use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::output::{Begin, check_writable};

/// The folder of one training.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// What a training writes into its folder, and nothing else.
const ENTRIES: [&str; 7] = [
    "model.safetensors",
    "train.toml",
    "metrics.jsonl",
    "curves.png",
    "tensorboard",
    "checkpoints",
    super::mlflow::FILE,
];

impl Folder {
    /// The folder of a run to begin or to take up; nothing is changed before [`Folder::claim`].
    ///
    /// # Errors
    /// Its parent is missing; it holds a run that may not be replaced; it holds none to resume.
    pub fn open(root: &Path, begin: Begin) -> Result<Self> {
        check_writable(root, true)?;
        let folder = Self { root: root.to_owned() };
        // A run that failed before its first checkpoint left nothing worth asking about.
        let saved = is_begun(root);
        let begun = saved || folder.model().exists();
        if begun && begin == Begin::New {
            return Err(Error::input(
                root,
                "a folder without a training",
                "one",
                "pass --resume to go on with it, --overwrite to replace it, or choose another",
            ));
        }
        if !saved && begin == Begin::Resume {
            return Err(Error::input(
                root,
                "a training to resume",
                "no checkpoint",
                "start it without --resume",
            ));
        }
        Ok(folder)
    }

    /// Makes the folder, empty of any earlier run unless that is taken up.
    ///
    /// # Errors
    /// Something cannot be removed or made.
    pub fn claim(&self, begin: Begin) -> Result<()> {
        if begin == Begin::Anew {
            remove_run(&self.root)?;
        }
        let checkpoints = self.root.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))
    }

    /// The model that is kept at the end.
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// The effective configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("train.toml")
    }

    /// The checkpoint to resume from.
    pub fn last(&self) -> PathBuf {
        self.root.join("checkpoints").join("last")
    }

    /// The model that validated best; its folder is made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn best_model(&self) -> Result<PathBuf> {
        let best = self.root.join("checkpoints").join("best");
        std::fs::create_dir_all(&best).map_err(Error::io(&best))?;
        Ok(best.join("model.safetensors"))
    }

    /// Keeps a copy of the last checkpoint, made after `step` steps, and the `count - 1` before it.
    ///
    /// # Errors
    /// It cannot be copied, or an older one cannot be removed.
    pub fn keep(&self, step: usize, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let checkpoints = self.root.join("checkpoints");
        let copy = checkpoints.join(format!("step-{step:07}"));
        std::fs::create_dir_all(&copy).map_err(Error::io(&copy))?;
        for file in list(&self.last())? {
            if let Some(name) = file.file_name() {
                std::fs::copy(&file, copy.join(name)).map_err(Error::io(&file))?;
            }
        }
        let mut kept = list(&checkpoints)?;
        kept.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"))
        });
        kept.sort();
        for old in kept.iter().rev().skip(count) {
            std::fs::remove_dir_all(old).map_err(Error::io(old))?;
        }
        Ok(())
    }
}

/// Whether `root` holds a training that can be resumed.
pub fn is_begun(root: &Path) -> bool {
    let last = root.join("checkpoints").join("last");
    last.exists() || last.with_extension("previous").exists()
}

/// Removes what an earlier training wrote into `root`; other files stay.
///
/// # Errors
/// Something cannot be removed.
pub fn remove_run(root: &Path) -> Result<()> {
    for path in ENTRIES.map(|name| root.join(name)) {
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        } else if path.exists() {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Refuses to begin from a model that goes with the run that is replaced: `--resume` could not find it again.
///
/// # Errors
/// `model.init` lies in `out`.
pub fn check_init(config: &TrainConfig, out: &Path) -> Result<()> {
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    let inside = place(Path::new(&config.model.init))
        .zip(place(out))
        .is_some_and(|(init, out)| init.starts_with(out));
    if !inside {
        return Ok(());
    }
    let problem = "lies in the folder that --overwrite empties; copy it, or choose another folder";
    Err(Error::config("model.init", problem))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(folder))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_run_is_refused_unless_it_is_resumed_or_removed() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("run");
        assert!(Folder::open(&root, Begin::Resume).is_err());
        let folder = Folder::open(&root, Begin::New).unwrap();
        folder.claim(Begin::New).unwrap();
        std::fs::create_dir(folder.last()).unwrap();
        assert!(Folder::open(&root, Begin::New).unwrap_err().to_string().contains("--resume"));
        Folder::open(&root, Begin::Resume).unwrap().claim(Begin::Resume).unwrap();
        std::fs::write(root.join("notes.txt"), "mine").unwrap();
        let folder = Folder::open(&root, Begin::Anew).unwrap();
        assert!(folder.last().exists(), "nothing is removed before all else is known to work");
        folder.claim(Begin::Anew).unwrap();
        Folder::open(&root, Begin::New).unwrap();
        assert!(root.join("notes.txt").exists());
        assert!(Folder::open(&parent.path().join("no/such"), Begin::New).is_err());
    }

    #[test]
    fn only_the_newest_copies_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("run"), Begin::New).unwrap();
        folder.claim(Begin::New).unwrap();
        std::fs::create_dir(folder.last()).unwrap();
        for step in [5, 10, 15] {
            std::fs::write(folder.last().join("state.json"), step.to_string()).unwrap();
            folder.keep(step, 2).unwrap();
        }
        let checkpoints = folder.root.join("checkpoints");
        assert!(!checkpoints.join("step-0000005").exists());
        let newest = checkpoints.join("step-0000015/state.json");
        assert_eq!(std::fs::read_to_string(newest).unwrap(), "15");
    }
}
