//! Values of keys and their places: every key becomes a number from 0 to 1.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;

use crate::config::Layers;
use crate::config::search::KeyRange;
use crate::error::Result;

/// Values by key.
pub type Values = BTreeMap<String, Value>;

/// Ends of a key's range as they are drawn from: logarithms where it is logarithmic, half a step further for whole
/// numbers, so that the ends are as likely as the others.
fn ends(key: &KeyRange) -> (f64, f64) {
    let half = if key.integer { 0.5 } else { 0.0 };
    let (low, high) = (key.low.unwrap_or(0.0) - half, key.high.unwrap_or(1.0) + half);
    if key.log { (low.ln(), high.ln()) } else { (low, high) }
}

/// The value at a place, 0 to 1.
pub(super) fn value_at(key: &KeyRange, place: f64) -> Value {
    if !key.choices.is_empty() {
        let last = key.choices.len() - 1;
        return key.choices[((place * key.choices.len() as f64) as usize).min(last)].clone();
    }
    let (low, high) = ends(key);
    let at = low + (high - low) * place;
    let value = if key.log { at.exp() } else { at };
    // Rounding must not lead out of the range.
    let value = value.clamp(key.low.unwrap_or(value), key.high.unwrap_or(value));
    if key.integer { Value::Integer(value.round() as i64) } else { Value::Float(value) }
}

/// Values whose validity says that of all others: every choice, or both ends.
pub(super) fn extremes(key: &KeyRange) -> Vec<Value> {
    if key.choices.is_empty() {
        return vec![value_at(key, 0.0), value_at(key, 1.0)];
    }
    key.choices.clone()
}

/// The place of a value; `None` for one that the key does not take. A choice lies in the middle of its share.
pub(super) fn place_of(key: &KeyRange, value: &Value) -> Option<f64> {
    if !key.choices.is_empty() {
        let at = key.choices.iter().position(|choice| choice == value)?;
        return Some((at as f64 + 0.5) / key.choices.len() as f64);
    }
    let (low, high) = ends(key);
    let value = number(value)?;
    let at = if key.log { value.ln() } else { value };
    Some((at - low) / (high - low))
}

/// A value as a number, where it is one.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// A value as short text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(value) => format!("{value:.3e}"),
        other => other.to_string(),
    }
}

/// `base` with the given values.
///
/// # Errors
/// A key that does not exist, or a value of another type.
pub(super) fn applied<T>(base: &T, values: &Values) -> Result<T>
where
    T: DeserializeOwned + Serialize + Default,
{
    Layers::of_values(values, "[[key]]").parse_over(base)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::train::TrainConfig;

    fn range(low: f64, high: f64, log: bool, integer: bool) -> KeyRange {
        KeyRange { low: Some(low), high: Some(high), log, integer, ..KeyRange::default() }
    }

    fn choices(texts: &[&str]) -> KeyRange {
        let choices = texts.iter().map(|&text| Value::String(text.into())).collect();
        KeyRange { choices, ..KeyRange::default() }
    }

    #[test]
    fn a_logarithmic_range_has_its_geometric_mean_in_the_middle() {
        let value = number(&value_at(&range(1e-10, 1e-4, true, false), 0.5)).unwrap();
        assert!((value / 1e-7 - 1.0).abs() < 1e-9, "{value}");
    }

    #[test]
    fn whole_numbers_and_choices_are_equally_likely() {
        for (key, count) in [(range(2.0, 4.0, false, true), 3), (choices(&["a", "b", "c"]), 3)] {
            let mut counts = BTreeMap::new();
            for i in 0..300 {
                let value = value_at(&key, (f64::from(i) + 0.5) / 300.0);
                *counts.entry(text(&value)).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), count);
            assert!(counts.values().all(|&count| count == 100), "{counts:?}");
        }
    }

    #[test]
    fn values_reach_the_configuration_and_wrong_ones_name_their_key() {
        let base = TrainConfig::default();
        let with = |name: &str, value: Value| applied(&base, &Values::from([(name.into(), value)]));
        let config = with("optimizer.learning_rate", Value::Float(0.5)).unwrap();
        assert_eq!(config.optimizer.learning_rate, 0.5);
        let error = with("optimizer.lerning_rate", Value::Float(0.5)).unwrap_err().to_string();
        assert!(error.contains("did you mean `optimizer.learning_rate`"), "{error}");
        assert!(error.contains("[[key]]") && !error.contains("--set"), "{error}");
        let error = with("data.batch", Value::Float(0.5)).unwrap_err().to_string();
        assert!(error.contains("`data.batch`"), "{error}");
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_range_and_leads_back_to_its_place(
            place in 0.0..1.0f64, low in 1e-9..1.0f64, factor in 1.01..1e6f64,
            log in any::<bool>(), integer in any::<bool>()
        ) {
            let (mut low, mut high) = (low, low * factor);
            if integer {
                (low, high) = (low.ceil(), high.ceil() + 1.0);
            }
            let key = range(low, high, log, integer);
            let value = value_at(&key, place);
            let found = number(&value).unwrap();
            prop_assert!((low..=high).contains(&found), "{found} outside {low}..={high}");
            let back = place_of(&key, &value).unwrap();
            // A whole number stands for a whole interval of places.
            if integer {
                prop_assert_eq!(value_at(&key, back), value);
            } else {
                prop_assert!((back - place).abs() < 1e-6, "{back} {place}");
            }
        }
    }
}
