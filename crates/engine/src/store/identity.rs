//! Logins.

use serde_json::{Map, Value};
use ulid::Ulid;

use super::value::{FromRow, Row, Val};
use super::{Reader, Tx, statements};
use crate::error::Result;
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::ids::{IdentityId, JobId, TenantId};
use crate::model::time::Timestamp;

statements! {
    REFUSE_RESET = "UPDATE identities SET reset_refused_at = $3 WHERE tenant_id = $1 AND id = $2";
    REFUSED_AT = "SELECT reset_refused_at FROM identities WHERE tenant_id = $1 AND id = $2";
    INSERT = "INSERT INTO identities (tenant_id, id, actor_type, provider, issuer, entity_id, address, password_hash, proven_at, user_metadata, actor_id, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) ON CONFLICT DO NOTHING";
    BY_KEY = "SELECT id, actor_type, provider, issuer, entity_id, address, password_hash, actor_id, created_at, proven_at, user_metadata FROM identities
        WHERE tenant_id = $1 AND actor_type = $2 AND provider = $3 AND issuer = $4 AND entity_id = $5";
    BY_ID = "SELECT id, actor_type, provider, issuer, entity_id, address, password_hash, actor_id, created_at, proven_at, user_metadata FROM identities WHERE tenant_id = $1 AND id = $2";
    LINK = "UPDATE identities SET actor_id = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2 AND actor_id IS NULL";
    SET_PASSWORD = "UPDATE identities SET password_hash = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2";
    REPLACE_HASH = "UPDATE identities SET password_hash = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2 AND password_hash = $3";
    CLAIM_NEWEST_RESET = "UPDATE identities SET newest_reset = $6, updated_at = $7
        WHERE tenant_id = $1 AND actor_type = $2 AND provider = $3 AND issuer = $4 AND entity_id = $5 AND (newest_reset IS NULL OR newest_reset < $6 OR (newest_reset >= $8 AND $6 < $8))
        RETURNING id, address";
    ADOPT = "UPDATE identities SET address = $6, password_hash = $7, actor_id = $8, updated_at = $9
        WHERE tenant_id = $1 AND actor_type = $2 AND provider = $3 AND issuer = $4 AND entity_id = $5 AND actor_id IS NULL RETURNING id";
    PROVE = "UPDATE identities SET proven_at = $3 WHERE tenant_id = $1 AND id = $2 AND proven_at IS NULL";
    TOLD = "UPDATE identities SET address = $3, proven_at = $4, user_metadata = $5, updated_at = $6 WHERE tenant_id = $1 AND id = $2";
    // A password that was set before anybody showed the address to be theirs.
    DISARM = "UPDATE identities SET password_hash = NULL, updated_at = $6 WHERE tenant_id = $1 AND actor_type = $2 AND provider = $3 AND issuer = $4 AND entity_id = $5
        AND password_hash IS NOT NULL AND proven_at IS NULL RETURNING id";
    OF_ACTOR = "SELECT id, actor_type, provider, issuer, entity_id, address, password_hash, actor_id, created_at, proven_at, user_metadata FROM identities
        WHERE tenant_id = $1 AND actor_type = $2 AND actor_id = $3 ORDER BY id";
    LOCK_ACTOR = "UPDATE identities SET updated_at = $4 WHERE tenant_id = $1 AND actor_type = $2 AND actor_id = $3";
    REMOVE = "DELETE FROM identities WHERE tenant_id = $1 AND id = $2 AND actor_type = $3 AND actor_id = $4";
    LOCK = "UPDATE identities SET updated_at = $3 WHERE tenant_id = $1 AND id = $2";
    // The condition of the index `identities_foreign`, word for word.
    FOREIGN_HASH = "SELECT id FROM identities WHERE tenant_id = $1 AND CASE WHEN substr(password_hash, 1, 10) <> '$argon2id$' THEN 1 END = 1 LIMIT 1";
    // The condition of the index `identities_unlinked`, word for word. The time of the last use is asked twice: somebody may have signed in since the rows were chosen, who locks
    // the login first. A reset is issued at a login that was used thereby.
    SWEEP_UNLINKED = "DELETE FROM identities WHERE tenant_id = $1 AND id IN (SELECT i.id FROM identities i
        WHERE i.tenant_id = $1 AND CASE WHEN actor_id IS NULL AND actor_type IN ('customer', 'user') THEN 1 END = 1 AND i.created_at <= $2 AND i.updated_at <= $2
        AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.tenant_id = $1 AND s.identity_id = i.id AND s.ended_at IS NULL AND s.expires_at > $3) LIMIT 500)
        AND actor_id IS NULL AND updated_at <= $2";
    STANDS = "SELECT id FROM identities WHERE tenant_id = $1 AND id = $2 AND actor_type = $3 AND ($4 = '' OR actor_id = $4)
        AND (sessions_ended_at IS NULL OR sessions_ended_at < $5)";
}

