//! What the server still has to do after its answers: `/readyz` says how many jobs and deliveries wait.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::client::{Caller, Connection, get};

/// Where in the answer of `/readyz` the number stands.
const WAITING: &str = "/waiting";
const LIMIT: Duration = Duration::from_mins(10);

pub struct Backlog {
    connection: Connection,
    request: Vec<u8>,
}

impl Backlog {
    pub fn of(address: SocketAddr) -> Self {
        Self { connection: Connection::to(address), request: get(Caller::nobody("localhost"), "/readyz") }
    }

    /// The status may be another than 200 while the queue is long; the number counts all the same.
    pub async fn waiting(&mut self) -> Result<u64> {
        let answer = self.connection.exchange(&self.request).await?;
        let body: Value = serde_json::from_slice(answer.body).map_err(|error| format!("/readyz answered {} without JSON: {error}", answer.status))?;
        body.pointer(WAITING).and_then(Value::as_u64).ok_or_else(|| format!("/readyz has no number at {WAITING}: {body}").into())
    }

    /// Waits until nothing is waiting and returns how long that took. A backlog that outlives `LIMIT` is an error: whatever is measured
    /// beside leftover work is wrong, and a ratio flatters when it is the other side, `/health` or raw Argon2id, that the work slows.
    pub async fn drain(&mut self, poll: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            match self.waiting().await? {
                0 => return Ok(began.elapsed()),
                waiting if began.elapsed() >= LIMIT => return Err(format!("{waiting} jobs still wait after {LIMIT:?}").into()),
                _ => tokio::time::sleep(poll).await,
            }
        }
    }
}
