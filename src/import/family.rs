//! Who named the tensors: EfficientNets of several programs, and what each of them does besides.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::file::Checkpoint;
use super::problem::{Parsed, Problem};
use crate::model::efficientnet::Padding;

/// A way to name the tensors of an EfficientNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// segmentation_models_pytorch: whole networks, the encoder under `encoder.`.
    Smp,
    /// efficientnet_pytorch by Luke Melas-Kyriazi: as in smp, without the prefix.
    Lukemelas,
    /// timm.
    Timm,
    /// torchvision.
    Torchvision,
}

/// timm has two kinds of EfficientNets that share all names and shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// `tf_efficientnet_*`: weights of TensorFlow, with its padding and epsilon.
    Tf,
    /// `efficientnet_*`: trained with PyTorch.
    Plain,
}

/// What a family's networks do beside their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convention {
    /// Padding of convolutions with stride 2.
    pub padding: Padding,
    /// Epsilon of batch normalisation.
    pub eps: f64,
    /// Weight of a new batch in its running statistics.
    pub momentum: f64,
}

const TENSORFLOW: (f64, f64) = (1e-3, 0.01);
const PYTORCH: (f64, f64) = (1e-5, 0.1);

impl Family {
    /// By the names that only it uses.
    pub fn recognise(names: &BTreeSet<&str>) -> Option<Self> {
        let prefixed = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        if prefixed("encoder.") {
            Some(Self::Smp)
        } else if names.contains("_conv_stem.weight") {
            Some(Self::Lukemelas)
        } else if names.contains("conv_stem.weight") && prefixed("blocks.0.0.") {
            Some(Self::Timm)
        } else if names.contains("features.0.0.weight") && prefixed("features.1.0.block.") {
            Some(Self::Torchvision)
        } else {
            None
        }
    }

    /// What the networks of this family do, with `encoder` as [`crate::model::ModelSpec`] names it.
    pub fn convention(self, variant: Variant, encoder: &str) -> Convention {
        let large = ["b5", "b6", "b7"].iter().any(|size| encoder.ends_with(size));
        let (padding, (eps, momentum)) = match (self, variant) {
            (Self::Smp | Self::Lukemelas, _) => (Padding::Nominal, TENSORFLOW),
            (Self::Timm, Variant::Tf) => (Padding::Same, (TENSORFLOW.0, PYTORCH.1)),
            (Self::Torchvision, _) if large => (Padding::Symmetric, TENSORFLOW),
            (Self::Timm | Self::Torchvision, _) => (Padding::Symmetric, PYTORCH),
        };
        Convention { padding, eps, momentum }
    }

    /// Every name of a file with the name that geoseg has for it; those that the family does not know stay.
    pub fn rename(self, names: &BTreeSet<&str>) -> BTreeMap<String, String> {
        let scheme = match self {
            Self::Smp => None,
            Self::Lukemelas => Some(&LUKEMELAS),
            Self::Timm => Some(&TIMM),
            Self::Torchvision => Some(&TORCHVISION),
        };
        let places: BTreeSet<(usize, usize)> = scheme.map_or_else(BTreeSet::new, |scheme| {
            names.iter().filter_map(|name| scheme.block(name)).map(|block| block.0).collect()
        });
        let flat: BTreeMap<_, _> = places.into_iter().zip(0usize..).collect();
        let renamed = |name: &str| scheme.and_then(|scheme| scheme.rename(name, &flat));
        let pair =
            |name: &&str| ((*name).to_owned(), renamed(name).unwrap_or_else(|| (*name).to_owned()));
        names.iter().map(pair).collect()
    }
}

