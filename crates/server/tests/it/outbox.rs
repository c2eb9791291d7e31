//! What happens after the commit: leases, mail and webhooks.

mod fair;
mod lease;
mod mail;
mod retry;
mod webhook;
