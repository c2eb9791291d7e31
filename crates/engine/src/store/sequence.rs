//! The numbers of a tenant's events: 1, 2, 3 … without a gap, given after the commit to what has none yet.

use super::job::Holder;
use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::TenantId;
use crate::model::time::Timestamp;

statements! {
    // The tenants with events that have no number: a look into the index `events_unnumbered` for each, as for jobs.
    DUE = "SELECT tenant_id FROM (WITH RECURSIVE holders (tenant_id) AS (
            SELECT MIN(tenant_id) FROM events WHERE number IS NULL AND tenant_id > $1
            UNION ALL SELECT (SELECT MIN(later.tenant_id) FROM events AS later WHERE later.number IS NULL AND later.tenant_id > holders.tenant_id)
                FROM holders WHERE holders.tenant_id IS NOT NULL)
        SELECT tenant_id FROM holders WHERE tenant_id IS NOT NULL) AS found LIMIT $2";
    CLAIM = "INSERT INTO sequences (tenant_id, last, swept, lease, lease_ends_at) VALUES ($1, 0, 0, $2, $3)
        ON CONFLICT (tenant_id) DO UPDATE SET lease = $2, lease_ends_at = $3 WHERE sequences.lease IS NULL OR sequences.lease_ends_at <= $4
        RETURNING last";
    // Holds the row until the commit, so that nobody else numbers meanwhile.
    HOLD = "UPDATE sequences SET lease_ends_at = lease_ends_at WHERE tenant_id = $1 AND lease = $2 AND last = $3";
    NUMBER = "UPDATE events SET number = $2 + batch.nth
        FROM (SELECT place, ROW_NUMBER() OVER (ORDER BY place) AS nth FROM events WHERE tenant_id = $1 AND number IS NULL ORDER BY place LIMIT $3) AS batch
        WHERE events.tenant_id = $1 AND events.number IS NULL AND events.place = batch.place";
    LOCK = "UPDATE sequences SET lease_ends_at = lease_ends_at WHERE tenant_id = $1";
    ADVANCE = "UPDATE sequences SET last = last + $2, lease = NULL WHERE tenant_id = $1";
    STATE = "SELECT last, swept FROM sequences WHERE tenant_id = $1";
    SWEPT = "UPDATE sequences SET swept = $2 WHERE tenant_id = $1 AND swept < $2";
}

/// How far a tenant's events are numbered, and up to which number they are no longer kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbered {
    pub last: i64,
    pub swept: i64,
}

impl FromRow for Numbered {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { last: row.get(0)?, swept: row.get(1)? })
    }
}

/// The tenants that have events without a number, at most `most` of them, in the order of their ids from behind `after` on.
pub async fn due(reader: &mut Reader, after: Option<TenantId>, most: i64) -> Result<Vec<TenantId>> {
    let values = [after.map_or_else(|| "".into(), Into::into), most.into()];
    Ok(reader.all::<Holder>(DUE, &values).await?.into_iter().map(|holder| holder.0).collect())
}

/// Claims the right to number the tenant's events until `lease_until`; the last number that was given. `None`: somebody else has it.
pub async fn claim(tx: &mut Tx, tenant: TenantId, lease: &str, lease_until: Timestamp) -> Result<Option<i64>> {
    let now = tx.now();
    let last = tx.returning::<(i64,)>(CLAIM, &[tenant.into(), lease.into(), lease_until.into(), now.into()]).await?;
    Ok(last.map(|(last,)| last))
}

/// Numbers at most `most` events from behind `last` on, in the order in which they were written, and gives the lease back; how many.
/// `None`: the lease is no longer ours, or `last` no longer the last, and nothing was changed.
///
/// An event whose transaction is still open is not seen, and gets a later number.
pub async fn number(tx: &mut Tx, tenant: TenantId, lease: &str, last: i64, most: i64) -> Result<Option<i64>> {
    if tx.exec(HOLD, &[tenant.into(), lease.into(), last.into()]).await? == 0 {
        return Ok(None);
    }
    let given = tx.exec(NUMBER, &[tenant.into(), last.into(), most.into()]).await?;
    let given = i64::try_from(given).unwrap_or(i64::MAX);
    tx.exec(ADVANCE, &[tenant.into(), given.into()]).await?;
    Ok(Some(given))
}

/// How far the tenant's events are numbered.
pub async fn state(reader: &mut Reader, tenant: TenantId) -> Result<Numbered> {
    Ok(reader.one(STATE, &[tenant.into()]).await?.unwrap_or_default())
}

/// Locks the tenant's sequence until the commit.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    tx.exec(LOCK, &[tenant.into()]).await?;
    Ok(())
}

/// Notes that events up to `number` may be gone.
pub async fn swept(tx: &mut Tx, tenant: TenantId, number: i64) -> Result<()> {
    tx.exec(SWEPT, &[tenant.into(), number.into()]).await?;
    Ok(())
}
