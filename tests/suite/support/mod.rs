//! What several test files need.

pub mod files;
pub mod mlflow;
pub mod program;
pub mod python;
pub mod reference;
pub mod shared;
pub mod synthetic;
pub mod tiny;
pub mod untrained;
