//! Files of weights, whatever their container: tensors by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::{Dtype, SafeTensors};

use super::element::Element;
use super::problem::{Parsed, Problem};
use super::{torch, zip};
use crate::{Error, Result};

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Tensors as f32, by name, without the prefixes that wrappers add to all names (`module.`).
    pub tensors: BTreeMap<String, TensorData>,
    /// Metadata of a safetensors file.
    pub metadata: BTreeMap<String, String>,
    /// Names of functions and classes that a pickle wanted and that were not called.
    pub ignored: BTreeSet<String>,
}

/// Prefixes of `DataParallel`, `torch.compile` and trainers that hold the network in a field.
const PREFIXES: [&str; 5] = ["module.", "_orig_mod.", "model.", "network.", "net."];
const EXPECTED: &str = "weights as .pth, .pt or .safetensors";

/// Reads a `.pth`, `.pt` (`torch.save`) or `.safetensors` file; the contents decide. Nothing in it is executed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] if it is damaged or holds something else than weights.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    decode(&bytes, path)
}

/// As [`read`], for the contents of the file `path`.
///
/// # Errors
/// [`Error::Input`] likewise.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
    parse(bytes).map_err(|problem| problem.of(path))
}

fn parse(bytes: &[u8]) -> Parsed<Checkpoint> {
    let mut checkpoint = if bytes.starts_with(zip::MAGIC) {
        from_torch(torch::read_zip(bytes)?)
    } else if bytes.get(8) == Some(&b'{') {
        // Before pickles: the length of the header, which comes first, may begin as they do.
        read_safetensors(bytes)?
    } else if bytes.first() == Some(&0x80) {
        from_torch(torch::read_legacy(bytes)?)
    } else {
        return Err(Problem::new(
            EXPECTED,
            "something else",
            "choose a file of PyTorch or safetensors",
        ));
    };
    let mut prefixes = PREFIXES.iter();
    while let Some(prefix) = prefixes.next() {
        let tensors = &mut checkpoint.tensors;
        if !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(prefix)) {
            let strip = |(name, data): (String, _)| (name[prefix.len()..].to_owned(), data);
            *tensors = std::mem::take(tensors).into_iter().map(strip).collect();
            prefixes = PREFIXES.iter();
        }
    }
    if checkpoint.tensors.is_empty() {
        return Err(Problem::new(EXPECTED, "no tensors", "choose a file that holds a network"));
    }
    Ok(checkpoint)
}

fn from_torch((tensors, ignored): torch::Found) -> Checkpoint {
    Checkpoint { tensors, metadata: BTreeMap::new(), ignored }
}

fn read_safetensors(bytes: &[u8]) -> Parsed<Checkpoint> {
    let damaged = |error: safetensors::SafeTensorError| {
        Problem::damaged("a whole safetensors file", error.to_string())
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let element = match view.dtype() {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::I64 => Element::I64,
            Dtype::I32 => Element::I32,
            Dtype::I16 => Element::I16,
            Dtype::I8 => Element::I8,
            Dtype::U8 => Element::U8,
            Dtype::BOOL => Element::Bool,
            // Not found later, it will be named as missing.
            _ => continue,
        };
        let count = view.data().len() / element.bytes();
        let values = (0..count).filter_map(|at| element.value(view.data(), at)).collect();
        tensors.insert(name, TensorData::new::<f32, _>(values, view.shape().to_vec()));
    }
    Ok(Checkpoint { tensors, metadata, ignored: BTreeSet::new() })
}
