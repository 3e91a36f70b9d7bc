//! What to search for the settings of a training: `config/search.toml` lists every key.

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::error::{Error, Result};

/// Everything `geoseg search` can be told besides the training itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// How many trials, and how their values are chosen.
    pub search: SearchSection,
    /// When a trial is given up.
    pub pruning: PruningSection,
    /// The keys of the training to search over, each a `[[key]]`.
    pub key: Vec<KeyRange>,
}

/// `[search]`: how many trials, and how their values are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSection {
    /// Trainings in all.
    pub trials: usize,
    /// Seeds the choice of values; the trainings have `run.seed`.
    pub seed: u64,
    /// How values are chosen.
    pub sampler: Sampler,
    /// TPE: the first trials, whose values are random.
    pub random_trials: usize,
}

/// How values are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each trial on its own.
    Random,
    /// More of what went well: tree-structured Parzen estimators.
    Tpe,
}

/// `[pruning]`: when a trial is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruningSection {
    /// The rule.
    pub rule: PruningRule,
    /// Trials to compare with that there must be.
    pub trials: usize,
    /// No trial is given up before this share of its steps, 0..=1; halving: the first rung.
    pub first_fraction: f64,
    /// Halving: the next rung is this many times further on, and one of so many trials goes on.
    pub factor: usize,
}

/// Who is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruningRule {
    /// Nobody.
    None,
    /// Who is worse than the median.
    Median,
    /// Who is not among the best at a rung: asynchronous successive halving.
    Halving,
}

/// `[[key]]`: a key of `train.toml` and the values it may take, a range or choices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRange {
    /// The key, dotted.
    pub name: String,
    /// The lowest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The highest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Whether equal factors are equally likely, instead of equal differences.
    #[serde(skip_serializing_if = "is_false")]
    pub log: bool,
    /// Whether only whole numbers are meant.
    #[serde(skip_serializing_if = "is_false")]
    pub integer: bool,
    /// Instead of a range: the values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Default for SearchConfig {
    fn default() -> Self {
        let logarithmic = |name: &str, low, high| KeyRange {
            name: name.into(),
            low: Some(low),
            high: Some(high),
            log: true,
            ..KeyRange::default()
        };
        Self {
            search: SearchSection::default(),
            pruning: PruningSection::default(),
            key: vec![
                logarithmic("optimizer.learning_rate", 1e-5, 1e-1),
                logarithmic("optimizer.weight_decay", 1e-10, 1e-3),
            ],
        }
    }
}

impl Default for SearchSection {
    fn default() -> Self {
        Self { trials: 20, seed: 0, sampler: Sampler::Tpe, random_trials: 8 }
    }
}

impl Default for PruningSection {
    fn default() -> Self {
        Self { rule: PruningRule::Median, trials: 4, first_fraction: 0.5, factor: 3 }
    }
}

impl SearchConfig {
    /// Checks every value that can be checked without the training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key out of range.
    pub fn validate(&self) -> Result<()> {
        let require = |holds: bool, key: &str, problem: &str| {
            if holds { Ok(()) } else { Err(Error::config(key, problem)) }
        };
        require(self.search.trials > 0, "search.trials", "is 0, must be at least 1")?;
        require(self.pruning.trials > 0, "pruning.trials", "is 0, must be at least 1")?;
        let share = (0.0..=1.0).contains(&self.pruning.first_fraction);
        require(share, "pruning.first_fraction", "must be a share of the steps, 0 to 1")?;
        require(self.pruning.factor > 1, "pruning.factor", "must be at least 2")?;
        require(!self.key.is_empty(), "key", "at least one [[key]] is needed")?;
        for (at, key) in self.key.iter().enumerate() {
            key.validate(at)?;
            let again = self.key[..at].iter().any(|earlier| earlier.name == key.name);
            let name = format!("key.{at}.name");
            require(!again, &name, &format!("is \"{}\" a second time", key.name))?;
        }
        Ok(())
    }
}

impl KeyRange {
    fn validate(&self, at: usize) -> Result<()> {
        let wrong = |name: &str, problem: &str| {
            let problem = format!("{problem} (\"{}\")", self.name);
            Err(Error::config(format!("key.{at}.{name}"), problem))
        };
        if self.name.is_empty() {
            return wrong(
                "name",
                "is needed: a key of train.toml, such as optimizer.learning_rate",
            );
        }
        let (Some(low), Some(high)) = (self.low, self.high) else {
            return match (self.low, self.high, self.choices.is_empty()) {
                (None, None, false) => Ok(()),
                (None, None, true) => wrong("low", "is needed, with high; or choices"),
                _ => wrong("high", "and low belong together, and exclude choices"),
            };
        };
        let whole = |value: f64| value.fract() == 0.0 && value.abs() < 1e15;
        if !self.choices.is_empty() {
            wrong("choices", "exclude low and high")
        } else if !(low.is_finite() && high.is_finite() && low < high) {
            wrong("high", "must be above low")
        } else if self.log && low <= 0.0 {
            wrong("low", "must be above 0 where log = true")
        } else if self.integer && !(whole(low) && whole(high)) {
            wrong("low", "and high must be whole numbers where integer = true")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMENTED: &str = include_str!("../../config/search.toml");

    #[test]
    fn the_commented_file_equals_the_defaults_and_comments_every_key() {
        let written: SearchConfig = toml::from_str(COMMENTED).unwrap();
        assert_eq!(written, SearchConfig::default());
        written.validate().unwrap();
        let listed: toml::Table = toml::from_str(COMMENTED).unwrap();
        assert_eq!(listed, toml::Table::try_from(SearchConfig::default()).unwrap());
        let mut previous = "";
        let first_key = COMMENTED.split("[[key]]").take(2).collect::<String>();
        for line in first_key.lines() {
            if line.contains('=') && !line.starts_with('#') {
                assert!(previous.starts_with('#'), "no comment: {line}");
            }
            previous = line;
        }
        for name in ["integer = true", "choices = ["] {
            assert!(COMMENTED.contains(&format!("# {name}")), "{name}");
        }
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        for (text, key) in [
            ("[search]\ntrials = 0", "search.trials"),
            ("[pruning]\ntrials = 0", "pruning.trials"),
            ("[pruning]\nfirst_fraction = 1.5", "pruning.first_fraction"),
            ("[pruning]\nfactor = 1", "pruning.factor"),
            ("key = []", "[[key]]"),
            ("[[key]]\nlow = 1\nhigh = 2", "key.0.name"),
            ("[[key]]\nname = 'a'", "key.0.low"),
            ("[[key]]\nname = 'a'\nlow = 1", "key.0.high"),
            ("[[key]]\nname = 'a'\nlow = 2\nhigh = 1", "key.0.high"),
            ("[[key]]\nname = 'a'\nlow = 0\nhigh = 1\nlog = true", "key.0.low"),
            ("[[key]]\nname = 'a'\nlow = 0.5\nhigh = 2\ninteger = true", "key.0.low"),
            ("[[key]]\nname = 'a'\nlow = 0\nhigh = 1\nchoices = [1]", "key.0.choices"),
            (
                "[[key]]\nname = 'a'\nchoices = [1]\n[[key]]\nname = 'a'\nchoices = [1]",
                "key.1.name",
            ),
        ] {
            let config: SearchConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
    }
}
