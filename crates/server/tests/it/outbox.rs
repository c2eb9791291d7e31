//! What happens after the commit: leases, mail and webhooks.

mod lease;
mod mail;
mod webhook;
