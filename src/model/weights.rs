//! Models on disk: one `.safetensors` file with the tensors under stable names and the [`ModelSpec`] in its metadata.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::{
    Network, names,
    spec::ModelSpec,
    tensors::{Mismatch, named_tensors, set_named_tensors},
};
use crate::{Error, Result, kernels::Kernels, output};

/// Metadata key of the spec, as JSON.
pub const SPEC: &str = "geoseg.spec";

/// Free text about a model (how it was trained, from what): metadata of the file beside the spec.
pub type Provenance = BTreeMap<String, String>;

/// The provenance with what it holds as JSON opened up.
pub fn opened(provenance: &Provenance) -> serde_json::Map<String, serde_json::Value> {
    use serde_json::Value;
    let value = |text: &String| match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(text.clone()),
    };
    provenance.iter().map(|(key, text)| (key.clone(), value(text))).collect()
}

/// Writes a model, replacing what was there. The same model and provenance give the same bytes.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save<B: Kernels>(
    path: &Path,
    spec: &ModelSpec,
    network: &Network<B>,
    provenance: &Provenance,
) -> Result<()> {
    save_tensors(path, spec, &named_tensors(network), provenance)
}

/// As [`save`], of tensors that belong to such a network.
pub(super) fn save_tensors(
    path: &Path,
    spec: &ModelSpec,
    tensors: &[(String, TensorData)],
    provenance: &Provenance,
) -> Result<()> {
    let mut metadata = provenance.clone();
    let json =
        serde_json::to_string(spec).map_err(std::io::Error::from).map_err(Error::io(path))?;
    metadata.insert(SPEC.into(), json);
    metadata.insert("format".into(), "pt".into());
    output::write_whole(path, &encode(&metadata, tensors), true)
}

/// A safetensors file. Written here because the crate stores metadata in the order of a hash map.
pub fn encode(metadata: &Provenance, tensors: &[(String, TensorData)]) -> Vec<u8> {
    let sorted: BTreeMap<&str, TensorData> =
        tensors.iter().map(|(name, data)| (name.as_str(), data.clone().convert::<f32>())).collect();
    let mut header = serde_json::Map::new();
    header.insert(METADATA.into(), serde_json::json!(metadata));
    let mut offset = 0;
    for (name, data) in &sorted {
        let end = offset + data.as_bytes().len();
        let shape = data.shape.to_vec();
        let entry =
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]});
        header.insert((*name).into(), entry);
        offset = end;
    }
    let mut json = serde_json::Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + json.len() + offset);
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
    for data in sorted.values() {
        bytes.extend_from_slice(data.as_bytes());
    }
    bytes
}

/// What a model's file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// All that inference must know.
    pub spec: ModelSpec,
    /// How it came about.
    pub provenance: Provenance,
    /// Number of tensors.
    pub tensors: usize,
    /// Trainable values.
    pub parameters: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// A hash (FNV-1a, 64 bits) of a model's file: equal files have equal ones.
///
/// # Errors
/// [`Error::Io`].
pub fn fingerprint(path: &Path) -> Result<u64> {
    Ok(super::noise::fnv1a(&std::fs::read(path).map_err(Error::io(path))?))
}

/// Spec, provenance and size of a model, without reading its weights.
///
/// # Errors
/// [`Error::Input`] if the file is not a model of this program.
pub fn summary(path: &Path) -> Result<Summary> {
    let header = read_header(path)?;
    let tensors = header.iter().filter(|(name, _)| *name != METADATA);
    let (mut count, mut parameters) = (0, 0u64);
    for (name, entry) in tensors {
        count += 1;
        if super::is_trainable(name) {
            let sizes = entry["shape"].as_array().into_iter().flatten();
            let sizes = sizes.map(|size| size.as_u64().unwrap_or_default());
            parameters = parameters.saturating_add(sizes.fold(1, u64::saturating_mul));
        }
    }
    let (spec, provenance) = spec_of(path, metadata(&header))?;
    let bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
    Ok(Summary { spec, provenance, tensors: count, parameters, bytes })
}

/// Spec and provenance of a model, without its weights.
///
/// # Errors
/// [`Error::Input`] if the file is not a model of this program.
pub fn describe(path: &Path) -> Result<(ModelSpec, Provenance)> {
    spec_of(path, metadata(&read_header(path)?))
}

/// Name of the metadata among the tensors of a header.
const METADATA: &str = "__metadata__";

