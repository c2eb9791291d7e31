//! Sessions: how a sign-in becomes a token, and how a token is believed.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Engine;
use crate::error::{Error, Result};
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, IdentityId, SessionId, UserId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::model::token::SessionClaims;
use crate::store::{self, Tx};

/// Who is calling: a token that verified and whose session lives.
#[derive(Debug, Clone)]
pub struct Caller {
    pub claims: Arc<SessionClaims>,
    pub session: SessionId,
    pub identity: IdentityId,
}

/// A session that is about to be written: its id is drawn before the transaction.
#[derive(Debug, Clone, Copy)]
pub struct NewSession {
    id: SessionId,
    started_at: Timestamp,
    expires_at: Timestamp,
}

/// Draws a session for `tenant`.
#[must_use]
pub fn draw(engine: &Engine, tenant: &Tenant) -> NewSession {
    let started_at = engine.clock.now();
    NewSession { id: SessionId(engine.rng.ulid(started_at)), started_at, expires_at: started_at.after(tenant.settings.tokens.session_max_age.0) }
}

/// Writes the session's row.
pub async fn begin(tx: &mut Tx, tenant: &Tenant, session: NewSession, identity: IdentityId) -> Result<()> {
    store::session::insert(tx, tenant.id, session.id, identity, session.expires_at).await
}

/// Signs a token of `session` for `identity`.
pub fn token(engine: &Engine, tenant: &Tenant, session: NewSession, identity: &Identity) -> Result<String> {
    let iat = session.started_at.seconds();
    let ttl = i64::try_from(tenant.settings.tokens.ttl.0.as_secs()).unwrap_or(i64::MAX);
    let actor_id = identity.actor_id.as_deref().map(|bare| wire_actor_id(&identity.key.actor_type, bare)).unwrap_or_default();
    let mut app_metadata = Map::new();
    if !actor_id.is_empty() {
        app_metadata.insert(format!("{}_id", identity.key.actor_type), Value::String(actor_id.clone()));
    }
    tenant.keys.sign_session(&SessionClaims {
        actor_id,
        actor_type: identity.key.actor_type.to_string(),
        auth_identity_id: identity.id.to_string(),
        auth_provider: identity.key.provider.clone(),
        mfa_enabled: false,
        mfa_challenge_completed_at: None,
        app_metadata,
        user_metadata: identity.user_metadata.clone(),
        iss: engine.issuer(tenant),
        aud: tenant.slug.clone(),
        iat,
        exp: (iat.saturating_add(ttl)).min(session.expires_at.seconds()),
        jti: engine.rng.ulid(session.started_at).to_string(),
        sid: session.id.bare(),
    })
}

/// A new token of the caller's session, from what its login is now: this is how a login that became a customer gets a token that says so.
/// The old token stays good until it expires.
///
/// # Errors
/// `Unauthorized` if the login is gone or the session has ended meanwhile.
pub async fn refresh(engine: &Engine, tenant: &Tenant, caller: &Caller) -> Result<String> {
    let (tenant_id, session, id) = (tenant.id, caller.session, caller.identity);
    let found = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let Some(row) = store::session::find(reader, tenant_id, session).await? else { return Ok(None) };
                Ok(store::identity::by_id(reader, tenant_id, id).await?.map(|identity| (row, identity)))
            })
        })
        .await?;
    let (row, identity) = found.ok_or_else(|| Error::unauthorized("Invalid auth identity while refreshing token"))?;
    let again = NewSession { id: session, started_at: engine.clock.now(), expires_at: row.expires_at };
    token(engine, tenant, again, &identity)
}

fn wire_actor_id(actor: &ActorType, bare: &str) -> String {
    match actor.as_str() {
        "customer" => format!("{}{bare}", CustomerId::PREFIX),
        "user" => format!("{}{bare}", UserId::PREFIX),
        _ => bare.to_owned(),
    }
}

/// The caller whom `token` names, if it verifies and its session neither ended nor expired. The row is read at every use.
pub async fn authenticate(engine: &Engine, tenant: &Tenant, token: &str) -> Result<Option<Caller>> {
    let Some(caller) = verified(engine, tenant, token) else { return Ok(None) };
    let (tenant_id, session) = (tenant.id, caller.session);
    let live = engine.db.read(move |reader| Box::pin(store::session::live(reader, tenant_id, session))).await?;
    Ok(live.filter(|identity| *identity == caller.identity).map(|_| caller))
}

/// Whom a token names whose signature and times are right. Its session may have ended: read the row.
pub(super) fn verified(engine: &Engine, tenant: &Tenant, token: &str) -> Option<Caller> {
    let claims = engine.tokens.verify_session(&tenant.keys, tenant.id, &tenant.slug, token, engine.clock.now())?;
    let (session, identity) = (claims.sid.parse().ok()?, claims.auth_identity_id.parse().ok()?);
    Some(Caller { claims, session, identity })
}
