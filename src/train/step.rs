//! One optimizer step.

use std::collections::BTreeMap;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Tensor, backend::AutodiffBackend};

use super::batches::Batch;
use super::checkpoint::Learner;
use super::log::{StepEntry, now_s};
use super::losses::{Losses, Truth, losses};
use super::metrics::Confusion;
use super::mixup;
use super::optimizer::{clip_factor, gradient_norm, move_average};
use super::plan::Plan;
use super::prefetch::Prefetch;
use super::validate::{Measured, measure};
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, in_format};
use crate::model::{Mode, noise::splitmix64};

/// What all steps of a training have in common.
pub(super) struct Steps<'env, B: AutodiffBackend> {
    pub(super) config: &'env TrainConfig,
    pub(super) device: &'env B::Device,
    /// In which they compute.
    pub(super) format: DType,
    pub(super) plan: Plan,
}

impl<B> Steps<'_, B>
where
    B: AutodiffBackend + Kernels,
    B::InnerBackend: Kernels,
{
    /// One optimizer step over `accumulate` batches, with learning rate `rate`.
    pub(super) fn step(
        &self,
        mut learner: Learner<B>,
        rate: f64,
        batches: &mut Prefetch<Batch>,
    ) -> Result<(Learner<B>, StepEntry)> {
        let section = &self.config.optimizer;
        let (step, accumulate) = (learner.state.step, section.accumulate);
        let scale = learner.state.loss_scale.factor(self.format);
        let mut accumulator = GradientsAccumulator::new();
        let mut measured = Vec::new();
        let mut gradients = GradientsParams::new();
        for pass in 0..accumulate {
            let batch = batches.next().ok_or_else(|| {
                Error::config("data.workers", "a thread that makes batches has stopped")
            })??;
            let (image, truth) = batch.to_device::<B>(self.device); // [n, bands, h, w]
            let seed = splitmix64(self.config.run.seed, (step * accumulate + pass) as u64);
            let share = batch.mixup;
            let image = if share < 1.0 { mixup::mix(image, share) } else { image };
            let image = in_format(image, self.format);
            let heads = learner.network.heads(image, Mode::Train { seed });
            let section = &self.config.loss;
            let mut losses = losses(section, &heads, &truth);
            if share < 1.0 {
                let other = super::losses::losses(section, &heads, &mixup::next_truth(&truth));
                losses = mixup::mix_losses(losses, other, share);
            }
            let gradient = (losses.total.clone() * (scale / accumulate as f64)).backward();
            gradients = GradientsParams::from_grads(gradient, &learner.network);
            if accumulate > 1 {
                accumulator.accumulate(&learner.network, gradients);
                gradients = GradientsParams::new();
                if pass + 1 == accumulate {
                    gradients = accumulator.grads();
                }
            }
            let norm = gradient_norm::<B, _>(&learner.network, &gradients, self.device);
            let numbers = measure(
                inner_losses(losses),
                heads.logits.inner(),
                &inner_truth(truth),
                self.config.run.threshold,
                norm,
            );
            // The gradients may overflow before the loss does.
            let overflow = numbers.loss.is_finite() && !numbers.extra.is_finite();
            if overflow && learner.state.loss_scale.lower(self.format) {
                learner.state.step += 1;
                return Ok((learner, self.step_entry(step, rate, 0.0, &[numbers])));
            }
            for number in [numbers.loss, numbers.extra] {
                if !number.is_finite() {
                    return Err(Error::NonFiniteLoss { step, loss: number, tiles: batch.tiles });
                }
            }
            measured.push(numbers);
        }
        learner.state.loss_scale.keep(self.format);
        let norm = measured.last().map_or(0.0, |last| last.extra) / scale;
        let clip = clip_factor(norm, section.clip_norm);
        learner.network = learner.optimizer.step(learner.network, gradients, rate, clip / scale);
        if let Some(average) = learner.average.take() {
            let live = burn::module::AutodiffModule::valid(&learner.network);
            learner.average = Some(move_average(average, &live, section.ema_decay, step));
        }
        learner.state.step += 1;
        Ok((learner, self.step_entry(step, rate, norm, &measured)))
    }

    fn step_entry(&self, step: usize, rate: f64, norm: f64, measured: &[Measured]) -> StepEntry {
        let share = 1.0 / measured.len().max(1) as f64;
        let (mut loss, mut losses, mut pixels) = (0.0, BTreeMap::new(), Confusion::default());
        for numbers in measured {
            loss += numbers.loss * share;
            for (part, value) in &numbers.parts {
                *losses.entry(part.clone()).or_default() += value * share;
            }
            pixels.add(numbers.pixels);
        }
        StepEntry {
            step: step + 1,
            epoch: self.plan.epoch(step),
            loss,
            losses,
            iou: pixels.iou(),
            pixels,
            learning_rate: rate,
            gradient_norm: norm,
            tiles_per_s: 0.0,
            time: now_s(),
        }
    }
}

fn inner_losses<B: AutodiffBackend>(losses: Losses<B>) -> Losses<B::InnerBackend> {
    Losses {
        total: losses.total.inner(),
        parts: losses.parts.into_iter().map(|(loss, value)| (loss, value.inner())).collect(),
    }
}

fn inner_truth<B: AutodiffBackend>(truth: Truth<B>) -> Truth<B::InnerBackend> {
    Truth {
        labels: truth.labels.inner(),
        valid: truth.valid.inner(),
        soft: truth.soft,
        scale: truth.scale.map(Tensor::inner),
    }
}
