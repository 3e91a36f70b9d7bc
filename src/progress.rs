//! Progress of long work: a bar on a terminal, sparse log lines elsewhere, nothing in tests.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The shortest pause between two log lines of one piece of work; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// All bars on the terminal; none where there has not been one.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Takes the bars off the terminal while `print` writes to it.
pub fn suspend<T>(print: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}

/// How progress is shown. Stages receive it and make a [`Bar`] for each piece of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Bars, redrawn in place.
    Terminal,
    /// Log lines, ever sparser.
    Log,
    /// Nothing.
    #[default]
    Hidden,
}

impl Progress {
    /// Starts a piece of work of `total` units; `unit` names them ("tiles", "Mpx").
    pub fn bar(self, what: &str, total: u64, unit: &str) -> Bar {
        let bar = match self {
            Self::Terminal => {
                let bars = BARS.get_or_init(MultiProgress::new);
                let bar = bars.add(ProgressBar::new(total));
                let template = format!(
                    "{what:<10} {{bar:32}} {{pos}}/{{len}} {unit} {{per_sec:>8}} eta {{eta}} {{msg}}"
                );
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    bar.set_style(style);
                }
                bar
            }
            Self::Log | Self::Hidden => ProgressBar::hidden(),
        };
        bar.set_length(total);
        let log = (self == Self::Log).then(|| {
            Arc::new(Mutex::new(LogState {
                what: what.to_owned(),
                unit: unit.to_owned(),
                started: Instant::now(),
                next: FIRST_PAUSE,
                pause: FIRST_PAUSE,
                message: String::new(),
            }))
        });
        Bar { bar, log }
    }
}

#[derive(Debug)]
struct LogState {
    what: String,
    unit: String,
    started: Instant,
    next: Duration,
    pause: Duration,
    message: String,
}

/// One piece of work in progress. Clones share it and may be used from any thread.
#[derive(Clone, Debug)]
pub struct Bar {
    bar: ProgressBar,
    log: Option<Arc<Mutex<LogState>>>,
}

impl Bar {
    /// `units` more are done.
    pub fn inc(&self, units: u64) {
        self.bar.inc(units);
        self.log_if_due();
    }

    /// What to show beside the bar (a loss, a rate).
    pub fn message(&self, text: impl Into<String>) {
        let text = text.into();
        if let Some(Ok(mut state)) = self.log.as_ref().map(|log| log.lock()) {
            state.message.clone_from(&text);
        }
        self.bar.set_message(text);
    }

    /// Prints `line` above the bar, or to the log.
    pub fn println(&self, line: &str) {
        if self.log.is_some() {
            tracing::info!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// The work is over.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if let Some(Ok(state)) = self.log.as_ref().map(|log| log.lock()) {
            tracing::info!(
                "{}: {} {} in {:.1} s {}",
                state.what,
                self.bar.position(),
                state.unit,
                state.started.elapsed().as_secs_f64(),
                state.message
            );
        }
    }

    fn log_if_due(&self) {
        let Some(Ok(mut state)) = self.log.as_ref().map(|log| log.lock()) else { return };
        let elapsed = state.started.elapsed();
        if elapsed < state.next {
            return;
        }
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        tracing::info!(
            "{}: {done} of {total} {} ({:.0} %) after {:.0} s {}",
            state.what,
            state.unit,
            100.0 * done as f64 / total.max(1) as f64,
            elapsed.as_secs_f64(),
            state.message
        );
        state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        state.next = elapsed + state.pause;
    }
}
