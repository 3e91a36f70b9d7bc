//! What goes to stderr: the log, the last error, GDAL's words, and panics in one line.

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use super::args::{Global, LogFormat};
use crate::error::Error;
use crate::progress;

/// Set once; errors and panics follow the log's format.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts the log on stderr. `RUST_LOG` overrides the level that `-v` and `-q` choose.
pub fn init(global: &Global) {
    FORMAT.get_or_init(|| global.log_format);
    let default = match (global.quiet, global.verbose) {
        (true, _) => "warn",
        (false, 0) => "warn,geoseg=info",
        (false, 1) => "warn,geoseg=debug",
        (false, _) => "info,geoseg=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr).with_target(false);
    // A second call, in tests, keeps the first log.
    let _ = match global.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let ansi = io::IsTerminal::is_terminal(&io::stderr())
                && std::env::var_os("NO_COLOR").is_none();
            builder.without_time().with_ansi(ansi).try_init()
        }
    };
    // GDAL prints to stderr by itself; its errors come back as ours, so its own words are detail.
    gdal::config::set_error_handler(|kind, number, message| {
        tracing::debug!("GDAL {kind:?} {number}: {}", one_line(message));
    });
}

/// The one place that prints an error.
pub fn report_error(error: &Error) {
    report("error", &error.to_string());
}

/// Panics are bugs: one line that asks for a report, and the backtrace only where it was asked for.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
        report(
            "error",
            &format!(
                "this is a bug in geoseg {}: {message}{place}; please report this line, the command \
                 and what `geoseg doctor` prints (RUST_BACKTRACE=1 adds where it happened)",
                env!("CARGO_PKG_VERSION")
            ),
        );
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            report("backtrace", &format!("\n{backtrace}"));
        }
    }));
}

fn report(label: &str, message: &str) {
    if FORMAT.get() == Some(&LogFormat::Json) {
        tracing::error!("{message}");
        return;
    }
    let message = if label == "error" { one_line(message) } else { message.to_owned() };
    // Nobody is left to hear of a closed stderr.
    let _ = Stderr.write_all(format!("{label}: {message}\n").as_bytes());
}

/// stderr, with the progress bars out of the way.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Libraries break their messages over lines; a log line is one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
