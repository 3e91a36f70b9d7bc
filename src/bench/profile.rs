//! The fused network layer by layer.

use std::time::Instant;

use burn::backend::{Flex, flex::FlexDevice};
use serde::Serialize;

use super::measure::{Figure, figure, median};
use super::network::{self, WARM};
use super::{Options, measure};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::FusedNetwork;
use crate::model::fused::Layer;
use crate::table::table;

/// One layer, all images of the batch together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// Its place in the network.
    pub name: String,
    /// What it does, with kernel and stride.
    pub operator: String,
    /// Height, width, channels.
    pub output: [usize; 3],
    /// Median time, milliseconds.
    pub ms_median: f64,
    /// Part of the layers' sum.
    pub share: f64,
    /// Multiplications and additions with weights by the usual count.
    pub flops: usize,
    /// The same, billions a second.
    pub gflop_s: f64,
    /// Input, output and weights, each value once.
    pub bytes: usize,
}

/// A network's layers, and the network without the clocks between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// The whole, measured with no record kept.
    pub whole: Figure,
    /// The layers in the order in which they run.
    pub layers: Vec<LayerRow>,
    /// Sum of the layers' medians, milliseconds.
    pub layers_ms: f64,
    /// Sum of the layers' multiplications and additions.
    pub flops: usize,
    /// Sum of the layers' bytes.
    pub bytes: usize,
}

/// Passes of the fused network over one batch.
pub struct Passes {
    /// The layers of each recorded pass, image by image.
    pub recorded: Vec<Vec<Layer>>,
    /// Times of passes without a record, milliseconds.
    pub plain_ms: Vec<f64>,
}

/// Passes with and without record in turns: both see the same machine.
pub fn passes(options: &Options) -> Result<Passes> {
    let mut network = FusedNetwork::new(&network::settled::<Flex>(&options.spec, &FlexDevice)?);
    let shape = network::shape(options);
    let images = network::noise(shape.iter().product());
    for _ in 0..WARM {
        network.forward(&images, shape);
    }
    measure::reset_peak();
    let mut passes = Passes { recorded: Vec::new(), plain_ms: Vec::new() };
    for _ in 0..options.repeat.max(1) {
        let started = Instant::now();
        std::hint::black_box(network.forward(&images, shape));
        passes.plain_ms.push(started.elapsed().as_secs_f64() * 1e3);
        passes.recorded.push(network.record(&images, shape).1);
    }
    Ok(passes)
}

/// Times every layer of the network as `infer` runs it on the CPU.
///
/// # Errors
/// The device is another, or the network has no fused form: it runs as it was trained.
pub fn profile(options: &Options) -> Result<Profile> {
    if options.device != Device::Cpu {
        let problem =
            format!("layers are timed on the CPU, not on {}; add --device cpu", options.device);
        return Err(Error::config("--profile", problem));
    }
    let Passes { recorded, plain_ms } = passes(options)?;
    let of_image = recorded[0].len() / options.batch;
    if of_image == 0 {
        let problem = format!("{} has no fused form", options.spec.title());
        return Err(Error::config("--profile", problem));
    }
    let rows: Vec<(&Layer, f64)> = (0..of_image)
        .map(|index| {
            let of_batch = |pass: &Vec<Layer>| {
                let same = pass.iter().skip(index).step_by(of_image);
                same.map(|layer| layer.time.as_secs_f64() * 1e3).sum()
            };
            (&recorded[0][index], median(recorded.iter().map(of_batch).collect()))
        })
        .collect();
    let layers_ms = rows.iter().map(|(_, ms)| ms).sum();
    let layers: Vec<LayerRow> = rows
        .into_iter()
        .map(|(layer, ms)| {
            let flops = layer.work.flops * options.batch;
            LayerRow {
                name: layer.name.clone(),
                operator: layer.work.operator.clone(),
                output: layer.work.output,
                ms_median: ms,
                share: ms / layers_ms,
                flops,
                gflop_s: flops as f64 / 1e6 / ms,
                bytes: layer.work.bytes * options.batch,
            }
        })
        .collect();
    Ok(Profile {
        whole: figure(
            network::title("infer", options),
            network::pixels(options),
            plain_ms,
            options,
        ),
        layers_ms,
        flops: layers.iter().map(|layer| layer.flops).sum(),
        bytes: layers.iter().map(|layer| layer.bytes).sum(),
        layers,
    })
}

impl Profile {
    /// A table for a terminal. Its last rows are the sum of the layers, and the network without record.
    pub fn table(&self) -> String {
        let heads = ["layer", "operator", "output", "ms", "share", "GFLOP/s", "MB"];
        let mb = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
        let rate = |flops: usize, ms: f64| format!("{:.0}", flops as f64 / 1e6 / ms);
        let share = |part: f64| format!("{:.1} %", 100.0 * part);
        let rows = self.layers.iter().map(|layer| {
            let [h, w, c] = layer.output;
            vec![
                layer.name.clone(),
                layer.operator.clone(),
                format!("{h} x {w} x {c}"),
                format!("{:.3}", layer.ms_median),
                share(layer.share),
                rate(layer.flops, layer.ms_median),
                mb(layer.bytes),
            ]
        });
        let total = |name: &str, ms: f64| {
            vec![
                name.to_owned(),
                String::new(),
                String::new(),
                format!("{ms:.2}"),
                share(ms / self.layers_ms),
                rate(self.flops, ms),
                mb(self.bytes),
            ]
        };
        let sums = [
            total("all layers", self.layers_ms),
            total("the whole, unwatched", self.whole.ms_median),
        ];
        table(&heads, 3, rows.chain(sums))
    }
}
