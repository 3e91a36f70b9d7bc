//! `geoseg eval`.

use super::Context;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg eval --predicted buildings.geojson --truth truth.geojson";

/// Compare predicted buildings with true ones
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<()> {
    Ok(())
}
