//! Weights of any origin: whatever the bytes, there are tensors or one error, no panic and no memory without end.
#![no_main]

use std::path::Path;

use geoseg::import::file;
use libfuzzer_sys::fuzz_target;

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
