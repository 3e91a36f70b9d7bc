//! `geoseg lr-find`: what it suggests, when it ends, what it leaves behind.

use crate::support::program::Place;
use crate::support::synthetic::{run, tiles};

fn report(place: &Place, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(place.path().join(name)).unwrap()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_nothing_but_two_files_is_left() {
    let place = Place::new();
    tiles(&place);
    let before = place.names();
    let test = ["lr-find", "--config", "train.toml", "--device", "cpu", "--set", "data.batch=4"];
    let rates = ["--from", "1e-6", "--steps", "40"];
    let test = [&test[..], &rates].concat();
    let said = run(&place, &[&test[..], &["-o", "a.png"]].concat());
    assert!(said.contains("steepest descent") && said.contains("a.json"), "{said}");
    run(
        &place,
        &[&test[..], &["-o", "b.png", "--threads", "1", "--set", "data.workers=1"]].concat(),
    );
    let new: Vec<String> =
        place.names().into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(new, ["a.json", "a.png", "b.json", "b.png"]);
    let found = report(&place, "a.json");
    assert_eq!(found, report(&place, "b.json"));
    assert!(image::open(place.path().join("a.png")).is_ok());

    let points = found["points"].as_array().unwrap();
    assert!((points[0]["learning_rate"].as_f64().unwrap() / 1e-6 - 1.0).abs() < 1e-9);
    let rate = |name: &str| found["suggestion"][name].as_f64().unwrap();
    assert!(1e-6 < rate("steepest") && rate("steepest") <= rate("minimum"), "{found}");
    assert!((rate("minimum_tenth") * 10.0 / rate("minimum") - 1.0).abs() < 1e-9);
    // The first loss is that of untouched weights, whatever the rates.
    run(&place, &[&test[..], &["-o", "a.png", "--to", "0.1", "--overwrite"]].concat());
    let other = report(&place, "a.json");
    assert_eq!(other["points"][0]["loss"], found["points"][0]["loss"]);
    assert_ne!(other["points"][9]["loss"], found["points"][9]["loss"]);
    run(&place, &[&test[..], &["-o", "a.png", "--seed", "6", "--overwrite"]].concat());
    assert_ne!(report(&place, "a.json")["points"][0]["loss"], found["points"][0]["loss"]);
}

#[test]
fn a_test_ends_when_the_loss_is_far_above_its_minimum() {
    let place = Place::new();
    tiles(&place);
    let test = ["lr-find", "--config", "train.toml", "--device", "cpu", "-o", "lr.png"];
    let sgd = ["--set", "optimizer.name=sgd", "--set", "optimizer.clip_norm=0"];
    let rates = ["--from", "1e-3", "--to", "1e6", "--steps", "60"];
    let said = run(&place, &[&test[..], &sgd, &rates].concat());
    assert!(said.contains(" of 60, then the loss was"), "{said}");
    let found = report(&place, "lr.json");
    let count = found["points"].as_array().unwrap().len();
    assert!(count < 60, "{count}");
    assert!(["diverged", "non-finite"].contains(&found["end"].as_str().unwrap()));
}

#[test]
fn wrong_options_are_one_line_and_leave_nothing() {
    let place = Place::new();
    for (more, word) in [
        (&["-o", "lr.jpg"][..], "--output"),
        (&["-o", "nowhere/lr.png"], "nowhere"),
        (&["-o", "lr.png", "--set", "data.tiles=nowhere"], "nowhere"),
    ] {
        let ran = place.run(&[&["lr-find", "--device", "cpu"], more].concat());
        assert!(ran.error().contains(word), "{}", ran.stderr);
    }
    place.write("lr.json", "precious");
    let ran = place.run(&["lr-find", "-o", "lr.png"]);
    assert!(ran.error().contains("lr.json") && ran.error().contains("--overwrite"));
    assert_eq!(place.names(), ["lr.json"]);
    tiles(&place);
    let before = place.names();
    for (option, value) in
        [("--steps", "5"), ("--to", "1e-8"), ("--from", "0"), ("--divergence", "1")]
    {
        let ran = place.run(&["lr-find", "--config", "train.toml", "-o", "b.png", option, value]);
        assert!(ran.error().contains(option), "{}", ran.stderr);
    }
    assert_eq!(place.names(), before);
}
