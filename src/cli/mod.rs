//! The command line: arguments into stage options, one file a subcommand, no logic beyond that.

pub mod args;
pub mod exit;
pub mod log;
pub mod stdout;

mod bench;
mod check;
mod combine;
mod completions;
mod conflate;
mod doctor;
mod eval;
mod explain;
mod infer;
mod info;
mod judged;
mod label;
mod lr_find;
mod mask;
mod merge;
mod mine;
mod models;
mod polygonize;
mod project;
mod scoring;
mod search;
mod synth;
mod tiles;
mod train;
mod tune;
mod validate;
mod weights;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  geoseg doctor                                                what this machine offers
  geoseg tiles --config dataset.toml -o tiles                  scenes and footprints into tiles
  geoseg train --config train.toml --tiles tiles -o runs/a     tiles into a model
  geoseg infer scene.tif --model runs/a/model.safetensors -o buildings.geojson
  geoseg eval --predicted buildings.geojson --truth truth.geojson

Exit codes: 0 done, 1 an error, 2 wrong arguments, 70 a bug in geoseg, 130 interrupted.";

/// Building footprints from aerial and satellite scenes.
#[derive(Debug, Parser)]
#[command(name = "geoseg", version, about, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every subcommand takes.
    #[command(flatten)]
    pub global: args::Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the arguments' own comments are the help texts")]
pub enum Command {
    Synth(synth::Args),
    Tiles(tiles::Args),
    Train(train::Args),
    LrFind(lr_find::Args),
    Search(search::Args),
    Mine(mine::Args),
    Infer(infer::Args),
    Label(label::Args),
    Combine(combine::Args),
    Mask(mask::Args),
    Polygonize(polygonize::Args),
    Merge(merge::Args),
    Validate(validate::Args),
    Conflate(conflate::Args),
    Eval(eval::Args),
    Tune(tune::Args),
    Models(models::Args),
    Weights(weights::Args),
    Info(info::Args),
    Explain(explain::Args),
    Bench(bench::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

impl Command {
    /// Whether the first Ctrl-C lets the stage save its work; elsewhere it ends the program at once.
    pub fn saves_when_interrupted(&self) -> bool {
        matches!(self, Self::Train(_) | Self::Search(_) | Self::Infer(_) | Self::Label(_))
    }

    /// Whether networks run, whose activations come and go.
    pub fn runs_networks(&self) -> bool {
        let trains = matches!(self, Self::Train(_) | Self::LrFind(_) | Self::Search(_));
        let scores =
            matches!(self, Self::Infer(_) | Self::Label(_) | Self::Mine(_) | Self::Mask(_));
        trains || scores || matches!(self, Self::Explain(_) | Self::Bench(_) | Self::Check(_))
    }
}

/// What every subcommand is given besides its arguments.
#[derive(Debug)]
pub struct Context {
    /// How to show progress.
    pub progress: Progress,
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
}

/// Runs the subcommand.
///
/// # Errors
/// Whatever the stage reports.
pub fn run(cli: Cli, interrupt: Interrupt) -> Result<()> {
    if let Some(threads) = cli.global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .map_err(|problem| Error::config("--threads", problem.to_string()))?;
    }
    let context = Context { progress: cli.global.progress(), interrupt };
    match cli.command {
        Command::Synth(args) => synth::run(&args, &context),
        Command::Tiles(args) => tiles::run(&args, &context),
        Command::Train(args) => train::run(&args, &context),
        Command::LrFind(args) => lr_find::run(&args, &context),
        Command::Search(args) => search::run(&args, &context),
        Command::Mine(args) => mine::run(&args, &context),
        Command::Infer(args) => infer::run(&args, &context),
        Command::Label(args) => label::run(&args, &context),
        Command::Combine(args) => combine::run(&args, &context),
        Command::Mask(args) => mask::run(&args, &context),
        Command::Polygonize(args) => polygonize::run(&args, &context),
        Command::Merge(args) => merge::run(&args, &context),
        Command::Validate(args) => validate::run(&args, &context),
        Command::Conflate(args) => conflate::run(&args),
        Command::Eval(args) => eval::run(&args, &context),
        Command::Tune(args) => tune::run(&args, &context),
        Command::Models(args) => models::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_option_has_a_help_text_and_every_stage_an_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no text");
            assert!(command.get_after_help().is_some(), "{name} has no example");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {} has no text", arg.get_id());
            }
        }
    }
}
