//! A server that answers as MLflow does, and remembers what it was told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// What the server was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Without the common beginning: `runs/create`.
    pub call: String,
    pub query: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// The server, on a port of its own, until the program ends.
pub struct Fake {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    away: Arc<AtomicBool>,
}

impl Fake {
    /// Answers everything.
    pub fn new() -> Self {
        Self::dying_after(usize::MAX)
    }

    /// Stops listening after so many requests.
    pub fn dying_after(count: usize) -> Self {
        Self::serving("http", count, answer)
    }

    /// Speaks TLS, with the certificate and the key of two PEM files.
    pub fn with_certificate(certificate: &Path, key: &Path) -> Self {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::serving("https", usize::MAX, move |stream, seen| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // A client that does not trust the certificate says so and goes.
            if stream.conn.complete_io(&mut stream.sock).is_ok() {
                answer(stream, seen);
            }
        })
    }

    fn serving(
        scheme: &str,
        count: usize,
        serve: impl Fn(TcpStream, &Mutex<Vec<Request>>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let away = Arc::new(AtomicBool::new(false));
        let (seen, gone) = (requests.clone(), away.clone());
        std::thread::spawn(move || {
            let mut listener = Some(listener);
            for _ in 0..count {
                let stream = listener.as_ref().unwrap().accept().unwrap().0;
                if !gone.load(Ordering::SeqCst) {
                    serve(stream, &seen);
                    continue;
                }
                // Whoever calls now finds nobody.
                drop((stream, listener.take()));
                while gone.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                listener = Some(TcpListener::bind(at).unwrap());
            }
        });
        Self { address: format!("{scheme}://{at}"), requests, away }
    }

    /// Whether it is away: it then refuses connections.
    pub fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
        if away {
            // Wakes it, so that it stops listening.
            let _ = TcpStream::connect(self.address.split_once("://").unwrap().1);
        }
    }

    pub fn requests(&self, call: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.call == call).cloned().collect()
    }

    /// Metrics in the order of their arrival: name, step, value.
    pub fn metrics(&self) -> Vec<(String, u64, f64)> {
        metrics(&self.requests.lock().unwrap())
    }

    /// The statuses that the run was given.
    pub fn statuses(&self) -> Vec<String> {
        let updates = self.requests("runs/update");
        updates.iter().map(|update| update.body["status"].as_str().unwrap().to_owned()).collect()
    }
}

fn metrics(requests: &[Request]) -> Vec<(String, u64, f64)> {
    let all = requests.iter().filter_map(|request| request.body["metrics"].as_array()).flatten();
    let metric = |metric: &Value| {
        assert!(metric["timestamp"].as_i64().unwrap() > 1_600_000_000_000, "milliseconds");
        let key = metric["key"].as_str().unwrap().to_owned();
        (key, metric["step"].as_u64().unwrap(), metric["value"].as_f64().unwrap())
    };
    all.map(metric).collect()
}

fn answer(mut stream: impl Read + Write, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(&mut stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers: HashMap<String, String> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let target = lines[0].split(' ').nth(1).unwrap();
    let target = target.strip_prefix("/api/2.0/mlflow/").unwrap();
    let (call, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        call: call.into(),
        query: query.into(),
        authorization: headers.get("authorization").cloned(),
        body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
    };
    let mut seen = seen.lock().unwrap();
    seen.push(request);
    let (status, text) = match call {
        "experiments/get-by-name" => {
            ("404 Not Found", json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none" }))
        }
        "experiments/create" => ("200 OK", json!({ "experiment_id": "7" })),
        "runs/create" => ("200 OK", json!({ "run": { "info": { "run_id": "the-run" } } })),
        "runs/get" => {
            let mut last: HashMap<String, (u64, f64)> = HashMap::new();
            for (key, step, value) in metrics(&seen) {
                last.insert(key, (step, value));
            }
            let metric = |(key, (step, value)): (String, (u64, f64))| json!({ "key": key, "step": step.to_string(), "value": value });
            let metrics: Vec<Value> = last.into_iter().map(metric).collect();
            ("200 OK", json!({ "run": { "data": { "metrics": metrics } } }))
        }
        _ => ("200 OK", json!({})),
    };
    let text = text.to_string();
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // A client that has gone away is none of the server's business.
    let _ = stream.write_all((head + &text).as_bytes()).and_then(|()| stream.flush());
}
