//! What several test files need.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "every test file uses its own part, and may fail anywhere"
)]

pub mod files;
pub mod mlflow;
pub mod program;
pub mod python;
pub mod reference;
pub mod shared;
pub mod synthetic;
pub mod tiny;
pub mod untrained;
