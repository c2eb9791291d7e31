//! Idempotency keys: one row per request that named one, claimed under a lease, and settled once.

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{SessionId, TenantId};
use crate::model::time::Timestamp;

statements! {
    FIND = "SELECT lease_until, answer, session_id, expires_at FROM idempotency_keys WHERE tenant_id = $1 AND id = $2 AND expires_at > $3";
    CLAIM = "INSERT INTO idempotency_keys (tenant_id, id, request, lease, lease_until, expires_at, mismatches) VALUES ($1, $2, $3, $4, $5, $6, 0)
        ON CONFLICT (tenant_id, id) DO UPDATE SET request = $3, lease = $4, lease_until = $5, answer = NULL, session_id = NULL, expires_at = $6, mismatches = 0
        WHERE idempotency_keys.expires_at <= $7
            OR (idempotency_keys.answer IS NULL AND idempotency_keys.lease_until <= $7 AND idempotency_keys.request = $3)";
    // Whoever sends the right one, too, waits here for all who came before: of many guesses at once no more than these are judged.
    COMPARE = "UPDATE idempotency_keys SET mismatches = mismatches + CASE WHEN request = $3 THEN 0 ELSE 1 END
        WHERE tenant_id = $1 AND id = $2 AND expires_at > $4 AND mismatches < $5 RETURNING request";
    SETTLE = "UPDATE idempotency_keys SET answer = $4, session_id = $5, expires_at = CASE WHEN expires_at < $6 THEN expires_at ELSE $6 END
        WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND answer IS NULL";
    RELEASE = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND answer IS NULL";
    // The time is asked twice: a key may have been claimed anew since the rows were chosen.
    SWEEP = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id IN (SELECT id FROM idempotency_keys
        WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500) AND expires_at <= $2";
}

/// A key in use.
pub struct KeyRow {
    pub lease_until: Timestamp,
    /// Sealed. `None`: the request is not answered.
    pub answer: Option<Vec<u8>>,
    /// The session of the token or the cookie in the answer.
    pub session: Option<SessionId>,
    pub expires_at: Timestamp,
}

impl FromRow for KeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let session = row.get::<Option<String>>(2)?.and_then(|id| id.parse().ok());
        Ok(Self { lease_until: row.time(0)?, answer: row.get(1)?, session, expires_at: row.time(3)? })
    }
}

/// What is to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'c> {
    pub id: &'c [u8],
    pub request: &'c [u8],
    pub lease: &'c str,
    pub lease_until: Timestamp,
    pub expires_at: Timestamp,
}

/// A key that has not expired.
pub async fn find(reader: &mut Reader, tenant: TenantId, id: &[u8]) -> Result<Option<KeyRow>> {
    let now = reader.now();
    reader.one(FIND, &[tenant.into(), id.into(), now.into()]).await
}

/// Claims a key that is new or expired, or whose worker let the lease of this very request run out. False: it is somebody else's.
pub async fn claim(tx: &mut Tx, tenant: TenantId, claim: Claim<'_>) -> Result<bool> {
    let now = tx.now();
    let Claim { id, request, lease, lease_until, expires_at } = claim;
    let values: [Val; 7] = [tenant.into(), id.into(), request.into(), lease.into(), lease_until.into(), expires_at.into(), now.into()];
    Ok(tx.exec(CLAIM, &values).await? == 1)
}

/// Whether `request` is the one of a key in use. Another one is counted; `None`: `most` others came, and nothing is said any more.
pub async fn compare(tx: &mut Tx, tenant: TenantId, id: &[u8], request: &[u8], most: i64) -> Result<Option<bool>> {
    let now = tx.now();
    let found = tx.returning::<(Vec<u8>,)>(COMPARE, &[tenant.into(), id.into(), request.into(), now.into(), most.into()]).await?;
    Ok(found.map(|(kept,)| kept == request))
}

/// Stores the answer, once, and until `until` at most. False: the lease is no longer ours, or there is an answer; nothing of the request may be done here.
pub async fn settle(
    tx: &mut Tx,
    tenant: TenantId,
    id: &[u8],
    lease: &str,
    answer: &[u8],
    session: Option<SessionId>,
    until: Timestamp,
) -> Result<bool> {
    let values: [Val; 6] = [tenant.into(), id.into(), lease.into(), answer.into(), session.into(), until.into()];
    Ok(tx.exec(SETTLE, &values).await? == 1)
}

/// Gives up a claim that has no answer.
pub async fn release(tx: &mut Tx, tenant: TenantId, id: &[u8], lease: &str) -> Result<()> {
    tx.exec(RELEASE, &[tenant.into(), id.into(), lease.into()]).await?;
    Ok(())
}

/// Deletes keys that expired before now, a batch of them.
pub async fn sweep(tx: &mut Tx, tenant: TenantId) -> Result<u64> {
    let now = tx.now();
    tx.exec(SWEEP, &[tenant.into(), now.into()]).await
}
