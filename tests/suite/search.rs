//! `geoseg search`: resuming, parallel trials, pruning, failures, and what a search leaves behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::program::{Place, Ran};
use crate::support::synthetic::{run, tiles};
use geoseg::config::{self, train::TrainConfig};
use serde_json::Value;

const KEYS: &str = "
[[key]]
name = 'optimizer.learning_rate'
low = 1e-5
high = 1e-1
log = true
[[key]]
name = 'data.batch'
low = 1
high = 3
integer = true
[[key]]
name = 'optimizer.name'
choices = ['adamw', 'sgd']
";

fn place(search: &str) -> Place {
    let place = Place::new();
    tiles(&place);
    place.write("search.toml", &format!("{search}{KEYS}"));
    place
}

const SEARCH: [&str; 5] = ["search", "--config", "train.toml", "--search", "search.toml"];

fn search(place: &Place, more: &[&str]) -> String {
    run(place, &[&SEARCH[..], &["--devices", "cpu"], more].concat())
}

/// Starts and ends of trials, by number, without what depends on the clock.
fn trials(out: &Path) -> Vec<(Value, Option<Value>)> {
    let text = std::fs::read_to_string(out.join("trials.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (starts, ends): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["kind"] == "start");
    let end_of = |trial: &Value| {
        let mut end = ends.iter().find(|end| end["trial"] == trial["trial"])?.clone();
        end["seconds"] = Value::Null;
        Some(end)
    };
    starts
        .into_iter()
        .map(|start| {
            let end = end_of(&start);
            (start, end)
        })
        .collect()
}

fn outcomes(out: &Path) -> Vec<String> {
    let outcome = |(_, end): (Value, Option<Value>)| end.unwrap()["outcome"].to_string();
    trials(out).into_iter().map(outcome).collect()
}

#[test]
fn random_trials_come_to_the_same_however_many_run_at_once() {
    let place = place("[search]\ntrials = 7\nsampler = 'random'\n[pruning]\ntrials = 1\n");
    let said = search(&place, &["-o", "one"]);
    search(&place, &["-o", "three", "--parallel", "3"]);
    let one = trials(&place.path().join("one"));
    assert_eq!(one.len(), 7);
    assert_eq!(one, trials(&place.path().join("three")));
    let ends = outcomes(&place.path().join("one"));
    assert!(
        ends.contains(&"\"pruned\"".into()) && ends.contains(&"\"finished\"".into()),
        "{ends:?}"
    );
    // A pruned trial ended at its first validation, with a model all the same.
    for (number, (start, end)) in one.iter().enumerate() {
        let end = end.as_ref().unwrap();
        let steps = if end["outcome"] == "pruned" { 2 } else { 4 };
        assert_eq!(end["steps"], steps, "{start}");
        let folder = place.path().join(format!("one/trial_{number:03}"));
        assert!(folder.join("model.safetensors").exists() && folder.join("tensorboard").is_dir());
    }

    // The best configuration is that of the best trial, and is ready to be trained.
    let iou = |end: &Value| end["iou"].as_f64().unwrap();
    let best = one.iter().map(|trial| iou(trial.1.as_ref().unwrap())).fold(0.0, f64::max);
    let number = one.iter().position(|trial| iou(trial.1.as_ref().unwrap()) == best).unwrap();
    let load = |path: &str| config::load::<TrainConfig>(&[place.path().join(path)], &[]).unwrap();
    assert_eq!(load("one/best.toml"), load(&format!("one/trial_{number:03}/train.toml")));
    assert!(said.contains(&format!("trial {number:03}, pixel IoU {best:.4}")), "{said}");
    let first_row = said.lines().find(|line| line.contains("finished") || line.contains("pruned"));
    assert!(first_row.unwrap().contains(&format!("{best:.4}")), "the best stands first: {said}");
    assert!(image::open(place.path().join("one/search.png")).is_ok());
}

#[test]
fn every_device_of_a_list_runs_a_trial_at_a_time() {
    let place = place("[search]\ntrials = 4\nsampler = 'random'\n[pruning]\nrule = 'none'\n");
    let kinds = |devices: &str, out: &str| {
        let ran = place.run(&[&SEARCH[..], &["--devices", devices, "-o", out]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches(" on cpu: IoU").count(), 4, "{}", ran.stderr);
        let text = std::fs::read_to_string(place.path().join(out).join("trials.jsonl")).unwrap();
        let kind = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["kind"].as_str().unwrap().to_owned(), line["trial"].as_u64().unwrap())
        };
        text.lines().map(kind).collect::<Vec<_>>()
    };
    let at_once = |kinds: &[(String, u64)]| {
        let mut running = 0;
        let change = |kind: &(String, u64)| {
            running += if kind.0 == "start" { 1 } else { -1 };
            running
        };
        kinds.iter().map(change).max().unwrap()
    };
    assert_eq!(at_once(&kinds("cpu", "one")), 1);
    let three = kinds("cpu,cpu,cpu", "three");
    assert_eq!(at_once(&three), 3, "{three:?}");
    assert_eq!(trials(&place.path().join("one")), trials(&place.path().join("three")));
}

#[test]
fn a_device_of_the_list_that_cannot_be_used_is_refused_before_the_first_trial() {
    let place = place("[search]\ntrials = 1\n");
    let before = place.names();
    for (devices, refused) in [("cuda", "cuda:0"), ("cpu,cuda:1", "cuda:1")] {
        let arguments = [&SEARCH[..], &["--devices", devices, "-o", "out"]].concat();
        // Without CUDA, or with none of its devices in sight.
        let ran = place.command(&arguments).env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
        let ran = Ran::from(ran);
        assert!(ran.error().contains(refused), "{}", ran.stderr);
        assert_eq!(place.names(), before);
    }
    let ran = place.run(&[&SEARCH[..], &["--devices", "cpu,gpu", "-o", "out"]].concat());
    assert!(ran.code == Some(2) && ran.stderr.contains("found `gpu`"), "{}", ran.stderr);
}

#[test]
fn a_search_that_was_killed_goes_on_as_if_it_had_not_been() {
    let place = place("[search]\ntrials = 6\nrandom_trials = 2\n[pruning]\ntrials = 1\n");
    search(&place, &["-o", "unbroken"]);
    let out = place.path().join("broken");
    // Killed in its third trial, once that has a checkpoint.
    let mut child = Command::new(env!("CARGO_BIN_EXE_geoseg"))
        .args([&SEARCH[..], &["--devices", "cpu", "-o", "broken"]].concat())
        .current_dir(place.path())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("trial_002/checkpoints/last/state.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(trials(&out).len() < 6);
    // A line that was cut short.
    let journal = out.join("trials.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap() + "{\"kind\":\"st";
    std::fs::write(&journal, text).unwrap();
    search(&place, &["-o", "broken", "--resume"]);
    let unbroken = trials(&place.path().join("unbroken"));
    assert_eq!(trials(&out), unbroken);
    let model = |out: &str| std::fs::read(place.path().join(out).join("best.toml")).unwrap();
    assert_eq!(model("unbroken"), model("broken"));

    // More trials of the same search; another search is refused.
    search(&place, &["-o", "broken", "--resume", "--trials", "7"]);
    let more = trials(&out);
    assert_eq!((more.len(), &more[..6]), (7, &unbroken[..]));
    let resume = ["--devices", "cpu", "-o", "broken", "--resume", "--seed", "9"];
    let ran = place.run(&[&SEARCH[..], &resume].concat());
    assert!(ran.error().contains("broken/train.toml"), "{}", ran.stderr);
}

#[test]
fn values_that_do_not_go_together_fail_alone() {
    let place = place("[search]\ntrials = 6\nsampler = 'random'\n");
    place.write(
        "search.toml",
        "[search]\ntrials = 6\nsampler = 'random'\n[[key]]\nname = 'optimizer.name'\nchoices = ['adamw', 'sgd']\n\
         [[key]]\nname = 'optimizer.nesterov'\nchoices = [false, true]\n",
    );
    let sgd = ["--set", "optimizer.name=sgd", "--set", "run.steps=1", "-o", "out"];
    let said = search(&place, &sgd);
    let mut failed = 0;
    for (start, end) in trials(&place.path().join("out")) {
        let (values, end) = (&start["values"], end.unwrap());
        let wrong = values["optimizer.name"] == "adamw" && values["optimizer.nesterov"] == true;
        assert_eq!(end["outcome"] == "failed", wrong, "{start} {end}");
        if wrong {
            failed += 1;
            assert!(end["problem"].as_str().unwrap().contains("optimizer.nesterov"), "{end}");
        }
    }
    assert!((1..6).contains(&failed), "{failed}");
    assert_eq!(said.matches(" failed ").count(), failed, "{said}");
}

#[test]
fn wrong_searches_are_one_line_and_leave_nothing() {
    let place = place("[search]\ntrials = 1\n");
    let before = place.names();
    let refused = |search: &str, more: &[&str], word: &str| {
        place.write("search.toml", search);
        let ran = place.run(&[&SEARCH[..], &["--devices", "cpu", "-o", "out"], more].concat());
        assert!(ran.error().contains(word), "{word}: {}", ran.stderr);
        assert_eq!(place.names(), before);
    };
    let key = |name: &str, rest: &str| format!("[[key]]\nname = '{name}'\n{rest}\n");
    refused("[search]\ntrails = 2\n", &[], "did you mean `search.trials`");
    refused("[pruning]\nrule = 'meidan'\n", &[], "median");
    let misspelt = key("optimizer.lerning_rate", "choices = [1]");
    refused(&misspelt, &[], "did you mean `optimizer.learning_rate`");
    refused(&key("data.batch", "low = 1\nhigh = 4"), &[], "`data.batch`");
    refused(&key("data.batch", "low = 0\nhigh = 4\ninteger = true"), &[], "data.batch");
    refused("", &["--resume"], "without --resume");
    refused("", &["--set", "data.tiles=nowhere"], "nowhere");
    refused("", &["--trials", "0"], "search.trials");
    place.write("search.toml", "[search]\ntrials = 1\n");
    search(&place, &["-o", "out", "--set", "run.steps=1"]);
    let ran = place.run(&[&SEARCH[..], &["-o", "out"]].concat());
    assert!(ran.error().contains("--overwrite"), "{}", ran.stderr);
    std::fs::write(place.path().join("out/notes.txt"), "mine").unwrap();
    search(&place, &["-o", "out", "--overwrite", "--set", "run.steps=1"]);
    assert!(place.path().join("out/notes.txt").exists());
}
