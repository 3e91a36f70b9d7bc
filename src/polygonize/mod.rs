//! Scores into buildings.

mod bits;
mod components;
mod morphology;
mod rings;
mod sweep;
mod threshold;
