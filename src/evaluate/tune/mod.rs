//! The search for the settings of polygonization that score best on validation scenes.
//!
//! Scores are polygonized once for every threshold, opening and closing; smallest areas are then tried
//! on what came out, because leaving out polygons changes neither the pixels nor the matches of those
//! that stay. Whatever the objective, what is judged are the polygons that `polygonize` would write.

mod settings;
mod trials;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SceneInputs;
use super::buildings::{BuildingCounts, BuildingScores};
use super::pixels::{Confusion, PixelScores};
use crate::config::polygonize::{MAX_RADIUS_M, PolygonizeOptions};
use crate::error::{Error, Result};
use crate::output::{check_distinct, check_writable, write_whole};
use crate::picture::chart::{Panel, Series, curves};
use crate::progress::Progress;
use crate::table::table;

/// What the winner is best at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Intersection over union of pixels.
    #[default]
    PixelIou,
    /// F1 of buildings.
    BuildingF1,
}

/// What to try, and on what.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// Scenes with scores and truth, and areas of interest where there are.
    pub scenes: Vec<SceneInputs>,
    /// Settings that are not tried.
    pub base: PolygonizeOptions,
    /// What the winner is best at.
    pub objective: Objective,
    /// Thresholds, 0..=1.
    pub thresholds: Vec<f64>,
    /// Smallest areas, m2.
    pub min_areas_m2: Vec<f64>,
    /// Radii of the opening, metres.
    pub openings_m: Vec<f64>,
    /// Radii of the closing, metres.
    pub closings_m: Vec<f64>,
    /// A building is found at an IoU above this.
    pub iou_limit: f64,
    /// The infer configuration whose `[polygonize]` table gets the winner; made where it is missing,
    /// everything else in it is kept.
    pub config: Option<PathBuf>,
    /// The curves, PNG.
    pub chart: Option<PathBuf>,
    /// All trials, JSON.
    pub json: Option<PathBuf>,
    /// Replace a chart or JSON that exists.
    pub overwrite: bool,
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self {
            scenes: Vec::new(),
            base: PolygonizeOptions::default(),
            objective: Objective::default(),
            thresholds: (1..=19).map(|i| f64::from(i) / 20.0).collect(),
            // From sheds to nothing smaller than a small house.
            min_areas_m2: vec![0.0, 2.0, 4.0, 8.0, 12.0, 20.0, 30.0],
            // About nothing, one, two and three pixels of a 0.3 m scene.
            openings_m: vec![0.0, 0.3, 0.6, 0.9],
            closings_m: vec![0.0, 0.3, 0.6],
            iou_limit: 0.5,
            config: None,
            chart: None,
            json: None,
            overwrite: false,
        }
    }
}

/// One combination of settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Scores from this probability on are building.
    pub threshold: f64,
    /// Smallest area, m2.
    pub min_area_m2: f64,
    /// Radius of the opening, metres.
    pub opening_m: f64,
    /// Radius of the closing, metres.
    pub closing_m: f64,
}

/// A combination and what it scored over all scenes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The combination.
    #[serde(flatten)]
    pub settings: Settings,
    /// Pixel metrics (true negatives are not counted).
    pub pixels: PixelScores,
    /// Building metrics.
    pub buildings: BuildingScores,
}

impl Trial {
    fn new(settings: Settings, pixels: Confusion, buildings: BuildingCounts) -> Self {
        Self { settings, pixels: pixels.into(), buildings: buildings.into() }
    }

    /// What an objective says of it.
    pub fn score(&self, objective: Objective) -> f64 {
        match objective {
            Objective::PixelIou => self.pixels.iou,
            Objective::BuildingF1 => self.buildings.f1,
        }
    }
}

/// What the search found.
#[derive(Clone, Debug, Serialize)]
pub struct TuneReport {
    /// What the winner is best at.
    pub objective: Objective,
    /// The winner. Of equals, the threshold nearest 0.5, then the least morphology and the smallest area.
    pub best: Trial,
    /// All combinations.
    pub trials: Vec<Trial>,
}

