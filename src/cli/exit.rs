//! How the program ends: exit codes and Ctrl-C.

use std::process::ExitCode;

use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output;

/// A panic: a bug in geoseg (`EX_SOFTWARE` of sysexits.h).
pub const BUG: u8 = 70;
/// Ended by Ctrl-C, as shells report it.
const INTERRUPTED: u8 = 130;

/// The exit code of an error; 2 is clap's, for wrong arguments.
pub fn code(error: &Error) -> ExitCode {
    match error {
        Error::Interrupted { .. } => INTERRUPTED.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Installs the Ctrl-C handler. With `graceful`, the first Ctrl-C only raises the flag that is returned
/// and the second ends the program; otherwise the first ends it. Either way no half-written file stays.
pub fn on_ctrl_c(graceful: bool) -> Interrupt {
    let interrupt = Interrupt::default();
    let flag = interrupt.clone();
    let handler = move || {
        if graceful && !flag.requested() {
            flag.raise();
            tracing::warn!("interrupted: saving what is done; press Ctrl-C again to stop at once");
        } else {
            output::discard_unfinished();
            std::process::exit(INTERRUPTED.into());
        }
    };
    if let Err(problem) = ctrlc::set_handler(handler) {
        tracing::warn!("Ctrl-C will not be handled: {problem}");
    }
    interrupt
}
