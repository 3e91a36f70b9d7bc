//! `geoseg validate`.

use std::path::{Path, PathBuf};

use super::args::ConfigArgs;
use super::{Context, stdout};
use crate::config::infer::InferConfig;
use crate::error::{Error, Result};
use crate::geo::remote;
use crate::geo::vector::{Format, VectorSource};
use crate::output;
use crate::validate::{self, ValidateOptions};

const EXAMPLES: &str = "\
Examples:
  geoseg validate buildings.gpkg
  geoseg validate buildings.geojson --json problems.json --set validate.min_width_m=1

Exit code 1 where any feature is invalid, empty, a sliver or on the ground of another. config/infer.toml
lists every key of [validate] with its default.";

/// Check a file of buildings: invalid, empty, narrow and overlapping ones
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Buildings: GeoParquet, or any vector file that GDAL opens
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Layer of the buildings, the first where absent
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Write counts and all problems as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Replace the JSON file if it is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config: InferConfig = args.config.load(&[])?;
    config.validate()?;
    output::check_distinct(&[args.json.as_deref()], [args.file.as_path()])?;
    if let Some(json) = &args.json {
        output::check_file(json, args.overwrite)?;
    }
    let source =
        VectorSource { layer: args.layer.clone(), ..VectorSource::file(args.file.clone()) };
    let report = validate::run(&source, &config.validate, context.progress)?;
    if let Some(json) = &args.json {
        output::write_json(json, &report, args.overwrite)?;
    }
    stdout::print(&report.table())?;
    if report.defective == 0 {
        return Ok(());
    }
    let (failed, total) = (report.defective as usize, report.features as usize);
    Err(Error::Some { failed, total, what: "features".to_owned() })
}

/// Checks what a stage has written, and says so in a line; tiles and files on a server are left alone.
pub(super) fn check_output(
    path: &Path,
    options: &ValidateOptions,
    context: &Context,
) -> Result<()> {
    if !options.outputs || remote::is_remote(path) || Format::of(path)?.is_tiles() {
        return Ok(());
    }
    let report = validate::run(&VectorSource::file(path), options, context.progress)?;
    stdout::print(&report.line())?;
    if report.defective > 0 {
        tracing::warn!("{}: `geoseg validate` names the buildings", path.display());
    }
    Ok(())
}
