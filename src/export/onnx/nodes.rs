//! Operators of a [`Graph`](crate::model::Graph) as nodes of ONNX, opset 17.

use std::collections::BTreeSet;

use super::proto::{self, Attribute, Node, Tensor};
use crate::kernels::{Activation, Sliding};
use crate::model::graph::{Image, Operator, SumOver, Values};

/// Names of images, by their place in the graph.
type Names = Vec<String>;

/// The nodes and constants so far.
#[derive(Debug, Default)]
pub struct Nodes {
    pub list: Vec<Node>,
    pub constants: Vec<Tensor>,
    /// Names of the constants that nodes share.
    shared: BTreeSet<String>,
    names: Names,
}

impl Nodes {
    /// Adds what an operator needs; `name` is its image's.
    pub fn add(&mut self, operator: &Operator, inputs: &[Image], name: &str) {
        let of = |image: &Image| self.names.get(image.index()).cloned().unwrap_or_default();
        let inputs: Names = inputs.iter().map(of).collect();
        let x = inputs.first().map(String::as_str).unwrap_or_default();
        match operator {
            Operator::Input => {}
            Operator::Conv { weight, bias, sliding, groups } => {
                self.conv(x, weight, bias.as_ref(), *sliding, *groups, name);
            }
            Operator::Activation(activation) => self.activation(x, *activation, name),
            Operator::Sigmoid => self.push("Sigmoid", &[x], name, vec![]),
            Operator::Tanh => self.push("Tanh", &[x], name, vec![]),
            Operator::Softmax(SumOver::Channels) => {
                self.push("Softmax", &[x], name, vec![int("axis", 1)]);
            }
            Operator::Softmax(SumOver::Pixels) => self.softmax_of_pixels(x, name),
            Operator::Log { least } => {
                let least = self.float(&format!("{name}.least"), &[], &[*least]);
                let bounded = self.step("Clip", &[x, &least], name, "bounded", vec![]);
                self.push("Log", &[&bounded], name, vec![]);
            }
            Operator::GroupNorm { groups, eps, scale, shift } => {
                self.group_norm(x, *groups, *eps, (scale, shift), name);
            }
            Operator::Bilinear { factor, align_corners } => {
                let corners = if *align_corners { "align_corners" } else { "half_pixel" };
                let scales = self.scales(*factor);
                let how =
                    vec![text("mode", "linear"), text("coordinate_transformation_mode", corners)];
                self.push("Resize", &[x, "", &scales], name, how);
            }
            Operator::Nearest { factor } => {
                let scales = self.scales(*factor);
                let how = vec![
                    text("mode", "nearest"),
                    text("coordinate_transformation_mode", "asymmetric"),
                    text("nearest_mode", "floor"),
                ];
                self.push("Resize", &[x, "", &scales], name, how);
            }
            Operator::MaxPool => {
                let how = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
                self.push("MaxPool", &[x], name, how);
            }
            Operator::Mean => self.push("GlobalAveragePool", &[x], name, vec![]),
            Operator::Sum => {
                let axes = self.integers(&[2, 3]);
                self.push("ReduceSum", &[x, &axes], name, vec![int("keepdims", 1)]);
            }
            Operator::Add => self.push("Add", &all(&inputs), name, vec![]),
            Operator::Multiply => self.push("Mul", &all(&inputs), name, vec![]),
            Operator::Concat => self.push("Concat", &all(&inputs), name, vec![int("axis", 1)]),
            Operator::Spread => {
                let like = inputs.get(1).map(String::as_str).unwrap_or_default();
                let shape = self.step("Shape", &[like], name, "shape", vec![]);
                self.push("Expand", &[x, &shape], name, vec![]);
            }
            Operator::Stretched { mask } => self.stretched(x, mask, name),
        }
        self.names.push(name.to_owned());
    }

    fn conv(
        &mut self,
        x: &str,
        weight: &Values,
        bias: Option<&Values>,
        sliding: Sliding,
        groups: usize,
        name: &str,
    ) {
        let mut inputs = vec![x.to_owned(), self.values(&format!("{name}.weight"), weight)];
        inputs.extend(bias.map(|bias| self.values(&format!("{name}.bias"), bias)));
        let Sliding { stride, dilation, padding } = sliding;
        let how = vec![
            ints("kernel_shape", &weight.shape[2..]),
            ints("strides", &[stride; 2]),
            ints("dilations", &[dilation; 2]),
            ints("pads", &[padding.top, padding.left, padding.bottom, padding.right]),
            int("group", groups),
        ];
        self.push("Conv", &all(&inputs), name, how);
    }

    fn activation(&mut self, x: &str, activation: Activation, name: &str) {
        match activation {
            Activation::Identity => self.push("Identity", &[x], name, vec![]),
            Activation::Relu => self.push("Relu", &[x], name, vec![]),
            Activation::Silu => {
                let gate = self.step("Sigmoid", &[x], name, "gate", vec![]);
                self.push("Mul", &[x, &gate], name, vec![]);
            }
            // An operator of its own from opset 18 on only.
            Activation::Mish => {
                let softplus = self.step("Softplus", &[x], name, "softplus", vec![]);
                let gate = self.step("Tanh", &[&softplus], name, "gate", vec![]);
                self.push("Mul", &[x, &gate], name, vec![]);
            }
        }
    }

