//! Repeating, timing, peak memory.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Options;
use crate::error::Result;

/// The figures of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was timed, with its sizes.
    pub case: String,
    /// Median of the repetitions, milliseconds.
    pub ms_median: f64,
    /// Least of the repetitions, milliseconds.
    pub ms_min: f64,
    /// Million pixels a second, by the median.
    pub mpx_per_s: f64,
    /// Peak resident memory of the repetitions, MB, where the system tells.
    pub peak_rss_mb: Option<f64>,
    /// Threads that compute.
    pub threads: usize,
    /// Where networks ran.
    pub device: String,
}

/// Calls of an operator go on for as long, or for as many.
const SHORT: Duration = Duration::from_millis(10);
const MOST: usize = 100;

/// Forgets the peak so far, where the system can.
pub fn reset_peak() {
    // What is not there (another system) leaves the peak of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Calls `work` on `pixels` pixels `warm` times, then `repeat` times with the clock running.
pub fn measure(
    case: String,
    pixels: usize,
    warm: usize,
    options: &Options,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Figure> {
    for _ in 0..warm {
        work()?;
    }
    reset_peak();
    let mut ms = Vec::with_capacity(options.repeat);
    for _ in 0..options.repeat.max(1) {
        let started = Instant::now();
        work()?;
        ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(figure(case, pixels, ms, options))
}

/// The figures of `pixels` pixels that took `ms`, one or more times.
pub fn figure(case: String, pixels: usize, ms: Vec<f64>, options: &Options) -> Figure {
    let ms_min = ms.iter().copied().fold(f64::INFINITY, f64::min);
    let ms_median = median(ms);
    Figure {
        case,
        ms_median,
        ms_min,
        mpx_per_s: pixels as f64 / 1e3 / ms_median,
        peak_rss_mb: peak_mb(),
        threads: rayon::current_num_threads(),
        device: options.device.to_string(),
    }
}

/// The value in the middle, of one or more.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median time of `work` in milliseconds, after one call that is not counted: of `repeat` calls, or of more where they are
/// short.
pub fn median_ms(repeat: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let (begun, mut ms) = (Instant::now(), Vec::new());
    while ms.len() < repeat.max(1) || (begun.elapsed() < SHORT && ms.len() < MOST) {
        let started = Instant::now();
        work()?;
        ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(ms))
}
