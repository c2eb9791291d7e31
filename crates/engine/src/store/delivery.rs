//! Deliveries: one event on its way to one subscriber.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, begun_at, created_at)
        VALUES ($1, $2, $3, $4, 'waiting', $5, 0, $5, $5)";
    // As for jobs, but the subscribers of each tenant. A step finds one row, so both of its columns are written as one text, of which the
    // tenant's are the first 26 characters.
    DUE = "SELECT tenant_id, subscriber FROM (WITH RECURSIVE parties (party) AS (
            SELECT (SELECT tenant_id || subscriber FROM deliveries WHERE state = 'waiting' AND (tenant_id, subscriber) > ($1, $2)
                ORDER BY tenant_id, subscriber LIMIT 1)
            UNION ALL SELECT (SELECT later.tenant_id || later.subscriber FROM deliveries AS later WHERE later.state = 'waiting'
                AND (later.tenant_id, later.subscriber) > (SUBSTR(parties.party, 1, 26), SUBSTR(parties.party, 27))
                ORDER BY later.tenant_id, later.subscriber LIMIT 1) FROM parties WHERE parties.party IS NOT NULL)
        SELECT SUBSTR(party, 1, 26) AS tenant_id, SUBSTR(party, 27) AS subscriber FROM parties WHERE party IS NOT NULL) AS found
        WHERE CASE subscriber WHEN 'mail' THEN 'mail' WHEN 'nats' THEN 'nats' WHEN 'medusa' THEN 'medusa' ELSE 'webhooks' END = $4
            AND (SELECT due_at FROM deliveries WHERE deliveries.tenant_id = found.tenant_id AND deliveries.subscriber = found.subscriber
                AND state = 'waiting' ORDER BY due_at, id LIMIT 1) <= $3 LIMIT $5";
    CLAIM = "WITH due AS MATERIALIZED (SELECT id FROM deliveries WHERE tenant_id = $1 AND subscriber = $2 AND state = 'waiting' AND due_at <= $3
            ORDER BY due_at, id LIMIT $4)
        UPDATE deliveries SET due_at = $5, lease = $6, attempts = attempts + 1,
            begun_at = CASE WHEN attempts = 0 THEN $3 ELSE begun_at END WHERE tenant_id = $1 AND id IN (SELECT id FROM due)
        RETURNING tenant_id, id, event_id, subscriber, attempts, begun_at, by_hand_at";
    FINISH = "UPDATE deliveries SET state = $4, answer = $5, done_at = $6, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    RESCHEDULE = "UPDATE deliveries SET due_at = $4, answer = $5, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    WAITING = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'";
    LIST = "SELECT d.id, d.event_id, e.name, d.subscriber, d.state, d.attempts, d.answer, d.lease, d.due_at, d.created_at, d.done_at
        FROM deliveries d LEFT JOIN events e ON e.tenant_id = d.tenant_id AND e.id = d.event_id
        WHERE d.tenant_id = $1 AND d.id BETWEEN $2 AND $3 AND ($4 = '' OR d.state = $4) AND ($5 = '' OR d.subscriber = $5)
            AND ($6 = '' OR e.name = $6)
            AND d.created_at BETWEEN $7 AND $8 ORDER BY d.id DESC LIMIT $9";
    OF_EVENT = "SELECT d.id, d.event_id, e.name, d.subscriber, d.state, d.attempts, d.answer, d.lease, d.due_at, d.created_at, d.done_at
        FROM deliveries d LEFT JOIN events e ON e.tenant_id = d.tenant_id AND e.id = d.event_id
        WHERE d.tenant_id = $1 AND d.event_id = $2 ORDER BY d.id LIMIT 100";
    REPLAY = "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, begun_at, created_at, by_hand_at)
        SELECT tenant_id, $2, id, $4, 'waiting', $5, 0, $5, $5, $5 FROM events WHERE tenant_id = $1 AND id = $3 AND NOT EXISTS (
            SELECT 1 FROM deliveries WHERE deliveries.tenant_id = $1 AND event_id = $3 AND subscriber = $4 AND state = 'waiting')";
    RETRY = "WITH dead AS MATERIALIZED (SELECT d.id FROM deliveries d WHERE d.tenant_id = $1 AND d.state = 'dead'
            AND d.id BETWEEN $2 AND $3 AND ($4 = '' OR d.subscriber = $4)
            AND ($5 = '' OR EXISTS (SELECT 1 FROM events e WHERE e.tenant_id = $1 AND e.id = d.event_id AND e.name = $5))
            AND d.created_at BETWEEN $6 AND $7 ORDER BY d.id LIMIT $8)
        UPDATE deliveries SET state = 'waiting', due_at = $9, begun_at = $9, by_hand_at = $9, attempts = 0, done_at = NULL
        WHERE tenant_id = $1 AND state = 'dead' AND id IN (SELECT id FROM dead) RETURNING id";
    // `state <> 'waiting'` says to SQLite that the index of what is done may be used.
    SWEEP = "DELETE FROM deliveries WHERE tenant_id = $1 AND id IN (
        SELECT id FROM deliveries WHERE tenant_id = $1 AND state = $2 AND state <> 'waiting' AND done_at < $3 ORDER BY done_at, id LIMIT 500)";
}

