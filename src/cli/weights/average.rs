//! `geoseg weights average`.

use std::path::PathBuf;

use super::super::stdout;
use crate::config::ensemble::weights_of;
use crate::error::Result;
use crate::model::average::{Part, average};
use crate::scores::provenance::sha256;
use crate::{import, output};

const EXAMPLES: &str = "\
Examples:
  geoseg weights average runs/a/model.safetensors runs/b/model.safetensors -o mean.safetensors
  geoseg weights average a.safetensors b.safetensors --weight 2,1 -o mean.safetensors

Helps where the checkpoints come from one training, or from trainings with one start; the mean of
unrelated ones computes noise. Compare with `geoseg eval`.";

/// Average the weights of checkpoints of one network
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Models of the same specification
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// The model to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What each model counts, once for each in their order; all alike where absent
    #[arg(long, value_name = "W", value_delimiter = ',')]
    weight: Vec<f64>,
    /// Replace a model that is there already
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let models = args.models.iter().map(PathBuf::as_path);
    output::check_distinct(&[Some(&args.output)], models)?;
    output::check_writable(&args.output, args.overwrite)?;
    let weights = weights_of("--weight", &args.weight, args.models.len(), "models")?;
    let mut hashes = Vec::new();
    for model in &args.models {
        import::refuse_untrained(model)?;
        hashes.push(sha256(model)?);
    }
    let parts = args.models.iter().zip(weights).zip(&hashes);
    let parts: Vec<Part<'_>> =
        parts.map(|((file, weight), sha256)| Part { file, weight, sha256 }).collect();
    let spec = average(&parts, &args.output)?;
    stdout::print(&format!(
        "{}: {}, the mean of {} models",
        args.output.display(),
        spec.title(),
        parts.len()
    ))
}
