//! True masks to score against: a folder of files, or a table of run lengths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::run_lengths::{self, Order};
use crate::error::{Error, Result};
use crate::truth::Mask;
use crate::truth::photos::{MaskFolder, Photo};

/// Where the true mask of a photo is found.
pub(super) enum Truth {
    Folder(MaskFolder),
    /// A photo may have several rows: one for each of its objects.
    Table {
        path: PathBuf,
        order: Order,
        runs: HashMap<String, Vec<String>>,
    },
}

impl Truth {
    /// A folder of masks whose names end in `suffix`, or a CSV of photos and run lengths under a line of headings.
    pub fn open(path: &Path, suffix: &str, order: Order) -> Result<Self> {
        let is_table = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        if !is_table && path.is_file() {
            let hint = "give one of these";
            return Err(Error::input(path, "a folder of masks, or a .csv", "another file", hint));
        }
        if !is_table {
            return Ok(Self::Folder(MaskFolder::open(path, suffix)?));
        }
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut runs = HashMap::<String, Vec<String>>::new();
        for row in csv::ReaderBuilder::new().flexible(true).from_reader(file).into_records() {
            let row = row.map_err(|problem| damaged(path, problem.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let (2, Some(image), Some(of_image)) = (row.len(), row.get(0), row.get(1)) else {
                let found = format!("{} columns in line {line}", row.len());
                return Err(damaged(path, found));
            };
            runs.entry(name_of(image)).or_default().push(of_image.to_owned());
        }
        Ok(Self::Table { path: path.to_owned(), order, runs })
    }

    /// All files.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Folder(folder) => folder.files().collect(),
            Self::Table { path, .. } => vec![path],
        }
    }

    /// Whether a file is a mask that lies among the photos.
    pub fn holds(&self, path: &Path) -> bool {
        matches!(self, Self::Folder(folder) if folder.holds(path))
    }

    /// That there is a mask of a photo.
    pub fn check(&self, photo: &Photo) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.of(photo).map(|_| ()),
            Self::Table { path, runs, .. } => Self::row(path, runs, photo).map(|_| ()),
        }
    }

    /// The mask of a photo of `size` (columns, rows).
    pub fn read(&self, photo: &Photo, size: (usize, usize)) -> Result<Mask> {
        match self {
            Self::Folder(folder) => {
                let path = folder.of(photo)?;
                let mask = Mask::read(path)?;
                if (mask.width, mask.height) == size {
                    return Ok(mask);
                }
                Err(Error::input(
                    path,
                    format!("{} x {} px, as {} has", size.0, size.1, photo.path.display()),
                    format!("{} x {} px", mask.width, mask.height),
                    "give a mask of the photo's own size",
                ))
            }
            Self::Table { path, order, runs } => {
                let (width, height) = size;
                let mut mask = Mask { width, height, object: vec![false; width * height] };
                for runs in Self::row(path, runs, photo)? {
                    let part = run_lengths::decode(runs, size, *order).map_err(|found| {
                        Error::input(
                            path,
                            format!("runs inside {} of {width} x {height} px", photo.name),
                            found,
                            "check that table and photos belong together, and the order (--rle-order)",
                        )
                    })?;
                    for (object, part) in mask.object.iter_mut().zip(part.object) {
                        *object |= part;
                    }
                }
                Ok(mask)
            }
        }
    }

    fn row<'a>(
        path: &Path,
        runs: &'a HashMap<String, Vec<String>>,
        photo: &Photo,
    ) -> Result<&'a [String]> {
        runs.get(&photo.name).map(Vec::as_slice).ok_or_else(|| {
            Error::input(
                path,
                format!("a line for {}", photo.path.display()),
                "none",
                "add it, or leave the photo out",
            )
        })
    }
}

fn damaged(path: &Path, found: String) -> Error {
    Error::input(
        path,
        "lines of a photo's name, a comma and run lengths",
        found,
        "correct the table",
    )
}

/// A photo's name, with or without the extension.
fn name_of(image: &str) -> String {
    let image = Path::new(image.trim());
    let has_extension = image.extension().is_some_and(|text| text.len() <= 4);
    let name = if has_extension { image.file_stem() } else { image.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_photos_with_or_without_their_extension() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.csv");
        std::fs::write(&path, "img,rle_mask\na_01.jpg,2 3\nb,\"\"\n").unwrap();
        let truth = Truth::open(&path, "", Order::Row).unwrap();
        let photo =
            |name: &str| Photo { name: name.to_owned(), path: format!("{name}.jpg").into() };
        assert_eq!(truth.read(&photo("a_01"), (2, 2)).unwrap().object, [false, true, true, true]);
        assert_eq!(truth.read(&photo("b"), (2, 1)).unwrap().object, [false; 2]);
        let small = truth.read(&photo("a_01"), (1, 2)).unwrap_err().to_string();
        assert!(small.contains("truth.csv") && small.contains("a_01 of 1 x 2 px"), "{small}");
        assert!(truth.check(&photo("c")).unwrap_err().to_string().contains("c.jpg"));
        // A row for each object, and a comma in a name.
        std::fs::write(&path, "img,rle_mask\na.jpg,1 1\n\"b,c.jpg\",1 1\na.jpg,4 1\n").unwrap();
        let truth = Truth::open(&path, "", Order::Row).unwrap();
        let both = truth.read(&photo("a"), (2, 2)).unwrap();
        assert_eq!(both.object, [true, false, false, true]);
        assert!(truth.check(&photo("b,c")).is_ok());
        std::fs::write(&path, "img,rle_mask\nnothing\n").unwrap();
        let broken = Truth::open(&path, "", Order::Row).err().unwrap().to_string();
        assert!(broken.contains("line 2"), "{broken}");
    }
}
