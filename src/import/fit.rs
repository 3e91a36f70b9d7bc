//! Tensors under the names of one program into a network of this one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::TensorData;
use serde::Serialize;

use super::family::{self, Convention, Family, Variant};
use super::file::Checkpoint;
use super::problem::{Problem, shown};
use super::spec::{Told, spec};
use super::{Fitted, Options, Part};
use crate::kernels::Kernels;
use crate::model::efficientnet;
use crate::model::tensors::map_tensors;
use crate::model::{ModelSpec, Network, names};
use crate::{Error, Result};

const STEM: &str = "encoder._conv_stem.weight";
const HEAD: &str = "segmentation_head.0.weight";
const ENCODER: &str = "encoder.";
/// Names that belong to the network's own parts: left over, they mean another architecture.
const OWN: [&str; 3] = [ENCODER, "decoder.", "segmentation_head."];

/// How the first convolution is made for other bands than the file's. Either way a picture whose bands are all alike
/// gives what it gave before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstConvolution {
    /// Every band gets the mean of the file's.
    #[default]
    Mean,
    /// The file's bands in turn: the first three stay what they were (scaled).
    Repeat,
}

impl std::fmt::Display for FirstConvolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Repeat => "repeat",
        })
    }
}

impl FirstConvolution {
    /// One value a band for `bands` bands.
    pub fn spread(self, values: &[f64], bands: usize) -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        match self {
            _ if values.len() == bands => values.to_vec(),
            Self::Mean => vec![mean; bands],
            Self::Repeat => values.iter().copied().cycle().take(bands).collect(),
        }
    }

    /// The kernel `[out, theirs, h, w]` as `[out, bands, h, w]`.
    fn adapt(self, kernel: &TensorData, bands: usize) -> Option<TensorData> {
        let [out, theirs, h, w] = kernel.shape.to_vec().try_into().ok()?;
        let (values, plane): (&[f32], _) = (kernel.as_slice().ok()?, h * w);
        let scale = theirs as f32 / bands as f32;
        let mut adapted = Vec::with_capacity(out * bands * plane);
        for of_out in values.chunks_exact((theirs * plane).max(1)) {
            for band in 0..bands {
                for tap in 0..plane {
                    let of = |band: usize| of_out[band * plane + tap];
                    adapted.push(match self {
                        Self::Mean => (0..theirs).map(of).sum::<f32>() / bands as f32,
                        Self::Repeat => of(band % theirs) * scale,
                    });
                }
            }
        }
        (adapted.len() == out * bands * plane).then(|| TensorData::new(adapted, [out, bands, h, w]))
    }
}

/// A tensor of the file, by the name that this program has for it.
struct Theirs {
    name: String,
    data: TensorData,
}

/// Fits a file to the network that `options` describe.
///
/// # Errors
/// As [`super::load`].
pub fn fit<B: Kernels>(
    source: &Path,
    checkpoint: Checkpoint,
    options: &Options,
    device: &B::Device,
) -> Result<(Fitted, Network<B>)> {
    let input = |problem: Problem| problem.of(source);
    let (family, convention, mut notes) = recognise(source, &checkpoint, options)?;
    let names: BTreeSet<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
    let mut ours = family.rename(&names);
    let mut tensors = BTreeMap::new();
    for (name, data) in checkpoint.tensors {
        let renamed = ours.remove(&name).unwrap_or_else(|| name.clone());
        tensors.insert(renamed, Theirs { name, data });
    }
    let needed = |name: &str| !names::is_unused(name);
    if options.encoder_only {
        let before = tensors.len();
        tensors.retain(|name, _| name.starts_with(ENCODER));
        if before > tensors.len() {
            notes.push(format!("{} tensors beside the encoder left out", before - tensors.len()));
        }
    }
    let whole = tensors.keys().any(|name| !name.starts_with(ENCODER) && needed(name));
    let part = if whole { Part::All } else { Part::Encoder };
    let dimension = |name: &str, axis: usize| {
        tensors.get(name).and_then(|theirs| theirs.data.shape.to_vec().get(axis).copied())
    };
    let told =
        Told { family, convention, part, bands: dimension(STEM, 1), classes: dimension(HEAD, 0) };
    let (spec, assumed) = spec(&told, options)?;
    notes.extend(assumed);
    if let Some(stem) = tensors.get_mut(STEM)
        && told.bands.is_some_and(|bands| bands > 0 && bands != spec.bands.len())
        && let Some(adapted) = options.first_convolution.adapt(&stem.data, spec.bands.len())
    {
        stem.data = adapted;
    }
    let blocks = blocks_in(&tensors);
    let placed = place(Network::<B>::new(&spec, device)?, tensors, &spec, part, blocks);
    let (network, used, kept, left) = placed.map_err(input)?;
    let not_needed = left.iter().filter(|(ours, _)| !needed(ours)).count();
    let unexpected =
        left.into_iter().filter(|(ours, _)| needed(ours)).map(|(_, theirs)| theirs).collect();
    let ignored = checkpoint.ignored;
    let fitted = Fitted { family, part, used, kept, not_needed, unexpected, ignored, notes, spec };
    Ok((fitted, network))
}

