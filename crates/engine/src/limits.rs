//! The table of budgets, and `take`.
//!
//! A budget is taken before anything else is read or written, in the transaction that goes on only if it was granted. It speaks of what was
//! asked for, never of what exists, so a refusal tells nothing about an account.

use std::net::IpAddr;
use std::time::Duration;

use crate::Engine;
use crate::error::{Error, Result};
use crate::model::tenant::Tenant;
use crate::ports::clock::Clock;
use crate::store::{Tx, limit};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Failed sign-ins per address; a success gives them back. A window that was used up is followed by a longer one, up to an hour.
    FailedSignIns,
    SignInsPerClient,
    SignInsPerTenant,
    RegistrationsPerClient,
    /// Changes of a customer's own data: each appends an event, so without a budget an account could fill the disk.
    CustomerUpdates,
    ResetsPerClient,
    ResetsPerIdentifier,
}

impl Limit {
    const fn name(self) -> &'static str {
        match self {
            Self::FailedSignIns => "failed_sign_ins",
            Self::SignInsPerClient => "sign_ins_per_client",
            Self::SignInsPerTenant => "sign_ins_per_tenant",
            Self::RegistrationsPerClient => "registrations_per_client",
            Self::CustomerUpdates => "customer_updates",
            Self::ResetsPerClient => "resets_per_client",
            Self::ResetsPerIdentifier => "resets_per_identifier",
        }
    }

    fn budget(self, tenant: &Tenant) -> limit::Budget {
        let limits = &tenant.settings.limits;
        let (most, window_s, later_s) = match self {
            Self::FailedSignIns => (limits.failed_sign_ins, 15 * MINUTE, [30 * MINUTE, HOUR]),
            Self::SignInsPerClient => (limits.sign_ins_per_client, MINUTE, [MINUTE; 2]),
            Self::SignInsPerTenant => (limits.sign_ins_per_tenant, 1, [1; 2]),
            Self::RegistrationsPerClient => (limits.registrations_per_client, HOUR, [HOUR; 2]),
            Self::CustomerUpdates => (limits.customer_updates, HOUR, [HOUR; 2]),
            Self::ResetsPerClient => (limits.resets_per_client, HOUR, [HOUR; 2]),
            Self::ResetsPerIdentifier => (limits.resets_per_identifier, HOUR, [HOUR; 2]),
        };
        let micros = |seconds: i64| seconds * 1_000_000;
        limit::Budget { most: most.into(), window: micros(window_s), second_window: micros(later_s[0]), later_window: micros(later_s[1]) }
    }
}

/// A try that is to be counted: made before the transaction, because hashing the subject needs the engine's keys.
#[derive(Debug, Clone)]
pub struct Ticket {
    limit: Limit,
    subject: [u8; 16],
    budget: limit::Budget,
    enabled: bool,
}

/// A ticket for `subject`. Addresses of clients and customers are stored as keyed hashes only.
#[must_use]
pub fn ticket(engine: &Engine, tenant: &Tenant, limit: Limit, subject: &str) -> Ticket {
    Ticket {
        limit,
        subject: engine.master.subject_hash(tenant.id, limit.name(), subject),
        budget: limit.budget(tenant),
        enabled: tenant.settings.limits.enabled,
    }
}

/// What one client is: an IPv4 address, or the /64 of an IPv6 address, since a subscriber is given at least that many.
#[must_use]
pub fn client_subject(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Takes one try from each ticket, in order, until one is refused; the error says when to come back.
/// Commit after a refusal: what was taken stays taken.
pub async fn take(tx: &mut Tx, tenant: &Tenant, tickets: &[Ticket]) -> Result<Option<Error>> {
    for ticket in tickets.iter().filter(|t| t.enabled) {
        if !limit::take(tx, tenant.id, ticket.limit.name(), &ticket.subject, ticket.budget).await? {
            let resets_at = limit::resets_at(tx, tenant.id, ticket.limit.name(), &ticket.subject).await?;
            let wait = resets_at.map_or(Duration::ZERO, |at| at.since(tx.now()));
            // Whole seconds, and never zero: that is what Retry-After can say.
            return Ok(Some(Error::too_many(Duration::from_secs(wait.as_secs() + 1))));
        }
    }
    Ok(None)
}

/// Gives the ticket's subject its whole budget back.
pub async fn give_back(tx: &mut Tx, tenant: &Tenant, ticket: &Ticket) -> Result<()> {
    if ticket.enabled { limit::clear(tx, tenant.id, ticket.limit.name(), &ticket.subject).await } else { Ok(()) }
}

/// Rows whose window ended before this are of no more use: even a longer window after a used one is at most an hour.
#[must_use]
pub fn sweep_before(clock: &Clock) -> crate::model::time::Timestamp {
    clock.now().before(Duration::from_secs(2 * HOUR.unsigned_abs()))
}
