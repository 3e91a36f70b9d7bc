//! Every test of the library as a caller sees it and of the program as a user does, a file for each thing tested.
//!
//! One program: each of fifty would hold the whole of burn, CUDA and Parquet again, in some 12 GB of disk.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "clippy.toml covers tests, not their helpers; a skipped test says why"
)]

mod antimeridian;
mod cli_bench;
mod cli_errors;
mod cli_help;
mod configs;
mod crs_kinds;
mod delivery_checks;
mod delivery_formats;
mod evaluate_run;
mod evaluate_tune;
mod explain;
mod export;
mod full_disk;
mod fused;
mod geoparquet;
mod golden_pipeline;
mod import;
mod infer;
mod infer_many;
mod infer_resume;
mod infer_robust;
mod lr_find;
mod mask_photos;
mod mlflow;
mod networks;
mod polygonize_closing;
mod polygonize_files;
mod polygonize_outlines;
mod qgis_project;
mod raster;
mod reference_efficient_fpn;
mod reference_kernels;
mod reference_models;
mod remote_scenes;
mod scores_combine;
mod search;
mod smp_step;
mod soft_and_mined;
mod structure;
mod support;
mod synth_scene;
mod tiles_robust;
mod tiles_set;
mod train_reference;
mod train_run;
mod train_sources;
mod vector_inputs;
mod vector_writers;
#[cfg(feature = "vulkan")]
mod vulkan;
mod walls;
