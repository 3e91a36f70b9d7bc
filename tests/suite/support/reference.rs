//! What the tests against the numerical reference share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData, backend::Backend};
use geoseg::model::{ModelSpec, Network, noise::fnv1a, noise::splitmix64, tensors, weights};

use super::shared::shared;

/// A file of the reference, or nothing (with a message) where it is not at hand.
pub fn reference(file: &str) -> Option<PathBuf> {
    shared(&format!("reference/{file}"))
}

pub type Tensors = HashMap<String, TensorData>;

pub fn read(path: &Path) -> Tensors {
    weights::read_tensors(path).unwrap()
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn load<B: Backend, const D: usize>(tensors: &Tensors, name: &str) -> Tensor<B, D> {
    let data = tensors.get(name).unwrap_or_else(|| panic!("{name} is missing")).clone();
    Tensor::from_data(data, &B::Device::default())
}

pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().unwrap()
}

/// Largest difference, and the largest expected value.
pub fn gap(found: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let distance = |(a, b): (&f32, &f32)| {
        let d = (f64::from(*a) - f64::from(*b)).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    };
    (
        found.iter().zip(expected).map(distance).fold(0.0, f64::max),
        expected.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max),
    )
}

/// Value `i` of the stream of a name: the fill rule.
pub fn stream(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let state = fnv1a(name.as_bytes());
    (0..count as u64).map(move |i| (splitmix64(state, i) >> 11) as f64 * (-52f64).exp2() - 1.0)
}

/// A tensor by the fill rule; `k` is the layer's entry in `bn_log2_scale`.
pub fn filled(name: &str, shape: &[usize], norm: bool, k: i32) -> TensorData {
    let count = shape.iter().product();
    let k = f64::from(k);
    let value: Box<dyn Fn(f64) -> f64> = match name.rsplit('.').next().unwrap() {
        "running_mean" => Box::new(move |u| k.exp2() * (0.1 * u)),
        "running_var" => Box::new(move |u| (2.0 * k).exp2() * (1.0 + 0.5 * u.abs())),
        "weight" if norm => Box::new(|u| 1.0 + 0.1 * u),
        "bias" if norm => Box::new(|u| 0.1 * u),
        "weight" => {
            let fan_in: usize = shape[1..].iter().product();
            Box::new(move |u| (3.0 / fan_in as f64).sqrt() * u)
        }
        _ => Box::new(|u| 0.05 * u),
    };
    TensorData::new(
        stream(name, count).map(|u| value(u) as f32).collect::<Vec<_>>(),
        shape.to_vec(),
    )
}

/// The spec of an FPN of `arch/smp.json`, without dropout.
pub fn smp_spec(encoder: &str) -> ModelSpec {
    smp_spec_of("fpn", encoder)
}

/// The spec of a network of `arch/smp.json`, without dropout.
pub fn smp_spec_of(arch: &str, encoder: &str) -> ModelSpec {
    let arch = arch.into();
    ModelSpec {
        arch,
        encoder: encoder.into(),
        dropout: 0.0,
        drop_connect: 0.0,
        ..ModelSpec::default()
    }
}

/// What the reference calls a network.
pub fn smp_name(spec: &ModelSpec) -> String {
    format!("smp_{}_{}", spec.arch, spec.encoder)
}

/// A network of `arch/smp.json` filled by rule.
pub fn smp_network<B: geoseg::kernels::Kernels>(
    spec: &ModelSpec,
    smp: &serde_json::Value,
) -> Network<B> {
    network_by_rule(spec, &smp[smp_name(spec)]["bn_log2_scale"])
}

/// What the reference calls a tensor: EfficientFPN's encoder stands there without a prefix.
pub fn reference_name<'name>(spec: &ModelSpec, name: &'name str) -> &'name str {
    match name.strip_prefix("encoder.") {
        Some(rest) if spec.arch == "efficient-fpn" => rest,
        _ => name,
    }
}

/// A network filled by rule; `scales` is `bn_log2_scale` of its entry.
pub fn network_by_rule<B: geoseg::kernels::Kernels>(
    spec: &ModelSpec,
    scales: &serde_json::Value,
) -> Network<B> {
    let network = Network::<B>::new(spec, &B::Device::default()).unwrap();
    let ranks: HashMap<String, usize> = tensors::named_tensors(&network)
        .into_iter()
        .map(|(name, data)| (name, data.shape.len()))
        .collect();
    tensors::map_tensors(network, |name, shape| {
        let layer = name.rsplit_once('.').unwrap().0;
        let norm = matches!(ranks[&format!("{layer}.weight")], 1 | 3);
        let (name, layer) = (reference_name(spec, name), reference_name(spec, layer));
        let k = scales[layer].as_i64().unwrap_or(0) as i32;
        Some(filled(name, shape, norm, k))
    })
}

pub fn floats(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}
