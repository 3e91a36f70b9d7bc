//! Results of several scenes into one: a building that two scenes show is kept once.
//!
//! Files are read three times: for boxes, for the shapes of those whose boxes overlap another scene's, and to be
//! written. Memory: some 200 bytes a feature, and the shapes of those. Files are taken in the order of their paths, and
//! ties are decided by what buildings are, so that the order of the arguments changes nothing.

mod duplicates;
mod inputs;

use std::path::{Path, PathBuf};

use geo::{Area, BoundingRect};
use rayon::prelude::*;
use serde::Serialize;

pub use crate::config::merge::MergeOptions;

use crate::error::Result;
use crate::geo::boxes::{Bounds, overlapping};
use crate::geo::overlap::Shape;
use crate::geo::vector::{FieldKind, Format, LayerWriter, OutputCrs};
use crate::output::Staged;
use crate::progress::Progress;
use crate::qgis::style;
use duplicates::{Edge, Rank, losers};
use inputs::Inputs;

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The files, in the order in which they were taken.
    pub files: Vec<PathBuf>,
    /// Features read.
    pub features: u64,
    /// Of these, left out as duplicates.
    pub duplicates: u64,
    /// Of these, left out as parts of larger ones.
    pub parts: u64,
    /// Of these, left out because they have no area or the common CRS does not reach them.
    pub unusable: u64,
    /// Buildings written.
    pub buildings: u64,
}

/// Merges `files` into `out` (format by extension).
///
/// # Errors
/// An option out of range; a file that cannot be read, or has no CRS where others have one; `out` exists and
/// `overwrite` is false, or cannot be written.
pub fn run(
    files: &[PathBuf],
    options: &MergeOptions,
    out: &Path,
    output_crs: OutputCrs,
    overwrite: bool,
    progress: Progress,
) -> Result<Report> {
    options.validate()?;
    Format::of(out)?;
    let mut inputs = Inputs::open(files)?;
    let staged = Staged::new(out, overwrite)?;
    let bar = progress.bar("merge", 3 * inputs.count(), "features");

    let mut boxes: Vec<Option<Bounds>> = Vec::new();
    let mut ranks: Vec<Rank> = Vec::new();
    inputs.each(|feature| {
        bar.inc(1);
        let bounds = feature.polygons.as_ref().and_then(BoundingRect::bounding_rect);
        boxes.push(bounds.map(|b| [b.min().x, b.min().y, b.max().x, b.max().y]));
        ranks.push(Rank {
            scene: feature.scene,
            confidence: feature.confidence,
            area: feature.polygons.as_ref().map_or(0.0, Area::unsigned_area),
        });
        Ok(())
    })?;
    let pairs = overlapping(&boxes, |a, b| ranks[a].scene != ranks[b].scene);

    let mut shapes: Vec<Option<Shape>> = vec![None; boxes.len()];
    let mut near = vec![false; boxes.len()];
    for &(a, b) in &pairs {
        (near[a], near[b]) = (true, true);
    }
    let mut place = 0;
    inputs.each(|feature| {
        bar.inc(1);
        if let (true, Some(polygons)) = (near[place], &feature.polygons) {
            shapes[place] = Some(Shape::new(polygons));
        }
        place += 1;
        Ok(())
    })?;
    let edges: Vec<Edge> = pairs
        .par_iter()
        .filter_map(|&(a, b)| {
            Edge::between(a, b, shapes[a].as_ref()?, shapes[b].as_ref()?, options)
        })
        .collect();
    drop(shapes);
    let lost = losers(&edges, &ranks, &boxes, inputs.scenes());

    let fields: Vec<(&str, FieldKind)> =
        inputs.fields().iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut writer =
        LayerWriter::create_in(staged.path(), "buildings", inputs.crs(), output_crs, &fields)?;
    if fields.iter().any(|(name, _)| *name == "confidence") {
        writer = writer.with_style(style::by_confidence());
    }
    let mut report = Report { files: inputs.paths(), ..Report::default() };
    let mut place = 0;
    inputs.each(|feature| {
        bar.inc(1);
        report.features += 1;
        match (lost.get(&place), &feature.polygons) {
            (Some(duplicates::Loss::Duplicate), _) => report.duplicates += 1,
            (Some(duplicates::Loss::Part), _) => report.parts += 1,
            (None, None) => report.unusable += 1,
            (None, Some(polygons)) => {
                report.buildings += 1;
                let values: Vec<_> = feature.attributes.iter().map(|a| a.value()).collect();
                writer.push(&polygons.clone().into(), &values)?;
            }
        }
        place += 1;
        Ok(())
    })?;
    bar.finish();
    writer.finish()?;
    staged.commit()?;
    Ok(report)
}
