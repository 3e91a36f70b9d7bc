//! Metrics for an MLflow server, beside `metrics.jsonl` and TensorBoard.
//!
//! A thread of its own sends them in batches: training waits for the server when it begins and when it ends, and goes on without
//! it in between. `mlflow.json` in the run's folder holds the id under which a resumed training goes on.

mod queue;
mod server;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::queue::{Message, send};
use self::server::{Metric, Problem, Server};
use super::log::{Entry, now_s};
use crate::config::train::TrainConfig;
use crate::error::{Error, Result};
use crate::output::write_json;

/// How a run ended, in MLflow's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Finished,
    Failed,
    /// By the user, who may go on with it.
    Killed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// What MLflow calls the end of a training.
    pub(super) fn of<T>(end: &Result<T>) -> Self {
        match end {
            Ok(_) => Self::Finished,
            Err(Error::Interrupted { .. }) => Self::Killed,
            Err(_) => Self::Failed,
        }
    }
}

/// `mlflow.json`: the run that a resumed training goes on with.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    server: String,
    experiment_id: String,
    run_id: String,
}

/// The file in a run's folder.
pub(super) const FILE: &str = "mlflow.json";

/// A run on a server.
#[derive(Debug)]
pub(super) struct Tracker {
    run: Reference,
    /// The last step that the server has, by metric.
    sent: HashMap<String, usize>,
    sender: Sender<Message>,
    thread: JoinHandle<()>,
}

impl Tracker {
    /// Starts the run that `[tracking]` asks for, if it asks for one; with `resume`, goes on with that of `folder`.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub(super) fn start(config: &TrainConfig, folder: &Path, resume: bool) -> Result<Option<Self>> {
        let section = &config.tracking;
        if section.mlflow.is_empty() {
            return Ok(None);
        }
        let refused = |problem: Problem| {
            let problem = format!("{problem}; to train without it, set the key to \"\"");
            Error::config("tracking.mlflow", problem)
        };
        let server = Server::new(&section.mlflow);
        let path = folder.join(FILE);
        let before = if resume { read(&path, &section.mlflow)? } else { None };
        let known = match before {
            Some(run) => taken_up(&server, run).map_err(refused)?,
            None => None,
        };
        let (run, sent) = match known {
            Some(known) => known,
            None => (begun(&server, config).map_err(refused)?, HashMap::new()),
        };
        tracing::info!(
            "MLflow: {}/#/experiments/{}/runs/{}",
            section.mlflow.trim_end_matches('/'),
            run.experiment_id,
            run.run_id
        );
        let (sender, receiver) = channel();
        let id = run.run_id.clone();
        let thread = std::thread::spawn(move || send(&server, &id, &receiver));
        Ok(Some(Self { run, sent, sender, thread }))
    }

    /// Writes into `folder` which run this is.
    ///
    /// # Errors
    /// The disk is full.
    pub(super) fn write_id(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(FILE), &self.run, true)
    }

    /// Hands an entry over, without waiting. What the server has already is left out.
    pub(super) fn push(&self, entry: &Entry) {
        let (step, time) = (entry.step(), entry.time());
        let new = |(key, value): (String, f64)| {
            let sent = self.sent.get(&key).is_some_and(|last| step <= *last);
            (!sent && value.is_finite()).then_some(Metric { key, value, step, time })
        };
        self.tell(Message::Metrics(entry.scalars().into_iter().filter_map(new).collect()));
    }

    /// Has everything sent that waits, without waiting for it.
    pub(super) fn flush(&self) {
        self.tell(Message::Flush);
    }

    /// Sends what is left and ends the run.
    pub(super) fn end(self, status: Status) {
        self.tell(Message::End(status));
        if self.thread.join().is_err() {
            tracing::warn!("the thread that sends metrics to MLflow has stopped");
        }
    }

    fn tell(&self, message: Message) {
        // Only a thread that panicked no longer listens; `end` says so.
        let _ = self.sender.send(message);
    }
}

/// The run of an earlier training on the same server.
fn read(path: &Path, server: &str) -> Result<Option<Reference>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read(path).map_err(Error::io(path))?;
    let run: Reference = serde_json::from_slice(&text).map_err(|error| {
        let hint = "remove the file to go on with a new run";
        Error::input(path, "the MLflow run of a training", error.to_string(), hint)
    })?;
    Ok(Some(run).filter(|run| run.server == server))
}

type Known = (Reference, HashMap<String, usize>);

/// An earlier run, running again; `None` where it was removed.
fn taken_up(server: &Server, run: Reference) -> Result<Option<Known>, Problem> {
    let Some(sent) = server.last_steps(&run.run_id)? else {
        tracing::warn!("{} no longer has run {}: a new one begins", run.server, run.run_id);
        return Ok(None);
    };
    server.update_run(&run.run_id, "RUNNING", None)?;
    Ok(Some((run, sent)))
}

/// A new run, with the configuration as its parameters.
fn begun(server: &Server, config: &TrainConfig) -> Result<Reference, Problem> {
    let section = &config.tracking;
    let experiment_id = server.experiment(&section.experiment)?;
    let arch = config.model.arch.clone();
    let tags = [
        ("mlflow.source.name", "geoseg train".to_owned()),
        ("geoseg.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("geoseg.arch", arch),
        ("geoseg.encoder", config.model.encoder.clone()),
    ];
    let run_id = server.create_run(&experiment_id, &section.run_name, now_s(), &tags)?;
    let mut params = Vec::new();
    leaves("", &serde_json::to_value(config).unwrap_or_default(), &mut params);
    server.log_params(&run_id, &params)?;
    Ok(Reference { server: section.mlflow.clone(), experiment_id, run_id })
}

/// Every key with its value as text; what is empty as JSON, because MLflow wants some text.
fn leaves(parent: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                let dot = if parent.is_empty() { "" } else { "." };
                leaves(&format!("{parent}{dot}{key}"), value, into);
            }
        }
        Value::String(text) if !text.is_empty() => into.push((parent.to_owned(), text.clone())),
        other => into.push((parent.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_configuration_is_a_parameter_with_some_text() {
        let config = TrainConfig::default();
        let mut params = Vec::new();
        leaves("", &serde_json::to_value(&config).unwrap(), &mut params);
        let of = |key: &str| params.iter().find(|param| param.0 == key).map(|p| p.1.as_str());
        assert_eq!(of("optimizer.learning_rate"), Some("0.001"));
        assert_eq!(of("optimizer.betas"), Some("[0.9,0.999]"));
        assert_eq!(of("model.arch"), Some("fpn"));
        assert_eq!(of("model.init"), Some("\"\""));
        assert_eq!(of("data.scale_weights"), Some("{}"));
        assert!(params.len() > 100, "more than one request holds");
    }
}
