//! One model of several checkpoints: the mean of their weights.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use serde_json::Value;

use super::spec::ModelSpec;
use super::weights::{Provenance, describe, read_tensors, save_tensors};
use crate::{Error, Result};

/// Metadata key of the models that an averaged one was made of, as JSON.
pub const AVERAGED: &str = "geoseg.average";

/// A model to average.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its file.
    pub file: &'a Path,
    /// What it counts.
    pub weight: f64,
    /// What tells its bytes from others, for the provenance.
    pub sha256: &'a str,
}

/// Writes the weighted mean of every tensor of `parts` as a model. Running statistics of batch normalisation are averaged like weights:
/// the mean of variances, without what the means differ by.
///
/// # Errors
/// [`Error::Input`] if a file is no model, or one of another specification or with other tensors than the first (the error
/// names what differs); [`Error::Io`].
pub fn average(parts: &[Part<'_>], model: &Path) -> Result<ModelSpec> {
    let Some(first) = parts.first() else {
        return Err(Error::input(model, "models to average", "none", "name model files"));
    };
    let (spec, _) = describe(first.file)?;
    let mut sums: BTreeMap<String, (Vec<usize>, Vec<f64>)> = BTreeMap::new();
    let total: f64 = parts.iter().map(|part| part.weight).sum();
    let mut origins = Vec::new();
    for part in parts {
        let (other, provenance) = describe(part.file)?;
        same_spec(part.file, first.file, &other, &spec)?;
        let tensors = read_tensors(part.file)?;
        if sums.is_empty() {
            let zeros = |data: &TensorData| (data.shape.to_vec(), vec![0.0; data.num_elements()]);
            sums = tensors.iter().map(|(name, data)| (name.clone(), zeros(data))).collect();
        }
        if let Some(name) = tensors.keys().find(|name| !sums.contains_key(*name)) {
            let found = format!("a tensor `{name}` that is not there");
            return Err(unlike(part.file, first.file, found));
        }
        for (name, (shape, sum)) in &mut sums {
            let data = tensors.get(name).filter(|data| data.shape.to_vec() == *shape);
            let values = data.and_then(|data| data.as_slice::<f32>().ok()).ok_or_else(|| {
                unlike(part.file, first.file, format!("no tensor `{name}` of shape {shape:?}"))
            })?;
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += part.weight / total * f64::from(*value);
            }
        }
        let file = part.file.file_name().unwrap_or_default().to_string_lossy();
        origins.push(serde_json::json!({
            "file": file,
            "sha256": part.sha256,
            "weight": part.weight,
            "provenance": super::weights::opened(&provenance),
        }));
    }
    let mean = |(name, (shape, sum)): (String, (Vec<usize>, Vec<f64>))| {
        let values: Vec<f32> = sum.into_iter().map(|value| value as f32).collect();
        (name, TensorData::new(values, shape))
    };
    let tensors: Vec<(String, TensorData)> = sums.into_iter().map(mean).collect();
    let provenance = Provenance::from([
        ("geoseg.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (AVERAGED.to_owned(), Value::Array(origins).to_string()),
    ]);
    save_tensors(model, &spec, &tensors, &provenance)?;
    Ok(spec)
}

/// Refuses a specification that differs, naming the first key.
fn same_spec(file: &Path, first_file: &Path, other: &ModelSpec, first: &ModelSpec) -> Result<()> {
    let value = |spec: &ModelSpec| serde_json::to_value(spec).unwrap_or_default();
    let (other, first) = (value(other), value(first));
    let fields = first.as_object().into_iter().flatten();
    match fields.into_iter().find(|(key, value)| other.get(key) != Some(value)) {
        None => Ok(()),
        Some((key, value)) => Err(Error::input(
            file,
            format!("the specification of {}: `{key}` = {value}", first_file.display()),
            other.get(key).unwrap_or_default().to_string(),
            "only checkpoints of one network with one preprocessing have a mean",
        )),
    }
}

fn unlike(file: &Path, first: &Path, found: String) -> Error {
    let hint = "the file is damaged, or written by another version of geoseg";
    Error::input(file, format!("the tensors of {}", first.display()), found, hint)
}
