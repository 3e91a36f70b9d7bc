//! What a run made, as a table.

use std::fmt;
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};

use super::set::{Split, TileSetInfo};

/// What `geoseg tiles` made.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The set's folder.
    pub root: PathBuf,
    /// The set's description, with the counts and the warnings.
    pub info: TileSetInfo,
    /// Tiles that an earlier, interrupted run had finished.
    pub resumed: usize,
    /// The set was whole already; nothing was done.
    pub already_complete: bool,
}

impl Report {
    /// Tiles of a split.
    pub fn tiles(&self, split: Split) -> usize {
        self.info.counts.iter().filter(|line| line.split == split).map(|line| line.tiles).sum()
    }

    /// What the user should know.
    pub fn warnings(&self) -> &[String] {
        &self.info.warnings
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "split",
            "scene",
            "scale",
            "tiles",
            "buildings",
            "no data",
            "empty",
            "overlap",
        ]);
        for line in &self.info.counts {
            table.add_row([
                line.split.to_string(),
                line.scene.clone(),
                line.scale.clone(),
                line.tiles.to_string(),
                line.buildings.to_string(),
                line.skipped_nodata.to_string(),
                line.skipped_empty.to_string(),
                line.skipped_overlap.to_string(),
            ]);
        }
        for column in 3..8 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{table}")?;
        let sum = |pick: fn(&super::set::SceneInfo) -> usize| -> usize {
            self.info.scenes.iter().map(pick).sum()
        };
        let photos = sum(|scene| scene.photos);
        let scenes = self.info.scenes.iter().filter(|scene| scene.photos == 0).count();
        let photos = if photos > 0 { format!(" and {photos} photos") } else { String::new() };
        write!(
            f,
            "{} train, {} val, {} test tiles of {} px from {scenes} scenes{photos}; {} footprints, \
             {} mended, {} without area",
            self.tiles(Split::Train),
            self.tiles(Split::Val),
            self.tiles(Split::Test),
            self.info.tile_px,
            sum(|scene| scene.footprints),
            sum(|scene| scene.repaired),
            sum(|scene| scene.dropped),
        )?;
        if self.already_complete {
            write!(f, "\nthe set was complete already; nothing was done")?;
        } else if self.resumed > 0 {
            write!(f, "\n{} tiles were there from an interrupted run", self.resumed)?;
        }
        Ok(())
    }
}