/// The family of a file, what it does beside its weights, and what was assumed for that.
fn recognise(
    source: &Path,
    checkpoint: &Checkpoint,
    options: &Options,
) -> Result<(Family, Convention, Vec<String>)> {
    let input = |problem: Problem| problem.of(source);
    let names: BTreeSet<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
    if checkpoint.metadata.contains_key(crate::model::weights::SPEC) {
        return Err(input(Problem::new(
            "weights of another program",
            "a model of geoseg",
            "use it as it is",
        )));
    }
    let Some(family) = Family::recognise(&names) else {
        let first = names.first().copied().unwrap_or_default();
        return Err(input(Problem::new(
            "an EfficientNet of segmentation_models_pytorch, efficientnet_pytorch, timm or torchvision",
            format!("other names, such as `{}`", shown(first)),
            "only these can be imported",
        )));
    };
    if family != Family::Timm {
        if options.variant.is_some() {
            let problem = "only weights of timm have variants, and these are not";
            return Err(Error::config("--variant", problem));
        }
        return Ok((family, family.convention(Variant::Plain, &options.encoder), Vec::new()));
    }
    let file_name = source.file_name().unwrap_or_default().to_string_lossy();
    let (variant, note) =
        family::variant(options.variant, &file_name, checkpoint).map_err(input)?;
    let convention = family.convention(variant, &options.encoder);
    Ok((family, convention, note.into_iter().collect()))
}

/// The network with its tensors, how many were used, names that kept their first weights, and what is left over (our
/// names and theirs).
type Placed<B> = (Network<B>, usize, Vec<String>, Vec<(String, String)>);

fn place<B: Kernels>(
    network: Network<B>,
    mut tensors: BTreeMap<String, Theirs>,
    spec: &ModelSpec,
    part: Part,
    blocks: usize,
) -> Result<Placed<B>, Problem> {
    let of = format!("weights of {} on {}", spec.arch, spec.encoder);
    let hint = hint(blocks, &spec.encoder);
    let (mut kept, mut used, mut wrong) = (Vec::new(), 0, None);
    let network = map_tensors(network, |name, shape| {
        let Some(Theirs { name: theirs, data }) = tensors.remove(name) else {
            if part == Part::Encoder && !name.starts_with(ENCODER) {
                kept.push(name.to_owned());
            } else {
                let expected = format!("{of}: `{name}` {shape:?}");
                wrong.get_or_insert(Problem::new(expected, "no such tensor", &hint));
            }
            return None;
        };
        let found = data.shape.to_vec();
        if found != shape {
            let hint = if name.starts_with("segmentation_head.") {
                "name as many classes as the file has with --classes"
            } else {
                &hint
            };
            let expected = format!("{of}: `{name}` {shape:?}");
            let found = format!("{found:?} (`{}`)", shown(&theirs));
            wrong.get_or_insert(Problem::new(expected, found, hint));
            return None;
        }
        let finite = data.as_slice::<f32>().is_ok_and(|v| v.iter().all(|v| v.is_finite()));
        if !finite {
            let found = format!("infinite values or none (NaN) in `{}`", shown(&theirs));
            let hint = "the training that wrote the file failed: take an earlier one";
            wrong.get_or_insert(Problem::new("weights that are numbers", found, hint));
            return None;
        }
        used += 1;
        Some(data)
    });
    let strange = |name: &&String| {
        !names::is_unused(name) && OWN.iter().any(|prefix| name.starts_with(prefix))
    };
    if let Some(name) = tensors.keys().find(strange) {
        let found = format!("a tensor `{}`, which that does not have", shown(name));
        wrong.get_or_insert(Problem::new(of, found, &hint));
    }
    if let Some(problem) = wrong {
        return Err(problem);
    }
    let left = tensors.into_iter().map(|(ours, theirs)| (ours, theirs.name)).collect();
    Ok((network, used, kept, left))
}

