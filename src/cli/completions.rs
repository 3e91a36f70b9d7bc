//! `geoseg completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, stdout};
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg completions bash > ~/.local/share/bash-completion/completions/geoseg
  geoseg completions zsh > ~/.zfunc/_geoseg
  geoseg completions fish > ~/.config/fish/completions/geoseg.fish";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "geoseg", &mut script);
    stdout::print(&String::from_utf8_lossy(&script))
}
