//! The standard networks as wholes, one JSON object a line: `cargo bench --bench network`. `geoseg bench` times others.

#![allow(clippy::print_stdout, reason = "the lines are its result")]

use geoseg::bench::{Case, Options, run};

fn main() -> anyhow::Result<()> {
    geoseg::memory::keep_freed();
    for encoder in ["efficientnet-b0", "efficientnet-b1"] {
        for (case, window_px, batch, repeat) in
            [(Case::Infer, 512, 1, 20), (Case::Infer, 512, 4, 10), (Case::Train, 256, 8, 5)]
        {
            let figure = run(case, &Options::standard(encoder, window_px, batch, repeat))?;
            println!("{}", serde_json::to_string(&figure)?);
        }
    }
    Ok(())
}
