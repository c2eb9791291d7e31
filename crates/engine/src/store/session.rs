//! Sessions: one row per sign-in, read at every use of its tokens and of its cookie.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::ids::{IdentityId, SessionId, TenantId};
use crate::model::time::Timestamp;

statements! {
    INSERT = "INSERT INTO sessions (tenant_id, id, identity_id, created_at, expires_at, user_agent) VALUES ($1, $2, $3, $4, $5, $6)";
    LIVE = "SELECT identity_id FROM sessions WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3";
    FIND = "SELECT id, identity_id, created_at, expires_at, user_agent FROM sessions WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3";
    OF_IDENTITY = "SELECT id, identity_id, created_at, expires_at, user_agent FROM sessions
        WHERE tenant_id = $1 AND identity_id = $2 AND ended_at IS NULL AND expires_at > $3 ORDER BY id DESC LIMIT $4";
    BY_COOKIE = "SELECT id, identity_id, created_at, expires_at, user_agent FROM sessions
        WHERE tenant_id = $1 AND cookie_hash = $2 AND ended_at IS NULL AND expires_at > $3";
    SET_COOKIE = "UPDATE sessions SET cookie_hash = $4 WHERE tenant_id = $1 AND id = $2 AND identity_id = $3 AND ended_at IS NULL AND expires_at > $5
        RETURNING expires_at";
    END_REPLACED = "UPDATE sessions SET ended_at = $4 WHERE tenant_id = $1 AND cookie_hash = $2 AND id <> $3 AND ended_at IS NULL
        RETURNING id, expires_at, identity_id";
    END = "UPDATE sessions SET ended_at = $4 WHERE tenant_id = $1 AND id = $2 AND identity_id = $3 AND ended_at IS NULL AND expires_at > $4";
    END_OTHERS = "UPDATE sessions SET ended_at = $4 WHERE tenant_id = $1 AND identity_id = $2 AND id <> $3 AND ended_at IS NULL
        RETURNING id, expires_at";
    END_ALL = "UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND identity_id = $2 AND ended_at IS NULL RETURNING id, expires_at";
    // Never back: a clock that was set back must not revive a token.
    NOTE_END = "UPDATE identities SET sessions_ended_at = CASE WHEN sessions_ended_at > $3 THEN sessions_ended_at ELSE $3 END WHERE tenant_id = $1 AND id = $2";
    SWEEP = "DELETE FROM sessions WHERE tenant_id = $1 AND id IN (SELECT id FROM sessions WHERE tenant_id = $1 AND expires_at <= $2 LIMIT 500)";
}

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: SessionId,
    identity: IdentityId,
    expires_at: Timestamp,
    user_agent: Option<&str>,
) -> Result<()> {
    let now = tx.now();
    tx.exec(INSERT, &[tenant.into(), id.into(), identity.into(), now.into(), expires_at.into(), user_agent.into()]).await?;
    Ok(())
}

/// The identity of a session that has neither ended nor expired.
pub async fn live(reader: &mut Reader, tenant: TenantId, id: SessionId) -> Result<Option<IdentityId>> {
    let now = reader.now();
    let found = reader.one::<(String,)>(LIVE, &[tenant.into(), id.into(), now.into()]).await?;
    Ok(found.and_then(|(identity,)| identity.parse().ok()))
}

/// A session that has neither ended nor expired.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub id: SessionId,
    pub identity: IdentityId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub user_agent: Option<String>,
}

impl FromRow for SessionRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { id: row.id(0)?, identity: row.id(1)?, created_at: row.time(2)?, expires_at: row.time(3)?, user_agent: row.get(4)? })
    }
}

/// As `live`, with all that is known of it.
pub async fn find(reader: &mut Reader, tenant: TenantId, id: SessionId) -> Result<Option<SessionRow>> {
    let now = reader.now();
    reader.one(FIND, &[tenant.into(), id.into(), now.into()]).await
}

/// The newest `most` live sessions of the identity, the newest first.
pub async fn of_identity(reader: &mut Reader, tenant: TenantId, identity: IdentityId, most: i64) -> Result<Vec<SessionRow>> {
    let now = reader.now();
    reader.all(OF_IDENTITY, &[tenant.into(), identity.into(), now.into(), most.into()]).await
}