/// As for jobs: on PostgreSQL two workers must not wait for each other.
const CLAIM_POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT id FROM deliveries WHERE tenant_id = $1 AND subscriber = $2 AND state = 'waiting'
        AND due_at <= $3 ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
    UPDATE deliveries SET due_at = $5, lease = $6, attempts = attempts + 1,
            begun_at = CASE WHEN attempts = 0 THEN $3 ELSE begun_at END WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT id FROM due))
    RETURNING tenant_id, id, event_id, subscriber, attempts, begun_at, by_hand_at";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[(&str, &str)] = &[("CLAIM_POSTGRES", CLAIM_POSTGRES)];

/// What a delivery goes over. None waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Mail,
    Webhooks,
    Nats,
    Medusa,
}

impl Channel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhooks => "webhooks",
            Self::Nats => "nats",
            Self::Medusa => "medusa",
        }
    }
}

/// One subscriber of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Party {
    pub tenant: TenantId,
    /// `mail`, `nats`, `medusa`, or `webhook:` and a digest of its URL.
    pub subscriber: String,
}

impl FromRow for Party {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { tenant: row.id(0)?, subscriber: row.get(1)? })
    }
}

/// A delivery that this worker holds until its lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub tenant: TenantId,
    pub id: DeliveryId,
    pub event: EventId,
    pub subscriber: String,
    /// This attempt included.
    pub attempts: i64,
    /// When it was first tried.
    pub begun_at: Timestamp,
    /// When somebody asked for it, by a replay or a retry.
    pub by_hand_at: Option<Timestamp>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Delivered,
    /// A newer secret took its place before it was sent.
    Superseded,
    /// Its secret expired before it was sent.
    Expired,
    /// Given up.
    Dead,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Delivered, Self::Superseded, Self::Expired, Self::Dead];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

impl FromRow for ClaimedDelivery {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let (tenant, id, event, subscriber) = (row.id(0)?, row.id(1)?, row.id(2)?, row.get(3)?);
        Ok(Self { tenant, id, event, subscriber, attempts: row.get(4)?, begun_at: row.time(5)?, by_hand_at: row.optional_time(6)? })
    }
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, id: DeliveryId, event: EventId, subscriber: &str) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), event.into(), subscriber.into(), now.into()]).await?;
    Ok(())
}

/// Who has deliveries over `channel` that are due, at most `most` of them, in order from behind `after` on.
pub async fn due(reader: &mut Reader, channel: Channel, after: Option<&Party>, most: i64) -> Result<Vec<Party>> {
    let (tenant, subscriber) = after.map_or_else(|| ("".into(), "".into()), |party| (party.tenant.into(), (&party.subscriber).into()));
    reader.all(DUE, &[tenant, subscriber, reader.now().into(), channel.as_str().into(), most.into()]).await
}

/// Claims what is due to one subscriber, the oldest first and at most `most`, until `lease_until`.
pub async fn claim(tx: &mut Tx, party: &Party, lease: &str, lease_until: Timestamp, most: i64) -> Result<Vec<ClaimedDelivery>> {
    let sql = if tx.is_postgres() { CLAIM_POSTGRES } else { CLAIM };
    let now = tx.now();
    let values = [party.tenant.into(), (&party.subscriber).into(), now.into(), most.into(), lease_until.into(), lease.into()];
    tx.returning_all(sql, &values).await
}

/// Ends the delivery. False: the lease is no longer ours.
pub async fn finish(tx: &mut Tx, delivery: &ClaimedDelivery, lease: &str, ending: Ending, answer: &str) -> Result<bool> {
    let now = tx.now();
    let values = [delivery.tenant.into(), delivery.id.into(), lease.into(), ending.as_str().into(), answer.into(), now.into()];
    Ok(tx.exec(FINISH, &values).await? == 1)
}

