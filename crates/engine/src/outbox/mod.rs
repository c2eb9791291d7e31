//! What runs after commit: jobs are done, deliveries are made.

mod dispatcher;
mod failed_sign_in;
mod lane;
mod mail;
mod medusa;
mod nats;
mod payload;
mod sequencer;
mod sweep;
mod waiting;
mod webhook;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::Engine;
pub use dispatcher::run;
#[cfg(feature = "testing")]
pub(crate) use dispatcher::{Work, carry_out, claim};
pub use failed_sign_in::tell_failures;
pub use lane::Lane;
#[cfg(feature = "testing")]
pub(crate) use lane::Slots;
pub use mail::send;
pub use sequencer::number;
pub use sweep::sweep;
pub use waiting::{MOST_OF_ONE as MOST_WAITING, Waiting};

use crate::model::ids::TenantId;
use crate::ops::event::Planned;

/// Tells the dispatcher that something was committed. Without it the dispatcher still looks by itself, a little later.
#[derive(Clone, Default)]
pub struct Outbox {
    jobs: Arc<Notify>,
    mail: Arc<Notify>,
    webhooks: Arc<Notify>,
    nats_bell: Arc<Notify>,
    medusa_bell: Arc<Notify>,
    /// Rings for the other processes on the database.
    others: Arc<Notify>,
    numbers: Arc<Notify>,
    waiters: waiting::Waiters,
    senders: mail::Senders,
    nats: nats::Link,
    medusa: medusa::Links,
}

impl Outbox {
    /// Call after a commit that wrote a job or an event.
    pub fn wake(&self) {
        self.ring();
        self.others.notify_one();
    }

    /// Call after a commit that wrote no job, and no other event than `event`: only the lanes of those who hear it look.
    pub fn announce(&self, event: &Planned) {
        for subscriber in event.subscribers() {
            self.bell(Lane::of(subscriber)).notify_one();
        }
        self.numbers.notify_one();
        self.others.notify_one();
    }

    /// Has every lane of this process look.
    fn ring(&self) {
        for lane in Lane::ALL {
            self.bell(lane).notify_one();
        }
        self.numbers.notify_one();
    }

    /// A place among those who wait for the tenant's next events. `None`: too many wait.
    #[must_use]
    pub fn wait(&self, tenant: TenantId) -> Option<Waiting> {
        self.waiters.admit(tenant)
    }

    /// Tells those who wait that events of the tenant have numbers.
    fn numbered(&self, tenant: TenantId) {
        self.waiters.ring(tenant);
    }

    /// Waits until `lane` is told to look: what a dispatcher does, for a process that has none.
    #[cfg(feature = "testing")]
    pub async fn told(&self, lane: Lane) {
        self.bell(lane).notified().await;
    }

    fn bell(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Jobs => &self.jobs,
            Lane::Mail => &self.mail,
            Lane::Webhooks => &self.webhooks,
            Lane::Nats => &self.nats_bell,
            Lane::Medusa => &self.medusa_bell,
        }
    }
}

impl Engine {
    /// Wakes the other processes on the database when something was committed here, and this one when they do. Ends only on SQLite.
    pub async fn listen(&self) {
        self.db.relay(&self.outbox.others, || self.outbox.ring()).await;
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

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
