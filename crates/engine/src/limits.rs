//! The table of budgets, and `take`.
//!
//! A budget is taken before what it guards is read or written, in the transaction that goes on only if it was granted. It speaks of what was
//! asked for, never of what exists, so a refusal tells nothing about an account. Exceptions: a reset beyond its budget is issued where no link is good, which
//! nobody but its owner is told; the client that has completed a reset has tries of its own; and a registration takes the budgets of its client and
//! its shop, then looks whether the address is taken, and only then counts a try at that login's password; its answer tells as much anyway.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Engine;
use crate::error::{Error, Result};
use crate::model::identity::IdentityKey;
use crate::model::tenant::Tenant;
use crate::ports::clock::Clock;
use crate::store::{Tx, limit};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Most failed sign-ins in a row for one address. Source: NIST SP 800-63B, on rate limiting.
const MOST_IN_A_ROW: u32 = 100;
/// How long each of them is remembered: 7.2 hours, so all 100 for 30 days from the first.
///
/// Strangers guess at addresses that nobody has, too, and each of these has its row, as known addresses have: else a refusal would tell who exists. If one guess
/// kept its row for 30 days, 50 a second would leave 130 million. So each buys its own share of the time, and no more: spread over many addresses guesses leave
/// little, and spread over time they come no faster than 100 in 30 days. A row that remembers less of the first guesses would let slow ones pass, one that remembers
/// more would only keep what no limit needs.
const REMEMBERED_S: i64 = 30 * DAY / MOST_IN_A_ROW as i64;

/// Tries at the new password within the hour, at the client that has set it by a reset. A stranger who spends the budget of failures again and again would keep
/// the owner out between the reset and the sign-in otherwise.
const SIGN_INS_AFTER_RESET: u32 = 5;

/// How many times the budget of a client a whole /48 of IPv6 has. Whoever rents a server is often given one, and with it 65 536 clients: enough to spend what a
/// shop has for all. Behind one may be a company, too.
const CLIENTS_PER_NETWORK: i64 = 10;

/// New idempotency keys of logins a day. Each keeps 32 KiB at most, so these are 8 MiB of one, and 3 GiB of all.
const KEYS_PER_LOGIN: u32 = 256;
const KEYS_PER_TENANT: u32 = 100_000;
/// New idempotency keys an hour where no token is asked for. Each keeps hardly more than a token.
const KEYS_PER_CLIENT: u32 = 600;
const PUBLIC_KEYS_PER_TENANT: u32 = 20_000;

/// Mails an hour that a member of staff sends to try how they look.
const TRIED_MAILS: u32 = 20;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Failed sign-ins per address; a success gives them back. A window that was used up is followed by a longer one, up to an hour.
    FailedSignIns,
    /// Failed sign-ins per address since the last success or reset, so that guessing slowly is no way around the pauses. Each is remembered for a while longer.
    FailedSignInsInARow,
    SignInsPerClient,
    SignInsPerTenant,
    RegistrationsPerClient,
    RegistrationsPerTenant,
    /// Changes of a customer's own data: each appends an event, so without a budget an account could fill the disk.
    CustomerUpdates,
    ResetsPerClient,
    ResetsPerIdentifier,
    /// Resets beyond that, issued where no link of the address is good any more.
    ResetsBeyond,
    /// Sign-ins of a client that has just set the password by a reset, beyond the failures of others.
    SignInsAfterReset,
    /// New idempotency keys per caller who was let in. Each takes a row for a day, so without a budget an account could fill the disk.
    KeysPerLogin,
    KeysPerTenant,
    /// The same on a public route: strangers have budgets of their own, so that they shut nobody out who was let in.
    KeysPerClient,
    PublicKeysPerTenant,
    /// Mails that a member of staff sends to their own address.
    TriedMails,
}