fn metadata(header: &serde_json::Map<String, serde_json::Value>) -> Provenance {
    let metadata = header.get(METADATA).cloned();
    metadata.and_then(|metadata| serde_json::from_value(metadata).ok()).unwrap_or_default()
}

fn read_header(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut length = [0; 8];
    std::io::Read::read_exact(&mut file, &mut length)
        .map_err(|_| not_safetensors(path, "a shorter file"))?;
    let length = u64::from_le_bytes(length);
    // The format's own bound on a header.
    if length > 100_000_000 {
        return Err(not_safetensors(path, "something else"));
    }
    let mut header = vec![0; length as usize];
    std::io::Read::read_exact(&mut file, &mut header)
        .map_err(|_| not_safetensors(path, "a truncated file"))?;
    serde_json::from_slice(&header).map_err(|_| not_safetensors(path, "something else"))
}

fn spec_of(path: &Path, mut metadata: Provenance) -> Result<(ModelSpec, Provenance)> {
    let expected = "a model written by geoseg";
    let Some(json) = metadata.remove(SPEC) else {
        let hint = "import weights of other programs with `geoseg weights import`";
        return Err(Error::input(path, expected, format!("no `{SPEC}` in its metadata"), hint));
    };
    let spec: ModelSpec = serde_json::from_str(&json).map_err(|error| {
        Error::input(
            path,
            expected,
            format!("a specification that cannot be read ({error})"),
            "update geoseg",
        )
    })?;
    spec.validate().map_err(|error| {
        Error::input(
            path,
            expected,
            error.to_string(),
            "the file is damaged, or written by a newer geoseg",
        )
    })?;
    metadata.remove("format");
    Ok((spec, metadata))
}

fn not_safetensors(path: &Path, found: &str) -> Error {
    Error::input(path, "a .safetensors file", found, "choose a model file")
}

/// Reads a model.
///
/// # Errors
/// [`Error::Input`] naming the file, the tensor, what was expected and found; [`Error::Io`].
pub fn load<B: Kernels>(path: &Path, device: &B::Device) -> Result<(ModelSpec, Network<B>)> {
    let (spec, _) = describe(path)?;
    let network = load_named(path, &spec, device)?;
    Ok((spec, network))
}

fn load_named<B: Kernels>(path: &Path, spec: &ModelSpec, device: &B::Device) -> Result<Network<B>> {
    let tensors = read_tensors(path)?;
    let broken = |data: &TensorData| {
        data.as_slice::<f32>().is_ok_and(|values| values.iter().any(|value| !value.is_finite()))
    };
    if let Some((name, _)) = tensors.iter().filter(|(_, data)| broken(data)).min_by_key(|(n, _)| *n)
    {
        return Err(Error::input(
            path,
            "weights that are numbers",
            format!("infinite values or none (NaN) in `{name}`"),
            "take an earlier checkpoint, or train again with a lower learning rate",
        ));
    }
    let expected = format!("weights of {}", spec.title());
    let mut unknown: Vec<String> =
        tensors.keys().filter(|name| !names::is_unused(name)).cloned().collect();
    let network = Network::new(spec, device)?;
    for (name, _) in super::tensors::named_ids(&network) {
        unknown.retain(|found| *found != name);
    }
    let hint = "the file belongs to another architecture";
    if let Some(name) = unknown.first() {
        return Err(Error::input(
            path,
            expected,
            format!("a tensor `{name}`, which that does not have"),
            hint,
        ));
    }
    set_named_tensors(network, tensors).map_err(|mismatch| match mismatch {
        Mismatch::Missing { name, shape } => {
            Error::input(path, format!("{expected}: `{name}` {shape:?}"), "no such tensor", hint)
        }
        Mismatch::Shape { name, expected: shape, found } => Error::input(
            path,
            format!("{expected}: `{name}` {shape:?}"),
            format!("{found:?}"),
            hint,
        ),
    })
}

