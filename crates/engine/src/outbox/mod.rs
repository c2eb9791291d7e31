//! What runs after commit: jobs are done, deliveries are made.

mod dispatcher;
mod lane;
mod mail;
mod webhook;

use std::sync::Arc;

use tokio::sync::Notify;

pub use dispatcher::run;
#[cfg(feature = "testing")]
pub(crate) use dispatcher::{Work, carry_out, claim};
pub use lane::Lane;
#[cfg(feature = "testing")]
pub(crate) use lane::Slots;
pub use mail::send;

/// Tells the dispatcher that something was committed. Without it the dispatcher still looks by itself, a little later.
#[derive(Clone, Default)]
pub struct Outbox {
    jobs: Arc<Notify>,
    mail: Arc<Notify>,
    webhooks: Arc<Notify>,
    senders: mail::Senders,
}

impl Outbox {
    /// Call after a commit that wrote a job or an event.
    pub fn wake(&self) {
        for lane in Lane::ALL {
            self.bell(lane).notify_one();
        }
    }

    fn bell(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Jobs => &self.jobs,
            Lane::Mail => &self.mail,
            Lane::Webhooks => &self.webhooks,
        }
    }
}

/// How one attempt at a delivery ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done(crate::store::delivery::Ending, String),
    /// The webhook says that it is gone: nothing more is sent to it.
    Gone(String),
    /// Worth another try; no sooner than this, if the subscriber said so.
    Retry(String, Option<std::time::Duration>),
}
