//! Losses, schedules and AdamW against the numbers that PyTorch gave (`../shared/reference`).

mod support;

use burn::backend::{Autodiff, Flex};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use geoseg::config::train::{LossSection, OptimizerSection, ScheduleKind, ScheduleSection};
use geoseg::model::is_trainable;
use geoseg::model::named_tensors;
use geoseg::train::losses::{Truth, bce, focal, losses, soft_dice};
use geoseg::train::optimizer::AdamW;
use geoseg::train::schedule::Schedule;
use serde_json::Value;
use support::reference::{Tensors, json, load, read, reference, smp_network, smp_spec, values};

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
                assert!(gap <= 5e-6 * largest, "{case}/{name} gradient: {got} {wanted}");
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
}

#[test]
fn the_first_steps_of_adamw_give_the_losses_and_weights_of_pytorch() {
    // The later steps amplify rounding; these are the sharp ones.
    const STEPS: usize = 4;
    let Some(folder) = reference("train") else { return };
    let Some(smp) = reference("arch/smp.json") else { return };
    let file = read(&folder.join("train.safetensors"));
    let expected = &json(&folder.join("train.json"))["runs"]["adamw"];
    let numbers = |key: &Value| -> Vec<f64> {
        key.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (wanted, tolerance) =
        (numbers(&expected["loss"]["f64"]), numbers(&expected["loss"]["tolerance"]));
    let input = tensor(&file, "input");
    let labels = tensor(&file, "mask");
    let truth = Truth { valid: labels.ones_like(), labels };
    let schedule = Schedule::new(&ScheduleSection::default(), 1e-3, 20);
    let mut network = smp_network::<Diff>(&smp_spec("efficientnet-b0"), &json(&smp));
    let mut optimizer = AdamW::new(&OptimizerSection::default());
    for step in 0..STEPS {
        let logits = network.forward_train(input.clone(), 0);
        let loss = losses(&LossSection::default(), logits, &truth).total;
        let value = f64::from(loss.clone().into_scalar());
        let gap = (value - wanted[step]).abs();
        assert!(gap <= tolerance[step], "step {step}: {value} for {}", wanted[step]);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(network, gradients, schedule.rate(step), 1.0);
        if step == 0 {
            let (mut close, mut all) = (0, 0);
            for (name, data) in named_tensors(&network) {
                let Some(first) = expected["param_after_1"].get(&name) else { continue };
                assert!(is_trainable(&name));
                for (got, wanted) in data.iter::<f64>().zip(numbers(first)) {
                    let gap = (got - wanted).abs();
                    assert!(gap <= 4e-5, "{name}: {got} for {wanted}");
                    close += usize::from(gap <= 1e-6);
                    all += 1;
                }
            }
            assert!(all >= 50 && close as f64 > 0.9 * all as f64, "{close} of {all}");
        }
    }
}
