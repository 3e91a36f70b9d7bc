//! `geoseg tune`.

use super::Context;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg tune";

/// Find the best threshold and clean-up on validation scenes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<()> {
    Ok(())
}
