//! The few calls of MLflow's REST API (version 2.0) that a training needs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use ureq::tls::{RootCerts, TlsConfig};

/// A server that is not there should be noticed sooner than one that is slow.
const CONNECTING: Duration = Duration::from_secs(5);
const ANSWERING: Duration = Duration::from_secs(30);
/// The server's limits for one request (`mlflow/utils/validation.py`).
pub(super) const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
/// Longest value of a parameter that servers of all versions take, characters.
const LONGEST_PARAM: usize = 500;

/// What went wrong, in a few words.
pub(super) type Problem = String;

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) key: String,
    pub(super) value: f64,
    pub(super) step: usize,
    /// Seconds since 1970.
    pub(super) time: f64,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    agent: ureq::Agent,
    address: String,
    /// The `Authorization` header.
    credentials: Option<String>,
}

impl Server {
    /// The server at `address`, with credentials as MLflow's own client takes them: `MLFLOW_TRACKING_TOKEN`, or
    /// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
    pub(super) fn new(address: &str) -> Self {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let basic = || {
            let user = given("MLFLOW_TRACKING_USERNAME")?;
            let password = given("MLFLOW_TRACKING_PASSWORD").unwrap_or_default();
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
        };
        let bearer = given("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}"));
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_global(Some(ANSWERING))
            .tls_config(tls)
            .build()
            .new_agent();
        let address = address.trim_end_matches('/').to_owned();
        Self { agent, address, credentials: bearer.or_else(basic) }
    }

    /// The id of the experiment called `name`, which is made where it is missing.
    pub(super) fn experiment(&self, name: &str) -> Result<String, Problem> {
        let find = || self.get("experiments/get-by-name", ("experiment_name", name));
        let found = match find() {
            Err(Refusal { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
                match self.post("experiments/create", &json!({ "name": name })) {
                    // Another run made it in between.
                    Err(Refusal { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => find(),
                    made => made,
                }
            }
            found => found,
        }?;
        let id = [&found["experiment"]["experiment_id"], &found["experiment_id"]];
        text(id.into_iter().find(|id| id.is_string()), "an experiment's id")
    }

    /// Starts a run; its id.
    pub(super) fn create_run(
        &self,
        experiment_id: &str,
        name: &str,
        time: f64,
        tags: &[(&str, String)],
    ) -> Result<String, Problem> {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let mut body = json!({
            "experiment_id": experiment_id,
            "start_time": milliseconds(time),
            "tags": tags,
        });
        if !name.is_empty() {
            body["run_name"] = name.into();
        }
        let made = self.post("runs/create", &body)?;
        text(Some(&made["run"]["info"]["run_id"]), "a run's id")
    }

    /// The last step of every metric of a run; `None` for a run that the server does not know.
    pub(super) fn last_steps(&self, run: &str) -> Result<Option<HashMap<String, usize>>, Problem> {
        let found = match self.get("runs/get", ("run_id", run)) {
            Err(Refusal { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => return Ok(None),
            found => found?,
        };
        let metrics = found["run"]["data"]["metrics"].as_array().into_iter().flatten();
        let step = |metric: &Value| {
            // JSON of protocol buffers writes 64-bit integers as text; servers do either.
            let step = &metric["step"];
            step.as_u64().or_else(|| step.as_str()?.parse().ok()).unwrap_or(0) as usize
        };
        let last = metrics.filter_map(|m| Some((m["key"].as_str()?.to_owned(), step(m))));
        Ok(Some(last.collect()))
    }

    /// Logs parameters of a run.
    pub(super) fn log_params(&self, run: &str, params: &[(String, String)]) -> Result<(), Problem> {
        for batch in params.chunks(MOST_PARAMS) {
            let param = |(key, value): &(String, String)| json!({ "key": key, "value": value.chars().take(LONGEST_PARAM).collect::<String>() });
            let params: Vec<Value> = batch.iter().map(param).collect();
            self.post("runs/log-batch", &json!({ "run_id": run, "params": params }))?;
        }
        Ok(())
    }

    /// Logs at most [`MOST_METRICS`] values of a run.
    pub(super) fn log_metrics(&self, run: &str, metrics: &[&Metric]) -> Result<(), Problem> {
        let metric = |metric: &&Metric| {
            json!({
                "key": metric.key,
                "value": metric.value,
                "timestamp": milliseconds(metric.time),
                "step": metric.step,
            })
        };
        let metrics: Vec<Value> = metrics.iter().map(metric).collect();
        self.post("runs/log-batch", &json!({ "run_id": run, "metrics": metrics }))?;
        Ok(())
    }

    /// Sets a run's status; `ended` is the time of its end, where that is known.
    pub(super) fn update_run(
        &self,
        run: &str,
        status: &str,
        ended: Option<f64>,
    ) -> Result<(), Problem> {
        let mut body = json!({ "run_id": run, "status": status });
        if let Some(ended) = ended {
            body["end_time"] = milliseconds(ended).into();
        }
        self.post("runs/update", &body)?;
        Ok(())
    }

    fn get(&self, call: &str, (key, value): (&str, &str)) -> Result<Value, Refusal> {
        let mut request = self.agent.get(self.url(call)).query(key, value);
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials);
        }
        self.answer(request.call())
    }

    fn post(&self, call: &str, body: &Value) -> Result<Value, Refusal> {
        let mut request = self.agent.post(self.url(call)).content_type("application/json");
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials);
        }
        self.answer(request.send(body.to_string()))
    }

    fn url(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.address)
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Refusal> {
        let silent = |error: ureq::Error| {
            let address = &self.address;
            let problem = if is_untrusted(&error) {
                format!(
                    "{address} has a certificate that is not trusted ({error}): add it to the system's, or name its file in SSL_CERT_FILE"
                )
            } else {
                format!("{address} does not answer: {error} (is it running?)")
            };
            Refusal { code: String::new(), problem }
        };
        let mut response = answer.map_err(silent)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(silent)?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return Ok(value.unwrap_or_default());
        }
        let said = |key: &str| value.as_ref().and_then(|value| value[key].as_str());
        let message = said("message").unwrap_or(text.lines().next().unwrap_or_default());
        Err(Refusal {
            code: said("error_code").unwrap_or_default().to_owned(),
            problem: format!("{} answers {status}: {message}", self.address),
        })
    }
}

/// Whether a server could not show who it is.
fn is_untrusted(error: &ureq::Error) -> bool {
    let tls = match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// An answer that is none, or says no.
struct Refusal {
    /// MLflow's word for it; empty where it is not MLflow that says no.
    code: String,
    problem: Problem,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        refusal.problem
    }
}

fn text(value: Option<&Value>, what: &str) -> Result<String, Problem> {
    let text = value.and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| format!("the answer holds no {what}: is that an MLflow server?"))
}

fn milliseconds(time: f64) -> i64 {
    (time * 1000.0) as i64
}
