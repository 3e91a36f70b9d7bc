//! What an evaluation found: a table for people, JSON for programs.

use std::path::Path;

use serde::Serialize;

use super::buildings::{BuildingCounts, BuildingScores};
use super::pixels::{Confusion, PixelScores};
use super::polis::OutlineDistances;
use super::scene::SceneCounts;
use super::{EvalOptions, Source};
use crate::error::Result;
use crate::output::write_json;
use crate::table::table;

/// All scenes and their total.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// Scores from this probability on were taken as building.
    pub threshold: f64,
    /// Buildings were found at an IoU above this.
    pub iou_limit: f64,
    /// One entry a scene, in the order given.
    pub scenes: Vec<SceneReport>,
    /// All scenes' counts added up (not the mean of their metrics: small scenes would weigh as much as
    /// large ones).
    pub total: SceneReport,
    #[serde(skip)]
    sums: SceneSums,
}

/// One scene's metrics, or the total's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SceneReport {
    /// The scene's name.
    pub name: String,
    /// Pixel metrics, one for each kind of prediction that was given.
    pub pixels: Vec<PixelReport>,
    /// Building metrics, where predicted polygons were given.
    pub buildings: Option<BuildingScores>,
    /// Mean distance between the outlines of found buildings and the true ones (PoLiS), metres; absent where
    /// none was found.
    pub polis_m: Option<f64>,
}

/// Pixel metrics of one kind of prediction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PixelReport {
    /// The kind.
    pub source: Source,
    /// Counts and metrics.
    #[serde(flatten)]
    pub scores: PixelScores,
}

#[derive(Clone, Debug, Default)]
struct SceneSums {
    pixels: Vec<(Source, Confusion)>,
    buildings: Option<BuildingCounts>,
    outlines: OutlineDistances,
}

impl EvalReport {
    pub(super) fn new(options: &EvalOptions) -> Self {
        Self {
            threshold: options.threshold,
            iou_limit: options.iou_limit,
            scenes: Vec::new(),
            total: SceneReport::default(),
            sums: SceneSums::default(),
        }
    }

    pub(super) fn push(&mut self, name: &str, counts: &SceneCounts) {
        for (source, part) in &counts.pixels {
            match self.sums.pixels.iter_mut().find(|(known, _)| known == source) {
                Some((_, sum)) => *sum = sum.plus(*part),
                None => self.sums.pixels.push((*source, *part)),
            }
        }
        if let Some(part) = counts.buildings {
            self.sums.buildings = Some(self.sums.buildings.unwrap_or_default().plus(part));
        }
        self.sums.outlines = self.sums.outlines.plus(counts.outlines);
        self.scenes.push(scene_report(name, &counts.pixels, counts.buildings, counts.outlines));
    }

    pub(super) fn finish(&mut self) {
        self.sums.pixels.sort_by_key(|(source, _)| *source);
        self.total =
            scene_report("total", &self.sums.pixels, self.sums.buildings, self.sums.outlines);
    }

    /// The total's pixel IoU, from the first kind of prediction that was given.
    pub fn pixel_iou(&self) -> Option<f64> {
        self.total.pixels.first().map(|pixels| pixels.scores.iou)
    }

    /// The total's building F1.
    pub fn building_f1(&self) -> Option<f64> {
        self.total.buildings.map(|buildings| buildings.f1)
    }