/// Number of the encoder's blocks.
fn blocks_in(tensors: &BTreeMap<String, Theirs>) -> usize {
    let number = |name: &String| {
        let rest = name.strip_prefix("encoder._blocks.")?;
        rest.split_once('.')?.0.parse::<usize>().ok()
    };
    tensors.keys().filter_map(number).collect::<BTreeSet<_>>().len()
}

/// What to do about a tensor that does not fit.
fn hint(blocks: usize, encoder: &str) -> String {
    let sizes = (0..8).map(|size| format!("efficientnet-b{size}"));
    let alike: Vec<String> = sizes
        .filter(|name| efficientnet::Variant::named(name).is_some_and(|v| v.blocks() == blocks))
        .collect();
    if alike.is_empty() || alike.iter().any(|name| name == encoder) {
        return "check --arch and --encoder; --encoder-only takes only the encoder".into();
    }
    format!("with {blocks} blocks it looks like --encoder {}", alike.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grey_picture_gives_the_same_through_any_number_of_bands() {
        let values: Vec<f32> = (0..2 * 3 * 4).map(|i| (i * i % 17) as f32 - 5.0).collect();
        let kernel = TensorData::new(values.clone(), [2, 3, 2, 2]);
        // Sums over the bands, by output and tap.
        let sums = |values: &[f32], bands: usize| -> Vec<f32> {
            (0..2 * 4)
                .map(|at| (0..bands).map(|b| values[(at / 4 * bands + b) * 4 + at % 4]).sum())
                .collect()
        };
        for (how, bands) in [
            (FirstConvolution::Mean, 1),
            (FirstConvolution::Mean, 5),
            (FirstConvolution::Repeat, 6),
        ] {
            let adapted = how.adapt(&kernel, bands).unwrap();
            assert_eq!(adapted.shape.to_vec(), [2, bands, 2, 2]);
            let adapted = adapted.to_vec::<f32>().unwrap();
            for (a, b) in sums(&adapted, bands).iter().zip(sums(&values, 3)) {
                assert!((a - b).abs() < 1e-5, "{how} {bands}: {a} {b}");
            }
        }
        let repeated = FirstConvolution::Repeat.adapt(&kernel, 4).unwrap().to_vec::<f32>().unwrap();
        // The fourth band repeats the first.
        assert_eq!(repeated[..4], repeated[12..16]);
        assert_eq!(repeated[0], values[0] * 0.75);
        assert_eq!(FirstConvolution::Repeat.spread(&[1.0, 2.0, 3.0], 4), [1.0, 2.0, 3.0, 1.0]);
        assert_eq!(FirstConvolution::Mean.spread(&[1.0, 2.0, 3.0], 2), [2.0, 2.0]);
        assert_eq!(FirstConvolution::Mean.spread(&[1.0, 2.0, 3.0], 3), [1.0, 2.0, 3.0]);
    }
}
