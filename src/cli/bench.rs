//! `geoseg bench`.

use std::path::PathBuf;

use super::args::DeviceArgs;
use super::stdout;
use crate::bench::{self, Case, Figure, Options};
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::model::ModelSpec;

const EXAMPLES: &str = "\
Examples:
  geoseg bench infer                                    one 512 px window through FPN-b0
  geoseg bench infer --encoder efficientnet-b1 --batch 4 --threads 2 --json
  geoseg bench train --window 256 --batch 8 --repeat 5
  geoseg bench polygonize --scene 16384
  geoseg bench infer-scene --model model.safetensors    a scene to polygons, file to file

Data and (without --model) weights are made up; temporary files lie in $TMPDIR. Memory is the peak
of the timed repetitions.";

/// Time a stage on this machine, on data made up on the spot
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to time
    #[arg(value_enum, value_name = "CASE")]
    case: CaseName,
    /// Architecture of the network
    #[arg(long, value_name = "NAME", default_value = "fpn")]
    arch: String,
    /// Encoder of the network
    #[arg(long, value_name = "NAME", default_value = "efficientnet-b0")]
    encoder: String,
    /// A trained model for infer-scene; random weights without
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Side of windows, crops and tiles, px; 512, for train 256
    #[arg(long, value_name = "PX")]
    window: Option<usize>,
    /// Windows or crops at once; 1, for train 8
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Side of the synthetic scene, px
    #[arg(long, value_name = "PX", default_value_t = 4096)]
    scene: usize,
    /// Number format of the network
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    precision: Precision,
    /// Timed repetitions; 20 of infer, 5 of the others
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// [`Case`] as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CaseName {
    /// The network on windows in memory
    Infer,
    /// Training steps on a batch in memory
    Train,
    /// Synthetic scores into FlatGeobuf
    Polygonize,
    /// A synthetic scene into tiles
    Tiles,
    /// A synthetic scene into scores and polygons
    InferScene,
}

impl From<CaseName> for Case {
    fn from(name: CaseName) -> Self {
        match name {
            CaseName::Infer => Self::Infer,
            CaseName::Train => Self::Train,
            CaseName::Polygonize => Self::Polygonize,
            CaseName::Tiles => Self::Tiles,
            CaseName::InferScene => Self::InferScene,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let spec = ModelSpec {
        arch: args.arch.clone(),
        encoder: args.encoder.clone(),
        ..ModelSpec::default()
    };
    spec.validate()?;
    let training = args.case == CaseName::Train;
    let window_px = args.window.unwrap_or(if training { 256 } else { 512 });
    for (option, value) in [("--window", window_px), ("--scene", args.scene)] {
        if !(32..=1 << 20).contains(&value) {
            return Err(Error::config(option, format!("expected 32 px or more, found {value}")));
        }
    }
    let options = Options {
        spec,
        model: args.model.clone(),
        window_px,
        precision: args.precision,
        batch: args.batch.unwrap_or(if training { 8 } else { 1 }).max(1),
        scene_px: args.scene,
        repeat: args.repeat.unwrap_or(if args.case == CaseName::Infer { 20 } else { 5 }),
        device: args.device.resolve()?,
    };
    let figure = bench::run(args.case.into(), &options)?;
    if args.json { stdout::print_json(&figure) } else { stdout::print(&line(&figure)) }
}

pub(super) fn line(figure: &Figure) -> String {
    let memory = figure.peak_rss_mb.map_or("unknown memory".to_owned(), |mb| format!("{mb:.0} MB"));
    format!(
        "{}: median {:.1} ms, least {:.1} ms, {:.2} Mpx/s, {memory}, {} threads, {}",
        figure.case,
        figure.ms_median,
        figure.ms_min,
        figure.mpx_per_s,
        figure.threads,
        figure.device
    )
}
