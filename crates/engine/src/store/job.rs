//! Jobs: work that runs after the commit that asked for it.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{JobId, TenantId};
use crate::model::time::Timestamp;

statements! {
    // Counting the waiting rows would cost more the more there are.
    RESERVE = "INSERT INTO backlogs (tenant_id, kind, waiting) VALUES ($1, $2, 1)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET waiting = backlogs.waiting + 1 WHERE backlogs.waiting < $3";
    RELEASE = "UPDATE backlogs SET waiting = waiting - 1 WHERE tenant_id = $1 AND kind = $2 AND waiting > 0";
    INSERT = "INSERT INTO jobs (tenant_id, id, kind, payload, due_at, attempts, created_at) VALUES ($1, $2, $3, $4, $5, 0, $5)";
    CLAIM = "UPDATE jobs SET due_at = $2, lease = $3, attempts = attempts + 1 WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at, id) AS place FROM (
            SELECT tenant_id, id, due_at FROM jobs WHERE due_at <= $1 ORDER BY due_at, tenant_id, id LIMIT 512) AS due) AS ranked WHERE place <= $4)
        RETURNING tenant_id, id, kind, payload, attempts, created_at";
    FINISH = "DELETE FROM jobs WHERE tenant_id = $1 AND id = $2 AND lease = $3";
    RESCHEDULE = "UPDATE jobs SET due_at = $4, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3";
    WAITING = "SELECT COUNT(*) FROM jobs";
    NEXT_DUE = "SELECT MIN(due_at) FROM jobs";
}

/// The claim on PostgreSQL: two workers that claim at once must not wait for each other's rows. SQLite has one writer and no such clause.
const CLAIM_POSTGRES: &str = "UPDATE jobs SET due_at = $2, lease = $3, attempts = attempts + 1 WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at, id) AS place FROM (
        SELECT tenant_id, id, due_at FROM jobs WHERE due_at <= $1 ORDER BY due_at, tenant_id, id LIMIT 512 FOR UPDATE SKIP LOCKED) AS due) AS ranked WHERE place <= $4)
    RETURNING tenant_id, id, kind, payload, attempts, created_at";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[&str] = &[CLAIM_POSTGRES];

/// A job that this worker holds until its lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    pub tenant: TenantId,
    pub id: JobId,
    pub kind: String,
    /// JSON.
    pub payload: String,
    pub attempts: i64,
    pub created_at: Timestamp,
}

impl FromRow for ClaimedJob {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { tenant: row.id(0)?, id: row.id(1)?, kind: row.get(2)?, payload: row.get(3)?, attempts: row.get(4)?, created_at: row.time(5)? })
    }
}

/// Appends a job, unless `most` of its kind wait already. False: refused, nothing was changed.
pub async fn append(tx: &mut Tx, tenant: TenantId, id: JobId, kind: &str, payload: &str, most: i64) -> Result<bool> {
    if tx.exec(RESERVE, &[tenant.into(), kind.into(), most.into()]).await? == 0 {
        return Ok(false);
    }
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), kind.into(), payload.into(), now.into()]).await?;
    Ok(true)
}

/// Claims what is due, at most `per_tenant` jobs of one tenant, until `lease_until`.
pub async fn claim(tx: &mut Tx, lease: &str, lease_until: Timestamp, per_tenant: i64) -> Result<Vec<ClaimedJob>> {
    let sql = if tx.is_postgres() { CLAIM_POSTGRES } else { CLAIM };
    let now = tx.now();
    tx.returning_all(sql, &[now.into(), lease_until.into(), lease.into(), per_tenant.into()]).await
}

/// Ends the job. False: the lease is no longer ours, somebody else has the job, and nothing of it may be done here.
pub async fn finish(tx: &mut Tx, job: &ClaimedJob, lease: &str) -> Result<bool> {
    if tx.exec(FINISH, &[job.tenant.into(), job.id.into(), lease.into()]).await? == 0 {
        return Ok(false);
    }
    tx.exec(RELEASE, &[job.tenant.into(), (&job.kind).into()]).await?;
    Ok(true)
}

/// Lets go of a job that failed, to be tried again at `due_at`.
pub async fn reschedule(tx: &mut Tx, job: &ClaimedJob, lease: &str, due_at: Timestamp) -> Result<bool> {
    Ok(tx.exec(RESCHEDULE, &[job.tenant.into(), job.id.into(), lease.into(), due_at.into()]).await? == 1)
}

/// How many jobs there are, of all tenants.
pub async fn waiting(reader: &mut Reader) -> Result<i64> {
    Ok(reader.one::<(i64,)>(WAITING, &[]).await?.map_or(0, |(n,)| n))
}

/// When the next job may be claimed.
pub async fn next_due(reader: &mut Reader) -> Result<Option<Timestamp>> {
    Ok(reader.one::<(Option<i64>,)>(NEXT_DUE, &[]).await?.and_then(|(t,)| t).map(Timestamp::from_micros))
}
