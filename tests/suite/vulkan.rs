//! Operators and a whole network on a CubeCL backend: Vulkan, in software where there is no GPU (lavapipe:
//! `VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json`). Without a Vulkan device the test is skipped, unless
//! `GEOSEG_VULKAN=1` demands it.

use burn::backend::Vulkan;
use geoseg::check::{Comparison, operators, training};
use geoseg::config::Precision;
use geoseg::kernels::Kernels;

/// Runs where there is a Vulkan device; says so and returns `None` where there is none.
fn on_vulkan<T>(run: impl FnOnce() -> T + std::panic::UnwindSafe) -> Option<T> {
    match std::panic::catch_unwind(run) {
        Ok(outcome) => Some(outcome),
        Err(panic) if std::env::var_os("GEOSEG_VULKAN").is_some() => {
            std::panic::resume_unwind(panic)
        }
        Err(_) => {
            eprintln!("skipped: no Vulkan device (GEOSEG_VULKAN=1 makes this a failure)");
            None
        }
    }
}

/// 16-bit floating point where the device has it.
fn has_half() -> bool {
    <Vulkan as Kernels>::computes_in(&Default::default(), geoseg::device::format_of(Precision::F16))
}

fn assert_hold(comparisons: &[Comparison], least: usize) {
    assert!(comparisons.len() >= least, "{} comparisons", comparisons.len());
    let far: Vec<_> = comparisons.iter().filter(|one| !one.holds()).collect();
    assert!(far.is_empty(), "too far from the CPU: {far:#?}");
}

#[test]
fn every_operator_agrees_with_the_cpu() {
    let run = || operators::compare::<Vulkan>(&Default::default(), Precision::F32);
    let Some(comparisons) = on_vulkan(run) else { return };
    assert_hold(&comparisons, 100);
    if has_half() {
        assert_hold(&operators::compare::<Vulkan>(&Default::default(), Precision::F16), 100);
    }
}

#[test]
fn a_training_step_and_an_evaluation_of_every_network_agree_with_the_cpu() {
    let run = || training::compare_steps::<Vulkan>(&Default::default(), Precision::F32).unwrap();
    let Some(comparisons) = on_vulkan(run) else { return };
    assert_hold(&comparisons, 1000);
    let losses = training::compare_losses::<Vulkan>(&Default::default(), Precision::F32).unwrap();
    assert_hold(&[losses.comparison], 1);
}

#[test]
fn half_precision_trains_as_single_precision_does() {
    let Some(true) = on_vulkan(has_half) else { return };
    let step = training::compare_steps::<Vulkan>(&Default::default(), Precision::F16).unwrap();
    assert_hold(&step, 2);
    let losses = training::compare_losses::<Vulkan>(&Default::default(), Precision::F16).unwrap();
    assert!(losses.cpu.last() < losses.cpu.first(), "nothing was learnt: {:?}", losses.cpu);
    assert_hold(&[losses.comparison], 1);
}
