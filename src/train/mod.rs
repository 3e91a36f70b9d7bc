//! A tile set into a model.

pub mod augment;
pub mod batches;
pub mod colour;
pub mod log;
pub mod losses;
pub mod metrics;
pub mod prefetch;
pub mod sampler;
pub mod schedule;
pub mod tensorboard;
pub mod warp;
