//! `geoseg models`.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use super::stdout;
use crate::error::Result;
use crate::model::efficientnet::Variant;
use crate::model::survey::{Figures, figures};
use crate::model::{ARCHITECTURES, Listed, ModelSpec};

const EXAMPLES: &str = "\
Examples:
  geoseg models
  geoseg models --json | jq '.[] | select(.gflops_per_mpx < 50) | {arch, encoder}'
  geoseg train --config train.toml --tiles tiles -o runs/a --set model.arch=unet --set model.encoder=efficientnet-b1

Figures are for three bands, one class and the default channels. GFLOPs/Mpx: 10^9 operations of
convolutions, two for a multiply-add, for 10^6 input pixels. Field: side of the square of input
pixels that one output pixel depends on through convolutions, pooling and resampling; averages over
the whole window (squeeze and excitation, group normalisation) are left out.";

/// List the networks: what they are, how large, how costly, how far they see
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A network with one of its encoders.
#[derive(Debug, Serialize)]
struct Model {
    arch: &'static str,
    encoder: Option<String>,
    #[serde(flatten)]
    figures: Figures,
    about: &'static str,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut models = Vec::new();
    for listed in ARCHITECTURES {
        if listed.has_encoder {
            for encoder in Variant::names() {
                models.push(model(listed, Some(encoder))?);
            }
        } else {
            models.push(model(listed, None)?);
        }
    }
    if args.json { stdout::print_json(&models) } else { stdout::print(&tables(&models)) }
}

fn model(listed: &Listed, encoder: Option<String>) -> Result<Model> {
    let spec = ModelSpec { arch: listed.name.into(), ..ModelSpec::default() };
    let spec = match &encoder {
        Some(encoder) => ModelSpec { encoder: encoder.clone(), ..spec },
        None => spec,
    };
    Ok(Model { arch: listed.name, encoder, figures: figures(&spec)?, about: listed.about })
}

/// One line an architecture, then one an architecture and encoder.
fn tables(models: &[Model]) -> String {
    let mut about = Table::new();
    about.load_preset(presets::NOTHING).set_header(["arch", "what it is"]);
    for listed in ARCHITECTURES {
        about.add_row([listed.name, listed.about]);
    }
    let mut costs = Table::new();
    costs.load_preset(presets::NOTHING);
    costs.set_header(["arch", "encoder", "parameters", "GFLOPs/Mpx", "field, px"]);
    for model in models {
        let Figures { parameters, gflops_per_mpx, receptive_field_px } = model.figures;
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        costs.add_row([
            Cell::new(model.arch),
            Cell::new(model.encoder.as_deref().unwrap_or("-")),
            right(parameters.to_string()),
            right(format!("{gflops_per_mpx:.1}")),
            right(receptive_field_px.to_string()),
        ]);
    }
    format!("{about}\n\n{costs}")
}
