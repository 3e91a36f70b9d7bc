//! The `geoseg` program: arguments, log, Ctrl-C, one subcommand, one place that prints errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use geoseg::cli::{self, Cli, exit, log};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.command.runs_networks() {
        geoseg::memory::keep_freed();
    }
    log::init(&cli.global);
    log::report_panics();
    let interrupt = exit::on_ctrl_c(cli.command.saves_when_interrupted());
    match catch_unwind(AssertUnwindSafe(|| cli::run(cli, interrupt))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            log::report_error(&error);
            exit::code(&error)
        }
        Err(_already_reported) => exit::BUG.into(),
    }
}