/// The kind of a file of timm: as given, or by a model's name in the file's name or metadata; also how it was found.
///
/// # Errors
/// Neither says.
pub fn variant(
    given: Option<Variant>,
    file_name: &str,
    checkpoint: &Checkpoint,
) -> Parsed<(Variant, Option<String>)> {
    if let Some(given) = given {
        return Ok((given, None));
    }
    let says = |name: &str| {
        file_name.contains(name) || checkpoint.metadata.values().any(|text| text.contains(name))
    };
    let assumed = |variant, option: &str, name: &str| {
        let note =
            format!("taken for timm's {name}* (--variant {option}), as its name or metadata say");
        Ok((variant, Some(note)))
    };
    if says("tf_efficientnet") {
        assumed(Variant::Tf, "tf", "tf_efficientnet_")
    } else if says("efficientnet_b") {
        assumed(Variant::Plain, "plain", "efficientnet_")
    } else {
        Err(Problem::new(
            "a file that says which of timm's EfficientNets it is (they share names and shapes, not padding and epsilon)",
            "neither `tf_efficientnet` nor `efficientnet_b` in its name or metadata",
            "say --variant tf for tf_efficientnet_*, --variant plain for efficientnet_*",
        ))
    }
}

/// Parts of a network: what the family and what smp call them.
type Parts = &'static [(&'static str, &'static str)];

/// The names of a family.
struct Scheme {
    /// Stem, head, classifier.
    outside: Parts,
    /// What begins a block's name, before its numbers.
    blocks: &'static str,
    /// Whether blocks are counted by stage and place; otherwise through.
    by_stage: bool,
    /// What stands between a block's numbers and its parts.
    inside: &'static str,
    /// The stage whose blocks do not expand.
    first_stage: usize,
    /// Parts of a block of that stage.
    first: Parts,
    /// Parts of the other blocks.
    others: Parts,
}

const LUKEMELAS: Scheme = Scheme {
    outside: &[
        ("_conv_stem", "_conv_stem"),
        ("_bn0", "_bn0"),
        ("_conv_head", "_conv_head"),
        ("_bn1", "_bn1"),
        ("_fc", "_fc"),
    ],
    blocks: "_blocks.",
    by_stage: false,
    inside: "",
    first_stage: usize::MAX,
    first: &[],
    others: &[
        ("_expand_conv", "_expand_conv"),
        ("_bn0", "_bn0"),
        ("_depthwise_conv", "_depthwise_conv"),
        ("_bn1", "_bn1"),
        ("_se_reduce", "_se_reduce"),
        ("_se_expand", "_se_expand"),
        ("_project_conv", "_project_conv"),
        ("_bn2", "_bn2"),
    ],
};

const TIMM: Scheme = Scheme {
    outside: &[
        ("conv_stem", "_conv_stem"),
        ("bn1", "_bn0"),
        ("conv_head", "_conv_head"),
        ("bn2", "_bn1"),
        ("classifier", "_fc"),
    ],
    blocks: "blocks.",
    by_stage: true,
    inside: "",
    first_stage: 0,
    first: &[
        ("conv_dw", "_depthwise_conv"),
        ("bn1", "_bn1"),
        ("se.conv_reduce", "_se_reduce"),
        ("se.conv_expand", "_se_expand"),
        ("conv_pw", "_project_conv"),
        ("bn2", "_bn2"),
    ],
    others: &[
        ("conv_pw", "_expand_conv"),
        ("bn1", "_bn0"),
        ("conv_dw", "_depthwise_conv"),
        ("bn2", "_bn1"),
        ("se.conv_reduce", "_se_reduce"),
        ("se.conv_expand", "_se_expand"),
        ("conv_pwl", "_project_conv"),
        ("bn3", "_bn2"),
    ],
};

const TORCHVISION: Scheme = Scheme {
    outside: &[
        ("features.0.0", "_conv_stem"),
        ("features.0.1", "_bn0"),
        ("features.8.0", "_conv_head"),
        ("features.8.1", "_bn1"),
        ("classifier.1", "_fc"),
    ],
    blocks: "features.",
    by_stage: true,
    inside: "block.",
    first_stage: 1,
    first: &[
        ("0.0", "_depthwise_conv"),
        ("0.1", "_bn1"),
        ("1.fc1", "_se_reduce"),
        ("1.fc2", "_se_expand"),
        ("2.0", "_project_conv"),
        ("2.1", "_bn2"),
    ],
    others: &[
        ("0.0", "_expand_conv"),
        ("0.1", "_bn0"),
        ("1.0", "_depthwise_conv"),
        ("1.1", "_bn1"),
        ("2.fc1", "_se_reduce"),
        ("2.fc2", "_se_expand"),
        ("3.0", "_project_conv"),
        ("3.1", "_bn2"),
    ],
};

