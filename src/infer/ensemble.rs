//! Models that score a scene together, each as it was trained: with its own preprocessing, ground sample distance and window.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Input, Region, Report, Scorer, load_scorer, run, tta};
use crate::config::ensemble::weights_of;
use crate::config::infer::{InferConfig, ScoresType};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::model::ModelSpec;
use crate::progress::Progress;
use crate::scores::provenance::{file_name, sha256};
use crate::scores::{self, Origin, Provenance};

/// One or several models in memory, each with its part of the configuration.
pub struct Ensemble {
    members: Vec<Member>,
    config: InferConfig,
}

struct Member {
    file: String,
    sha256: String,
    spec: ModelSpec,
    scorer: Scorer,
    weight: f64,
    /// The ensemble's configuration with this model's window.
    config: InferConfig,
}

impl Ensemble {
    /// Loads the models of `files`.
    ///
    /// # Errors
    /// As [`load_scorer`]; [`Error::Config`] where weights or windows are others in number than the models.
    pub fn load(files: &[PathBuf], config: &InferConfig, device: &Device) -> Result<Self> {
        let weights =
            weights_of("ensemble.weights", &config.ensemble.weights, files.len(), "models")?;
        let windows = config.ensemble.windows_of(files.len())?;
        let mut members = Vec::new();
        for (index, (file, weight)) in files.iter().zip(weights).enumerate() {
            let mut config = config.clone();
            if let Some(windows) = windows {
                config.inference.window_px = windows[index];
            }
            if files.len() > 1 {
                // What is averaged is not rounded before.
                config.inference.scores = ScoresType::Float32;
            }
            let (spec, scorer) = load_scorer(file, device, config.inference.precision)?;
            let scorer = tta::with_views(scorer, &config.inference);
            let (file, sha256) = (file_name(file), sha256(file)?);
            members.push(Member { file, sha256, spec, scorer, weight, config });
        }
        Ok(Self { members, config: config.clone() })
    }

    /// The scene as each of the models wants it.
    ///
    /// # Errors
    /// As [`Input::open`], for any of them.
    pub fn open(&self, scene: &Path, region: &Region) -> Result<Vec<Input>> {
        let open = |member: &Member| Input::open(scene, &member.spec, &member.config, region);
        self.members.iter().map(open).collect()
    }

    /// The models' files and their SHA-256, in order.
    pub fn models(&self) -> Vec<(&str, &str)> {
        self.members.iter().map(|member| (&*member.file, &*member.sha256)).collect()
    }

    /// Scores a scene that [`Ensemble::open`] opened, in the folder `out`; the report names the scores raster, which has its
    /// [`Provenance`], with the date on which the scene was taken (`date`, else what its file says). Its grid is that of the first model. What an earlier run scored there is kept, as in [`run`].
    ///
    /// Several models run one after another, each into a raster of floats; these are then combined block by block. Disk: 4
    /// bytes a pixel and model at most. Memory: as [`run`] and [`scores::combine`], and all models' weights.
    ///
    /// # Errors
    /// As [`run`] and [`scores::combine`].
    pub fn score(
        &mut self,
        inputs: Vec<Input>,
        date: Option<&str>,
        out: &Path,
        interrupt: &Interrupt,
        progress: Progress,
    ) -> Result<Report> {
        let started = Instant::now();
        let several = self.members.len() > 1;
        let mut scene = None;
        let date = date.map(str::to_owned).or_else(|| inputs.first()?.date());
        let (mut reports, mut parts, mut origins) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (member, input)) in self.members.iter_mut().zip(inputs).enumerate() {
            scene.get_or_insert_with(|| file_name(input.scene_path()));
            let inference = &member.config.inference;
            let folder = out.join(format!("model-{index}"));
            let report = run(input, inference, &folder, &mut member.scorer, interrupt, progress)?;
            origins.push(member.origin(&report));
            parts.push(scores::Part { path: report.raster.clone(), weight: member.weight });
            reports.push(report);
        }
        let ensemble = &self.config.ensemble;
        let mut reports = reports.into_iter();
        let Some(mut report) = reports.next() else {
            return Err(Error::input(out, "models to score with", "none", "name a model"));
        };
        if several {
            let options = scores::Options {
                mean: ensemble.mean,
                drop_outlier: ensemble.drop_outlier,
                scores: self.config.inference.scores,
                only_where_first: true,
            };
            report.raster = out.join("scores.tif");
            scores::combine(&parts, options, &report.raster, interrupt, progress)?;
        }
        for other in reports {
            report.windows += other.windows;
            report.skipped_windows += other.skipped_windows;
        }
        report.seconds = started.elapsed().as_secs_f64();
        let provenance = Provenance::new(scene, ensemble.mean, ensemble.drop_outlier, origins);
        provenance.taken(date).write(&report.raster)?;
        Ok(report)
    }
}

impl Member {
    fn origin(&self, report: &Report) -> Origin {
        let inference = &self.config.inference;
        Origin::Model {
            file: self.file.clone(),
            sha256: self.sha256.clone(),
            weight: self.weight,
            gsd_m: report.gsd_m.map(|(x, y)| (x * y).sqrt()),
            window_px: inference.window_px,
            overlap_px: inference.overlap_px,
            tta: inference.tta.clone(),
            tta_scales: inference.tta_scales.clone(),
            tta_mean: inference.tta_mean,
        }
    }
}