impl TuneOptions {
    /// # Errors
    /// A scene without scores, nothing to try, or a value out of range.
    pub fn validate(&self) -> Result<()> {
        if self.scenes.is_empty() {
            return Err(Error::config("scenes", "nothing to tune on"));
        }
        if let Some(scene) = self.scenes.iter().find(|scene| scene.scores.is_none()) {
            let problem = "needs a scores raster to tune on (`geoseg infer --scores`)";
            return Err(Error::config(scene.name.clone(), problem));
        }
        let ranges: [(&str, &[f64], f64); 4] = [
            ("thresholds", &self.thresholds, 1.0),
            ("min_areas_m2", &self.min_areas_m2, f64::MAX),
            ("openings_m", &self.openings_m, MAX_RADIUS_M),
            ("closings_m", &self.closings_m, MAX_RADIUS_M),
        ];
        if !(0.0..=1.0).contains(&self.iou_limit) {
            return Err(Error::config("iou", format!("needs 0 to 1, found {}", self.iou_limit)));
        }
        for (key, values, most) in ranges {
            if values.is_empty() || values.iter().any(|value| !(0.0..=most).contains(value)) {
                return Err(Error::config(key, format!("needs values in 0..={most:e}")));
            }
        }
        Ok(())
    }
}

/// Tries every combination on every scene, writes the outputs that are asked for and returns the report.
///
/// Memory: the scores and the truth of one scene (two bytes a pixel), and what polygonizing it takes in
/// every thread.
///
/// # Errors
/// See [`TuneOptions::validate`]; a file that cannot be read or written; a configuration that is written
/// in a form that cannot be edited.
pub fn run(options: &TuneOptions, progress: Progress) -> Result<TuneReport> {
    options.validate()?;
    let outputs = [&options.chart, &options.json, &options.config].map(Option::as_deref);
    check_distinct(&outputs, options.scenes.iter().flat_map(SceneInputs::files))?;
    for path in [&options.chart, &options.json].into_iter().flatten() {
        check_writable(path, options.overwrite)?;
    }
    if let Some(path) = &options.config {
        check_writable(path, true)?;
        // A configuration that cannot be edited is known before the work, not after it.
        edited_config(path, &settings_of(options)[0], "")?;
    }
    let trials = trials::all(options, &settings_of(options), progress)?;
    let best = trials
        .iter()
        .min_by(|a, b| order(a, b, options.objective))
        .copied()
        .ok_or_else(|| Error::config("thresholds", "nothing to try"))?;
    let report = TuneReport { objective: options.objective, best, trials };
    if let Some(path) = &options.chart {
        curves(path, &title(&report), &panels(&report))?;
    }
    if let Some(path) = &options.json {
        report.write_json(path, options.overwrite)?;
    }
    if let Some(path) = &options.config {
        let text = edited_config(path, &best.settings, &title(&report))?;
        write_whole(path, text.as_bytes(), true)?;
    }
    Ok(report)
}

/// Every combination; those that differ in the smallest area alone stand together.
fn settings_of(options: &TuneOptions) -> Vec<Settings> {
    let mut all = Vec::new();
    for &threshold in &options.thresholds {
        for &opening_m in &options.openings_m {
            for &closing_m in &options.closings_m {
                all.extend(options.min_areas_m2.iter().map(|&min_area_m2| Settings {
                    threshold,
                    min_area_m2,
                    opening_m,
                    closing_m,
                }));
            }
        }
    }
    all
}

/// Better first.
fn order(a: &Trial, b: &Trial, objective: Objective) -> std::cmp::Ordering {
    let plainness = |t: &Trial| {
        let s = &t.settings;
        [(s.threshold - 0.5).abs(), s.opening_m + s.closing_m, s.min_area_m2]
    };
    b.score(objective).total_cmp(&a.score(objective)).then_with(|| {
        let pairs = plainness(a).into_iter().zip(plainness(b));
        pairs.fold(std::cmp::Ordering::Equal, |order, (a, b)| order.then(a.total_cmp(&b)))
    })
}

fn edited_config(path: &Path, best: &Settings, title: &str) -> Result<String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("# {title}\n"),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let values = [
        ("threshold", best.threshold),
        ("min_area_m2", best.min_area_m2),
        ("opening_m", best.opening_m),
        ("closing_m", best.closing_m),
    ];
    settings::with_values(&text, "polygonize", &values).map_err(|problem| {
        Error::input(
            path,
            "a TOML file with a plain [polygonize] table, or none",
            problem,
            "write the table on lines of its own, or name another file",
        )
    })
}

