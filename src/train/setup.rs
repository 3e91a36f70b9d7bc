//! A configuration and its tile sets, made ready for a training: nothing is written yet.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;

use super::batches::Batches;
use super::checkpoint::Learner;
use super::plan::{self, Plan};
use super::sources::Sources;
use super::start::Start;
use super::step::Steps;
use crate::config::train::TrainConfig;
use crate::device::number_format;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::model::ModelSpec;

/// What a training is made of.
pub(super) struct Setup<'a> {
    config: &'a TrainConfig,
    start: Option<Start>,
    pub(super) batches: Batches<'a>,
    pub(super) spec: ModelSpec,
}

impl<'a> Setup<'a> {
    /// # Errors
    /// A key out of range, a configuration that does not fit the tiles, a model to start from that does not fit it.
    pub(super) fn new(config: &'a TrainConfig, sources: &'a Sources) -> Result<Self> {
        config.validate()?;
        let set = &sources.labelled;
        let start = Start::open(&config.model)?;
        let normalisation = match &start {
            Some(start) => start.normalisation(),
            None => plan::normalisation(&set.info),
        };
        let batches = Batches::new(sources, config, normalisation)?;
        let mut spec = plan::model_spec(config, &set.info, &batches)?;
        if let Some(start) = &start {
            spec = start.adopted_by(spec)?;
        }
        Ok(Self { config, start, batches, spec })
    }

    /// Its lengths.
    pub(super) fn plan(&self) -> Plan {
        Plan::new(self.config, self.batches.batches_per_epoch())
    }

    /// What its steps have in common.
    ///
    /// # Errors
    /// The device does not compute in the configured format.
    pub(super) fn steps<B: AutodiffBackend + Kernels>(
        &self,
        device: &'a B::Device,
    ) -> Result<Steps<'a, B>> {
        let format = number_format::<B>(self.config.run.precision, device)?;
        Ok(Steps { config: self.config, device, format, plan: self.plan() })
    }

    /// The training at its beginning.
    ///
    /// # Errors
    /// The losses ask for heads that the network lacks, or the weights to start from do not fit it.
    pub(super) fn learner<B>(&self, device: &B::Device) -> Result<Learner<B>>
    where
        B: AutodiffBackend + Kernels,
        B::InnerBackend: Kernels,
    {
        self.checked(Learner::new(self.config, &self.spec, self.start.as_ref(), device)?)
    }

    /// The training as the checkpoint folder `from` holds it.
    ///
    /// # Errors
    /// As [`Setup::learner`], and as [`Learner::load`].
    pub(super) fn resumed<B>(&self, from: &Path, device: &B::Device) -> Result<Learner<B>>
    where
        B: AutodiffBackend + Kernels,
        B::InnerBackend: Kernels,
    {
        self.checked(Learner::load(from, self.config, &self.spec, device)?)
    }

    fn checked<B>(&self, learner: Learner<B>) -> Result<Learner<B>>
    where
        B: AutodiffBackend + Kernels,
        B::InnerBackend: Kernels,
    {
        if self.config.loss.needs_more_heads() && !learner.network.has_more_heads() {
            return Err(Error::config(
                "loss",
                format!(
                    "second_head, class_weight and scale_weight are for \"efficient-fpn\"; \"{}\" has one head",
                    self.config.model.arch
                ),
            ));
        }
        Ok(learner)
    }
}