    fn softmax_of_pixels(&mut self, x: &str, name: &str) {
        let shape = self.step("Shape", &[x], name, "shape", vec![]);
        // 0 keeps a size.
        let flat = self.integers(&[0, 0, -1]);
        let flat = self.step("Reshape", &[x, &flat], name, "flat", vec![]);
        let softmax = self.step("Softmax", &[&flat], name, "softmax", vec![int("axis", 2)]);
        self.push("Reshape", &[&softmax, &shape], name, vec![]);
    }

    /// GroupNormalization takes one scale a channel from opset 21 on only: groups are made channels of an instance norm.
    fn group_norm(
        &mut self,
        x: &str,
        groups: usize,
        eps: f32,
        (scale, shift): (&Values, &Values),
        name: &str,
    ) {
        let shape = self.step("Shape", &[x], name, "shape", vec![]);
        let by_group = self.integers(&[0, groups as i64, -1]);
        let by_group = self.step("Reshape", &[x, &by_group], name, "groups", vec![]);
        let ones = self.repeated("ones", 1.0, groups);
        let zeros = self.repeated("zeros", 0.0, groups);
        let inputs = [by_group.as_str(), &ones, &zeros];
        let how = vec![float("epsilon", eps)];
        let normal = self.step("InstanceNormalization", &inputs, name, "normal", how);
        let normal = self.step("Reshape", &[&normal, &shape], name, "image", vec![]);
        let channels = [scale.values.len(), 1, 1];
        let scale = self.float(&format!("{name}.scale"), &channels, &scale.values);
        let shift = self.float(&format!("{name}.shift"), &channels, &shift.values);
        let scaled = self.step("Mul", &[&normal, &scale], name, "scaled", vec![]);
        self.push("Add", &[&scaled, &shift], name, vec![]);
    }

    fn stretched(&mut self, x: &str, mask: &Values, name: &str) {
        let classes = mask.shape.first().copied().unwrap_or_default();
        let planes = [&[1], mask.shape.as_slice()].concat();
        let planes = self.float(&format!("{name}.mask"), &planes, &mask.values);
        let (one, channels) = (self.integers(&[1]), self.integers(&[classes as i64]));
        let axis = || vec![int("axis", 0)];
        let sides = self.step("Shape", &[x], name, "sides", vec![int("start", 2)]);
        let batch = self.step("Shape", &[x], name, "batch", vec![int("end", 1)]);
        let size = self.step("Concat", &[&one, &channels, &sides], name, "size", axis());
        let how =
            vec![text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
        let resized = self.step("Resize", &[&planes, "", "", &size], name, "resized", how);
        let shape = self.step("Concat", &[&batch, &channels, &sides], name, "shape", axis());
        self.push("Expand", &[&resized, &shape], name, vec![]);
    }

    /// A node whose output has its name.
    fn push(&mut self, operator: &str, inputs: &[&str], name: &str, how: Vec<Attribute>) {
        self.list.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute: how,
        });
    }

    /// A node on the way to the one of that name.
    fn step(
        &mut self,
        operator: &str,
        inputs: &[&str],
        name: &str,
        part: &str,
        how: Vec<Attribute>,
    ) -> String {
        let name = format!("{name}.{part}");
        self.push(operator, inputs, &name, how);
        name
    }

    fn values(&mut self, name: &str, values: &Values) -> String {
        self.float(name, &values.shape, &values.values)
    }

    fn float(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, proto::FLOAT, shape, raw_data)
    }

    fn constant(&mut self, name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> String {
        if self.shared.insert(name.to_owned()) {
            let dims = shape.iter().map(|size| *size as i64).collect();
            let name = name.to_owned();
            self.constants.push(Tensor { dims, data_type, name, raw_data: raw });
        }
        name.to_owned()
    }

    /// A vector of integers, named by them.
    fn integers(&mut self, values: &[i64]) -> String {
        let name = values.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(&format!("[{name}]"), proto::INT64, &[values.len()], raw)
    }

    fn repeated(&mut self, name: &str, value: f32, count: usize) -> String {
        self.float(&format!("{name}[{count}]"), &[count], &vec![value; count])
    }

    fn scales(&mut self, factor: usize) -> String {
        let factor_of = |axis| if axis < 2 { 1.0 } else { factor as f32 };
        self.float(&format!("x{factor}"), &[4], &[0, 1, 2, 3].map(factor_of))
    }
}

fn all(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn int(name: &str, value: usize) -> Attribute {
    let i = Some(value as i64);
    Attribute { name: name.to_owned(), i, kind: proto::KIND_INT, ..Attribute::default() }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|value| *value as i64).collect();
    Attribute { name: name.to_owned(), ints, kind: proto::KIND_INTS, ..Attribute::default() }
}

fn float(name: &str, value: f32) -> Attribute {
    let f = Some(value);
    Attribute { name: name.to_owned(), f, kind: proto::KIND_FLOAT, ..Attribute::default() }
}

fn text(name: &str, value: &str) -> Attribute {
    let s = Some(value.as_bytes().to_vec());
    Attribute { name: name.to_owned(), s, kind: proto::KIND_STRING, ..Attribute::default() }
}
