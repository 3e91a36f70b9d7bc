//! `geoseg bench`.

use std::path::PathBuf;

use serde::Serialize;

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
  geoseg bench infer --profile                          layer by layer
  geoseg bench operators --threads 2                    every operator against the machine's peaks
  geoseg bench train --window 256 --batch 8 --repeat 5
  geoseg bench loader                                   reading and augmenting crops
  geoseg bench polygonize --scene 16384
  geoseg bench infer-scene --model model.safetensors    a scene to polygons, file to file
  geoseg bench pipeline --scene 16384                   all of that but the network
  geoseg bench pipeline --scene 20000 --rows 200000 --cog --repeat 1

Data and (without --model) weights are made up; temporary files lie in $TMPDIR. Memory is the peak
of the timed repetitions. GFLOP/s are counted as for plain convolutions, whatever the algorithm:
Winograd's 3x3 may exceed the peak, as may what finds its data in a cache.";

/// Time a stage on this machine, on data made up on the spot
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to time
    #[arg(value_enum, value_name = "CASE")]
    case: CaseName,
    /// Architecture of the network, as `geoseg models` lists them
    #[arg(long, value_name = "NAME", default_value = "fpn")]
    arch: String,
    /// Encoder of the network
    #[arg(long, value_name = "NAME", default_value = "efficientnet-b0")]
    encoder: String,
    /// A trained model for infer-scene; random weights without
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Side of windows, crops and tiles, px; 512, for train and loader 256 (operators: as infer and train)
    #[arg(long, value_name = "PX")]
    window: Option<usize>,
    /// Windows or crops at once; 1, for train and loader 8 (operators: as infer and train)
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Side of the synthetic scene, px
    #[arg(long, value_name = "PX", default_value_t = 4096)]
    scene: usize,
    /// Rows of the scene of pipeline, if not as many as columns
    #[arg(long, value_name = "PX")]
    rows: Option<usize>,
    /// Let pipeline write a cloud-optimized raster of the scores, too
    #[arg(long)]
    cog: bool,
    /// Number format of the network
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    precision: Precision,
    /// Timed repetitions; 20 of infer, 5 of the others
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
    /// Time infer layer by layer (on the CPU)
    #[arg(long)]
    profile: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What can be timed, as the command line names it.
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
    /// Batches of augmented crops from tiles, on one thread
    Loader,
    /// A synthetic scene into scores and polygons
    InferScene,
    /// A synthetic scene into scores and polygons by a network that costs nothing; scenes above 16384 px repeat one
    Pipeline,
    /// Every operator of the network, in its forms for inference and for training
    Operators,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.profile && args.case != CaseName::Infer {
        return Err(Error::config("--profile", "only `bench infer` has layers to show"));
    }
    let case = match args.case {
        CaseName::Infer if args.profile => {
            let profile = bench::profile(&args.options(CaseName::Infer)?)?;
            return show(&profile, &profile.table(), args.json);
        }
        CaseName::Operators => {
            let inference = args.options(CaseName::Infer)?;
            let report = bench::operators(&inference, &args.options(CaseName::Train)?)?;
            return show(&report, &report.table(), args.json);
        }
        CaseName::Infer => Case::Infer,
        CaseName::Train => Case::Train,
        CaseName::Polygonize => Case::Polygonize,
        CaseName::Tiles => Case::Tiles,
        CaseName::Loader => Case::Loader,
        CaseName::InferScene => Case::InferScene,
        CaseName::Pipeline => Case::Pipeline,
    };
    let figure = bench::run(case, &args.options(args.case)?)?;
    show(&figure, &line(&figure), args.json)
}

fn show<T: Serialize>(report: &T, text: &str, json: bool) -> Result<()> {
    if json { stdout::print_json(report) } else { stdout::print(text) }
}

impl Args {
    fn repeat(&self, case: CaseName) -> usize {
        self.repeat.unwrap_or(if case == CaseName::Infer { 20 } else { 5 })
    }

    /// What was asked for, with the defaults of `case`.
    fn options(&self, case: CaseName) -> Result<Options> {
        let spec = ModelSpec {
            arch: self.arch.clone(),
            encoder: self.encoder.clone(),
            ..ModelSpec::default()
        };
        spec.validate()?;
        let training = matches!(case, CaseName::Train | CaseName::Loader);
        let window_px = self.window.unwrap_or(if training { 256 } else { 512 });
        let batch = self.batch.unwrap_or(if training { 8 } else { 1 });
        // A window lies in memory, a scene on the disk.
        for (option, value, range) in [
            ("--window", window_px, 32..=8192),
            ("--scene", self.scene, 32..=1 << 20),
            ("--batch", batch, 1..=4096),
            ("--repeat", self.repeat(case), 1..=1_000_000),
        ] {
            if !range.contains(&value) {
                let problem =
                    format!("expected {} to {}, found {value}", range.start(), range.end());
                return Err(Error::config(option, problem));
            }
        }
        Ok(Options {
            spec,
            model: self.model.clone(),
            window_px,
            precision: self.precision,
            batch,
            scene_px: self.scene,
            scene_rows_px: self.rows,
            cog: self.cog,
            repeat: self.repeat(case),
            device: self.device.resolve()?,
        })
    }
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
