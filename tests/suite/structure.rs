//! The house rules of docs/architecture.md, read off the sources: what a folder must not know.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of `src/` and the paths that its code must not name.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    ("geo", &["burn::", "crate::model", "crate::train", "crate::infer", "crate::cli"]),
    ("truth", &["burn::", "crate::model", "crate::cli"]),
    ("tiles", &["burn::", "crate::model", "crate::train", "crate::cli"]),
    ("model", &["gdal::", "crate::geo", "crate::tiles", "crate::train", "crate::cli"]),
    ("import", &["gdal::", "crate::geo", "crate::tiles", "crate::train", "crate::cli"]),
    (
        "export",
        &["gdal::", "crate::geo", "crate::tiles", "crate::train", "crate::infer", "crate::cli"],
    ),
    ("kernels", &["gdal::", "crate::model", "crate::geo", "crate::train", "crate::cli"]),
    ("check", &["gdal::", "crate::geo", "crate::infer", "crate::cli"]),
    ("train", &["gdal::", "crate::infer", "crate::cli"]),
    ("search", &["burn::", "gdal::", "crate::infer", "crate::cli"]),
    ("infer", &["crate::train", "crate::polygonize", "crate::cli"]),
    ("mine", &["gdal::", "crate::train", "crate::cli"]),
    ("mask", &["burn::", "gdal::", "crate::train", "crate::polygonize", "crate::cli"]),
    ("explain", &["gdal::", "crate::train", "crate::polygonize", "crate::cli"]),
    ("polygonize", &["burn::", "crate::model", "crate::infer", "crate::cli"]),
    ("morphology", &["burn::", "gdal::", "crate::geo", "crate::cli"]),
    ("scores", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("validate", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("merge", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("conflate", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("stac", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("qgis", &["burn::", "gdal::", "crate::model", "crate::infer", "crate::cli"]),
    ("evaluate", &["burn::", "crate::model", "crate::infer", "crate::cli"]),
    ("synth", &["burn::", "crate::model", "crate::cli"]),
    ("picture", &["burn::", "crate::model", "crate::cli"]),
    ("config", &["burn::", "gdal::", "crate::cli"]),
];

/// Where code may depend on which backends are compiled in.
const BACKEND_CFGS: &[&str] = &["src/device.rs", "src/device/", "src/kernels/", "src/kernels.rs"];

/// Longer than this, a file is asking to be two.
const LONGEST_LINES: usize = 400;
/// An operator is one file, with the code for vectors and gradients.
const LONGEST_KERNEL_LINES: usize = 500;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a file, without its comments, line by line with numbers from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// A file without its tests.
fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("")
}

/// Whether `line` names `path`, not only a longer name that ends in it.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            // A path that starts at the root is the same path: `::burn::` counts, `x::burn::` does not.
            && !line[..at].trim_end_matches("::").chars().next_back().is_some_and(|c| {
                line[..at].ends_with("::") && (c.is_alphanumeric() || c == '_')
            })
    })
}

fn files_of(place: &str) -> Vec<PathBuf> {
    let folder = root().join("src").join(place);
    let file = root().join("src").join(format!("{place}.rs"));
    let mut files = if folder.is_dir() { sources(&folder) } else { Vec::new() };
    files.extend(file.is_file().then_some(file));
    files
}

#[test]
fn no_folder_names_what_it_must_not_know() {
    let mut trespasses = Vec::new();
    for &(place, forbidden) in MUST_NOT_KNOW {
        let files = files_of(place);
        assert!(!files.is_empty(), "src/{place} is gone: correct this test");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in code_lines(&text) {
                for path in forbidden.iter().filter(|path| names(line, path)) {
                    trespasses.push(format!("{}:{number} names {path}", file.display()));
                }
            }
        }
    }
    assert!(trespasses.is_empty(), "\n{}", trespasses.join("\n"));
}

#[test]
fn backends_are_chosen_in_one_place() {
    let mut trespasses = Vec::new();
    for file in sources(&root().join("src")) {
        let relative = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if BACKEND_CFGS.iter().any(|place| relative.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(&text) {
            let cfg = ["feature = \"cuda\"", "feature = \"vulkan\"", "feature = \"wgpu\""]
                .iter()
                .any(|cfg| line.contains(cfg));
            let backend =
                ["backend::Cuda", "backend::Vulkan", "backend::Wgpu", "burn_cuda::", "burn_wgpu::"]
                    .iter()
                    .any(|backend| line.contains(backend));
            if cfg || backend {
                trespasses.push(format!("{relative}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(trespasses.is_empty(), "\n{}", trespasses.join("\n"));
}

#[test]
fn only_the_command_layer_and_the_program_print() {
    for file in sources(&root().join("src")) {
        let relative = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if relative.starts_with("src/cli/") || relative == "src/main.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(before_tests(&text)) {
            for print in ["println!", "print!", "eprint!", "eprintln!", "dbg!"] {
                assert!(!names(line, print), "{relative}:{number} prints; return a report instead");
            }
        }
    }
}

#[test]
fn files_stay_small() {
    for file in sources(&root().join("src")) {
        let kernel = file.starts_with(root().join("src/kernels"));
        let longest = if kernel { LONGEST_KERNEL_LINES } else { LONGEST_LINES };
        let text = fs::read_to_string(&file).unwrap();
        let lines = before_tests(&text).lines().count();
        assert!(
            lines <= longest,
            "{} has {lines} lines before its tests: it is asking to be two files",
            file.display()
        );
    }
}

#[test]
fn the_test_tells_a_crate_from_a_name_that_ends_like_it() {
    assert!(names("use burn::tensor::Tensor;", "burn::"));
    assert!(names("fn f() -> ::burn::Tensor", "burn::"));
    assert!(!names("use crate::truth::burn::polygons;", "burn::"));
    assert!(!names("use my_burn::x;", "burn::"));
    assert!(names("use gdal::Dataset;", "gdal::"));
    assert!(!names("Error::gdal(path)", "gdal::"));
}
