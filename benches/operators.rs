//! Every operator of the standard networks against this machine's peaks, one JSON object a line:
//! `cargo bench --bench operators`. `geoseg bench operators` prints tables, for any network, size and device.

#![allow(clippy::print_stdout, reason = "the lines are its result")]

use geoseg::bench::{OperatorRow, Options, Peaks, operators};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    network: &'a str,
    threads: usize,
    peaks: Peaks,
    #[serde(flatten)]
    row: &'a OperatorRow,
}

fn main() -> anyhow::Result<()> {
    geoseg::memory::keep_freed();
    for encoder in ["efficientnet-b0", "efficientnet-b1"] {
        let inference = Options::standard(encoder, 512, 1, 20);
        let report = operators(&inference, &Options::standard(encoder, 256, 8, 5))?;
        for row in report.inference.iter().chain(&report.training) {
            let (network, threads, peaks) = (&*report.network, report.threads, report.peaks);
            println!("{}", serde_json::to_string(&Line { network, threads, peaks, row })?);
        }
    }
    Ok(())
}
