//! Closed-loop load: each connection sends its next request when it has its answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;
use crate::client::Connection;
use crate::stats::{percentile, real};

/// How long answers may be outstanding once the time is over.
const GRACE: Duration = Duration::from_mins(1);
/// After a refusal a connection waits, so that a server that sheds load is not met by a busy loop.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// Requests taken in turn by all connections and by all runs: none comes again before every other one was sent.
pub struct Requests {
    rendered: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Requests {
    pub fn new(rendered: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { rendered, next: AtomicUsize::new(0) })
    }

    pub fn take(&self) -> &[u8] {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.rendered.len().max(1);
        self.rendered.get(turn).map_or(&[], Vec::as_slice)
    }
}

#[derive(Default)]
pub struct Tally {
    pub statuses: BTreeMap<u16, usize>,
    pub broken: usize,
    pub micros: Vec<u32>,
    pub elapsed: Duration,
}

impl Tally {
    /// `None`: the connection broke before an answer. Returns whether the answer was a success.
    pub fn record(&mut self, status: Option<u16>, latency: Duration) -> bool {
        let Some(status) = status else {
            self.broken += 1;
            return false;
        };
        *self.statuses.entry(status).or_default() += 1;
        self.micros.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        (200..300).contains(&status)
    }

    pub fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.broken += other.broken;
        self.micros.extend(other.micros);
        self.elapsed = self.elapsed.max(other.elapsed);
    }

    /// Adds what came after this.
    pub fn follow(&mut self, later: Self) {
        let elapsed = self.elapsed + later.elapsed;
        self.merge(later);
        self.elapsed = elapsed;
    }

    pub fn good(&self) -> usize {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// Refused, failed, or never answered.
    pub fn unexpected(&self) -> usize {
        self.statuses.values().sum::<usize>() + self.broken - self.good()
    }

    /// Successes a second: a refusal is quick, and must not look like speed.
    pub fn rate(&self) -> f64 {
        real(self.good()) / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    pub fn percentile_ms(&mut self, percent: usize) -> f64 {
        f64::from(percentile(&mut self.micros, percent)) / 1000.0
    }

    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}×{count}")).collect();
        if self.broken > 0 {
            parts.push(format!("broken×{}", self.broken));
        }
        parts.join(" ")
    }
}

pub async fn closed_loop(address: SocketAddr, requests: &Arc<Requests>, connections: usize, duration: Duration) -> Result<Tally> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(one_connection(address, Arc::clone(requests), began, duration));
    }
    let mut total = Tally::default();
    let all = async {
        while let Some(done) = workers.join_next().await {
            total.merge(done?);
        }
        Ok::<(), tokio::task::JoinError>(())
    };
    tokio::time::timeout(duration + GRACE, all).await.map_err(|_| format!("answers were still outstanding {GRACE:?} after the run"))??;
    Ok(total)
}

async fn one_connection(address: SocketAddr, requests: Arc<Requests>, began: Instant, duration: Duration) -> Tally {
    let mut connection = Connection::to(address);
    let mut tally = Tally::default();
    while began.elapsed() < duration {
        let sent = Instant::now();
        let status = connection.exchange(requests.take()).await.map(|answer| answer.status).ok();
        if !tally.record(status, sent.elapsed()) {
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
    }
    tally.elapsed = began.elapsed();
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_round() {
        let requests = Requests::new(vec![b"a".to_vec(), b"b".to_vec()]);
        let taken: Vec<&[u8]> = (0..5).map(|_| requests.take()).collect();
        assert_eq!(taken, [b"a", b"b", b"a", b"b", b"a"]);
    }

    #[test]
    fn what_follows_takes_its_own_time_and_what_is_merged_the_same() {
        let tally = || Tally { elapsed: Duration::from_secs(2), micros: vec![1], ..Tally::default() };
        let (mut merged, mut followed) = (tally(), tally());
        merged.merge(tally());
        followed.follow(tally());
        assert_eq!((merged.elapsed.as_secs(), followed.elapsed.as_secs()), (2, 4));
        assert_eq!((merged.micros.len(), followed.micros.len()), (2, 2));
    }

    #[test]
    fn only_successes_make_a_rate() {
        let mut tally = Tally { elapsed: Duration::from_secs(2), ..Tally::default() };
        assert!(tally.record(Some(201), Duration::from_millis(3)));
        assert!(!tally.record(Some(503), Duration::from_millis(1)));
        assert!(!tally.record(None, Duration::ZERO));
        let rate = tally.rate();
        assert!((rate - 0.5).abs() < 1e-9, "{rate}");
        assert_eq!((tally.good(), tally.unexpected(), tally.describe().as_str()), (1, 2, "201×1 503×1 broken×1"));
    }
}
