//! `geoseg synth`.

use super::Context;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg synth";

/// Draw a synthetic town: a scene of any size and its footprints
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(_args: Args, _context: &Context) -> Result<()> {
    Ok(())
}
