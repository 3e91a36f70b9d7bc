//! Validation while training, and the model that is kept.

use std::thread::Scope;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;

use super::checkpoint::{Best, Learner};
use super::log::{Entry, Log, ValidationEntry, now_s};
use super::prefetch::Prefetch;
use super::validate::validate;
use super::{Ended, Report, Training, recalibrate};
use crate::config::train::ScheduleKind;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::model::Network;
use crate::model::weights::{self, Provenance};
use crate::progress::Bar;

impl<'env, B> Training<'env, B>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    /// Measures the network on the validation tiles, keeps it if it is the best, and saves a checkpoint.
    /// False when it was interrupted.
    pub(super) fn validate<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        learner: &mut Learner<B>,
        log: &mut Log,
        bar: &Bar,
    ) -> Result<bool> {
        let started = Instant::now();
        let batches = self.batches;
        if !batches.val_tiles().is_empty() {
            let network = self.settled(scope, learner)?;
            let count = batches.validation_batches() as u64;
            let val_batches =
                Prefetch::start(scope, self.workers, 0..count, move |k| batches.validation(k));
            let (section, threshold) = (&self.config.loss, self.config.run.threshold);
            let stop = || self.watch.interrupt.requested();
            let result = validate(&network, val_batches, section, threshold, self.device, stop)?;
            let Some((loss, pixels)) = result else { return Ok(false) };
            let schedule = &self.config.schedule;
            if schedule.kind == ScheduleKind::Plateau {
                learner.state.plateau.note(loss, schedule);
            }
            let step = learner.state.step;
            let best = learner.state.best.is_none_or(|best| pixels.iou() > best.iou);
            let entry = ValidationEntry {
                step,
                epoch: self.plan.epoch(step - 1),
                loss,
                iou: pixels.iou(),
                precision: pixels.precision(),
                recall: pixels.recall(),
                f1: pixels.f1(),
                best,
                seconds: started.elapsed().as_secs_f64(),
                time: now_s(),
            };
            if best {
                learner.state.best = Some(Best { step, iou: pixels.iou() });
                learner.state.stale_validations = 0;
                let provenance = self.provenance(step, Some(&entry));
                weights::save(&self.folder.best_model()?, self.spec, &network, &provenance)?;
            } else {
                learner.state.stale_validations += 1;
            }
            bar.println(&format!(
                "step {step}: validation IoU {:.3}, precision {:.3}, recall {:.3}, loss {:.4}{}",
                entry.iou,
                entry.precision,
                entry.recall,
                entry.loss,
                if best { ", the best so far" } else { "" }
            ));
            log.push(Entry::Validation(entry))?;
        }
        learner.state.validated_step = learner.state.step;
        self.save(learner)?;
        self.folder.keep(learner.state.step, self.config.run.keep)?;
        log.flush();
        log.draw("training")?;
        Ok(true)
    }

    /// The network to measure and to keep: the average of the weights if there is one, with statistics
    /// measured afresh. The learning network stays as it is.
    fn settled<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        learner: &Learner<B>,
    ) -> Result<Network<B::InnerBackend>> {
        let live = || burn::module::AutodiffModule::valid(&learner.network);
        let network = learner.average.clone().unwrap_or_else(live);
        let (batches, count) = (self.batches, self.config.run.recalibrate_batches as u64);
        let plain =
            Prefetch::start(scope, self.workers, 0..count, move |k| batches.recalibration(k));
        recalibrate::recalibrate(&network, plain, self.device)?;
        Ok(network)
    }

    /// Writes the model that is kept.
    pub(super) fn finish<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        mut learner: Learner<B>,
        log: &Log,
        ended: Ended,
    ) -> Result<Report> {
        let model = self.folder.model();
        if learner.state.best.is_some() {
            let best = self.folder.best_model()?;
            // A damaged one must not replace a model that is whole.
            weights::read_tensors(&best)?;
            let bytes = std::fs::read(&best).map_err(Error::io(&best))?;
            crate::output::write_whole(&model, &bytes, true)?;
        } else {
            let network = self.settled(scope, &learner)?;
            let provenance = self.provenance(learner.state.step, None);
            weights::save(&model, self.spec, &network, &provenance)?;
        }
        self.save(&mut learner)?;
        log.draw("training")?;
        Ok(Report {
            model,
            steps: learner.state.step,
            parameters: learner.network.parameters(),
            train_tiles: self.batches.train_tiles().len(),
            val_tiles: self.batches.val_tiles().len(),
            best: learner.state.best,
            ended,
            seconds: self.seconds(),
        })
    }

    /// How the model came about: metadata beside its spec.
    fn provenance(&self, step: usize, validation: Option<&ValidationEntry>) -> Provenance {
        let json = |value: Result<serde_json::Value, serde_json::Error>| {
            value.map_or_else(|_| String::new(), |value| value.to_string())
        };
        let scenes: std::collections::BTreeSet<&str> =
            self.batches.train_tiles().iter().map(|tile| tile.scene.as_str()).collect();
        let data = serde_json::json!({
            "fingerprint": self.set.info.fingerprint,
            "scenes": scenes,
            "train_tiles": self.batches.train_tiles().len(),
            "val_tiles": self.batches.val_tiles().len(),
            "tile_px": self.set.info.tile_px,
        });
        let mut provenance = Provenance::from([
            ("geoseg.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("geoseg.config".to_owned(), json(serde_json::to_value(self.config))),
            ("geoseg.data".to_owned(), data.to_string()),
            ("geoseg.step".to_owned(), format!("{step} of {}", self.plan.total_steps)),
        ]);
        if let Some(entry) = validation {
            let metrics = serde_json::json!({
                "iou": entry.iou,
                "precision": entry.precision,
                "recall": entry.recall,
                "f1": entry.f1,
                "loss": entry.loss,
                "threshold": self.config.run.threshold,
            });
            provenance.insert("geoseg.validation".to_owned(), metrics.to_string());
        }
        provenance
    }
}
