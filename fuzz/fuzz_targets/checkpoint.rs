//! Weights of any origin: whatever the bytes, there are tensors or one error, no panic and no memory without end.
#![no_main]
#![allow(dead_code, reason = "the readers serve more than this")]

use std::path::Path;

use import::file;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/error.rs"]
mod error;

pub use error::{Error, Result};

/// What reads weights.
#[path = "../../src/import"]
mod import {
    mod bytes;
    mod element;
    pub mod file;
    mod pickle;
    mod problem;
    mod torch;
    mod zip;
}

fuzz_target!(|bytes: &[u8]| {
    match file::decode(bytes, Path::new("fuzzed")) {
        Ok(checkpoint) => {
            for data in checkpoint.tensors.values() {
                let values: usize = data.shape.iter().product();
                assert_eq!(data.as_bytes().len(), size_of::<f32>() * values);
            }
        }
        Err(error) => assert!(error.to_string().contains("fuzzed"), "{error}"),
    }
});
