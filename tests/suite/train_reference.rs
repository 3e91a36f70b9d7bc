//! Losses, schedules and optimizers against the numbers that PyTorch gave (`../shared/reference`).

use crate::support::reference::{
    Tensors, json, load, read, reference, smp_network, smp_spec, values,
};
use burn::backend::{Autodiff, Flex};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use geoseg::config::train::{
    LossSection, OptimizerName, OptimizerSection, ScheduleKind, ScheduleSection,
};
use geoseg::model::named_tensors;
use geoseg::model::{Heads, is_trainable};
use geoseg::train::losses::{
    Truth, bce, boundary, focal, kl, losses, lovasz_hinge, soft_dice, tversky,
};
use geoseg::train::optimizer::Optimizer;
use geoseg::train::schedule::{Plateau, Schedule};
use serde_json::Value;

type Diff = Autodiff<Flex>;
type Loss = fn(Tensor<Diff, 4>, &Truth<Diff>) -> Tensor<Diff, 1>;

fn tensor(file: &Tensors, name: &str) -> Tensor<Diff, 4> {
    load(file, name)
}

#[test]
fn losses_and_their_gradients_equal_those_of_pytorch() {
    let Some(folder) = reference("losses") else { return };
    let file = read(&folder.join("losses.safetensors"));
    let expected = json(&folder.join("losses.json"));
    let known: [(&str, f32, Loss); 9] = [
        ("kl1_sigmoid_mean", 5e-6, |logits, truth| kl(logits, truth)),
        ("bce", 5e-6, |logits, truth| bce(logits, truth, 1.0)),
        ("focal_g2", 5e-6, |logits, truth| focal(logits, truth, 2.0, -1.0, 1.0)),
        ("focal_g2_a25", 5e-6, |logits, truth| focal(logits, truth, 2.0, 0.25, 1.0)),
        ("dice", 5e-6, |logits, truth| soft_dice(logits, truth, 1e-5)),
        ("tversky_fp30_fn70", 5e-6, |logits, truth| tversky(logits, truth, 0.3, 0.7, 1e-5)),
        ("bf1_masked_inputs", 5e-6, |logits, truth| boundary(logits, truth)),
        ("lovasz_hinge_per_image", 1e-6, |logits, truth| lovasz_hinge(logits, truth)),
        ("total_dice_focal_bf1", 5e-6, |logits, truth| {
            let section =
                LossSection { focal_alpha: 0.25, boundary_weight: 1.0, ..LossSection::default() };
            losses(&section, &Heads::of(logits), truth).total
        }),
    ];
    for case in ["plain", "masked", "empty_target", "extreme_logits"] {
        for (name, tolerance, loss) in known {
            // The sum is stored with the boundary loss whose ignored pixels reach their neighbours.
            if case == "masked" && name == "total_dice_focal_bf1" {
                continue;
            }
            let logits = tensor(&file, &format!("{case}/logits")).require_grad();
            let labels = if name.starts_with("kl") { "soft" } else { "target" };
            let truth = Truth::hard(
                tensor(&file, &format!("{case}/{labels}")),
                tensor(&file, &format!("{case}/valid")),
            );
            let value = loss(logits.clone(), &truth);
            let gradients = value.backward();
            let gradient = logits.grad(&gradients).unwrap().into_data().to_vec::<f32>().unwrap();
            let value = f64::from(value.into_scalar());
            let Some(wanted) = expected[case][name]["value"].as_f64() else {
                // 0/0 for PyTorch: no outline is 1 for us, and what is predicted is none of it.
                assert!(case == "empty_target" && value.is_finite(), "{case}/{name}: {value}");
                assert!(gradient.iter().all(|gradient| gradient.is_finite()), "{case}/{name}");
                continue;
            };
            assert!(
                (value - wanted).abs() <= 2e-6 * wanted.abs(),
                "{case}/{name}: {value} {wanted}"
            );
            let wanted = values(tensor(&file, &format!("{case}/grad/{name}")));
            let largest = wanted.iter().fold(0f32, |a, b| a.max(b.abs()));
            let logits = values(logits);
            for ((got, wanted), logit) in gradient.iter().zip(&wanted).zip(logits) {
                // The reference is a sum of max(x, 0) and |x|, whose derivative PyTorch takes as 0 at the kink;
                // the true one is (p - t) / M, which the loss of exactly 0 gets here.
                if logit == 0.0 {
                    continue;
                }
                let gap = (got - wanted).abs();
                assert!(gap <= tolerance * largest, "{case}/{name} gradient: {got} {wanted}");
            }
        }
    }
}

