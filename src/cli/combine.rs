//! `geoseg combine`.

use std::path::PathBuf;

use super::args::ConfigArgs;
use super::scoring::Averaging;
use super::{Context, stdout};
use crate::config::ensemble::weights_of;
use crate::config::infer::InferConfig;
use crate::error::Result;
use crate::output::{self, Staged};
use crate::scores::provenance::{ITEM, file_name};
use crate::scores::{self, Layer, Origin, Part, Provenance};
use crate::{config, geo};

const EXAMPLES: &str = "\
Examples:
  geoseg combine a_scores.tif b_scores.tif -o combined.tif
  geoseg combine a_scores.tif b_scores.tif --weight 2,1 --mean geometric -o combined.tif
  geoseg combine a.tif b.tif c.tif --drop-outlier --set inference.scores=float32 -o combined.tif

The result lies on the grid of the first file; others are resampled. A file has no say where it has no
data. config/infer.toml lists every key of [ensemble] with its default.";

/// Make one scores raster of several
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scores rasters, as `geoseg infer --scores` writes them
    #[arg(required = true, num_args = 2.., value_name = "SCORES")]
    scores: Vec<PathBuf>,
    /// Combined scores: a cloud-optimized GeoTIFF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    averaging: Averaging,
    /// Replace an output that is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_distinct(&[Some(&args.output)], args.scores.iter().map(PathBuf::as_path))?;
    let config: InferConfig = args.config.load(&args.averaging.sets())?;
    config.validate()?;
    let weights =
        weights_of("ensemble.weights", &config.ensemble.weights, args.scores.len(), "files")?;
    let (mut parts, mut origins) = (Vec::new(), Vec::new());
    for (path, weight) in args.scores.iter().zip(weights) {
        let provenance = Layer::open(path)?.metadata(ITEM);
        origins.push(Origin::Scores {
            file: file_name(path),
            weight,
            provenance: provenance.and_then(|json| serde_json::from_str(&json).ok()),
        });
        parts.push(Part { path: path.clone(), weight });
    }
    let options = scores::Options {
        mean: config.ensemble.mean,
        drop_outlier: config.ensemble.drop_outlier,
        scores: config.inference.scores,
        only_where_first: false,
    };
    let staged = Staged::new(&args.output, args.overwrite)?;
    let raw = Staged::new(args.output.with_extension("raw.tif"), true)?;
    let (interrupt, progress) = (&context.interrupt, context.progress);
    let report = scores::combine(&parts, options, raw.path(), interrupt, progress)?;
    Provenance::new(None, options.mean, options.drop_outlier, origins).write(raw.path())?;
    geo::to_cog(raw.path(), staged.path(), "average")?;
    staged.commit()?;
    config::write_effective(&config, &args.output)?;
    let mut text = format!(
        "{}: {} x {} px, {} scored",
        args.output.display(),
        report.grid.width,
        report.grid.height,
        report.scored_pixels
    );
    if options.drop_outlier {
        for (path, count) in args.scores.iter().zip(&report.left_out) {
            text +=
                &format!("\n{}: left out of {count} of {} blocks", path.display(), report.blocks);
        }
    }
    stdout::print(&text)
}