    /// Tables for a terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.total.pixels.is_empty() {
            let heads = ["pixels", "of", "IoU", "precision", "recall", "F1 = Dice", "true pixels"];
            let rows = self.rows().flat_map(|scene| {
                scene.pixels.iter().map(|pixels| {
                    let s = &pixels.scores;
                    let of = match pixels.source {
                        Source::Vectors => "vectors",
                        Source::Scores => "scores",
                        Source::Mask => "mask",
                    };
                    let true_pixels = (s.true_positive + s.false_negative).to_string();
                    let metrics = [s.iou, s.precision, s.recall, s.f1].map(decimals);
                    let mut cells = vec![scene.name.clone(), of.to_owned()];
                    cells.extend(metrics);
                    cells.push(true_pixels);
                    cells
                })
            });
            text += &table(&heads, 2, rows);
        }
        if self.total.buildings.is_some() {
            let limit = format!("buildings (IoU > {})", self.iou_limit);
            let heads =
                [&limit, "precision", "recall", "F1", "found", "wrong", "missed", "PoLiS m"];
            let rows = self.rows().filter_map(|scene| {
                let b = scene.buildings?;
                let mut cells = vec![scene.name.clone()];
                cells.extend([b.precision, b.recall, b.f1].map(decimals));
                let counts = [b.true_positive, b.false_positive, b.false_negative];
                cells.extend(counts.map(|count| count.to_string()));
                cells.push(scene.polis_m.map_or_else(|| "-".to_owned(), decimals));
                Some(cells)
            });
            if !text.is_empty() {
                text.push('\n');
            }
            text += &table(&heads, 1, rows);
        }
        text
    }

    /// The total follows the scenes where it says more than they do.
    fn rows(&self) -> impl Iterator<Item = &SceneReport> {
        self.scenes.iter().chain((self.scenes.len() > 1).then_some(&self.total))
    }

    /// The report as JSON, with counts and metrics of every scene and in total.
    ///
    /// # Errors
    /// The file exists and `overwrite` is false, or cannot be written.
    pub fn write_json(&self, path: &Path, overwrite: bool) -> Result<()> {
        write_json(path, self, overwrite)
    }
}

fn scene_report(
    name: &str,
    pixels: &[(Source, Confusion)],
    buildings: Option<BuildingCounts>,
    outlines: OutlineDistances,
) -> SceneReport {
    let pixels =
        pixels.iter().map(|&(source, counts)| PixelReport { source, scores: counts.into() });
    SceneReport {
        name: name.to_owned(),
        pixels: pixels.collect(),
        buildings: buildings.map(Into::into),
        polis_m: outlines.mean_m(),
    }
}

fn decimals(metric: f64) -> String {
    format!("{metric:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tp: u64) -> SceneCounts {
        let pixels = Confusion { true_positive: tp, false_positive: 10, ..Confusion::default() };
        let buildings = BuildingCounts { true_positive: tp, false_positive: 10, false_negative: 0 };
        let outlines = OutlineDistances { pairs: tp, sum_m: 250.0 };
        SceneCounts {
            pixels: vec![(Source::Vectors, pixels)],
            buildings: Some(buildings),
            outlines,
        }
    }

    #[test]
    fn totals_add_counts_up_and_do_not_average_metrics() {
        let mut report = EvalReport::new(&EvalOptions::default());
        report.push("small", &counts(10));
        report.push("large", &counts(970));
        report.finish();
        assert_eq!(report.scenes[0].pixels[0].scores.iou, 0.5);
        assert_eq!(report.pixel_iou(), Some(0.98));
        assert_eq!(report.total.buildings.unwrap().precision, 0.98);
        assert_eq!(report.total.polis_m, Some(500.0 / 980.0));
        let table = report.table();
        assert!(table.contains("large") && table.contains("total") && table.contains("0.9800"));
    }

    #[test]
    fn the_json_holds_every_number_and_is_not_overwritten_unasked() {
        let mut report = EvalReport::new(&EvalOptions::default());
        report.push("only", &counts(30));
        report.finish();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        report.write_json(&path, false).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(json["total"]["pixels"][0]["source"], "vectors");
        assert_eq!(json["scenes"][0]["pixels"][0]["iou"], 0.75);
        assert_eq!(json["total"]["buildings"]["true_positive"], 30);
        assert_eq!(json["total"]["polis_m"], 250.0 / 30.0);
        assert!(report.write_json(&path, false).is_err());
    }
}
