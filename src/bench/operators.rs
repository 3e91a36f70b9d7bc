//! Every operator of a network on the sizes that it has there, against what the machine can do.

use serde::Serialize;

use super::peak::{Bound, Peaks};
use super::{Options, forms, peak, profile};
use crate::device::Device;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::model::fused::Layer;
use crate::table::table;

/// Which computation of an operator was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The CPU's fused layer, within the network.
    Inference,
    /// Forward in training.
    Forward,
    /// The gradient by the input.
    ByInput,
    /// The gradient by the weight.
    ByWeight,
    /// All gradients at once.
    Backward,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Forward => "forward",
            Self::ByInput => "by input",
            Self::ByWeight => "by weight",
            Self::Backward => "backward",
        }
    }
}

/// An operator of one size in one form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorRow {
    /// What it does, with kernel and stride.
    pub operator: String,
    /// Which computation.
    pub form: Form,
    /// `[n, channels, height, width]`.
    pub input: [usize; 4],
    /// `[n, channels, height, width]`.
    pub output: [usize; 4],
    /// How often the network has it.
    pub count: usize,
    /// Median time of one, milliseconds.
    pub ms_median: f64,
    /// Multiplications and additions with weights by the usual count, billions a second.
    pub gflop_s: f64,
    /// Input, output and weights, each value once, GB/s.
    pub gb_s: f64,
    /// The machine's bound that allows less.
    pub bound: Bound,
    /// The share of that bound.
    pub share: f64,
}

/// All operators of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorReport {
    /// Architecture and encoder.
    pub network: String,
    /// Where it ran.
    pub device: String,
    /// Threads that compute.
    pub threads: usize,
    /// The machine's limits.
    pub peaks: Peaks,
    /// Layers of the fused network, the longest in sum first; none beyond the CPU, which runs the network as trained.
    pub inference: Vec<OperatorRow>,
    /// Operators of a training step, likewise.
    pub training: Vec<OperatorRow>,
}

impl OperatorRow {
    /// All of its kind in the network, milliseconds.
    fn ms_in_all(&self) -> f64 {
        self.ms_median * self.count as f64
    }

    /// The same at the machine's bound.
    fn ms_at_peak(&self) -> f64 {
        self.ms_in_all() * self.share
    }
}

fn longest_first(mut rows: Vec<OperatorRow>) -> Vec<OperatorRow> {
    rows.sort_by(|a, b| b.ms_in_all().total_cmp(&a.ms_in_all()));
    rows
}

/// Times all operators: the fused layers on windows as `inference` says, the forms of training on batches as `training` says.
/// Both name the same network and device.
///
/// # Errors
/// The network or the device is not known, or the device fails.
pub fn operators(inference: &Options, training: &Options) -> Result<OperatorReport> {
    let on_cpu = training.device == Device::Cpu;
    let (peaks, training_rows) = crate::with_backend!(&training.device, |B, device| {
        let peaks = if on_cpu { peak::cpu()? } else { peak::device::<B>(&device)? };
        (peaks, training_forms::<B>(training, &peaks, &device)?)
    });
    Ok(OperatorReport {
        network: training.spec.title(),
        device: training.device.to_string(),
        threads: rayon::current_num_threads(),
        peaks,
        inference: if on_cpu { fused_layers(inference, &peaks)? } else { Vec::new() },
        training: training_rows,
    })
}

fn training_forms<B: Kernels>(
    options: &Options,
    peaks: &Peaks,
    device: &B::Device,
) -> Result<Vec<OperatorRow>> {
    let mut rows = Vec::new();
    for (index, (call, count)) in forms::of_step::<B>(options, device)?.into_iter().enumerate() {
        // The first operator sees the images.
        for timed in forms::time::<B>(&call, index == 0, options.repeat, device)? {
            let ms = timed.ms_median;
            let (bound, share) = peaks.share(timed.flops, timed.bytes, ms);
            rows.push(OperatorRow {
                operator: forms::name(&call.operator),
                form: timed.form,
                input: call.input,
                output: call.output(),
                count,
                ms_median: ms,
                gflop_s: timed.flops as f64 / 1e6 / ms,
                gb_s: timed.bytes as f64 / 1e6 / ms,
                bound,
                share,
            });
        }
    }
    Ok(longest_first(rows))
}

/// Layers that do the same on the same size, and all their times in milliseconds.
fn alike(passes: &[Vec<Layer>]) -> Vec<(&Layer, Vec<f64>)> {
    let mut groups: Vec<(&Layer, Vec<f64>)> = Vec::new();
    for layer in passes.iter().flatten() {
        let ms = layer.time.as_secs_f64() * 1e3;
        match groups.iter_mut().find(|(known, _)| known.work == layer.work) {
            Some((_, times)) => times.push(ms),
            None => groups.push((layer, vec![ms])),
        }
    }
    groups
}

