//! What runs after commit: jobs are done, deliveries are made.

mod dispatcher;
mod mail;
mod webhook;

use std::sync::Arc;

use tokio::sync::Notify;

#[cfg(feature = "testing")]
pub(crate) use dispatcher::{ClaimedDeliveries, ClaimedJobs, claim_deliveries, claim_jobs, do_delivery, do_job};
pub use dispatcher::{run_deliveries, run_jobs, settle};

/// Tells the dispatcher that something was committed. Without it the dispatcher still looks by itself, a little later.
#[derive(Clone, Default)]
pub struct Outbox {
    jobs: Arc<Notify>,
    deliveries: Arc<Notify>,
    senders: mail::Senders,
}

impl Outbox {
    /// Call after a commit that wrote a job or an event.
    pub fn wake(&self) {
        self.jobs.notify_one();
        self.deliveries.notify_one();
    }
}

/// How one attempt at a delivery ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done(crate::store::delivery::Ending, String),
    /// Worth another try; no sooner than this, if the subscriber said so.
    Retry(String, Option<std::time::Duration>),
}
