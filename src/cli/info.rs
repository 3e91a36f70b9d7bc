//! `geoseg info`.

use std::path::PathBuf;

use serde_json::Value;

use super::stdout;
use crate::error::Result;
use crate::model::weights::{self, Summary, opened};

const EXAMPLES: &str = "\
Examples:
  geoseg info model.safetensors
  geoseg info model.safetensors --json";

/// Show what a model is: its network, preprocessing, size and origin
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model of geoseg
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let summary = weights::summary(&args.model)?;
    if args.json { stdout::print_json(&json(&summary)) } else { stdout::print(&text(&summary)) }
}

fn json(summary: &Summary) -> Value {
    serde_json::json!({
        "spec": summary.spec,
        "provenance": opened(&summary.provenance),
        "tensors": summary.tensors,
        "parameters": summary.parameters,
        "bytes": summary.bytes,
    })
}

fn text(summary: &Summary) -> String {
    let spec = serde_json::to_value(&summary.spec).unwrap_or_default();
    let mut lines = vec![
        format!("network      {} on {}", summary.spec.arch, summary.spec.encoder),
        format!(
            "size         {} parameters in {} tensors, {:.1} MB",
            summary.parameters,
            summary.tensors,
            summary.bytes as f64 / 1e6
        ),
    ];
    lines.extend(lines_of("spec", &spec));
    lines.extend(lines_of("provenance", &Value::Object(opened(&summary.provenance))));
    lines.join("\n")
}

/// A heading and a line a key; values of several keys stay JSON.
fn lines_of(heading: &str, values: &Value) -> Vec<String> {
    let Some(values) = values.as_object() else { return Vec::new() };
    let line = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("  {key:<24} {text}"),
        other => format!("  {key:<24} {other}"),
    };
    std::iter::once(heading.to_owned()).chain(values.iter().map(line)).collect()
}