fn title(report: &TuneReport) -> String {
    let Trial { settings: s, pixels, buildings } = &report.best;
    format!(
        "best: threshold {:.2}, opening {} m, closing {} m, from {} m2 on: pixel IoU {:.3}, building F1 {:.3}",
        s.threshold, s.opening_m, s.closing_m, s.min_area_m2, pixels.iou, buildings.f1
    )
}

/// Cuts through the winner along each axis.
fn panels(report: &TuneReport) -> Vec<Panel> {
    let best = report.best.settings;
    let cut = |name: &str, x: fn(&Settings) -> f64, y: &dyn Fn(&Trial) -> f64| {
        let on_cut = |s: &Settings| {
            let mut moved = *s;
            // Equal to the winner in everything but the axis.
            match x(&Settings { threshold: 1.0, min_area_m2: 2.0, opening_m: 3.0, closing_m: 4.0 })
            {
                1.0 => moved.threshold = best.threshold,
                2.0 => moved.min_area_m2 = best.min_area_m2,
                3.0 => moved.opening_m = best.opening_m,
                _ => moved.closing_m = best.closing_m,
            }
            moved == best
        };
        let mut points: Vec<(f64, f64)> = report
            .trials
            .iter()
            .filter(|trial| on_cut(&trial.settings))
            .map(|trial| (x(&trial.settings), y(trial)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series { name: name.to_owned(), points, ..Series::default() }
    };
    let threshold: fn(&Settings) -> f64 = |s| s.threshold;
    let both = |what: &str, x: fn(&Settings) -> f64| Panel {
        label: format!("pixel IoU and building F1 over {what}"),
        series: vec![
            cut("pixel IoU", x, &|t| t.pixels.iou),
            cut("building F1", x, &|t| t.buildings.f1),
        ],
        ..Panel::default()
    };
    vec![
        Panel {
            label: "pixels over threshold".into(),
            series: vec![
                cut("IoU", threshold, &|t| t.pixels.iou),
                cut("precision", threshold, &|t| t.pixels.precision),
                cut("recall", threshold, &|t| t.pixels.recall),
            ],
            ..Panel::default()
        },
        Panel {
            label: "buildings over threshold".into(),
            series: vec![
                cut("F1", threshold, &|t| t.buildings.f1),
                cut("precision", threshold, &|t| t.buildings.precision),
                cut("recall", threshold, &|t| t.buildings.recall),
            ],
            ..Panel::default()
        },
        both("smallest area, m2", |s| s.min_area_m2),
        both("radius of opening, m", |s| s.opening_m),
        both("radius of closing, m", |s| s.closing_m),
    ]
}

impl TuneReport {
    /// The best of each threshold, and the winner, for a terminal.
    pub fn table(&self) -> String {
        let mut thresholds: Vec<f64> = self.trials.iter().map(|t| t.settings.threshold).collect();
        thresholds.sort_by(f64::total_cmp);
        thresholds.dedup();
        let best_of = |threshold: f64| {
            let own = self.trials.iter().filter(|t| t.settings.threshold == threshold);
            own.min_by(|a, b| order(a, b, self.objective))
        };
        let heads = [
            "threshold",
            "opening m",
            "closing m",
            "area m2",
            "pixel IoU",
            "building F1",
            "precision",
            "recall",
        ];
        let rows = thresholds.into_iter().filter_map(best_of).map(|t| {
            let s = &t.settings;
            let mut cells = vec![format!("{:.2}", s.threshold)];
            cells.extend([s.opening_m, s.closing_m, s.min_area_m2].map(|v| v.to_string()));
            let b = &t.buildings;
            let metrics = [t.pixels.iou, b.f1, b.precision, b.recall];
            cells.extend(metrics.map(|metric| format!("{metric:.4}")));
            cells
        });
        let mut text = table(&heads, 0, rows);
        let _ = writeln!(text, "{}", title(self));
        text
    }

    fn write_json(&self, path: &Path, overwrite: bool) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::io(path)(std::io::Error::other(error)))?;
        text.push('\n');
        write_whole(path, text.as_bytes(), overwrite)
    }
}
