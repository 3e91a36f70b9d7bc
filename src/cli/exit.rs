//! How the program ends: exit codes, Ctrl-C, and what schedulers send.

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

/// Installs the handler of Ctrl-C, and of SIGTERM and SIGHUP, which count as it does: schedulers and a closed terminal end programs
/// with them. With `graceful`, the first Ctrl-C only raises the flag that is returned
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
    let outlives_terminal = ignores_hangup();
    if let Err(problem) = ctrlc::set_handler(handler) {
        tracing::warn!("Ctrl-C will not be handled: {problem}");
    }
    if outlives_terminal {
        // SAFETY: sets back what the program was started with.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    interrupt
}

/// Whether the program was started so that it goes on when its terminal is closed (`nohup`).
fn ignores_hangup() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks for the action, which is written whole where the call succeeds.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
