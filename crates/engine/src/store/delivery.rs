//! Deliveries: one event on its way to one subscriber.

use super::job::Holder;
use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{DeliveryId, EventId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO deliveries (tenant_id, id, event_id, subscriber, state, due_at, attempts, created_at) VALUES ($1, $2, $3, $4, 'waiting', $5, 0, $5)";
    // As for jobs. The index does not know the channel, so what is due of the other one is passed over row by row, but of this tenant only.
    DUE = "SELECT tenant_id FROM (WITH RECURSIVE holders (tenant_id) AS (
            SELECT MIN(tenant_id) FROM deliveries WHERE state = 'waiting' AND tenant_id > $1
            UNION ALL SELECT (SELECT MIN(later.tenant_id) FROM deliveries AS later WHERE later.state = 'waiting' AND later.tenant_id > holders.tenant_id)
                FROM holders WHERE holders.tenant_id IS NOT NULL)
        SELECT tenant_id FROM holders WHERE tenant_id IS NOT NULL) AS found
        WHERE (SELECT due_at FROM deliveries WHERE deliveries.tenant_id = found.tenant_id AND state = 'waiting' AND due_at <= $2
            AND CASE subscriber WHEN 'mail' THEN 'mail' ELSE 'webhooks' END = $3 ORDER BY due_at, id LIMIT 1) IS NOT NULL LIMIT $4";
    CLAIM = "WITH due AS MATERIALIZED (SELECT id FROM deliveries WHERE tenant_id = $1 AND state = 'waiting' AND due_at <= $2
            AND CASE subscriber WHEN 'mail' THEN 'mail' ELSE 'webhooks' END = $3 ORDER BY due_at, id LIMIT $4)
        UPDATE deliveries SET due_at = $5, lease = $6, attempts = attempts + 1 WHERE tenant_id = $1 AND id IN (SELECT id FROM due)
        RETURNING tenant_id, id, event_id, subscriber, attempts, created_at";
    FINISH = "UPDATE deliveries SET state = $4, answer = $5, done_at = $6, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    RESCHEDULE = "UPDATE deliveries SET due_at = $4, answer = $5, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND state = 'waiting'";
    WAITING = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting'";
    SWEEP = "DELETE FROM deliveries WHERE tenant_id = $1 AND id IN (
        SELECT id FROM deliveries WHERE tenant_id = $1 AND id < $2 AND state <> 'waiting' ORDER BY id LIMIT 500)";
}

/// As for jobs: on PostgreSQL two workers must not wait for each other.
const CLAIM_POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT id FROM deliveries WHERE tenant_id = $1 AND state = 'waiting' AND due_at <= $2
        AND CASE subscriber WHEN 'mail' THEN 'mail' ELSE 'webhooks' END = $3 ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
    UPDATE deliveries SET due_at = $5, lease = $6, attempts = attempts + 1 WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT id FROM due))
    RETURNING tenant_id, id, event_id, subscriber, attempts, created_at";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[&str] = &[CLAIM_POSTGRES];

/// What a delivery goes over. One does not wait for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Mail,
    Webhooks,
}

impl Channel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhooks => "webhooks",
        }
    }
}

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

/// The tenants that have deliveries over `channel` that are due, at most `most` of them, in the order of their ids from behind `after` on.
pub async fn due(reader: &mut Reader, channel: Channel, after: Option<TenantId>, most: i64) -> Result<Vec<TenantId>> {
    let values = [after.map_or_else(|| "".into(), Into::into), reader.now().into(), channel.as_str().into(), most.into()];
    Ok(reader.all::<Holder>(DUE, &values).await?.into_iter().map(|holder| holder.0).collect())
}

/// Claims what is due of one tenant over `channel`, the oldest first and at most `most`, until `lease_until`.
pub async fn claim(tx: &mut Tx, channel: Channel, tenant: TenantId, lease: &str, lease_until: Timestamp, most: i64) -> Result<Vec<ClaimedDelivery>> {
    let sql = if tx.is_postgres() { CLAIM_POSTGRES } else { CLAIM };
    let now = tx.now();
    tx.returning_all(sql, &[tenant.into(), now.into(), channel.as_str().into(), most.into(), lease_until.into(), lease.into()]).await
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

/// Deletes deliveries that were made before `until` and are done, a batch of them. An id begins with its time.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    let bound = DeliveryId(ulid::Ulid::from_parts(u64::try_from(until.millis()).unwrap_or(0), 0));
    tx.exec(SWEEP, &[tenant.into(), bound.into()]).await
}
