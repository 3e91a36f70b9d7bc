//! The CPU's inference form: images with channels last, every layer one pass.
//!
//! Channels are padded to whole vectors of sixteen; what a layer does after its sums (bias, activation, residual) happens
//! before they leave the registers. Work is cut by shapes alone and partial sums are added in a fixed order, so results do
//! not depend on the number of threads. Nothing here knows a network: `model::fused` strings these layers together.

#![allow(clippy::inline_always, reason = "compiled along with each version of a loop")]

mod chains;
mod decode;
mod depthwise;
mod image;
mod pointwise;
mod product;
mod record;
mod stem;
#[cfg(test)]
mod tests;
mod vector;
mod winograd;

pub use chains::{bf16_pairs, multiply_adds};
pub use decode::{logits, upsample};
pub use depthwise::Depthwise;
pub use image::{Image, Pool};
pub use pointwise::Pointwise;
pub use record::{Layer, Work};
pub use stem::Stem;
pub use winograd::Conv3x3;
