//! Sessions: one row per sign-in, read at every use of its tokens.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{IdentityId, SessionId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO sessions (tenant_id, id, identity_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    LIVE = "SELECT identity_id FROM sessions WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3";
    FIND = "SELECT identity_id, created_at, expires_at FROM sessions WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3";
    END_ALL = "UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND identity_id = $2 AND ended_at IS NULL";
    SWEEP = "DELETE FROM sessions WHERE tenant_id = $1 AND id IN (SELECT id FROM sessions WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500)";
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, id: SessionId, identity: IdentityId, expires_at: Timestamp) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), identity.into(), now.into(), expires_at.into()]).await?;
    Ok(())
}

/// The identity of a session that has neither ended nor expired.
pub async fn live(reader: &mut Reader, tenant: TenantId, id: SessionId) -> Result<Option<IdentityId>> {
    let now = reader.now();
    let found = reader.one::<(String,)>(LIVE, &[tenant.into(), id.into(), now.into()]).await?;
    Ok(found.and_then(|(identity,)| identity.parse().ok()))
}

/// A session that has neither ended nor expired.
#[derive(Debug, Clone, Copy)]
pub struct SessionRow {
    pub identity: IdentityId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl FromRow for SessionRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { identity: row.id(0)?, created_at: row.time(1)?, expires_at: row.time(2)? })
    }
}

/// As `live`, with its times.
pub async fn find(reader: &mut Reader, tenant: TenantId, id: SessionId) -> Result<Option<SessionRow>> {
    let now = reader.now();
    reader.one(FIND, &[tenant.into(), id.into(), now.into()]).await
}

/// Ends every session of the identity; how many there were.
pub async fn end_all(tx: &mut Tx, tenant: TenantId, identity: IdentityId) -> Result<u64> {
    let now = tx.now();
    tx.exec(END_ALL, &[tenant.into(), identity.into(), now.into()]).await
}

/// Deletes sessions that expired before now, a batch of them.
pub async fn sweep(tx: &mut Tx, tenant: TenantId) -> Result<u64> {
    let now = tx.now();
    tx.exec(SWEEP, &[tenant.into(), now.into()]).await
}
