//! Metrics on their way to a server, and the thread that sends them.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Status;
use super::server::{MOST_METRICS, Metric, Problem, Server};
use crate::train::log::now_s;

/// Metrics wait at most so long for more to go with them; a server that failed is asked again after so long, no sooner.
const PAUSE: Duration = Duration::from_secs(5);
/// Values that are kept for a server that does not answer: a day of steps, some ten megabytes.
const MOST_WAITING: usize = 200_000;
/// A training that has ended begins no further request after so long.
const LONGEST_END: Duration = Duration::from_secs(30);

pub(super) enum Message {
    Metrics(Vec<Metric>),
    Flush,
    End(Status),
}

/// The thread: sends what arrives until the end of the run.
pub(super) fn send(server: &Server, run: &str, receiver: &Receiver<Message>) {
    let mut queue = Queue {
        server,
        run,
        waiting: VecDeque::new(),
        failing: false,
        due: Instant::now() + PAUSE,
        surplus: 0,
    };
    let status = loop {
        let left = queue.due.saturating_duration_since(Instant::now());
        let due = match receiver.recv_timeout(left) {
            Ok(Message::Metrics(metrics)) => {
                queue.keep(metrics);
                !queue.failing && queue.waiting.len() >= MOST_METRICS
            }
            Ok(Message::Flush) => !queue.failing,
            // The only time at which a server that failed is asked again.
            Err(RecvTimeoutError::Timeout) => true,
            Ok(Message::End(status)) => break status,
            // Nobody said how it ended: the training unwinds.
            Err(RecvTimeoutError::Disconnected) => break Status::Failed,
        };
        if due {
            queue.send(None);
        }
    };
    queue.end(status);
}

/// Metrics on their way, the oldest first.
struct Queue<'a> {
    server: &'a Server,
    run: &'a str,
    waiting: VecDeque<Metric>,
    /// Whether the last request failed.
    failing: bool,
    /// When to send whatever waits.
    due: Instant,
    /// Values that had to be left out.
    surplus: usize,
}

impl Queue<'_> {
    /// Takes more; the oldest are left out where too many wait.
    fn keep(&mut self, metrics: Vec<Metric>) {
        self.waiting.extend(metrics);
        let surplus = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..surplus);
        self.surplus += surplus;
    }

    /// Sends all that waits, batch by batch, until something fails or it is too late.
    fn send(&mut self, until: Option<Instant>) {
        while !self.waiting.is_empty() && until.is_none_or(|until| Instant::now() < until) {
            let count = self.waiting.len().min(MOST_METRICS);
            let batch: Vec<&Metric> = self.waiting.range(..count).collect();
            let sent = self.server.log_metrics(self.run, &batch);
            if !self.note(&sent) {
                break;
            }
            self.waiting.drain(..count);
        }
        self.due = Instant::now() + PAUSE;
    }

    /// Sends what is left and how the run ended; what cannot be sent is left to a resumption.
    fn end(&mut self, status: Status) {
        self.send(Some(Instant::now() + LONGEST_END));
        if self.waiting.is_empty() {
            let ended = self.server.update_run(self.run, status.name(), Some(now_s()));
            self.note(&ended);
        }
        if self.surplus > 0 {
            tracing::warn!("MLflow: the oldest {} values were left out", self.surplus);
        }
        if self.failing || !self.waiting.is_empty() {
            tracing::warn!(
                "MLflow: {} values and the end of the run were not sent; `geoseg train --resume` sends them",
                self.waiting.len()
            );
        }
    }

    /// Whether it went well; says where that changes.
    fn note(&mut self, sent: &Result<(), Problem>) -> bool {
        match (self.failing, sent) {
            (false, Err(problem)) => tracing::warn!(
                "MLflow: {problem}; training goes on, metrics.jsonl has everything, and what is missing is sent when the server answers again"
            ),
            (true, Ok(())) => tracing::info!("MLflow: the server answers again"),
            _ => {}
        }
        self.failing = sent.is_err();
        !self.failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_values_the_newest_wait() {
        let server = Server::new("http://127.0.0.1:9");
        let mut queue = Queue {
            server: &server,
            run: "a",
            waiting: VecDeque::new(),
            failing: true,
            due: Instant::now() + PAUSE,
            surplus: 0,
        };
        let metric = |step| Metric { key: "loss".into(), value: 0.5, step, time: 0.0 };
        queue.keep((0..MOST_WAITING - 1).map(metric).collect());
        assert_eq!((queue.waiting.len(), queue.surplus), (MOST_WAITING - 1, 0));
        queue.keep((MOST_WAITING - 1..MOST_WAITING + 2).map(metric).collect());
        assert_eq!((queue.waiting.len(), queue.surplus), (MOST_WAITING, 2));
        let steps: Vec<usize> = queue.waiting.iter().map(|metric| metric.step).collect();
        assert!(steps.is_sorted() && steps[0] == 2, "{:?}", &steps[..3]);
    }
}