/// Lets go of a delivery that failed, to be tried again at `due_at`.
pub async fn reschedule(tx: &mut Tx, delivery: &ClaimedDelivery, lease: &str, due_at: Timestamp, answer: &str) -> Result<bool> {
    let values = [delivery.tenant.into(), delivery.id.into(), lease.into(), due_at.into(), answer.into()];
    Ok(tx.exec(RESCHEDULE, &values).await? == 1)
}

/// How many deliveries are not done, of all tenants.
pub async fn waiting(reader: &mut Reader) -> Result<i64> {
    Ok(reader.one::<(i64,)>(WAITING, &[]).await?.map_or(0, |(n,)| n))
}

/// Which deliveries of a tenant are meant. Empty texts mean all.
#[derive(Debug, Clone)]
pub struct Which {
    /// The first and the last by id.
    pub from: DeliveryId,
    pub to: DeliveryId,
    /// When the first and the last were made.
    pub since: Timestamp,
    pub until: Timestamp,
    pub state: &'static str,
    pub subscriber: String,
    /// An event's name.
    pub event: &'static str,
}

/// A delivery as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub event: EventId,
    /// `None`: the event is gone.
    pub event_name: Option<String>,
    pub subscriber: String,
    /// `waiting`, `delivered`, `superseded`, `expired` or `dead`.
    pub state: String,
    pub attempts: i64,
    /// What the subscriber answered last.
    pub answer: Option<String>,
    /// Whether a worker has it now, or had it when it died.
    pub held: bool,
    /// When it is tried next, while it waits.
    pub due_at: Timestamp,
    pub created_at: Timestamp,
    pub done_at: Option<Timestamp>,
}

impl FromRow for DeliveryRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.id(0)?,
            event: row.id(1)?,
            event_name: row.get(2)?,
            subscriber: row.get(3)?,
            state: row.get(4)?,
            attempts: row.get(5)?,
            answer: row.get(6)?,
            held: row.get::<Option<String>>(7)?.is_some(),
            due_at: row.time(8)?,
            created_at: row.time(9)?,
            done_at: row.optional_time(10)?,
        })
    }
}

/// The newest `most` of them, newest first.
pub async fn list(reader: &mut Reader, tenant: TenantId, which: &Which, most: i64) -> Result<Vec<DeliveryRow>> {
    let Which { from, to, since, until, state, subscriber, event } = which.clone();
    let values = [tenant.into(), from.into(), to.into(), state.into(), subscriber.into(), event.into(), since.into(), until.into(), most.into()];
    reader.all(LIST, &values).await
}

/// The first hundred deliveries of an event, in the order in which they were made.
pub async fn of_event(reader: &mut Reader, tenant: TenantId, event: EventId) -> Result<Vec<DeliveryRow>> {
    reader.all(OF_EVENT, &[tenant.into(), event.into()]).await
}

/// Makes a new delivery of an event for `subscriber`, unless one waits already. False: one does, or the event is gone.
/// Lock the tenant's sequence before, so that of two at once only one makes it.
pub async fn replay(tx: &mut Tx, tenant: TenantId, id: DeliveryId, event: EventId, subscriber: &str) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(REPLAY, &[tenant.into(), id.into(), event.into(), subscriber.into(), now.into()]).await? == 1)
}

/// Makes those of them that are dead due again, as if they were new, at most `most`; which, in any order.
/// One guarded update: what was delivered meanwhile, or is retried by somebody else at the same time, is not touched.
pub async fn retry(tx: &mut Tx, tenant: TenantId, which: &Which, most: i64) -> Result<Vec<DeliveryId>> {
    let now = tx.now();
    let Which { from, to, since, until, subscriber, event, .. } = which.clone();
    let values = [tenant.into(), from.into(), to.into(), subscriber.into(), event.into(), since.into(), until.into(), most.into(), now.into()];
    let retried = tx.returning_all::<(String,)>(RETRY, &values).await?;
    Ok(retried.into_iter().filter_map(|(id,)| id.parse().ok()).collect())
}

/// Deletes deliveries that ended before `done`, and dead ones that were given up before `dead`, a batch of each ending.
/// The greatest number deleted of one ending.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, done: Timestamp, dead: Timestamp) -> Result<u64> {
    let mut most = 0;
    for ending in Ending::ALL {
        let until = if ending == Ending::Dead { dead } else { done };
        most = most.max(tx.exec(SWEEP, &[tenant.into(), ending.as_str().into(), until.into()]).await?);
    }
    Ok(most)
}
