//! `[optimizer]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::{require, within};
use crate::error::Result;

/// `[optimizer]`: how weights follow gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSection {
    /// The rule: "adamw", "adam", "rmsprop" or "sgd".
    pub name: OptimizerName,
    /// The schedule's peak rate.
    pub learning_rate: f64,
    /// Factor on the rate of the encoder.
    pub encoder_lr_factor: f64,
    /// Weight decay: AdamW's as a share of the learning rate, that of the others added to the gradient.
    pub weight_decay: f64,
    /// AdamW and Adam: decay rates of the running mean of gradients and of their squares.
    pub betas: [f64; 2],
    /// `RMSprop`: decay rate of the running mean of squared gradients.
    pub alpha: f64,
    /// SGD and `RMSprop`: share of the last step that goes on in the next.
    pub momentum: f64,
    /// SGD: Nesterov's momentum, which looks one step ahead.
    pub nesterov: bool,
    /// All but SGD: added to the root of the mean square.
    pub epsilon: f64,
    /// Largest Euclidean norm of all gradients together; 0 does not clip.
    pub clip_norm: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
    /// Decay of the exponential moving average of the weights, which is then what is validated and
    /// kept; 0 keeps none.
    pub ema_decay: f64,
}

/// The optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay.
    Adamw,
    /// Adaptive moments.
    Adam,
    /// Steps divided by the gradient's running root mean square.
    Rmsprop,
    /// Gradient descent with momentum.
    Sgd,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            name: OptimizerName::Adamw,
            learning_rate: 1e-3,
            encoder_lr_factor: 1.0,
            weight_decay: 0.01,
            betas: [0.9, 0.999],
            alpha: 0.99,
            momentum: 0.9,
            nesterov: false,
            epsilon: 1e-8,
            clip_norm: 5.0,
            accumulate: 1,
            ema_decay: 0.0,
        }
    }
}

impl OptimizerSection {
    pub(super) fn validate(&self) -> Result<()> {
        within("optimizer.learning_rate", self.learning_rate, 1e-12, 10.0)?;
        within("optimizer.encoder_lr_factor", self.encoder_lr_factor, 0.0, 100.0)?;
        within("optimizer.weight_decay", self.weight_decay, 0.0, 10.0)?;
        for beta in self.betas {
            within("optimizer.betas", beta, 0.0, 0.999_999)?;
        }
        within("optimizer.alpha", self.alpha, 0.0, 0.999_999)?;
        within("optimizer.momentum", self.momentum, 0.0, 0.999_999)?;
        require(
            !self.nesterov || (self.name == OptimizerName::Sgd && self.momentum > 0.0),
            "optimizer.nesterov",
            self.nesterov,
            "false but for \"sgd\" with a momentum above 0",
        )?;
        within("optimizer.epsilon", self.epsilon, 1e-16, 1.0)?;
        within("optimizer.clip_norm", self.clip_norm, 0.0, 1e9)?;
        within("optimizer.accumulate", self.accumulate as f64, 1.0, 65_536.0)?;
        within("optimizer.ema_decay", self.ema_decay, 0.0, 0.999_999)
    }
}
