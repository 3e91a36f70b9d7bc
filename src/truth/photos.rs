//! Photos and their masks, found by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What counts as a photo in a folder.
const PHOTOS: [&str; 5] = ["jpg", "jpeg", "png", "tif", "tiff"];
/// What counts as a mask in a folder.
const MASKS: [&str; 5] = ["png", "gif", "tif", "tiff", "bmp"];

/// A photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// Its file name without the extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// The photos of a folder (JPEG, PNG, TIFF), of a pattern, or one file; by name.
///
/// # Errors
/// There is none, two have the same name, or the folder cannot be read.
pub fn find(source: &Path) -> Result<Vec<Photo>> {
    let mut paths = if source.is_dir() {
        files(source, &PHOTOS)?
    } else if source.is_file() {
        vec![source.to_owned()]
    } else {
        let found = glob::glob(&source.to_string_lossy()).map_err(|problem| {
            Error::input(source, "a folder or a pattern", problem.to_string(), "correct it")
        })?;
        found.filter_map(std::result::Result::ok).filter(|path| path.is_file()).collect()
    };
    paths.sort();
    let photos: Vec<Photo> =
        paths.into_iter().map(|path| Photo { name: stem(&path), path }).collect();
    if photos.is_empty() {
        return Err(Error::input(
            source,
            "photos: a folder with .jpg or .png files, or a pattern",
            "none",
            "check the path",
        ));
    }
    let mut named = BTreeMap::new();
    for photo in &photos {
        if let Some(other) = named.insert(&photo.name, &photo.path) {
            return Err(Error::input(
                &photo.path,
                "one photo of a name",
                format!("{}, too", other.display()),
                "give one of them another name",
            ));
        }
    }
    Ok(photos)
}

/// A folder of masks.
#[derive(Clone, Debug)]
pub struct MaskFolder {
    folder: PathBuf,
    suffix: String,
    /// By the photo's name.
    files: BTreeMap<String, PathBuf>,
}

impl MaskFolder {
    /// The masks.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(PathBuf::as_path)
    }

    /// Looks for masks (PNG, GIF, TIFF, BMP) whose names end in `suffix`, before the extension.
    ///
    /// # Errors
    /// The folder cannot be read, or two masks have the same name.
    pub fn open(folder: &Path, suffix: &str) -> Result<Self> {
        let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in files(folder, &MASKS)? {
            let Some(name) = stem(&path).strip_suffix(suffix).map(str::to_owned) else { continue };
            if let Some(other) = by_name.insert(name, path.clone()) {
                return Err(Error::input(
                    &path,
                    "one mask of a name",
                    format!("{}, too", other.display()),
                    "remove one of them",
                ));
            }
        }
        Ok(Self { folder: folder.to_owned(), suffix: suffix.to_owned(), files: by_name })
    }

    /// The mask of a photo.
    ///
    /// # Errors
    /// There is none.
    pub fn of(&self, photo: &Photo) -> Result<&Path> {
        let file = self.files.get(&photo.name).filter(|file| **file != photo.path);
        file.map(PathBuf::as_path).ok_or_else(|| {
            Error::input(
                &photo.path,
                format!(
                    "its mask, {}{}.png or .gif in {}",
                    photo.name,
                    self.suffix,
                    self.folder.display()
                ),
                "none",
                "add it, remove the photo, or correct the folder or the suffix of masks",
            )
        })
    }

    /// Whether a file is one of the masks, where masks lie among the photos.
    pub fn holds(&self, path: &Path) -> bool {
        !self.suffix.is_empty() && self.files.values().any(|file| file == path)
    }
}

/// The files of a folder with one of these extensions, in order.
fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(folder))?.path();
        let extension = path.extension().map(|text| text.to_string_lossy().to_lowercase());
        if path.is_file() && extension.is_some_and(|text| extensions.contains(&text.as_str())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn photos_come_from_a_folder_a_pattern_or_one_file() {
        let folder = folder(&["b.png", "a.JPG", "notes.txt", "c.gif"]);
        let names = |source: PathBuf| -> Vec<String> {
            find(&source).unwrap().into_iter().map(|photo| photo.name).collect()
        };
        assert_eq!(names(folder.path().to_owned()), ["a", "b"]);
        assert_eq!(names(folder.path().join("*.gif")), ["c"]);
        assert_eq!(names(folder.path().join("b.png")), ["b"]);
        let none = find(&folder.path().join("*.tif")).unwrap_err().to_string();
        assert!(none.contains("expected photos"), "{none}");
        std::fs::write(folder.path().join("b.jpg"), "").unwrap();
        let twice = find(folder.path()).unwrap_err().to_string();
        assert!(twice.contains("b.png") && twice.contains("b.jpg"), "{twice}");
    }

    #[test]
    fn a_mask_has_the_photos_name_and_the_suffix_and_is_not_the_photo_itself() {
        let folder = folder(&["a.png", "a_mask.gif", "b.png", "a_mask_mask.png"]);
        let photo = |name: &str| Photo {
            name: name.to_owned(),
            path: folder.path().join(format!("{name}.png")),
        };
        let masks = MaskFolder::open(folder.path(), "_mask").unwrap();
        assert_eq!(masks.of(&photo("a")).unwrap(), folder.path().join("a_mask.gif"));
        assert!(masks.holds(&folder.path().join("a_mask.gif")));
        assert!(!masks.holds(&folder.path().join("b.png")));
        let missing = masks.of(&photo("b")).unwrap_err().to_string();
        assert!(missing.contains("b.png") && missing.contains("b_mask.png"), "{missing}");
        let same = MaskFolder::open(folder.path(), "").unwrap();
        assert!(same.of(&photo("a")).is_err(), "a photo is not its own mask");
        std::fs::write(folder.path().join("a_mask.png"), "").unwrap();
        assert!(MaskFolder::open(folder.path(), "_mask").is_err());
    }
}
