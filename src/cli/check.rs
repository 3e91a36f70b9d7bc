//! `geoseg check`.

use std::path::PathBuf;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use super::args::DeviceArgs;
use super::stdout;
use crate::bench::{self, Case, Figure, Options};
use crate::check::{self, Comparison, Report};
use crate::config::Precision;
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  geoseg check --device cuda                          does this GPU compute what the CPU computes?
  geoseg check --device cuda:1 --bench --json gpu.json   and how fast is it?

Every operator with its gradients, one step and one evaluation of a whole network, and a short training
are computed on the device and on the CPU, in every number format that the device has. Takes minutes:
kernels are compiled and tuned for the card. Exit code 1 if anything is further apart than rounding
explains.";

/// Check that a device computes what the CPU computes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Time networks afterwards: inference and training steps in every format
    #[arg(long)]
    bench: bool,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Replace a JSON that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Outcome {
    geoseg: &'static str,
    /// As the driver names it.
    card: String,
    holds: bool,
    #[serde(flatten)]
    report: Report,
    figures: Vec<Figure>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.json {
        output::check_writable(path, args.overwrite)?;
    }
    let device = args.device.resolve()?;
    let report = check::run(&device)?;
    stdout::print(&comparisons(&report))?;
    let figures = if args.bench { figures(&device, &report)? } else { Vec::new() };
    let holds = report.holds();
    let total = report.all().count();
    let failed = failures(&report).count();
    if let Some(path) = &args.json {
        let card = device::product(&device);
        let outcome = Outcome { geoseg: env!("CARGO_PKG_VERSION"), card, holds, report, figures };
        let json = serde_json::to_string_pretty(&outcome).map_err(std::io::Error::from);
        let json = json.map_err(Error::io(path))?;
        output::write_whole(path, json.as_bytes(), args.overwrite)?;
    }
    if holds {
        return Ok(());
    }
    Err(Error::Some { failed, total, what: "comparisons with the CPU".to_owned() })
}

fn failures(report: &Report) -> impl Iterator<Item = &Comparison> {
    report.all().filter(|comparison| !comparison.holds())
}

/// What was compared in each format, the furthest of it, what does not hold, and the losses.
fn comparisons(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["format", "compared", "furthest", "distance", "limit"]);
    let formats: Vec<Precision> = report.trainings.iter().map(|of| of.comparison.format).collect();
    for format in &formats {
        let of_format = || report.comparisons.iter().filter(|one| one.format == *format);
        // Beside its own limit.
        let nearness = |one: &&Comparison| one.distance / one.limit;
        let furthest = of_format().max_by(|a, b| nearness(a).total_cmp(&nearness(b)));
        if let Some(one) = furthest {
            let count = of_format().count().to_string();
            let (distance, limit) = (format!("{:.1e}", one.distance), format!("{:.0e}", one.limit));
            let cells = [format.name().to_owned(), count, one.what.clone(), distance, limit];
            table.add_row(cells.map(Cell::new));
        }
    }
    let mut text = format!("{table}\n\n");
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let steps = report.trainings.first().map_or(0, |losses| losses.cpu.len());
    let numbers = (1..=steps).map(|step| step.to_string());
    table.set_header(std::iter::once("loss after step".to_owned()).chain(numbers));
    let mut row = |name: String, losses: &[f32]| {
        let cells = losses
            .iter()
            .map(|loss| Cell::new(format!("{loss:.4}")).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(cells));
    };
    if let Some(first) = report.trainings.first() {
        row("CPU, f32".to_owned(), &first.cpu);
    }
    for losses in &report.trainings {
        row(format!("{}, {}", report.device, losses.comparison.format.name()), &losses.device);
    }
    text.push_str(&table.to_string());
    for one in failures(report) {
        text.push_str(&format!(
            "\nTOO FAR: {} in {}: {:.1e} from the CPU, expected at most {:.0e}",
            one.what,
            one.format.name(),
            one.distance,
            one.limit
        ));
    }
    text
}

/// Networks in every format that was compared, printed as they come.
fn figures(device: &Device, report: &Report) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for encoder in ["efficientnet-b0", "efficientnet-b1"] {
        for (case, window_px, batch) in [
            (Case::Infer, 512, 1),
            (Case::Infer, 512, 16),
            (Case::Train, 256, 8),
            (Case::Train, 512, 8),
        ] {
            for losses in &report.trainings {
                let options = Options {
                    spec: ModelSpec { encoder: encoder.into(), ..ModelSpec::default() },
                    model: None,
                    window_px,
                    batch,
                    scene_px: 0,
                    scene_rows_px: None,
                    cog: false,
                    repeat: 10,
                    precision: losses.comparison.format,
                    device: device.clone(),
                };
                let figure = bench::run(case, &options)?;
                stdout::print(&super::bench::line(&figure))?;
                figures.push(figure);
            }
        }
    }
    Ok(figures)
}
