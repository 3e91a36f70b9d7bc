//! Work done ahead by background threads, received in order.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::error::Result;

/// The results of `make(k)` for each `k` of a range, in order, whatever the number of threads.
///
/// Thread `w` of `n` makes every `n`-th result and keeps at most one finished and one in the making, so
/// that at most `2 n` results are in memory. Dropping the iterator ends the threads after the result that
/// they are working on.
#[derive(Debug)]
pub struct Prefetch<T> {
    lanes: Vec<Receiver<Result<T>>>,
    next: u64,
    end: u64,
}

impl<T> Prefetch<T> {
    /// Starts `workers` threads (at least one) in `scope`.
    pub fn start<'scope, F>(
        scope: &'scope Scope<'scope, '_>,
        workers: usize,
        range: Range<u64>,
        make: F,
    ) -> Self
    where
        F: Fn(u64) -> Result<T> + Clone + Send + 'scope,
        T: Send + 'scope,
    {
        let workers = workers.max(1) as u64;
        let lanes = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(1);
                let make = make.clone();
                let own = (range.start..range.end)
                    .skip(((worker + workers - range.start % workers) % workers) as usize)
                    .step_by(workers as usize);
                scope.spawn(move || {
                    for k in own {
                        // The other end hangs up when it needs no more.
                        if sender.send(make(k)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        Self { lanes, next: range.start, end: range.end }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let lane = &self.lanes[(self.next % self.lanes.len() as u64) as usize];
        self.next += 1;
        // A lane closes early only when its thread panicked, which the scope passes on.
        lane.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn results_come_in_order_for_any_number_of_threads_and_any_start() {
        for workers in 1..6 {
            for start in 0..7 {
                let got: Vec<u64> = std::thread::scope(|scope| {
                    Prefetch::start(scope, workers, start..23, |k| Ok(k * k))
                        .map(|result| result.unwrap())
                        .collect()
                });
                assert_eq!(got, (start..23).map(|k| k * k).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn dropping_it_ends_the_threads_early() {
        let made = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let mut results = Prefetch::start(scope, 3, 0..1_000_000, |k| {
                made.fetch_add(1, Ordering::Relaxed);
                Ok(k)
            });
            assert_eq!(results.next().unwrap().unwrap(), 0);
        });
        assert!(made.load(Ordering::Relaxed) < 20);
    }

    #[test]
    fn an_error_arrives_at_its_place() {
        std::thread::scope(|scope| {
            let make = |k| if k == 2 { Err(Error::config("k", "is 2")) } else { Ok(k) };
            let mut results = Prefetch::start(scope, 2, 0..4, make);
            assert!(results.next().unwrap().is_ok());
            assert!(results.next().unwrap().is_ok());
            assert!(results.next().unwrap().is_err());
        });
    }
}