/// The live session whose cookie hashes to `hash`.
pub async fn by_cookie(reader: &mut Reader, tenant: TenantId, hash: &[u8; 32]) -> Result<Option<SessionRow>> {
    let now = reader.now();
    reader.one(BY_COOKIE, &[tenant.into(), hash.as_slice().into(), now.into()]).await
}

/// Gives a live session of the identity a cookie in place of the one that it has; when the session expires. `None`: it is not live, or another's.
pub async fn set_cookie(tx: &mut Tx, tenant: TenantId, id: SessionId, identity: IdentityId, hash: &[u8; 32]) -> Result<Option<Timestamp>> {
    let now = tx.now();
    let values = [tenant.into(), id.into(), identity.into(), hash.as_slice().into(), now.into()];
    Ok(tx.returning::<(i64,)>(SET_COOKIE, &values).await?.map(|(micros,)| Timestamp::from_micros(micros)))
}

/// A session that was ended just now.
struct EndedRow {
    id: SessionId,
    expires_at: Timestamp,
}

impl FromRow for EndedRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { id: row.id(0)?, expires_at: row.time(1)? })
    }
}

/// The session that a cookie's successor ended, and its login.
struct ReplacedRow {
    ended: EndedRow,
    identity: IdentityId,
}

impl FromRow for ReplacedRow {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self { ended: EndedRow::from_row(row)?, identity: row.id(2)? })
    }
}

/// Those that lived: one that had run out was not ended by anybody.
fn lived(rows: Vec<EndedRow>, now: Timestamp) -> Vec<SessionId> {
    rows.into_iter().filter(|row| row.expires_at > now).map(|row| row.id).collect()
}

/// Ends the session whose cookie hashes to `hash`, unless it is `id`, which takes its place in the browser. Which lived until then, and whose it was.
pub async fn end_replaced(tx: &mut Tx, tenant: TenantId, hash: &[u8; 32], id: SessionId) -> Result<Option<(SessionId, IdentityId)>> {
    let now = tx.now();
    let found = tx.returning::<ReplacedRow>(END_REPLACED, &[tenant.into(), hash.as_slice().into(), id.into(), now.into()]).await?;
    Ok(found.filter(|row| row.ended.expires_at > now).map(|row| (row.ended.id, row.identity)))
}

/// Ends one session of the identity. False: it has no such live one, so of two concurrent calls exactly one ends it.
pub async fn end(tx: &mut Tx, tenant: TenantId, id: SessionId, identity: IdentityId) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(END, &[tenant.into(), id.into(), identity.into(), now.into()]).await? == 1)
}

/// Ends every session of the identity but `kept`, and every token of it that has none; which sessions lived until then.
pub async fn end_others(tx: &mut Tx, tenant: TenantId, identity: IdentityId, kept: SessionId) -> Result<Vec<SessionId>> {
    let now = tx.now();
    note_end(tx, tenant, identity).await?;
    Ok(lived(tx.returning_all(END_OTHERS, &[tenant.into(), identity.into(), kept.into(), now.into()]).await?, now))
}

/// Ends every token of the identity that has no session.
pub async fn note_end(tx: &mut Tx, tenant: TenantId, identity: IdentityId) -> Result<()> {
    let now = tx.now();
    tx.exec(NOTE_END, &[tenant.into(), identity.into(), now.into()]).await?;
    Ok(())
}

/// Ends every session of the identity, and every token of it that has none; which sessions lived until then.
pub async fn end_all(tx: &mut Tx, tenant: TenantId, identity: IdentityId) -> Result<Vec<SessionId>> {
    let now = tx.now();
    note_end(tx, tenant, identity).await?;
    Ok(lived(tx.returning_all(END_ALL, &[tenant.into(), identity.into(), now.into()]).await?, now))
}

/// Deletes sessions that expired before now, a batch of them.
pub async fn sweep(tx: &mut Tx, tenant: TenantId) -> Result<u64> {
    let now = tx.now();
    tx.exec(SWEEP, &[tenant.into(), now.into()]).await
}
