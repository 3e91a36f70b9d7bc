//! `[tracking] mlflow`: what a server is told of a training, and what happens without it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::mlflow::Fake;
use crate::support::program::{Place, Ran};
use crate::support::python::Python;
use crate::support::synthetic::{run, tiles};
use geoseg::train::log::{Entry, read};
use serde_json::Value;

fn place() -> Place {
    let place = Place::new();
    tiles(&place);
    place
}

fn key(address: &str) -> String {
    format!("tracking.mlflow={address}")
}

const TRAIN: [&str; 5] = ["train", "--config", "train.toml", "--device", "cpu"];

/// What `metrics.jsonl` holds: name, step, value.
fn logged(out: &Path) -> Vec<(String, u64, f64)> {
    let entries = read(&out.join("metrics.jsonl")).unwrap();
    let of = |entry: &Entry| {
        let step = entry.step() as u64;
        entry
            .scalars()
            .into_iter()
            .map(move |(name, value)| (name, step, value))
            .collect::<Vec<_>>()
    };
    sorted(entries.iter().flat_map(of).collect())
}

fn sorted(mut values: Vec<(String, u64, f64)>) -> Vec<(String, u64, f64)> {
    values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2)));
    values
}

#[test]
fn the_server_gets_every_key_every_metric_once_and_the_end() {
    let (place, server) = (place(), Fake::new());
    let sets = [
        "--set",
        &key(&server.address),
        "--set",
        "tracking.run_name=first",
        "--set",
        "tracking.experiment=two words",
    ];
    run(&place, &[&TRAIN[..], &["-o", "run"], &sets].concat());
    assert_eq!(server.requests("experiments/get-by-name")[0].query, "experiment_name=two%20words");
    assert_eq!(server.requests("experiments/create")[0].body["name"], "two words");
    let [created] = &server.requests("runs/create")[..] else { panic!("one run") };
    assert_eq!(created.body["experiment_id"], "7");
    assert_eq!(created.body["run_name"], "first");
    let tags = created.body["tags"].to_string();
    assert!(tags.contains(env!("CARGO_PKG_VERSION")) && tags.contains("\"fpn\""), "{tags}");

    let batches = server.requests("runs/log-batch");
    let mut params = BTreeSet::new();
    for batch in &batches {
        assert_eq!(batch.body["run_id"], "the-run");
        let batch = batch.body["params"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(batch.len() <= 100, "{}", batch.len());
        for param in batch {
            assert!(params.insert(param["key"].as_str().unwrap().to_owned()), "{param} twice");
            assert!(!param["value"].as_str().unwrap().is_empty(), "{param}");
        }
    }
    assert!(params.len() > 100 && params.contains("optimizer.learning_rate"));
    let expected = logged(&place.path().join("run"));
    assert!(expected.iter().any(|metric| metric.0 == "iou/val"));
    assert_eq!(sorted(server.metrics()), expected);
    assert_eq!(server.statuses(), ["FINISHED"]);
}

#[test]
fn many_metrics_go_in_requests_of_at_most_a_thousand() {
    let (place, server) = (place(), Fake::new());
    let sets = [
        "--set",
        &key(&server.address),
        "--set",
        "run.steps=150",
        "--set",
        "run.validate_every=150",
        "--set",
        "data.crop_px=32",
        "--set",
        "data.batch=1",
    ];
    run(&place, &[&TRAIN[..], &["-o", "run"], &sets].concat());
    let sizes = server.requests("runs/log-batch");
    let sizes: Vec<usize> =
        sizes.iter().filter_map(|batch| Some(batch.body["metrics"].as_array()?.len())).collect();
    assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
    assert!(sizes.len() < 150, "steps are not sent one by one: {sizes:?}");
    assert_eq!(sorted(server.metrics()), logged(&place.path().join("run")));
}

#[test]
fn a_training_that_was_stopped_goes_on_in_the_same_run_without_telling_anything_twice() {
    let (place, server) = (place(), Fake::new());
    let address = key(&server.address);
    let sets = ["--set", &address, "-o", "run"];
    let out = place.path().join("run");
    let mut child = Command::new(env!("CARGO_BIN_EXE_geoseg"))
        .args([&TRAIN[..], &sets, &["--set", "run.steps=400"]].concat())
        .current_dir(place.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("checkpoints/last/state.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(server.statuses(), ["KILLED"]);
    let done = logged(&out).iter().map(|metric| metric.1).max().unwrap();
    let steps = format!("run.steps={}", done + 3);
    run(&place, &[&TRAIN[..], &sets, &["--resume", "--set", &steps]].concat());
    assert_eq!(server.requests("runs/create").len(), 1);
    assert_eq!(server.statuses(), ["KILLED", "RUNNING", "FINISHED"]);
    assert_eq!(sorted(server.metrics()), logged(&out));
}

#[test]
fn a_training_goes_on_without_a_server_that_dies_and_warns_once() {
    let place = place();
    // Experiment (two requests), run, parameters (two requests), first metrics.
    let server = Fake::dying_after(6);
    let ran = place.run(&[&TRAIN[..], &["-o", "run", "--set", &key(&server.address)]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("does not answer").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("the end of the run were not sent"), "{}", ran.stderr);
    let all = logged(&place.path().join("run"));
    assert_eq!(all.iter().filter(|metric| metric.0 == "loss/train").count(), 4);
    assert!(place.path().join("run/model.safetensors").exists());
    assert!(server.metrics().len() < all.len());
    assert!(server.statuses().is_empty());
}

/// Waits for something that comes with a training that runs.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_mins(2), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_not_sent_while_the_server_was_away_follows_in_order_while_the_training_goes_on() {
    let (place, server) = (place(), Fake::new());
    let address = key(&server.address);
    let long = ["--set", "run.steps=100000", "--set", "run.validate_every=5"];
    let mut child = place
        .command(&[&TRAIN[..], &["-o", "run", "--set", &address], &long].concat())
        .stderr(std::fs::File::create(place.path().join("said.txt")).unwrap())
        .spawn()
        .unwrap();
    let out = place.path().join("run");
    let last = || logged(&out).iter().map(|metric| metric.1).max().unwrap_or(0);
    let told = || server.metrics().iter().map(|metric| metric.1).max().unwrap_or(0);
    wait_for("the first metrics", || told() > 0);
    server.away(true);
    let said = || std::fs::read_to_string(place.path().join("said.txt")).unwrap();
    wait_for("a warning", || said().contains("does not answer"));
    let before = last();
    wait_for("steps without a server", || last() > before + 5);
    let missed = last();
    server.away(false);
    wait_for("what was missed", || told() > missed);
    assert!(child.try_wait().unwrap().is_none(), "the training goes on meanwhile");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let said = said();
    assert_eq!(said.matches("does not answer").count(), 1, "{said}");
    assert_eq!(said.matches("answers again").count(), 2, "in the warning and when it does: {said}");
    let metrics = server.metrics();
    assert!(metrics.is_sorted_by_key(|metric| metric.1), "in the order of steps");
    assert_eq!(sorted(metrics), logged(&out), "nothing is lost, nothing comes twice");
    assert_eq!(server.statuses(), ["KILLED"]);
}

#[test]
fn what_a_training_could_not_send_at_its_end_is_sent_by_resuming_it() {
    let place = place();
    let server = Fake::new();
    let address = key(&server.address);
    let sets = ["-o", "run", "--set", &address];
    let mut child = place
        .command(&[&TRAIN[..], &sets, &["--set", "run.steps=12"]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the run", || place.path().join("run/mlflow.json").exists());
    server.away(true);
    assert_eq!(
        child.wait().unwrap().code(),
        Some(0),
        "a training does not fail for want of a server"
    );
    assert!(server.statuses().is_empty());
    server.away(false);
    run(&place, &[&TRAIN[..], &sets, &["--set", "run.steps=12", "--resume"]].concat());
    assert_eq!(sorted(server.metrics()), logged(&place.path().join("run")));
    assert_eq!(server.statuses(), ["RUNNING", "FINISHED"]);
}

#[test]
fn a_server_with_tls_is_trusted_once_its_certificate_is() {
    let place = place();
    let files = ["certificate.pem", "key.pem"].map(|name| place.path().join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=geoseg test", "-out", "certificate.pem"])
        .args(["-keyout", "key.pem", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(place.path())
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: no openssl to make a certificate with");
        return;
    }
    let server = Fake::with_certificate(&files[0], &files[1]);
    let address = key(&server.address);
    let arguments = [&TRAIN[..], &["-o", "run", "--set", &address]].concat();
    let ran = place.run(&arguments);
    let error = ran.error();
    assert!(error.contains("not trusted") && error.contains("SSL_CERT_FILE"), "{error}");
    assert!(server.requests("experiments/get-by-name").is_empty());
    let ran: Ran = place
        .command(&[&arguments[..], &["--overwrite"]].concat())
        .env("SSL_CERT_FILE", &files[0])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sorted(server.metrics()), logged(&place.path().join("run")));
    assert_eq!(server.statuses(), ["FINISHED"]);
}

#[test]
fn a_failed_training_is_told_as_such() {
    let (place, server) = (place(), Fake::new());
    for tile in std::fs::read_dir(place.path().join("tiles/train/a/x1")).unwrap() {
        std::fs::write(tile.unwrap().path(), "no tile").unwrap();
    }
    let set = key(&server.address);
    let ran = place.run(&[&TRAIN[..], &["-o", "run", "--set", &set]].concat());
    assert!(ran.error().contains("tiles/train/a"), "{}", ran.stderr);
    assert_eq!(server.statuses(), ["FAILED"]);
}

fn with_environment(place: &Place, server: &Fake, variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_geoseg"))
        .args([&TRAIN[..], &["-o", "run", "--overwrite", "--set", &key(&server.address)]].concat())
        .current_dir(place.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    output.into()
}

#[test]
fn credentials_come_from_the_environment() {
    let place = place();
    for (variables, expected) in [
        (&[("MLFLOW_TRACKING_TOKEN", "abc")][..], Some("Bearer abc")),
        (
            &[("MLFLOW_TRACKING_USERNAME", "Aladdin"), ("MLFLOW_TRACKING_PASSWORD", "open sesame")],
            // RFC 7617, 2.
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        (&[], None),
    ] {
        let server = Fake::new();
        assert_eq!(with_environment(&place, &server, variables).code, Some(0));
        for call in ["experiments/get-by-name", "runs/create", "runs/log-batch", "runs/update"] {
            for request in server.requests(call) {
                assert_eq!(request.authorization.as_deref(), expected, "{call}");
            }
        }
    }
}

#[test]
fn a_server_that_is_not_there_and_a_wrong_address_are_refused_at_the_start() {
    let place = place();
    for (address, word) in [
        ("http://127.0.0.1:9", "does not answer"),
        ("127.0.0.1:5000", "http://host:port"),
        ("http://me:secret@host", "MLFLOW_TRACKING_USERNAME"),
    ] {
        let ran = place.run(&[&TRAIN[..], &["-o", "run", "--set", &key(address)]].concat());
        let error = ran.error();
        assert!(error.contains("tracking.mlflow") && error.contains(word), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(!place.path().join("run/metrics.jsonl").exists());
    }
}

/// A real server, ended with the test.
struct Real(Child);

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_mlflow_server_knows_a_run_as_it_was() {
    let Some(python) = Python::with(&["mlflow"]) else { return };
    let place = place();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}");
    let store = format!("sqlite:///{}", place.path().join("mlflow.db").display());
    let arguments = [
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--backend-store-uri",
        &store,
        "--workers",
        "1",
    ];
    let _server = Real(
        Command::new(python.path())
            .args(arguments)
            .current_dir(place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let started = Instant::now();
    while ureq::get(format!("{address}/health")).call().is_err() {
        assert!(started.elapsed() < Duration::from_mins(3), "the server does not start");
        std::thread::sleep(Duration::from_millis(200));
    }
    let address_key = key(&address);
    let sets = ["-o", "run", "--set", &address_key];
    run(&place, &[&TRAIN[..], &sets, &["--set", "run.steps=2"]].concat());
    // Resumed: the same run goes on.
    run(&place, &[&TRAIN[..], &sets, &["--resume"]].concat());
    let out = place.path().join("run");
    let text = std::fs::read(out.join("mlflow.json")).unwrap();
    let id = serde_json::from_slice::<Value>(&text).unwrap()["run_id"].as_str().unwrap().to_owned();
    let get = |call: &str, query: &[(&str, &str)]| -> Value {
        let request = ureq::get(format!("{address}/api/2.0/mlflow/{call}"));
        let mut answer = request.query_pairs(query.iter().copied()).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    };
    let run = get("runs/get", &[("run_id", &id)])["run"].clone();
    assert_eq!(run["info"]["status"], "FINISHED");
    let params = run["data"]["params"].as_array().unwrap();
    assert!(params.len() > 100, "{}", params.len());
    assert!(params.iter().any(|p| p["key"] == "data.crop_px" && p["value"] == "32"));
    let expected = logged(&out);
    let names: BTreeSet<&str> = expected.iter().map(|metric| metric.0.as_str()).collect();
    let mut found = Vec::new();
    for name in names {
        let history = get("metrics/get-history", &[("run_id", &id), ("metric_key", name)]);
        for metric in history["metrics"].as_array().unwrap() {
            found.push((
                name.to_owned(),
                metric["step"].as_u64().unwrap(),
                metric["value"].as_f64().unwrap(),
            ));
        }
    }
    assert_eq!(sorted(found), expected);
}
