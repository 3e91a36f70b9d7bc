//! `geoseg weights`.

mod average;
mod export;

use std::path::PathBuf;

use super::stdout;
use crate::error::Result;
use crate::import::{self, FirstConvolution, Options, Part, Report, Variant, band_names};

const EXAMPLES: &str = "\
Examples:
  geoseg weights import smp_fpn.pth --encoder efficientnet-b0 --gsd 0.3 -o model.safetensors
  geoseg weights import tf_efficientnet_b1.safetensors --encoder efficientnet-b1 -o start.safetensors
  geoseg weights import b0.pth --encoder efficientnet-b0 --bands red,green,blue,nir -o start.safetensors
  geoseg weights export model.safetensors --format onnx -o model.onnx
  geoseg weights average a.safetensors b.safetensors -o mean.safetensors

Known are EfficientNets of segmentation_models_pytorch (whole networks), efficientnet_pytorch, timm and
torchvision (encoders), in .pth, .pt and .safetensors. No code in a file is executed.";

/// Bring weights of other programs into models, models to other programs; average models
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Import(ImportArgs),
    Export(export::Args),
    Average(average::Args),
}

/// Turn a .pth, .pt or .safetensors file into a model
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The model to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Architecture of the network
    #[arg(long, value_name = "NAME", default_value = "fpn")]
    arch: String,
    /// Encoder of the network, efficientnet-b0 to efficientnet-b7
    #[arg(long, value_name = "NAME")]
    encoder: String,
    /// Which of timm's EfficientNets it is: they share names and shapes, not padding and epsilon
    #[arg(long, value_enum, value_name = "KIND")]
    variant: Option<VariantName>,
    /// Input bands, by number or by names (red,green,blue,nir); the file's own where absent
    #[arg(long, value_name = "N|NAMES", value_parser = Bands::parse)]
    bands: Option<Bands>,
    /// How the first convolution is made for other bands than the file's
    #[arg(long, value_enum, value_name = "HOW", default_value = "mean")]
    first_conv: FirstConvName,
    /// Names of the classes, one a logit
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Ground sample distance that the weights were trained for, metres a pixel
    #[arg(long, value_name = "M")]
    gsd: Option<f64>,
    /// Take only the encoder of a whole network
    #[arg(long)]
    encoder_only: bool,
    /// One key of the model's specification, over all else; repeatable (mean=[0.5,0.5,0.5])
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Replace a model that is there already
    #[arg(long)]
    overwrite: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// [`Variant`] as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum VariantName {
    /// `tf_efficientnet_*`
    Tf,
    /// `efficientnet_*`
    Plain,
}

/// [`FirstConvolution`] as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FirstConvName {
    /// Every band gets the mean of the file's
    Mean,
    /// The file's bands in turn
    Repeat,
}

#[derive(Debug, Clone)]
struct Bands(Vec<String>);

impl Bands {
    fn parse(text: &str) -> Result<Self, String> {
        const MOST: usize = 64;
        let names = match text.parse::<usize>() {
            Ok(count @ 1..=MOST) => band_names(count),
            Ok(count) => return Err(format!("{count} is not from 1 to {MOST}")),
            Err(_) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        if names.iter().any(String::is_empty) {
            return Err("a name is empty".into());
        }
        Ok(Self(names))
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Import(args) => import(args),
        Command::Export(args) => export::run(args),
        Command::Average(args) => average::run(args),
    }
}

fn import(args: &ImportArgs) -> Result<()> {
    let options = Options {
        arch: args.arch.clone(),
        encoder: args.encoder.clone(),
        variant: args.variant.map(|name| match name {
            VariantName::Tf => Variant::Tf,
            VariantName::Plain => Variant::Plain,
        }),
        bands: args.bands.clone().map(|bands| bands.0),
        classes: args.classes.clone(),
        gsd_m: args.gsd,
        first_convolution: match args.first_conv {
            FirstConvName::Mean => FirstConvolution::Mean,
            FirstConvName::Repeat => FirstConvolution::Repeat,
        },
        encoder_only: args.encoder_only,
        sets: args.set.clone(),
    };
    let report = import::run(&args.file, &options, &args.output, args.overwrite)?;
    if args.json { stdout::print_json(&report) } else { stdout::print(&text(&report)) }
}

fn text(report: &Report) -> String {
    let (fitted, spec) = (&report.fitted, &report.fitted.spec);
    let mut lines = vec![
        format!(
            "model       {}: {} on {}, {} parameters",
            report.model.display(),
            spec.arch,
            spec.encoder,
            report.parameters
        ),
        format!(
            "weights     {} of {:?}: {} tensors used, {} not needed",
            match fitted.part {
                Part::All => "the whole network",
                Part::Encoder => "the encoder",
            },
            fitted.family,
            fitted.used,
            fitted.not_needed
        ),
        format!(
            "encoder     padding {}, batch norm epsilon {}",
            serde_json::to_value(spec.encoder_padding).unwrap_or_default().as_str().unwrap_or(""),
            spec.batch_norm_eps
        ),
        format!("input       {}: mean {:?}, std {:?}", spec.bands.join(", "), spec.mean, spec.std),
    ];
    if !fitted.kept.is_empty() {
        let count = fitted.kept.len();
        lines.push(format!("to train    {count} tensors of decoder and head have first weights"));
    }
    if !fitted.unexpected.is_empty() {
        lines.push(format!("unexpected  {}", fitted.unexpected.join(", ")));
    }
    if !fitted.ignored.is_empty() {
        let names: Vec<&str> = fitted.ignored.iter().map(String::as_str).collect();
        lines.push(format!("not called  {}", names.join(", ")));
    }
    lines.extend(fitted.notes.iter().map(|note| format!("note        {note}")));
    lines.join("\n")
}
