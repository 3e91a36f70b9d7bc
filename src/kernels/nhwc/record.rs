//! What a forward pass did, layer by layer, where somebody asks.

use std::time::{Duration, Instant};

use super::image::{Image, Pool};

/// A layer's sizes and the work in it, by the usual count and whatever the algorithm.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// What is done, with kernel and stride.
    pub operator: String,
    /// Height, width, channels.
    pub input: [usize; 3],
    /// Height, width, channels.
    pub output: [usize; 3],
    /// Multiplications and additions with weights, two for each pair.
    pub flops: usize,
    /// Input, output and all else that is read, every value once.
    pub bytes: usize,
}

impl Work {
    /// `pairs` multiply-additions; `others` are values read beside the input: weights, residuals.
    pub fn new(
        operator: impl Into<String>,
        input: [usize; 3],
        output: [usize; 3],
        pairs: usize,
        others: usize,
    ) -> Self {
        let values = |shape: [usize; 3]| shape.iter().product::<usize>();
        let bytes = (values(input) + values(output) + others) * size_of::<f32>();
        Self { operator: operator.into(), input, output, flops: 2 * pairs, bytes }
    }
}

/// A layer as it ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its place in the network.
    pub name: String,
    /// What it did.
    pub work: Work,
    /// Time since the layer before.
    pub time: Duration,
}

/// The layers so far.
#[derive(Debug)]
pub struct Record {
    layers: Vec<Layer>,
    last: Instant,
}

impl Pool {
    /// Records the layers from now on.
    pub fn record(&mut self) {
        self.record = Some(Record { layers: Vec::new(), last: Instant::now() });
    }

    /// Ends the record: the layers since it was begun.
    pub fn recorded(&mut self) -> Vec<Layer> {
        self.record.take().map_or_else(Vec::new, |record| record.layers)
    }

    /// A layer has just ended. Nothing is called where no record is kept.
    pub fn done(&mut self, layer: impl FnOnce() -> (String, Work)) {
        let Some(record) = &mut self.record else { return };
        let time = record.last.elapsed();
        let (name, work) = layer();
        record.layers.push(Layer { name, work, time });
        // What the record itself takes belongs to no layer.
        record.last = Instant::now();
    }
}

impl Image {
    /// Height, width, channels.
    pub fn shape(&self) -> [usize; 3] {
        [self.h, self.w, self.c]
    }
}
