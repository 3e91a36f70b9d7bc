//! Runs the small Python scripts beside this file, where Python has what they import.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with `modules`, or nothing (with a message) where it lacks one. `GEOSEG_PYTHON` names the interpreter; with
/// `GEOSEG_ONNX=1` a missing ONNX Runtime is a failure.
pub struct Python(PathBuf);

impl Python {
    #[expect(clippy::print_stderr, reason = "says which tests did not look at anything")]
    pub fn with(modules: &[&str]) -> Option<Self> {
        let python =
            std::env::var_os("GEOSEG_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
        let import = format!("import {}", modules.join(", "));
        let found = Command::new(&python).args(["-c", &import]).output();
        if found.is_ok_and(|output| output.status.success()) {
            return Some(Self(python));
        }
        let missing = format!("{} cannot {import}", python.display());
        let demanded = std::env::var_os("GEOSEG_ONNX").is_some_and(|value| value == "1");
        assert!(!(demanded && modules.contains(&"onnxruntime")), "{missing}");
        eprintln!("skipped: {missing} (GEOSEG_PYTHON names another interpreter)");
        None
    }

    /// The interpreter.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a script of `tests/suite/support`; what it printed.
    pub fn run(&self, script: &str, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support").join(script);
        let output = Command::new(&self.0).arg(script).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Writes numbers as scripts read them.
pub fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

/// Reads numbers as scripts write them.
pub fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}
