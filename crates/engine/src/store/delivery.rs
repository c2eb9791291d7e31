//! Deliveries: one event on its way to one subscriber.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, created_at) VALUES ($1, $2, $3, $4, 'waiting', $5, 0, $5)";
    CLAIM = "UPDATE deliveries SET due_at = $2, lease = $3, attempts = attempts + 1 WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at, id) AS place FROM (
            SELECT tenant_id, id, due_at FROM deliveries WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at, tenant_id, id LIMIT 512) AS due) AS ranked
        WHERE place <= $4)
        RETURNING tenant_id, id, event_id, subscriber, attempts, created_at";
    FINISH = "UPDATE deliveries SET state = $4, answer = $5, done_at = $6, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    RESCHEDULE = "UPDATE deliveries SET due_at = $4, answer = $5, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    WAITING = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'";
    NEXT_DUE = "SELECT MIN(due_at) FROM deliveries WHERE state = 'waiting'";
    SWEEP = "DELETE FROM deliveries WHERE tenant_id = $1 AND id IN (
        SELECT id FROM deliveries WHERE tenant_id = $1 AND id < $2 AND state <> 'waiting' ORDER BY id LIMIT 500)";
}

/// As for jobs: on PostgreSQL two workers must not wait for each other.
const CLAIM_POSTGRES: &str = "UPDATE deliveries SET due_at = $2, lease = $3, attempts = attempts + 1 WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at, id) AS place FROM (
        SELECT tenant_id, id, due_at FROM deliveries WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at, tenant_id, id LIMIT 512
        FOR UPDATE SKIP LOCKED) AS due) AS ranked
    WHERE place <= $4)
    RETURNING tenant_id, id, event_id, subscriber, attempts, created_at";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[&str] = &[CLAIM_POSTGRES];

/// A delivery that this worker holds until its lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub tenant: TenantId,
    pub id: DeliveryId,
    pub event: EventId,
    /// `mail`, or `webhook:` and a digest of its URL.
    pub subscriber: String,
    /// This attempt included.
    pub attempts: i64,
    pub created_at: Timestamp,
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
    const fn as_str(self) -> &'static str {
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
        Ok(Self { tenant: row.id(0)?, id: row.id(1)?, event: row.id(2)?, subscriber: row.get(3)?, attempts: row.get(4)?, created_at: row.time(5)? })
    }
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, id: DeliveryId, event: EventId, subscriber: &str) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), event.into(), subscriber.into(), now.into()]).await?;
    Ok(())
}

/// Claims what is due, at most `per_tenant` deliveries of one tenant, until `lease_until`.
pub async fn claim(tx: &mut Tx, lease: &str, lease_until: Timestamp, per_tenant: i64) -> Result<Vec<ClaimedDelivery>> {
    let sql = if tx.is_postgres() { CLAIM_POSTGRES } else { CLAIM };
    let now = tx.now();
    tx.returning_all(sql, &[now.into(), lease_until.into(), lease.into(), per_tenant.into()]).await
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

/// When the next delivery may be claimed.
pub async fn next_due(reader: &mut Reader) -> Result<Option<Timestamp>> {
    Ok(reader.one::<(Option<i64>,)>(NEXT_DUE, &[]).await?.and_then(|(t,)| t).map(Timestamp::from_micros))
}

/// Deletes deliveries that were made before `until` and are done, a batch of them. An id begins with its time.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    let bound = DeliveryId(ulid::Ulid::from_parts(u64::try_from(until.millis()).unwrap_or(0), 0));
    tx.exec(SWEEP, &[tenant.into(), bound.into()]).await
}
