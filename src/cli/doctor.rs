//! `geoseg doctor`.

mod report;

use super::stdout;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  geoseg doctor
  geoseg doctor --json | jq .cuda

Exit code 1 if something that every stage needs is missing; a missing GPU is not.";

/// Show what this machine offers: GDAL and its drivers, devices, processor, memory, disk
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = report::Report::gather();
    if args.json {
        stdout::print_json(&report)?;
    } else {
        stdout::print(&report.table())?;
    }
    match report.failed() {
        0 => Ok(()),
        failed => Err(Error::Some { failed, total: report.checked(), what: "checks".to_owned() }),
    }
}
