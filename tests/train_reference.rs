//! Losses and schedules against the numbers that PyTorch gave (`../shared/reference`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::PathBuf;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData};
use geoseg::config::train::{ScheduleKind, ScheduleSection};
use geoseg::train::losses::{Truth, bce, focal, soft_dice};
use geoseg::train::schedule::Schedule;
use safetensors::SafeTensors;
use serde_json::Value;

type Diff = Autodiff<Flex>;

/// The reference folder, or `None` (with a message) where it is missing.
fn reference(folder: &str) -> Option<PathBuf> {
    let shared = std::env::var("GEOSEG_SHARED").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = shared.join("reference").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no {}", path.display());
    None
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A float32 (or bool, or u8) array as float32 values with its shape padded to four axes.
fn array(file: &SafeTensors, name: &str) -> (Vec<f32>, [usize; 4]) {
    let view = file.tensor(name).unwrap();
    let values: Vec<f32> = match view.dtype() {
        safetensors::Dtype::F32 => view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect(),
        safetensors::Dtype::U8 | safetensors::Dtype::BOOL => {
            view.data().iter().map(|&byte| f32::from(byte)).collect()
        }
        other => panic!("{name}: {other:?}"),
    };
    let shape = view.shape();
    let mut padded = [1; 4];
    match shape.len() {
        4 => padded.copy_from_slice(shape),
        3 => (padded[0], padded[2], padded[3]) = (shape[0], shape[1], shape[2]),
        rank => panic!("{name}: rank {rank}"),
    }
    (values, padded)
}

fn tensor(file: &SafeTensors, name: &str) -> Tensor<Diff, 4> {
    let (values, shape) = array(file, name);
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

#[test]
fn losses_and_their_gradients_equal_those_of_pytorch() {
    let Some(folder) = reference("losses") else { return };
    let bytes = std::fs::read(folder.join("losses.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let expected = json(folder.join("losses.json"));
    type Loss = fn(Tensor<Diff, 4>, &Truth<Diff>) -> Tensor<Diff, 1>;
    let known: [(&str, Loss); 4] = [
        ("bce", |logits, truth| bce(logits, truth)),
        ("focal_g2", |logits, truth| focal(logits, truth, 2.0, -1.0)),
        ("focal_g2_a25", |logits, truth| focal(logits, truth, 2.0, 0.25)),
        ("dice", |logits, truth| soft_dice(logits, truth, 1e-5)),
    ];
    for case in ["plain", "masked", "empty_target", "extreme_logits"] {
        for (name, loss) in known {
            let logits = tensor(&file, &format!("{case}/logits")).require_grad();
            let truth = Truth {
                labels: tensor(&file, &format!("{case}/target")),
                valid: tensor(&file, &format!("{case}/valid")),
            };
            let value = loss(logits.clone(), &truth);
            let gradients = value.backward();
            let gradient = logits.grad(&gradients).unwrap().into_data().to_vec::<f32>().unwrap();
            let value = f64::from(value.into_scalar());
            let wanted = expected[case][name]["value"].as_f64().unwrap();
            assert!(
                (value - wanted).abs() <= 2e-6 * wanted.abs(),
                "{case}/{name}: {value} {wanted}"
            );
            let (wanted, _) = array(&file, &format!("{case}/grad/{name}"));
            let largest = wanted.iter().fold(0f32, |a, b| a.max(b.abs()));
            for (got, wanted) in gradient.iter().zip(&wanted) {
                let gap = (got - wanted).abs();
                assert!(gap <= 5e-6 * largest, "{case}/{name} gradient: {got} {wanted}");
            }
        }
    }
}

#[test]
fn schedules_equal_those_of_pytorch() {
    let Some(folder) = reference("schedules") else { return };
    let expected = json(folder.join("schedules.json"));
    let check = |schedule: Schedule, case: &Value, peak: f64| {
        for (step, wanted) in case["lr"].as_array().unwrap().iter().enumerate() {
            let (got, wanted) = (schedule.rate(step), wanted.as_f64().unwrap());
            assert!((got - wanted).abs() <= 1e-12 * peak, "step {step}: {got} {wanted}");
        }
    };
    for case in expected["one_cycle"].as_array().unwrap() {
        if case["anneal"] != "cos" {
            continue;
        }
        let number = |key: &str| case[key].as_f64().unwrap();
        let section = ScheduleSection {
            kind: ScheduleKind::OneCycle,
            warmup: number("pct_start"),
            div_factor: number("div_factor"),
            final_div_factor: number("final_div_factor"),
            ..ScheduleSection::default()
        };
        let steps = case["total_steps"].as_u64().unwrap() as usize;
        check(Schedule::new(&section, number("max_lr"), steps), case, number("max_lr"));
    }
    for case in expected["cosine"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let peak = number("initial_lr");
        let section = ScheduleSection {
            kind: ScheduleKind::Cosine,
            final_fraction: number("eta_min") / peak,
            ..ScheduleSection::default()
        };
        // The rate at `t_max` itself is listed too: one step more than `t_max`.
        let steps = case["t_max"].as_u64().unwrap() as usize + 1;
        check(Schedule::new(&section, peak, steps), case, peak);
    }
}
