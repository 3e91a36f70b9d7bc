//! A scores raster in strips of whole rows, each a file of its own, with a journal of those that are whole: what was scored before a
//! run ended need not be scored again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BANDS;
use super::write::ScoresWriter;
use crate::config::infer::ScoresType;
use crate::error::{Error, Result};
use crate::geo::{Grid, Window};
use crate::output::write_whole;

/// Name of the journal in the strips' folder.
const JOURNAL: &str = "journal.json";
/// Rows that are held as floating point.
const ROWS_AT_ONCE: usize = 64;
/// Name of the raster made of all strips.
const WHOLE: &str = "scores.vrt";

/// Strips of a scores raster in a folder.
pub struct Strips {
    folder: PathBuf,
    grid: Grid,
    bands: usize,
    scores: ScoresType,
    journal: Vec<Strip>,
}

/// A strip that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Strip {
    file: String,
    first_row: usize,
    rows: usize,
    /// Pixels that have a score.
    scored: u64,
    /// Length of the file.
    bytes: u64,
}

impl Strip {
    /// Whether the file in `folder` is as long as it was.
    fn is_whole(&self, folder: &Path) -> bool {
        std::fs::metadata(folder.join(&self.file)).is_ok_and(|meta| meta.len() == self.bytes)
    }
}

impl Strips {
    /// Opens the strips in `folder`, of the first so many of [`BANDS`]; the folder is made if need be, and strips that its journal
    /// names are kept, down to the first that is not as it was.
    ///
    /// # Errors
    /// The folder cannot be written, or its journal is damaged.
    pub fn open(folder: &Path, grid: &Grid, bands: usize, scores: ScoresType) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(JOURNAL);
        let mut journal: Vec<Strip> = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|problem| {
                Error::input(
                    &path,
                    "a journal of scored rows",
                    problem.to_string(),
                    "delete its folder",
                )
            })?,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let mut rows_done = 0;
        let is_sound = |strip: &&Strip| {
            let follows =
                strip.first_row == rows_done && (1..=grid.height - rows_done).contains(&strip.rows);
            rows_done = strip.first_row.saturating_add(strip.rows);
            follows && strip.is_whole(folder)
        };
        let sound = journal.iter().take_while(is_sound).count();
        if let Some(strip) = journal.get(sound) {
            let file = folder.join(&strip.file);
            tracing::warn!("{}: not as it was written; scored again from there on", file.display());
            journal.truncate(sound);
        }
        Ok(Self { folder: folder.to_owned(), grid: grid.clone(), bands, scores, journal })
    }

    /// Bands of the raster.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Rows that are whole, from the first on.
    pub fn rows_done(&self) -> usize {
        self.journal.last().map_or(0, |strip| strip.first_row + strip.rows)
    }

    /// Pixels with a score in these rows.
    pub fn scored_pixels(&self) -> u64 {
        self.journal.iter().map(|strip| strip.scored).sum()
    }

    /// Writes as many rows as `rows` below those that are there; `fill` is given the number of each, a band and room for
    /// probabilities; NaN is no data.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_rows(
        &mut self,
        rows: usize,
        mut fill: impl FnMut(usize, usize, &mut [f32]),
    ) -> Result<()> {
        let (first_row, width) = (self.rows_done(), self.grid.width);
        if rows == 0 {
            return Ok(());
        }
        let file = format!("rows_{first_row:09}.tif");
        let path = self.folder.join(&file);
        let window = Window { col: 0, row: first_row, width, height: rows };
        let mut writer =
            ScoresWriter::create(&path, &self.grid.window(window), self.bands, self.scores)?;
        let mut scored = 0;
        let mut values = vec![0.0; self.bands * ROWS_AT_ONCE.min(rows) * width];
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let band_len = ROWS_AT_ONCE.min(rows - first) * width;
            values.truncate(self.bands * band_len);
            for (band, values) in values.chunks_exact_mut(band_len).enumerate() {
                for (row, values) in (first..).zip(values.chunks_exact_mut(width)) {
                    fill(row, band, values);
                }
            }
            scored += values[..band_len].iter().filter(|value| !value.is_nan()).count() as u64;
            writer.write_rows(first, &values)?;
        }
        writer.finish()?;
        // On the disk before the journal names it.
        let written = std::fs::File::open(&path).and_then(|file| {
            file.sync_all()?;
            Ok(file.metadata()?.len())
        });
        let bytes = written.map_err(Error::io(&path))?;
        self.journal.push(Strip { file, first_row, rows, scored, bytes });
        let path = self.folder.join(JOURNAL);
        let json = serde_json::to_vec(&self.journal).map_err(std::io::Error::from);
        write_whole(&path, &json.map_err(Error::io(&path))?, true)
    }

    /// Makes one raster of all strips, without copying them, and returns its path.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(&self) -> Result<PathBuf> {
        let path = self.folder.join(WHOLE);
        write_whole(&path, self.vrt().as_bytes(), true)?;
        Ok(path)
    }

    /// The strips as a virtual raster of GDAL's.
    fn vrt(&self) -> String {
        let Grid { width, height, transform, crs, .. } = &self.grid;
        let (kind, nodata) = match self.scores {
            ScoresType::Uint8 => ("Byte", "255"),
            ScoresType::Float32 => ("Float32", "nan"),
        };
        let mut text = format!("<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">\n");
        if let Some(crs) = crs {
            let wkt = crs.wkt().replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(text, "<SRS dataAxisToSRSAxisMapping=\"1,2\">{wkt}</SRS>");
        }
        if *transform != crate::geo::GeoTransform::PIXEL {
            let numbers = transform.0.map(|number| format!("{number:e}")).join(", ");
            let _ = writeln!(text, "<GeoTransform>{numbers}</GeoTransform>");
        }
        for (band, name) in (1..).zip(&BANDS[..self.bands]) {
            let _ = writeln!(text, "<VRTRasterBand dataType=\"{kind}\" band=\"{band}\">");
            let _ = writeln!(text, "<Description>{name}</Description>");
            let _ = writeln!(text, "<NoDataValue>{nodata}</NoDataValue>");
            for Strip { file, first_row, rows, .. } in &self.journal {
                let place = |row: usize| {
                    format!("xOff=\"0\" yOff=\"{row}\" xSize=\"{width}\" ySize=\"{rows}\"")
                };
                let _ = writeln!(
                    text,
                    "<SimpleSource><SourceFilename relativeToVRT=\"1\">{file}</SourceFilename>\
                     <SourceBand>{band}</SourceBand>\
                     <SourceProperties RasterXSize=\"{width}\" RasterYSize=\"{rows}\" DataType=\"{kind}\"/>\
                     <SrcRect {}/><DstRect {}/></SimpleSource>",
                    place(0),
                    place(*first_row),
                );
            }
            text.push_str("</VRTRasterBand>\n");
        }
        text.push_str("</VRTDataset>\n");
        text
    }
}