fn fused_layers(options: &Options, peaks: &Peaks) -> Result<Vec<OperatorRow>> {
    let passes = profile::passes(options)?.recorded;
    let images = passes.len() * options.batch;
    let with_batch = |[h, w, c]: [usize; 3]| [1, c, h, w];
    let rows = alike(&passes).into_iter().map(|(layer, times)| {
        let (work, count) = (&layer.work, times.len() / images);
        let ms = super::measure::median(times);
        let (bound, share) = peaks.share(work.flops, work.bytes, ms);
        OperatorRow {
            operator: work.operator.clone(),
            form: Form::Inference,
            input: with_batch(work.input),
            output: with_batch(work.output),
            count,
            ms_median: ms,
            gflop_s: work.flops as f64 / 1e6 / ms,
            gb_s: work.bytes as f64 / 1e6 / ms,
            bound,
            share,
        }
    });
    Ok(longest_first(rows.collect()))
}

impl OperatorReport {
    /// Tables for a terminal.
    pub fn table(&self) -> String {
        let Peaks { registers_gflop_s, bf16_gflop_s, gemm_gflop_s, copy_gb_s } = self.peaks;
        let registers = registers_gflop_s
            .map_or(String::new(), |peak| format!("multiply-additions {peak:.0} GFLOP/s, "));
        let bf16 =
            bf16_gflop_s.map_or(String::new(), |peak| format!("of bf16 pairs {peak:.0} GFLOP/s, "));
        let mut text = format!(
            "{}, {}, {} threads; at most: {registers}{bf16}matrix product {gemm_gflop_s:.0} GFLOP/s, copy {copy_gb_s:.1} GB/s\n",
            self.network, self.device, self.threads
        );
        let parts = [("inference", &self.inference), ("training", &self.training)];
        let parts = || parts.into_iter().filter(|(_, rows)| !rows.is_empty());
        // The sums come last: a terminal shows the end.
        let sizes = parts().map(|(title, rows)| sizes_table(title, rows));
        let sums = parts().map(|(title, rows)| sums_table(title, rows));
        for part in sizes.chain(sums) {
            text.push('\n');
            text += &part;
        }
        text
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn sizes_table(title: &str, rows: &[OperatorRow]) -> String {
    let heads =
        [title, "form", "input", "output", "times", "ms", "ms in all", "rate", "of the peak"];
    let shape = |[n, c, h, w]: [usize; 4]| format!("{n} x {c} x {h} x {w}");
    let cells = rows.iter().map(|row| {
        let rate = match row.bound {
            Bound::Compute => format!("{:.0} GFLOP/s", row.gflop_s),
            Bound::Memory => format!("{:.1} GB/s", row.gb_s),
        };
        vec![
            row.operator.clone(),
            row.form.name().to_owned(),
            shape(row.input),
            shape(row.output),
            row.count.to_string(),
            format!("{:.3}", row.ms_median),
            format!("{:.2}", row.ms_in_all()),
            rate,
            percent(row.share),
        ]
    });
    table(&heads, 4, cells)
}

/// Sizes of an operator added up, and all operators.
fn sums_table(title: &str, rows: &[OperatorRow]) -> String {
    let mut sums: Vec<(&str, &str, f64, f64)> = Vec::new();
    for row in rows {
        let (name, form) = (row.operator.as_str(), row.form.name());
        match sums.iter_mut().find(|sum| (sum.0, sum.1) == (name, form)) {
            Some(sum) => (sum.2, sum.3) = (sum.2 + row.ms_in_all(), sum.3 + row.ms_at_peak()),
            None => sums.push((name, form, row.ms_in_all(), row.ms_at_peak())),
        }
    }
    sums.sort_by(|a, b| b.2.total_cmp(&a.2));
    let total = |of: fn(&OperatorRow) -> f64| rows.iter().map(of).sum::<f64>();
    let (all, at_peak) = (total(OperatorRow::ms_in_all), total(OperatorRow::ms_at_peak));
    sums.push(("all", "", all, at_peak));
    let heads = [title, "form", "ms in all", "share", "ms at the peak", "of the peak"];
    let cells = sums.into_iter().map(|(name, form, ms, at_peak)| {
        let numbers =
            [format!("{ms:.2}"), percent(ms / all), format!("{at_peak:.2}"), percent(at_peak / ms)];
        [name.to_owned(), form.to_owned()].into_iter().chain(numbers).collect()
    });
    table(&heads, 2, cells)
}
