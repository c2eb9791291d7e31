//! What happens after the commit: leases, mail and webhooks.

mod fair;
mod held_up;
mod lease;
mod mail;
mod retry;
mod webhook;