impl Limit {
    const fn name(self) -> &'static str {
        match self {
            Self::FailedSignIns => "failed_sign_ins",
            Self::FailedSignInsInARow => "failed_sign_ins_in_a_row",
            Self::SignInsPerClient => "sign_ins_per_client",
            Self::SignInsPerTenant => "sign_ins_per_tenant",
            Self::RegistrationsPerClient => "registrations_per_client",
            Self::RegistrationsPerTenant => "registrations_per_tenant",
            Self::CustomerUpdates => "customer_updates",
            Self::ResetsPerClient => "resets_per_client",
            Self::ResetsPerIdentifier => "resets_per_identifier",
            Self::ResetsBeyond => "resets_beyond",
            Self::SignInsAfterReset => "sign_ins_after_reset",
            Self::KeysPerLogin => "keys_per_login",
            Self::KeysPerTenant => "keys_per_tenant",
            Self::KeysPerClient => "keys_per_client",
            Self::PublicKeysPerTenant => "public_keys_per_tenant",
            Self::TriedMails => "tried_mails",
        }
    }

    fn budget(self, tenant: &Tenant) -> limit::Budget {
        let limits = &tenant.settings.limits;
        let (most, window_s, later_s) = match self {
            Self::FailedSignIns => (limits.failed_sign_ins, 15 * MINUTE, [30 * MINUTE, HOUR]),
            Self::FailedSignInsInARow => (MOST_IN_A_ROW, REMEMBERED_S, [REMEMBERED_S; 2]),
            Self::SignInsPerClient => (limits.sign_ins_per_client, MINUTE, [MINUTE; 2]),
            Self::SignInsPerTenant => (limits.sign_ins_per_tenant, 1, [1; 2]),
            Self::RegistrationsPerClient => (limits.registrations_per_client, HOUR, [HOUR; 2]),
            Self::RegistrationsPerTenant => (limits.registrations_per_tenant, HOUR, [HOUR; 2]),
            Self::CustomerUpdates => (limits.customer_updates, HOUR, [HOUR; 2]),
            Self::ResetsPerClient => (limits.resets_per_client, HOUR, [HOUR; 2]),
            Self::ResetsPerIdentifier => (limits.resets_per_identifier, HOUR, [HOUR; 2]),
            Self::ResetsBeyond => (1, 15 * MINUTE, [15 * MINUTE; 2]),
            Self::SignInsAfterReset => (SIGN_INS_AFTER_RESET, HOUR, [HOUR; 2]),
            Self::KeysPerLogin => (KEYS_PER_LOGIN, DAY, [DAY; 2]),
            Self::KeysPerTenant => (KEYS_PER_TENANT, DAY, [DAY; 2]),
            Self::KeysPerClient => (KEYS_PER_CLIENT, HOUR, [HOUR; 2]),
            Self::PublicKeysPerTenant => (PUBLIC_KEYS_PER_TENANT, HOUR, [HOUR; 2]),
            Self::TriedMails => (TRIED_MAILS, HOUR, [HOUR; 2]),
        };
        let growth_s = if self == Self::FailedSignInsInARow { REMEMBERED_S } else { 0 };
        let micros = |seconds: i64| seconds * 1_000_000;
        limit::Budget {
            most: most.into(),
            window: micros(window_s),
            second_window: micros(later_s[0]),
            later_window: micros(later_s[1]),
            growth: micros(growth_s),
        }
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
fn client_subject(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// The tickets of a client: its own, and with IPv6 that of its /48.
#[must_use]
pub fn per_client(engine: &Engine, tenant: &Tenant, limit: Limit, client: IpAddr) -> Vec<Ticket> {
    let mut tickets = vec![ticket(engine, tenant, limit, &client_subject(client))];
    if let IpAddr::V6(v6) = client.to_canonical() {
        let [a, b, c, ..] = v6.segments();
        let mut network = ticket(engine, tenant, limit, &format!("{a:x}:{b:x}:{c:x}::/48"));
        network.budget.most *= CLIENTS_PER_NETWORK;
        tickets.push(network);
    }
    tickets
}

/// The same, and then that of all clients together.
#[must_use]
pub fn per_client_and_all(engine: &Engine, tenant: &Tenant, [own, all]: [Limit; 2], client: IpAddr) -> Vec<Ticket> {
    let mut tickets = per_client(engine, tenant, own, client);
    tickets.push(ticket(engine, tenant, all, ""));
    tickets
}

/// What one login is, whether there is such a one or not.
#[must_use]
pub fn login_subject(key: &IdentityKey) -> String {
    format!("{}\0{}", key.actor_type, key.entity_id)
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

/// The budgets of failed sign-ins for one address. A try is taken before the password is looked at; a right one gives all back.
#[derive(Debug, Clone)]
pub struct Failures {
    in_a_row: Ticket,
    in_window: Ticket,
    /// What `client` has of its own after a reset.
    after_reset: Option<Ticket>,
    /// Whether the try was taken from that, and not from the window.
    by_own: bool,
}

impl Failures {
    /// `client` is who tries, or sets the password by a reset.
    #[must_use]
    pub fn at(engine: &Engine, tenant: &Tenant, key: &IdentityKey, client: Option<IpAddr>) -> Self {
        let subject = login_subject(key);
        let [in_a_row, in_window] = [Limit::FailedSignInsInARow, Limit::FailedSignIns].map(|limit| ticket(engine, tenant, limit, &subject));
        let after_reset = client.map(|ip| ticket(engine, tenant, Limit::SignInsAfterReset, &format!("{subject}\0{}", client_subject(ip))));
        Self { in_a_row, in_window, after_reset, by_own: false }
    }

    /// Takes one try; as what was taken. The inner result is a refusal: commit after it, too.
    pub async fn take(&self, tx: &mut Tx, tenant: &Tenant) -> Result<Result<Self>> {
        // The longer wait first: a refusal must not promise less.
        if let Some(refusal) = take(tx, tenant, std::slice::from_ref(&self.in_a_row)).await? {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = take(tx, tenant, std::slice::from_ref(&self.in_window)).await? {
            if let Some(own) = &self.after_reset
                && limit::spend_granted(tx, tenant.id, own.limit.name(), &own.subject, own.budget).await?
            {
                return Ok(Ok(Self { by_own: true, ..self.clone() }));
            }
            // Nobody looks at this password, so it is no failure in the row.
            self.in_a_row.give_back_one(tx, tenant).await?;
            return Ok(Err(refusal));
        }
        Ok(Ok(self.clone()))
    }

    /// Gives the address its whole budgets back: the owner was here.
    pub async fn give_back(&self, tx: &mut Tx, tenant: &Tenant) -> Result<()> {
        for ticket in [&self.in_a_row, &self.in_window].into_iter().filter(|t| t.enabled) {
            limit::clear(tx, tenant.id, ticket.limit.name(), &ticket.subject).await?;
        }
        Ok(())
    }

    /// Gives them back, too, and lets the client that has set a password by a reset sign in with it, whatever strangers spend meanwhile.
    pub async fn give_back_after_reset(&self, tx: &mut Tx, tenant: &Tenant) -> Result<()> {
        self.give_back(tx, tenant).await?;
        match self.after_reset.as_ref().filter(|ticket| ticket.enabled) {
            Some(own) => limit::grant(tx, tenant.id, own.limit.name(), &own.subject, own.budget).await,
            None => Ok(()),
        }
    }

    /// What hashing came to. Where it failed, under load say, no password was judged, and the one try is given back: nobody is locked out by that.
    pub async fn judged<T>(&self, engine: &Engine, tenant: &Arc<Tenant>, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() && self.in_window.enabled {
            let input = Arc::new((tenant.clone(), self.clone()));
            engine
                .db
                .write(move |tx| {
                    let input = input.clone();
                    Box::pin(async move {
                        let (tenant, taken) = &*input;
                        taken.in_a_row.give_back_one(tx, tenant).await?;
                        let paid = taken.after_reset.as_ref().filter(|_| taken.by_own).unwrap_or(&taken.in_window);
                        paid.give_back_one(tx, tenant).await
                    })
                })
                .await?;
        }
        outcome
    }
}

impl Ticket {
    /// The keyed hash of what is limited.
    #[must_use]
    pub fn subject(&self) -> [u8; 16] {
        self.subject
    }

    async fn give_back_one(&self, tx: &mut Tx, tenant: &Tenant) -> Result<()> {
        limit::give_back_one(tx, tenant.id, self.limit.name(), &self.subject, self.budget).await
    }
}

/// Rows whose window ended before this are of no more use: a longer window after a used one is at most an hour, and where windows are
/// longer than that, the one before does not count.
#[must_use]
pub fn sweep_before(clock: &Clock) -> crate::model::time::Timestamp {
    clock.now().before(Duration::from_secs(2 * HOUR.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(ip: &str) -> String {
        client_subject(ip.parse().unwrap())
    }

    #[test]
    fn one_client_is_an_ipv4_address_or_a_64_of_ipv6() {
        let one = subject("2001:db8:1:2::1");
        assert_eq!(one, subject("2001:db8:1:2:ffff:ffff:ffff:ffff"), "the same /64");
        assert_ne!(one, subject("2001:db8:1:3::1"), "the next /64");
        assert_ne!(one, subject("2001:db8:2:2::1"));
        assert_eq!(subject("::ffff:192.0.2.7"), subject("192.0.2.7"), "an IPv4 address, however it comes");
        assert_ne!(subject("192.0.2.7"), subject("192.0.2.8"));
        assert_ne!(subject("::ffff:192.0.2.7"), subject("::ffff:192.0.2.8"), "mapped ones are no /64");
    }
}