impl Scheme {
    /// Stage and place of a block, and the name within it.
    fn block<'a>(&self, name: &'a str) -> Option<((usize, usize), &'a str)> {
        let rest = name.strip_prefix(self.blocks)?;
        let (stage, rest) = if self.by_stage { rest.split_once('.')? } else { ("0", rest) };
        let (place, rest) = rest.split_once('.')?;
        let rest = rest.strip_prefix(self.inside)?;
        Some(((stage.parse().ok()?, place.parse().ok()?), rest))
    }

    fn rename(&self, name: &str, flat: &BTreeMap<(usize, usize), usize>) -> Option<String> {
        // What follows a part's name is a tensor of it.
        let part = |parts: Parts, name: &str| {
            parts.iter().find_map(|(theirs, ours)| {
                let leaf = name.strip_prefix(theirs)?.strip_prefix('.')?;
                Some(format!("{ours}.{leaf}"))
            })
        };
        if let Some(outside) = part(self.outside, name) {
            return Some(format!("encoder.{outside}"));
        }
        let (place, rest) = self.block(name)?;
        let parts = if place.0 == self.first_stage { self.first } else { self.others };
        let inside = part(parts, rest)?;
        let index = if self.by_stage { *flat.get(&place)? } else { place.1 };
        Some(format!("encoder._blocks.{index}.{inside}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(family: Family, names: &[&str]) -> Vec<String> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        family.rename(&names).into_values().collect()
    }

    #[test]
    fn parts_of_blocks_change_their_names_with_the_stage() {
        let names = [
            "blocks.0.0.conv_dw.weight",
            "blocks.0.0.conv_pw.weight",
            "blocks.0.1.conv_pw.weight",
            "blocks.1.0.conv_pw.weight",
            "blocks.1.1.bn3.running_mean",
            "bn2.bias",
            "something.else",
        ];
        assert_eq!(
            renamed(Family::Timm, &names),
            [
                "encoder._blocks.0._depthwise_conv.weight",
                "encoder._blocks.0._project_conv.weight",
                "encoder._blocks.1._project_conv.weight",
                "encoder._blocks.2._expand_conv.weight",
                "encoder._blocks.3._bn2.running_mean",
                "encoder._bn1.bias",
                "something.else",
            ]
        );
        let names = [
            "features.0.1.weight",
            "features.1.0.block.2.1.running_var",
            "features.2.0.block.2.fc1.bias",
            "features.8.0.weight",
        ];
        assert_eq!(
            renamed(Family::Torchvision, &names),
            [
                "encoder._bn0.weight",
                "encoder._blocks.0._bn2.running_var",
                "encoder._blocks.1._se_reduce.bias",
                "encoder._conv_head.weight",
            ]
        );
        assert_eq!(
            renamed(Family::Lukemelas, &["_blocks.3._bn1.bias", "_bn1.bias"]),
            ["encoder._blocks.3._bn1.bias", "encoder._bn1.bias"]
        );
    }

    #[test]
    fn families_are_recognised_by_their_stems() {
        let of = |names: &[&str]| Family::recognise(&names.iter().copied().collect());
        assert_eq!(of(&["_conv_stem.weight"]), Some(Family::Lukemelas));
        assert_eq!(of(&["encoder._conv_stem.weight"]), Some(Family::Smp));
        assert_eq!(of(&["conv_stem.weight", "blocks.0.0.bn1.bias"]), Some(Family::Timm));
        assert_eq!(of(&["conv1.weight", "layer1.0.conv1.weight"]), None);
    }
}
