//! `geoseg weights export`.

use std::path::PathBuf;

use super::super::stdout;
use crate::error::Result;
use crate::export::{self, Format, Options, Report};

const EXAMPLES: &str = "\
Examples:
  geoseg weights export model.safetensors --format onnx -o model.onnx --tile-px 512
  geoseg weights export model.safetensors --format torch -o model.pth
  geoseg weights export model.safetensors --format safetensors -o smp.safetensors --card

ONNX takes normalised images and gives probabilities; the other formats hold the weights alone, under the
names of segmentation_models_pytorch.";

/// Write a model for ONNX Runtime, QGIS (Deepness) or PyTorch
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model of geoseg
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: FormatName,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// ONNX: take images of this side only, as Deepness wants it; any size where absent
    #[arg(long, value_name = "PX")]
    tile_px: Option<usize>,
    /// Also write a description beside the file (FILE.json): a STAC item with the Machine Learning Model extension
    #[arg(long)]
    card: bool,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// [`Format`] as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    /// The network: normalised images to probabilities, opset 17
    Onnx,
    /// The weights: `.safetensors`
    Safetensors,
    /// The weights: `.pth`, read by torch.load with weights_only=True
    Torch,
}

pub fn run(args: &Args) -> Result<()> {
    let options = Options {
        format: match args.format {
            FormatName::Onnx => Format::Onnx,
            FormatName::Safetensors => Format::Safetensors,
            FormatName::Torch => Format::Torch,
        },
        tile_px: args.tile_px,
        card: args.card,
        overwrite: args.overwrite,
    };
    let report = export::run(&args.model, &options, &args.output)?;
    if args.json { stdout::print_json(&report) } else { stdout::print(&text(&report)) }
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!(
        "written     {}: {}, {} parameters, {:.1} MB",
        report.output.display(),
        report.network,
        report.parameters,
        report.bytes as f64 / 1e6
    )];
    lines.extend(report.card.iter().map(|card| format!("card        {}", card.display())));
    lines.extend(report.smp.iter().map(|network| format!("network     {network}")));
    lines.extend(report.notes.iter().map(|note| format!("note        {note}")));
    lines.join("\n")
}
