//! Idempotency keys: one row per request that named one, claimed under a lease, and settled once.

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{SessionId, TenantId};
use crate::model::time::Timestamp;

statements! {
    FIND = "SELECT request, lease_until, answer, session_id FROM idempotency_keys WHERE tenant_id = $1 AND id = $2 AND expires_at > $3";
    CLAIM = "INSERT INTO idempotency_keys (tenant_id, id, request, lease, lease_until, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant_id, id) DO UPDATE SET request = $3, lease = $4, lease_until = $5, answer = NULL, session_id = NULL, expires_at = $6
        WHERE idempotency_keys.expires_at <= $7
            OR (idempotency_keys.answer IS NULL AND idempotency_keys.lease_until <= $7 AND idempotency_keys.request = $3)";
    SETTLE = "UPDATE idempotency_keys SET answer = $4, session_id = $5 WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND answer IS NULL";
    RELEASE = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id = $2 AND lease = $3 AND answer IS NULL";
    // The time is asked twice: a key may have been claimed anew since the rows were chosen.
    SWEEP = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id IN (SELECT id FROM idempotency_keys
        WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500) AND expires_at <= $2";
}

/// A key in use. `request` is a keyed hash.
pub struct KeyRow {
    pub request: Vec<u8>,
    pub lease_until: Timestamp,
    /// Sealed. `None`: the request is not answered.
    pub answer: Option<Vec<u8>>,
    /// The session of the token in the answer.
    pub session: Option<SessionId>,
}

impl FromRow for KeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let session = row.get::<Option<String>>(3)?.and_then(|id| id.parse().ok());
        Ok(Self { request: row.get(0)?, lease_until: row.time(1)?, answer: row.get(2)?, session })
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

/// Stores the answer, once. False: the lease is no longer ours, or there is an answer; nothing of the request may be done here.
pub async fn settle(tx: &mut Tx, tenant: TenantId, id: &[u8], lease: &str, answer: &[u8], session: Option<SessionId>) -> Result<bool> {
    let values: [Val; 5] = [tenant.into(), id.into(), lease.into(), answer.into(), session.into()];
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
