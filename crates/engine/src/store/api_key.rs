//! Publishable and secret API keys. Only their hashes are stored.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{ApiKeyId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO api_keys (tenant_id, id, kind, token_hash, redacted, title, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, token_hash) DO NOTHING";
    REVOKE = "UPDATE api_keys SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
    // The unique index on the hash holds at most one.
    SECRET = "SELECT id FROM api_keys WHERE tenant_id = $1 AND token_hash = $2 AND kind = 'secret' AND (revoked_at IS NULL OR revoked_at > $3)";
    LIST = "SELECT id, kind, token_hash, redacted, title, created_at, revoked_at FROM api_keys WHERE tenant_id = $1 ORDER BY id";
}

#[derive(Clone)]
pub struct ApiKeyRow {
    pub id: ApiKeyId,
    /// `publishable` or `secret`.
    pub kind: String,
    pub token_hash: Vec<u8>,
    pub redacted: String,
    pub title: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl FromRow for ApiKeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.id(0)?,
            kind: row.get(1)?,
            token_hash: row.get(2)?,
            redacted: row.get(3)?,
            title: row.get(4)?,
            created_at: row.time(5)?,
            revoked_at: row.optional_time(6)?,
        })
    }
}

/// False: the tenant has this key already.
pub async fn insert(tx: &mut Tx, tenant: TenantId, key: &ApiKeyRow) -> Result<bool> {
    let values = [
        tenant.into(),
        key.id.into(),
        (&key.kind).into(),
        key.token_hash.as_slice().into(),
        (&key.redacted).into(),
        (&key.title).into(),
        key.created_at.into(),
    ];
    Ok(tx.exec(INSERT, &values).await? == 1)
}

/// False: unknown, or revoked already.
pub async fn revoke(tx: &mut Tx, tenant: TenantId, id: ApiKeyId) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(REVOKE, &[tenant.into(), id.into(), now.into()]).await? == 1)
}

/// The secret key with this hash. `None`: unknown, another tenant's, a publishable one, or revoked.
pub async fn secret(reader: &mut Reader, tenant: TenantId, token_hash: &[u8]) -> Result<Option<ApiKeyId>> {
    let now = reader.now();
    let found = reader.one::<(String,)>(SECRET, &[tenant.into(), token_hash.into(), now.into()]).await?;
    Ok(found.and_then(|(id,)| id.parse().ok()))
}

pub async fn list(reader: &mut Reader, tenant: TenantId) -> Result<Vec<ApiKeyRow>> {
    reader.all(LIST, &[tenant.into()]).await
}
