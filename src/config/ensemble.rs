//! Section `[ensemble]`: how scores of several models, or of several files, become one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How several scores become one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleConfig {
    /// What each model or file counts, in their order; all alike where empty.
    pub weights: Vec<f64>,
    /// Sides of each model's window, px, in their order; all as `inference.window_px` where empty.
    pub window_px: Vec<usize>,
    /// The kind of mean.
    pub mean: Mean,
    /// Whether the outlier rule of [`crate::scores::outlier`] applies.
    pub drop_outlier: bool,
}

/// A mean of probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    /// `sum(w p) / sum(w)`.
    #[default]
    Arithmetic,
    /// `exp(sum(w ln p) / sum(w))`: low where any is low.
    Geometric,
    /// The sigmoid of the mean of `ln(p / (1 - p))`: treats building and ground alike.
    Logit,
}

impl Mean {
    /// As configuration and command line name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Geometric => "geometric",
            Self::Logit => "logit",
        }
    }
}

impl FromStr for Mean {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Arithmetic, Self::Geometric, Self::Logit]
            .into_iter()
            .find(|mean| mean.name() == text)
            .ok_or_else(|| format!("expected arithmetic, geometric or logit, found `{text}`"))
    }
}

impl EnsembleConfig {
    /// Checks every value but `window_px`, which belongs to the sliding window.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        above_zero("ensemble.weights", &self.weights)
    }

    /// The window of each of `count` models, where they have their own.
    ///
    /// # Errors
    /// [`Error::Config`] where there are others than `count`.
    pub fn windows_of(&self, count: usize) -> Result<Option<&[usize]>> {
        if self.window_px.is_empty() {
            return Ok(None);
        }
        one_each("ensemble.window_px", self.window_px.len(), count, "models")?;
        Ok(Some(&self.window_px))
    }
}

/// A weight for each of `count` things ("models", "files"), all 1 where none is given; `key` is where they come from.
///
/// # Errors
/// [`Error::Config`] for a weight that is not above 0, or others in number than `count`.
pub fn weights_of(key: &str, weights: &[f64], count: usize, what: &str) -> Result<Vec<f64>> {
    if weights.is_empty() {
        return Ok(vec![1.0; count]);
    }
    above_zero(key, weights)?;
    one_each(key, weights.len(), count, what)?;
    Ok(weights.to_vec())
}

fn above_zero(key: &str, weights: &[f64]) -> Result<()> {
    // Sums and shares of weights that single precision has are numbers of double precision.
    let (least, most) = (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
    match weights.iter().find(|weight| !(least..=most).contains(*weight)) {
        None => Ok(()),
        Some(weight) => {
            let expected = "numbers above 0 that single precision has";
            Err(Error::config(key, format!("expected {expected}, found {weight:?}")))
        }
    }
}

fn one_each(key: &str, found: usize, count: usize, what: &str) -> Result<()> {
    if found == count {
        return Ok(());
    }
    let problem = format!("expected one value for each of {count} {what}, found {found}");
    Err(Error::config(key, problem))
}
