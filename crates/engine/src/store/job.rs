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
    // The tenants with a job that is due. A step of the recursion is one look into the index `jobs_due`, whatever a tenant's backlog,
    // and so is the question whether its first job is due; EXISTS would leave PostgreSQL free to read all jobs instead.
    DUE = "SELECT tenant_id FROM (WITH RECURSIVE holders (tenant_id) AS (
            SELECT MIN(tenant_id) FROM jobs WHERE tenant_id > $1
            UNION ALL SELECT (SELECT MIN(later.tenant_id) FROM jobs AS later WHERE later.tenant_id > holders.tenant_id) FROM holders WHERE holders.tenant_id IS NOT NULL)
        SELECT tenant_id FROM holders WHERE tenant_id IS NOT NULL) AS found
        WHERE (SELECT due_at FROM jobs WHERE jobs.tenant_id = found.tenant_id ORDER BY due_at, id LIMIT 1) <= $2 LIMIT $3";
    CLAIM = "WITH due AS MATERIALIZED (SELECT id FROM jobs WHERE tenant_id = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT $3)
        UPDATE jobs SET due_at = $4, lease = $5, attempts = attempts + 1 WHERE tenant_id = $1 AND id IN (SELECT id FROM due)
        RETURNING tenant_id, id, kind, payload, attempts, created_at";
    FINISH = "DELETE FROM jobs WHERE tenant_id = $1 AND id = $2 AND lease = $3";
    RESCHEDULE = "UPDATE jobs SET due_at = $4, lease = NULL WHERE tenant_id = $1 AND id = $2 AND lease = $3";
    WAITING = "SELECT COUNT(*) FROM jobs";
}

/// The claim on PostgreSQL, where two workers that claim at once must not wait for each other's rows. SQLite has one writer and no such clause.
/// What is due is chosen once: chosen again for another row, it would be other rows, and more would be claimed than asked for.
/// As an array, because PostgreSQL takes `IN` as a reason to read everything the tenant has.
const CLAIM_POSTGRES: &str =
    "WITH due AS MATERIALIZED (SELECT id FROM jobs WHERE tenant_id = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
    UPDATE jobs SET due_at = $4, lease = $5, attempts = attempts + 1 WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT id FROM due))
    RETURNING tenant_id, id, kind, payload, attempts, created_at";
#[cfg(test)]
pub(super) const POSTGRES_ONLY: &[(&str, &str)] = &[("CLAIM_POSTGRES", CLAIM_POSTGRES)];

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

/// A tenant that has work.
pub(super) struct Holder(pub TenantId);

impl FromRow for Holder {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self(row.id(0)?))
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

/// The tenants that have jobs that are due, at most `most` of them, in the order of their ids from behind `after` on.
pub async fn due(reader: &mut Reader, after: Option<TenantId>, most: i64) -> Result<Vec<TenantId>> {
    let values = [after.map_or_else(|| "".into(), Into::into), reader.now().into(), most.into()];
    Ok(reader.all::<Holder>(DUE, &values).await?.into_iter().map(|holder| holder.0).collect())
}

/// Claims what is due of one tenant, the oldest first and at most `most`, until `lease_until`.
pub async fn claim(tx: &mut Tx, tenant: TenantId, lease: &str, lease_until: Timestamp, most: i64) -> Result<Vec<ClaimedJob>> {
    let sql = if tx.is_postgres() { CLAIM_POSTGRES } else { CLAIM };
    let now = tx.now();
    tx.returning_all(sql, &[tenant.into(), now.into(), most.into(), lease_until.into(), lease.into()]).await
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
