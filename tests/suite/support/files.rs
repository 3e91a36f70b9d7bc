//! A server of files that answers requests for ranges, takes uploads, and counts what it was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Method and path, in order.
    pub requests: Vec<(String, String)>,
    /// Bytes of bodies sent, by path.
    pub sent: BTreeMap<String, usize>,
    /// Bodies that were put, by path.
    pub put: BTreeMap<String, Vec<u8>>,
    /// Refuse so many requests with 503 first.
    refusals: usize,
}

/// The server, on a port of its own, until the program ends.
pub struct FileServer {
    /// `127.0.0.1:port`.
    pub address: String,
    seen: Arc<Mutex<Seen>>,
}

impl FileServer {
    /// Serves `files`, by path (`/a.tif`).
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (files, shared) = (Arc::new(files), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, files, seen) = (stream.unwrap(), files.clone(), shared.clone());
                // A client that has gone away is none of the server's business.
                std::thread::spawn(move || drop(answer(stream, &files, &seen)));
            }
        });
        Self { address, seen }
    }

    /// Refuses the next requests as a busy server does.
    pub fn refuse(&self, count: usize) {
        self.seen.lock().unwrap().refusals = count;
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers the requests of a connection until it ends.
fn answer(
    stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let header = |wanted: &str| {
            let pairs = lines[1..].iter().filter_map(|line| line.split_once(": "));
            let mut found = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.next().map(|(_, value)| value.to_owned())
        };
        let mut words = lines[0].split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap());
        let path = target.split('?').next().unwrap().to_owned();
        if header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut seen = seen.lock().unwrap();
        seen.requests.push((method.clone(), path.clone()));
        let (status, headers, content) = if seen.refusals > 0 {
            seen.refusals -= 1;
            ("503 Service Unavailable", String::new(), Vec::new())
        } else if method == "PUT" {
            seen.put.insert(path.clone(), body);
            ("201 Created", "ETag: \"1\"\r\n".to_owned(), Vec::new())
        } else {
            match files.get(&path) {
                None => ("404 Not Found", String::new(), Vec::new()),
                Some(file) => part(file, header("range").as_deref()),
            }
        };
        let length = content.len();
        let shown = if method == "HEAD" { Vec::new() } else { content };
        *seen.sent.entry(path).or_default() += shown.len();
        drop(seen);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n{headers}\r\n"
        );
        writer.write_all(head.as_bytes())?;
        writer.write_all(&shown)?;
    }
}

/// The range of a file that was asked for: `bytes=0-99`.
fn part(file: &[u8], range: Option<&str>) -> (&'static str, String, Vec<u8>) {
    let bounds = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, to)) = bounds else { return ("200 OK", String::new(), file.to_vec()) };
    let from: usize = from.parse().unwrap();
    let to = to.parse().unwrap_or(usize::MAX).min(file.len() - 1);
    let range = format!("Content-Range: bytes {from}-{to}/{}\r\n", file.len());
    ("206 Partial Content", range, file[from..=to].to_vec())
}