impl FromRow for Identity {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.id(0)?,
            key: IdentityKey {
                actor_type: ActorType::new(row.get::<String>(1)?),
                provider: row.get(2)?,
                issuer: row.get(3)?,
                entity_id: row.get(4)?,
            },
            address: row.get(5)?,
            password_hash: row.get(6)?,
            actor_id: row.get(7)?,
            created_at: row.time(8)?,
            proven_at: row.optional_time(9)?,
            user_metadata: super::value::map(row.get(10)?)?,
        })
    }
}

/// False: the login exists already, or another has its id.
pub async fn insert(tx: &mut Tx, tenant: TenantId, identity: &Identity) -> Result<bool> {
    let now = tx.now();
    let values = [
        tenant.into(),
        identity.id.into(),
        identity.key.actor_type.as_str().into(),
        (&identity.key.provider).into(),
        (&identity.key.issuer).into(),
        (&identity.key.entity_id).into(),
        (&identity.address).into(),
        identity.password_hash.as_deref().into(),
        identity.proven_at.into(),
        metadata(&identity.user_metadata),
        identity.actor_id.as_deref().into(),
        now.into(),
    ];
    Ok(tx.exec(INSERT, &values).await? == 1)
}

fn metadata(map: &Map<String, Value>) -> Val {
    (!map.is_empty()).then(|| Value::Object(map.clone()).to_string()).into()
}

/// What names a login, in the order of its unique index: `$1` to `$5`.
fn key_values(tenant: TenantId, key: &IdentityKey) -> [Val; 5] {
    [tenant.into(), key.actor_type.as_str().into(), (&key.provider).into(), (&key.issuer).into(), (&key.entity_id).into()]
}

pub async fn by_key(reader: &mut Reader, tenant: TenantId, key: &IdentityKey) -> Result<Option<Identity>> {
    reader.one(BY_KEY, &key_values(tenant, key)).await
}

pub async fn by_id(reader: &mut Reader, tenant: TenantId, id: IdentityId) -> Result<Option<Identity>> {
    reader.one(BY_ID, &[tenant.into(), id.into()]).await
}

/// Gives the login its actor. False: it has one already, so of two concurrent calls exactly one wins.
pub async fn link(tx: &mut Tx, tenant: TenantId, id: IdentityId, actor_id: &str) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(LINK, &[tenant.into(), id.into(), actor_id.into(), now.into()]).await? == 1)
}

pub async fn set_password(tx: &mut Tx, tenant: TenantId, id: IdentityId, hash: &str) -> Result<()> {
    let now = tx.now();
    tx.exec(SET_PASSWORD, &[tenant.into(), id.into(), hash.into(), now.into()]).await?;
    Ok(())
}

/// Stores the same password under newer parameters. False: the password was changed meanwhile, and stays as it is.
pub async fn replace_hash(tx: &mut Tx, tenant: TenantId, id: IdentityId, old: &str, new: &str) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(REPLACE_HASH, &[tenant.into(), id.into(), old.into(), new.into(), now.into()]).await? == 1)
}

/// Whether any login of the tenant has a password hash that is not Argon2id.
pub async fn holds_foreign_hash(reader: &mut Reader, tenant: TenantId) -> Result<bool> {
    Ok(reader.one::<(String,)>(FOREIGN_HASH, &[tenant.into()]).await?.is_some())
}

/// Whether a token that no session row knows, issued at `issued_at` for this login and actor (empty: none yet), is still good: the login exists, is this actor's,
/// and its sessions were not ended since.
pub async fn stands(reader: &mut Reader, tenant: TenantId, id: IdentityId, actor: &ActorType, actor_id: &str, issued_at: Timestamp) -> Result<bool> {
    let values = [tenant.into(), id.into(), actor.as_str().into(), actor_id.into(), issued_at.into()];
    Ok(reader.one::<(String,)>(STANDS, &values).await?.is_some())
}

/// Gives a login without an actor to `actor_id`, with the address and password of `new`. `None`: there is no such login, or it has an actor.
pub async fn adopt(tx: &mut Tx, tenant: TenantId, new: &Identity, actor_id: &str) -> Result<Option<IdentityId>> {
    let now = tx.now();
    let rest = [(&new.address).into(), new.password_hash.as_deref().into(), actor_id.into(), now.into()];
    let values = [key_values(tenant, &new.key).as_slice(), &rest].concat();
    let found = tx.returning::<(String,)>(ADOPT, &values).await?;
    Ok(found.and_then(|(id,)| id.parse().ok()))
}

