//! Networks as ONNX: normalised images in, probabilities out.

mod deepness;
mod nodes;
mod proto;

use prost::Message as _;

use nodes::Nodes;
use proto::{Dimension, Property, Shape, TensorType, Type, ValueInfo};

use crate::kernels::Kernels;
use crate::model::graph::{Operator, SumOver};
use crate::model::weights::SPEC;
use crate::model::{ModelSpec, Network, registry};
use crate::{Error, Result};

/// The name of the images that go in.
pub const INPUT: &str = "input";
/// The name of the probabilities that come out.
pub const OUTPUT: &str = "scores";
/// Version of the operators; the file's own version belongs to it.
pub const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// Checks the side of the images that a file is to be bound to.
///
/// # Errors
/// [`Error::Config`] if the network cannot halve such images as often as it must.
pub fn check_tile(spec: &ModelSpec, tile_px: Option<usize>) -> Result<()> {
    let multiple_px = registry::listed(&spec.arch)?.multiple_px;
    match tile_px {
        Some(px) if px == 0 || !px.is_multiple_of(multiple_px) => {
            let problem =
                format!("{px} is not a multiple of {multiple_px}, which {} needs", spec.arch);
            Err(Error::config("--tile-px", problem))
        }
        _ => Ok(()),
    }
}

/// The bytes of an ONNX file. It takes normalised images `[n, bands, h, w]`, of any number and of any size that is a multiple
/// of the network's, or of `tile_px` by `tile_px`, and gives probabilities `[n, classes, h, w]`: a sigmoid of each
/// logit, a softmax of classes that exclude each other. Its metadata hold the spec and what the QGIS plugin Deepness wants to know.
pub fn encode<B: Kernels>(
    spec: &ModelSpec,
    network: &Network<B>,
    tile_px: Option<usize>,
) -> Vec<u8> {
    let mut graph = network.graph();
    let probability = if spec.is_exclusive() && spec.classes.len() > 1 {
        Operator::Softmax(SumOver::Channels)
    } else {
        Operator::Sigmoid
    };
    let logits = graph.output();
    let scores = graph.apply(probability, &[logits]);
    let mut nodes = Nodes::default();
    for (index, node) in graph.nodes().iter().enumerate() {
        let name = match &node.operator {
            Operator::Input => INPUT.to_owned(),
            _ if index == scores.index() => OUTPUT.to_owned(),
            operator => format!("{}_{index}", kind(operator)),
        };
        nodes.add(&node.operator, &node.inputs, &name);
    }
    let model = proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(proto::Graph {
            node: nodes.list,
            name: spec.title(),
            initializer: nodes.constants,
            input: vec![images(INPUT, spec.bands.len(), tile_px)],
            output: vec![images(OUTPUT, spec.classes.len(), tile_px)],
        }),
        metadata_props: metadata(spec, tile_px),
    };
    model.encode_to_vec()
}

/// What an image is called that comes out of an operator.
fn kind(operator: &Operator) -> &'static str {
    match operator {
        Operator::Conv { groups: 1, .. } => "conv",
        Operator::Conv { .. } => "depthwise",
        Operator::Activation(_) => "act",
        Operator::Bilinear { .. } | Operator::Nearest { .. } => "up",
        Operator::GroupNorm { .. } => "norm",
        Operator::Concat => "concat",
        Operator::Add => "sum",
        Operator::Multiply => "product",
        Operator::Mean => "mean",
        _ => "image",
    }
}

/// Type and shape of images.
fn images(name: &str, channels: usize, side_px: Option<usize>) -> ValueInfo {
    let known = |size: usize| Dimension { value: Some(size as i64), param: None };
    let unknown = |name: &str| Dimension { value: None, param: Some(name.to_owned()) };
    let side = |name: &str| side_px.map_or_else(|| unknown(name), known);
    let dim = vec![unknown("batch"), known(channels), side("height"), side("width")];
    let tensor = TensorType { elem_type: proto::FLOAT, shape: Some(Shape { dim }) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
}

fn metadata(spec: &ModelSpec, tile_px: Option<usize>) -> Vec<Property> {
    let own = (SPEC, serde_json::to_value(spec).unwrap_or_default());
    let entries = deepness::metadata(spec, tile_px).into_iter().chain([own]);
    entries.map(|(key, value)| Property { key: key.to_owned(), value: value.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::ARCHITECTURES;
    use burn::backend::Flex;

    fn decoded(spec: &ModelSpec, tile_px: Option<usize>) -> proto::Model {
        let network = Network::<Flex>::new(spec, &Default::default()).unwrap();
        proto::Model::decode(encode(spec, &network, tile_px).as_slice()).unwrap()
    }

    fn sizes(value: &ValueInfo) -> Vec<String> {
        let tensor = value.kind.clone().unwrap().tensor.unwrap();
        let dims = tensor.shape.unwrap().dim.into_iter();
        dims.map(|dim| dim.value.map_or_else(|| dim.param.unwrap(), |size| size.to_string()))
            .collect()
    }

    #[test]
    fn every_node_takes_in_what_is_there_before_it() {
        let names = ARCHITECTURES.iter().map(|listed| listed.name.to_owned());
        for arch in names {
            let spec = ModelSpec {
                arch,
                use_mish: true,
                use_context_block: true,
                pyramid_channels: 32,
                segmentation_channels: 32,
                decoder_channels: [8; 5],
                ..ModelSpec::default()
            };
            let graph = decoded(&spec, None).graph.unwrap();
            let mut known = BTreeSet::from([INPUT.to_owned(), String::new()]);
            for tensor in &graph.initializer {
                let count: i64 = tensor.dims.iter().product();
                let bytes = if tensor.data_type == proto::INT64 { 8 } else { 4 };
                assert_eq!(tensor.raw_data.len() as i64, bytes * count, "{}", tensor.name);
                assert!(known.insert(tensor.name.clone()), "{} is there twice", tensor.name);
            }
            for node in &graph.node {
                let missing: Vec<_> =
                    node.input.iter().filter(|name| !known.contains(*name)).collect();
                assert!(missing.is_empty(), "{}: {} lacks {missing:?}", spec.arch, node.name);
                assert!(known.insert(node.output[0].clone()), "{} is there twice", node.name);
            }
            assert_eq!(graph.node.last().unwrap().output, [OUTPUT], "{}", spec.arch);
        }
    }

    #[test]
    fn sizes_are_open_or_those_of_a_tile_and_the_spec_travels_along() {
        let classes = ["background", "building"].map(str::to_owned).into();
        let spec = ModelSpec { arch: "carvana-cnn".into(), classes, ..ModelSpec::default() };
        for (tile_px, side) in [(None, ["height", "width"]), (Some(64), ["64", "64"])] {
            let model = decoded(&spec, tile_px);
            let graph = model.graph.unwrap();
            assert_eq!(sizes(&graph.input[0]), ["batch", "3", side[0], side[1]]);
            assert_eq!(sizes(&graph.output[0]), ["batch", "2", side[0], side[1]]);
            assert_eq!(graph.node.last().unwrap().op_type, "Softmax");
            let json = &model.metadata_props.iter().find(|entry| entry.key == SPEC).unwrap().value;
            assert_eq!(serde_json::from_str::<ModelSpec>(json).unwrap(), spec);
        }
    }
}