/// All float tensors of a safetensors file, as f32.
///
/// # Errors
/// [`Error::Input`] if it is not one; [`Error::Io`].
pub fn read_tensors(path: &Path) -> Result<HashMap<String, TensorData>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| not_safetensors(path, &error.to_string()))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            _ => continue,
        };
        let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
        tensors.insert(name, data.convert::<f32>());
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        backend::{Autodiff, Flex},
        tensor::{Tensor, backend::Backend},
    };

    fn small() -> ModelSpec {
        ModelSpec {
            pyramid_channels: 32,
            segmentation_channels: 32,
            bands: ["r", "g", "b", "nir"].map(str::to_owned).into(),
            mean: vec![0.5; 4],
            std: vec![0.2; 4],
            ..ModelSpec::default()
        }
    }

    fn bits<B: Backend>(x: Tensor<B, 4>) -> Vec<u32> {
        x.into_data().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_saved_model_comes_back_bit_for_bit_on_either_backend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Default::default();
        let spec = small();
        let network = Network::<Autodiff<Flex>>::seeded(&spec, 5, &device).unwrap();
        let provenance = Provenance::from([("step".to_owned(), "12".to_owned())]);
        save(&path, &spec, &network, &provenance).unwrap();
        let first = std::fs::read(&path).unwrap();
        save(&path, &spec, &network, &provenance).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());

        assert_eq!(describe(&path).unwrap(), (spec.clone(), provenance));
        let (read_spec, read) = load::<Flex>(&path, &device).unwrap();
        assert_eq!(read_spec, spec);
        assert_eq!(named_tensors(&read), named_tensors(&network));
        assert_eq!(
            super::super::named_ids(&read),
            super::super::named_ids(&network),
            "parameter ids survive a reload"
        );
        // 40 by 50 pixels are padded and cropped.
        let x = Tensor::<Flex, 4>::ones([1, 4, 40, 50], &device);
        let logits = read.forward(x.clone());
        assert_eq!(logits.dims(), [1, 1, 40, 50]);
        let tracked = network.forward(Tensor::from_inner(x)).inner();
        assert_eq!(bits(logits), bits(tracked));
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Default::default();
        let network = Network::<Flex>::new(&small(), &device).unwrap();
        save(&path, &small(), &network, &Provenance::new()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let message = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("NaN"), "{message}");
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Default::default();
        let network = Network::<Flex>::new(&small(), &device).unwrap();

        std::fs::write(&path, b"not a model at all").unwrap();
        let message = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(
            message.contains("model.safetensors") && message.contains(".safetensors file"),
            "{message}"
        );

        let wider = ModelSpec { segmentation_channels: 64, ..small() };
        save(&path, &wider, &network, &Provenance::new()).unwrap();
        let message = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(message.contains("decoder.seg_blocks.0.block.0.block.0.weight"), "{message}");
        assert!(
            message.contains("[64, 32, 3, 3]") && message.contains("[32, 32, 3, 3]"),
            "{message}"
        );

        let deeper = ModelSpec { encoder: "efficientnet-b1".into(), ..small() };
        save(&path, &deeper, &network, &Provenance::new()).unwrap();
        let message = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(message.contains("efficientnet-b1"), "{message}");

        let mut tensors = named_tensors(&network);
        tensors.retain(|(name, _)| name != "decoder.p5.bias");
        let json = serde_json::to_string(&small()).unwrap();
        std::fs::write(&path, encode(&Provenance::from([(SPEC.to_owned(), json)]), &tensors))
            .unwrap();
        let message = load::<Flex>(&path, &device).unwrap_err().to_string();
        assert!(message.contains("decoder.p5.bias"), "{message}");
    }

    #[test]
    fn first_weights_depend_on_the_seed_only_and_have_their_bounds() {
        let device = Default::default();
        let a = named_tensors(&Network::<Flex>::seeded(&small(), 1, &device).unwrap());
        assert_eq!(a, named_tensors(&Network::<Flex>::seeded(&small(), 1, &device).unwrap()));
        let b = named_tensors(&Network::<Flex>::seeded(&small(), 2, &device).unwrap());
        let find = |t: &[(String, TensorData)], name: &str| -> Vec<f32> {
            t.iter().find(|(n, _)| n == name).unwrap().1.to_vec().unwrap()
        };
        let name = "decoder.p5.weight";
        assert_ne!(find(&a, name), find(&b, name));
        let bound = (6.0f32 / 320.0).sqrt();
        let largest = find(&a, name).iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(largest <= bound && largest > 0.95 * bound, "{largest} of {bound}");
        assert!(find(&a, "encoder._bn0.weight").iter().all(|v| *v == 1.0));
        assert!(find(&a, "encoder._bn0.running_var").iter().all(|v| *v == 1.0));
        assert!(find(&a, "encoder._blocks.0._se_reduce.bias").iter().any(|v| *v != 0.0));
        assert!(find(&a, "decoder.p5.bias").iter().all(|v| *v == 0.0));
    }
}