/// Finds the login, locks it, and notes `request` as its newest reset request. `None`: no such login, or a newer request was issued already.
/// What is newer than `now` was noted by a clock that was ahead or has been set back since; a request from before `now` is not measured by it.
/// So `now` must be read when nobody else can issue any more, and not when the transaction began: what was asked for and issued since is no future.
pub async fn claim_newest_reset(
    tx: &mut Tx,
    tenant: TenantId,
    key: &IdentityKey,
    request: JobId,
    now: Timestamp,
) -> Result<Option<(IdentityId, String)>> {
    struct Found(IdentityId, String);
    impl FromRow for Found {
        fn from_row(row: &Row<'_>) -> Result<Self> {
            Ok(Self(row.id(0)?, row.get(1)?))
        }
    }
    // The least id of the millisecond after this one.
    let future = JobId(Ulid::from_parts(now.millis().unsigned_abs().saturating_add(1), 0));
    let values = [key_values(tenant, key).as_slice(), &[request.into(), now.into(), future.into()]].concat();
    Ok(tx.returning::<Found>(CLAIM_NEWEST_RESET, &values).await?.map(|found| (found.0, found.1)))
}

/// Notes that a reset was not issued because the address had asked for too many.
pub async fn refuse_reset(tx: &mut Tx, tenant: TenantId, id: IdentityId) -> Result<()> {
    let now = tx.now();
    tx.exec(REFUSE_RESET, &[tenant.into(), id.into(), now.into()]).await?;
    Ok(())
}

/// When that happened last.
pub async fn reset_refused_at(reader: &mut Reader, tenant: TenantId, id: IdentityId) -> Result<Option<Timestamp>> {
    let found = reader.one::<(Option<i64>,)>(REFUSED_AT, &[tenant.into(), id.into()]).await?;
    Ok(found.and_then(|(micros,)| micros).map(Timestamp::from_micros))
}

/// Locks the login's row until the transaction ends. False: there is no such login.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: IdentityId) -> Result<bool> {
    let now = tx.now();
    Ok(tx.exec(LOCK, &[tenant.into(), id.into(), now.into()]).await? == 1)
}

/// Notes that the login's address was shown to be its owner's.
pub async fn prove(tx: &mut Tx, tenant: TenantId, id: IdentityId) -> Result<()> {
    let now = tx.now();
    tx.exec(PROVE, &[tenant.into(), id.into(), now.into()]).await?;
    Ok(())
}

/// Writes what the provider told this time. The key stays: an address is no name.
pub async fn told(tx: &mut Tx, tenant: TenantId, id: IdentityId, address: &str, proven: bool, user_metadata: &Map<String, Value>) -> Result<()> {
    let now = tx.now();
    let proven_at = proven.then_some(now);
    tx.exec(TOLD, &[tenant.into(), id.into(), address.into(), proven_at.into(), metadata(user_metadata), now.into()]).await?;
    Ok(())
}

/// Takes the password from a login whose address nobody has proven. `None`: there is no such login, or nothing to take.
pub async fn disarm(tx: &mut Tx, tenant: TenantId, key: &IdentityKey) -> Result<Option<IdentityId>> {
    let now = tx.now();
    let values = [key_values(tenant, key).as_slice(), &[now.into()]].concat();
    let found = tx.returning::<(String,)>(DISARM, &values).await?;
    Ok(found.and_then(|(id,)| id.parse().ok()))
}

/// The logins of one actor, the oldest first.
pub async fn of_actor(reader: &mut Reader, tenant: TenantId, actor: &ActorType, actor_id: &str) -> Result<Vec<Identity>> {
    reader.all(OF_ACTOR, &[tenant.into(), actor.as_str().into(), actor_id.into()]).await
}

/// Locks the logins of one actor until the transaction ends.
pub async fn lock_actor(tx: &mut Tx, tenant: TenantId, actor: &ActorType, actor_id: &str) -> Result<u64> {
    let now = tx.now();
    tx.exec(LOCK_ACTOR, &[tenant.into(), actor.as_str().into(), actor_id.into(), now.into()]).await
}

/// Deletes a login of this actor. False: it has none with this id.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: IdentityId, actor: &ActorType, actor_id: &str) -> Result<bool> {
    Ok(tx.exec(REMOVE, &[tenant.into(), id.into(), actor.as_str().into(), actor_id.into()]).await? == 1)
}

/// Deletes logins of customers and staff that have no actor, no live session, and were not used since `until`, a batch of them. What another actor type's
/// logins lead to is not ours to know.
pub async fn sweep_unlinked(tx: &mut Tx, tenant: TenantId, until: Timestamp) -> Result<u64> {
    let now = tx.now();
    tx.exec(SWEEP_UNLINKED, &[tenant.into(), until.into(), now.into()]).await
}
