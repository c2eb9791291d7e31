//! Password resets: one row per token, and at most one live row per identity.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{IdentityId, TenantId};
use crate::model::time::Timestamp;

statements! {
    VOID = "UPDATE password_resets SET voided_at = $3 WHERE tenant_id = $1 AND identity_id = $2 AND used_at IS NULL AND voided_at IS NULL";
    INSERT = "INSERT INTO password_resets (tenant_id, id, identity_id, issued_at, expires_at, asked_at, reissues) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    REPLACE = "UPDATE password_resets SET voided_at = $3
        WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND voided_at IS NULL AND reissues < $4 RETURNING identity_id, asked_at, reissues";
    // The condition of the index `password_resets_live`, word for word.
    GOOD = "SELECT id FROM password_resets WHERE tenant_id = $1 AND identity_id = $2 AND used_at IS NULL AND voided_at IS NULL AND expires_at > $3";
    OPEN = "UPDATE password_resets SET opened_at = $3 WHERE tenant_id = $1 AND id = $2 AND opened_at IS NULL";
    FIND = "SELECT identity_id, issued_at, expires_at, used_at, voided_at, asked_at, opened_at FROM password_resets WHERE tenant_id = $1 AND id = $2";
    CONSUME = "UPDATE password_resets SET used_at = $3
        WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND voided_at IS NULL AND expires_at > $3 RETURNING identity_id";
    SWEEP = "DELETE FROM password_resets WHERE tenant_id = $1 AND id IN (SELECT id FROM password_resets WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500)";
}

/// A reset as it is stored.
#[derive(Debug, Clone)]
pub struct ResetRow {
    pub identity: IdentityId,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub voided_at: Option<Timestamp>,
    pub asked_at: Timestamp,
    /// When the hosted page was shown first with this link.
    pub opened_at: Option<Timestamp>,
}

impl FromRow for ResetRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            identity: row.id(0)?,
            issued_at: row.time(1)?,
            expires_at: row.time(2)?,
            used_at: row.optional_time(3)?,
            voided_at: row.optional_time(4)?,
            asked_at: row.time(5)?,
            opened_at: row.optional_time(6)?,
        })
    }
}

/// Voids the identity's standing reset, if there is one.
pub async fn void(tx: &mut Tx, tenant: TenantId, identity: IdentityId) -> Result<()> {
    let now = tx.now();
    tx.exec(VOID, &[tenant.into(), identity.into(), now.into()]).await?;
    Ok(())
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, jti: &str, identity: IdentityId, asked_at: Timestamp, expires_at: Timestamp) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), jti.into(), identity.into(), now.into(), expires_at.into(), asked_at.into(), 0_i64.into()]).await?;
    Ok(())
}

/// Whether the identity has a reset that is good now.
pub async fn has_good(reader: &mut Reader, tenant: TenantId, identity: IdentityId) -> Result<bool> {
    let now = reader.now();
    Ok(reader.one::<(String,)>(GOOD, &[tenant.into(), identity.into(), now.into()]).await?.is_some())
}

/// Voids the standing reset `jti`, expired or not, and puts `fresh` in its place. False: it is unknown, spent or voided, or the `most`th of its request;
/// then nothing is changed. Of two concurrent calls exactly one replaces it.
pub async fn reissue(tx: &mut Tx, tenant: TenantId, jti: &str, fresh: &str, expires_at: Timestamp, most: i64) -> Result<bool> {
    let now = tx.now();
    let replaced = tx.returning::<(String, i64, i64)>(REPLACE, &[tenant.into(), jti.into(), now.into(), most.into()]).await?;
    let Some((identity, asked_at, reissues)) = replaced else { return Ok(false) };
    let values = [tenant.into(), fresh.into(), identity.into(), now.into(), expires_at.into(), asked_at.into(), (reissues + 1).into()];
    tx.exec(INSERT, &values).await?;
    Ok(true)
}

pub async fn find(reader: &mut Reader, tenant: TenantId, jti: &str) -> Result<Option<ResetRow>> {
    reader.one(FIND, &[tenant.into(), jti.into()]).await
}

/// Notes that the link was opened, the first time. False: it was before, or there is no such reset.
pub async fn open(tx: &mut Tx, tenant: TenantId, jti: &str) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(OPEN, &[tenant.into(), jti.into(), now.into()]).await? == 1)
}

/// Spends the reset with this `jti`. `None`: unknown, expired, voided, spent, or another tenant's.
/// One guarded UPDATE, so of two concurrent calls exactly one gets the identity, also under READ COMMITTED.
pub async fn consume(tx: &mut Tx, tenant: TenantId, jti: &str) -> Result<Option<IdentityId>> {
    let now = tx.now();
    let found = tx.returning::<(String,)>(CONSUME, &[tenant.into(), jti.into(), now.into()]).await?;
    Ok(found.and_then(|(identity,)| identity.parse().ok()))
}

/// Deletes resets that expired before `until`, a batch of them.
pub async fn sweep(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    tx.exec(SWEEP, &[tenant.into(), until.into()]).await
}
