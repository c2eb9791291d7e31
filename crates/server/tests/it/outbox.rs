//! What happens after the commit: leases, mail, webhooks and brokers.

mod fair;
mod held_up;
mod lease;
mod mail;
mod medusa;
mod nats;
mod retry;
mod wake;
mod webhook;