#[test]
fn schedules_equal_those_of_pytorch() {
    let Some(folder) = reference("schedules") else { return };
    let expected = json(&folder.join("schedules.json"));
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
    for case in expected["poly"].as_array().unwrap() {
        if case["formula"] != "lr*(1 - i/total)^power" {
            continue;
        }
        let number = |key: &str| case[key].as_f64().unwrap();
        let section = ScheduleSection {
            kind: ScheduleKind::Poly,
            final_fraction: 0.0,
            power: number("power"),
            ..ScheduleSection::default()
        };
        let (peak, steps) = (number("initial_lr"), case["total"].as_u64().unwrap() as usize + 1);
        check(Schedule::new(&section, peak, steps), case, peak);
    }
    let mut reduced = 0;
    for case in expected["plateau"].as_array().unwrap() {
        if case["threshold_mode"] != "rel" {
            continue;
        }
        let number = |key: &str| case[key].as_f64().unwrap();
        let section = ScheduleSection {
            kind: ScheduleKind::Plateau,
            final_fraction: 0.0,
            plateau_factor: number("factor"),
            plateau_patience: case["patience"].as_u64().unwrap() as usize,
            plateau_threshold: number("threshold"),
            ..ScheduleSection::default()
        };
        let losses = &expected["plateau_losses"][case["losses"].as_str().unwrap()];
        let (peak, mut plateau) = (number("initial_lr"), Plateau::default());
        let pairs = losses.as_array().unwrap().iter().zip(case["lr"].as_array().unwrap());
        for (step, (loss, wanted)) in pairs.enumerate() {
            let (got, wanted) = (peak * plateau.factor(&section), wanted.as_f64().unwrap());
            assert!((got - wanted).abs() <= 1e-12 * peak, "step {step}: {got} {wanted}");
            plateau.note(loss.as_f64().unwrap(), &section);
        }
        reduced += usize::from(plateau.factor(&section) < 1.0);
    }
    assert!(reduced > 0);
}

/// Trains as the reference's `run` did and compares the losses of the first `steps`, and the weights after one: all of them
/// to `loose`, nearly all to 1e-6.
fn trains_as_pytorch(run: &str, section: &OptimizerSection, steps: usize, loose: f64) {
    let Some(folder) = reference("train") else { return };
    let Some(smp) = reference("arch/smp.json") else { return };
    let file = read(&folder.join("train.safetensors"));
    let expected = &json(&folder.join("train.json"))["runs"][run];
    let numbers = |key: &Value| -> Vec<f64> {
        key.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (wanted, tolerance) =
        (numbers(&expected["loss"]["f64"]), numbers(&expected["loss"]["tolerance"]));
    let rates = numbers(&expected["lr"]);
    let input = tensor(&file, "input");
    let labels = tensor(&file, "mask");
    let truth = Truth::hard(labels.clone(), labels.ones_like());
    let mut network = smp_network::<Diff>(&smp_spec("efficientnet-b0"), &json(&smp));
    let mut optimizer = Optimizer::new(section);
    for step in 0..steps {
        let logits = network.forward_train(input.clone(), 0);
        let loss = losses(&LossSection::default(), &Heads::of(logits), &truth).total;
        let value = f64::from(loss.clone().into_scalar());
        let gap = (value - wanted[step]).abs();
        assert!(gap <= tolerance[step], "{run}, step {step}: {value} for {}", wanted[step]);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(network, gradients, rates[step], 1.0);
        if step == 0 {
            let (mut close, mut all) = (0, 0);
            for (name, data) in named_tensors(&network) {
                let Some(first) = expected["param_after_1"].get(&name) else { continue };
                assert!(is_trainable(&name));
                for (got, wanted) in data.iter::<f64>().zip(numbers(first)) {
                    let gap = (got - wanted).abs();
                    assert!(gap <= loose, "{run}, {name}: {got} for {wanted}");
                    close += usize::from(gap <= 1e-6);
                    all += 1;
                }
            }
            assert!(all >= 50 && close as f64 > 0.9 * all as f64, "{run}: {close} of {all}");
        }
    }
}

// The reference's tolerances grow with the steps, which amplify rounding; the first few are the sharp ones.

#[test]
fn twenty_steps_of_adamw_follow_the_losses_of_pytorch() {
    trains_as_pytorch("adamw", &OptimizerSection::default(), 20, 4e-5);
}

#[test]
fn five_steps_of_rmsprop_follow_the_losses_of_pytorch() {
    let section = OptimizerSection {
        name: OptimizerName::Rmsprop,
        momentum: 0.0,
        weight_decay: 0.0,
        ..OptimizerSection::default()
    };
    trains_as_pytorch("rmsprop_torch", &section, 5, 1e-3);
}

#[test]
fn twenty_steps_of_sgd_follow_the_losses_of_pytorch() {
    let section = OptimizerSection {
        name: OptimizerName::Sgd,
        weight_decay: 0.0,
        ..OptimizerSection::default()
    };
    trains_as_pytorch("sgd", &section, 20, 1e-6);
}
