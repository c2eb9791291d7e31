//! Sessions: how a sign-in becomes a token, how a token is believed, and how its owner sees and ends them.

use std::sync::Arc;

use serde_json::{Map, Value};
use ulid::Ulid;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::limits::{self, Limit, Ticket, ticket};
use crate::model::event::EventName;
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, IdentityId, SessionId, TenantId, UserId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::model::token::SessionClaims;
use crate::ops::account::linked_data;
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::identity;
use crate::store::session::SessionRow;
use crate::store::{self, Reader, Tx};

/// Longest name of a client that is kept, in bytes.
const USER_AGENT: usize = 200;
/// Most sessions that a list shows.
const LISTED: usize = 100;
/// Most ids that one event names.
const NAMED: usize = 100;

/// Who is calling: a token that verified or a cookie, whose session lives.
#[derive(Debug, Clone)]
pub struct Caller {
    pub claims: Arc<SessionClaims>,
    /// `None`: the token was made elsewhere, with a former secret.
    pub session: Option<SessionId>,
    pub identity: IdentityId,
}

/// A session that is about to be written: its id is drawn before the transaction.
#[derive(Debug, Clone)]
pub struct NewSession {
    id: SessionId,
    /// The id of its first token.
    jti: Ulid,
    started_at: Timestamp,
    expires_at: Timestamp,
    user_agent: Option<String>,
    /// What tells that somebody signed in; `None` where nobody did.
    signed_in: Option<Planned>,
}

impl NewSession {
    pub(super) const fn id(&self) -> SessionId {
        self.id
    }

    pub(super) const fn signed_in(&self) -> Option<&Planned> {
        self.signed_in.as_ref()
    }

    /// Begins without a sign-in: a registration, a token made elsewhere.
    pub(super) fn untold(self) -> Self {
        Self { signed_in: None, ..self }
    }
}

/// Draws a session for `tenant`, begun by a client that calls itself `user_agent`.
#[must_use]
pub fn draw(engine: &Engine, tenant: &Tenant, user_agent: Option<&str>) -> NewSession {
    let started_at = engine.clock.now();
    let user_agent = user_agent.map(|text| text.chars().filter(|c| c.is_ascii() && !c.is_control()).take(USER_AGENT).collect::<String>());
    NewSession {
        id: SessionId(engine.rng.ulid(started_at)),
        jti: engine.rng.ulid(started_at),
        started_at,
        expires_at: started_at.after(tenant.settings.tokens.session_max_age.0),
        user_agent: user_agent.filter(|text| !text.is_empty()),
        signed_in: Some(event::draw(engine, tenant, EventName::SignedIn)),
    }
}

/// Writes the session's row, and the event if somebody signed in.
pub async fn begin(tx: &mut Tx, tenant: &Tenant, session: &NewSession, login: &Identity) -> Result<()> {
    store::session::insert(tx, tenant.id, session.id, login.id, session.expires_at, session.user_agent.as_deref()).await?;
    let Some(drawn) = &session.signed_in else { return Ok(()) };
    let mut data = linked_data(login);
    data.insert("actor_id".to_owned(), Value::String(actor_id(login)));
    data.insert("session_id".to_owned(), Value::String(session.id.to_string()));
    event::append_with(tx, tenant.id, drawn, data).await
}

/// The id of the login's account on the wire; empty where it has none.
fn actor_id(login: &Identity) -> String {
    login.actor_id.as_deref().map(|bare| format!("{}{bare}", prefix(login.key.actor_type.as_str()))).unwrap_or_default()
}

/// Why sessions end before their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    SignedOut,
    EndedByOwner,
    PasswordChanged,
    PasswordReset,
    LoginRemoved,
    CustomerDeleted,
    Replaced,
    TakenOver,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::EndedByOwner => "ended_by_owner",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::LoginRemoved => "login_removed",
            Self::CustomerDeleted => "customer_deleted",
            Self::Replaced => "replaced",
            Self::TakenOver => "taken_over",
        }
    }
}

/// What tells of sessions that an act ends, drawn before its transaction: one event, however many they are.
pub(super) struct Ending {
    reason: Reason,
    drawn: Planned,
}

impl Ending {
    pub(super) fn draw(engine: &Engine, tenant: &Tenant, reason: Reason) -> Self {
        Self { reason, drawn: event::draw(engine, tenant, EventName::SessionEnded) }
    }

    /// Tells what `ended`, of the account of `login`. Of nothing there is nothing to tell.
    pub(super) async fn tell(&self, tx: &mut Tx, tenant: TenantId, login: &Identity, mut ended: Vec<SessionId>) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        ended.sort_by_key(|id| std::cmp::Reverse(*id));
        let mut data = linked_data(login);
        data.insert("reason".to_owned(), self.reason.as_str().into());
        data.insert("count".to_owned(), ended.len().into());
        data.insert("session_ids".to_owned(), ended.iter().take(NAMED).map(ToString::to_string).collect());
        event::append_with(tx, tenant, &self.drawn, data).await
    }

    /// As `tell`, of a login that is known by its id.
    pub(super) async fn tell_of(&self, tx: &mut Tx, tenant: TenantId, login: IdentityId, ended: Vec<SessionId>) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let login = store::identity::by_id(tx, tenant, login).await?.ok_or_else(|| Error::storage("a session had no login"))?;
        self.tell(tx, tenant, &login, ended).await
    }
}

/// Signs a token of `session` for `identity`. It draws nothing and waits for nothing, so a transaction may do it.
pub fn token(engine: &Engine, tenant: &Tenant, session: &NewSession, identity: &Identity) -> Result<String> {
    tenant.keys.sign_session(&claims(engine, tenant, session, identity))
}

/// What a token of `session` says of `identity`, from now on.
fn claims(engine: &Engine, tenant: &Tenant, session: &NewSession, identity: &Identity) -> SessionClaims {
    let iat = session.started_at.seconds();
    let ttl = i64::try_from(tenant.settings.tokens.ttl.0.as_secs()).unwrap_or(i64::MAX);
    let actor_id = actor_id(identity);
    let mut app_metadata = Map::new();
    if !actor_id.is_empty() {
        app_metadata.insert(format!("{}_id", identity.key.actor_type), Value::String(actor_id.clone()));
    }
    SessionClaims {
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
        jti: session.jti.to_string(),
        sid: session.id.bare(),
    }
}

/// A new token of the caller's session, from what its login is now: this is how a login that became a customer gets a token that says so.
/// The old token stays good until it expires. A token without a session gets one.
///
/// # Errors
/// `Unauthorized` if the login is gone or the session has ended meanwhile; `TooManyRequests` if a token without a session asks too often.
pub async fn refresh(engine: &Arc<Engine>, tenant: &Arc<Tenant>, caller: &Caller, receipt: &Receipt<String>) -> Result<String> {
    let Some(session) = caller.session else {
        return adopt(engine, tenant, caller, receipt).await;
    };
    let (tenant_id, id) = (tenant.id, caller.identity);
    let found = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let Some(row) = store::session::find(reader, tenant_id, session).await? else { return Ok(None) };
                Ok(store::identity::by_id(reader, tenant_id, id).await?.map(|identity| (row, identity)))
            })
        })
        .await?;
    let (row, identity) = found.ok_or_else(not_refreshed)?;
    let token = token(engine, tenant, &again(engine, &row), &identity)?;
    receipt.settle_alone(engine, &token, Some(session)).await?;
    Ok(token)
}

/// A session that has begun, as of now.
fn again(engine: &Engine, row: &SessionRow) -> NewSession {
    let started_at = engine.clock.now();
    NewSession { id: row.id, jti: engine.rng.ulid(started_at), started_at, expires_at: row.expires_at, user_agent: None, signed_in: None }
}

/// The caller who shows the cookie of the session `row`: what its login is now.
pub(super) fn known(engine: &Engine, tenant: &Tenant, row: &SessionRow, identity: &Identity) -> Caller {
    let claims = Arc::new(claims(engine, tenant, &again(engine, row), identity));
    Caller { claims, session: Some(row.id), identity: identity.id }
}

fn not_refreshed() -> Error {
    Error::unauthorized("Invalid auth identity while refreshing token")
}

/// A session for a caller whose token was made elsewhere, drawn before the transaction that begins it.
pub(super) struct Adoption {
    pub(super) new: NewSession,
    /// Each begins a session, which is a row.
    budget: Ticket,
}

impl Adoption {
    pub(super) fn draw(engine: &Engine, tenant: &Tenant, caller: &Caller) -> Self {
        Self { new: draw(engine, tenant, None).untold(), budget: ticket(engine, tenant, Limit::CustomerUpdates, &caller.identity.bare()) }
    }
}

/// Begins a session for a caller whose token was made elsewhere; its first token.
async fn adopt(engine: &Arc<Engine>, tenant: &Arc<Tenant>, caller: &Caller, receipt: &Receipt<String>) -> Result<String> {
    let adoption = Adoption::draw(engine, tenant, caller);
    let input = Arc::new((engine.clone(), tenant.clone(), caller.clone(), adoption, receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, caller, adoption, receipt) = &*input;
                let identity = match adopt_tx(tx, tenant, caller, adoption).await? {
                    Ok(identity) => identity,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let token = token(engine, tenant, &adoption.new, &identity)?;
                receipt.settle(tx, &token, Some(adoption.new.id)).await?;
                Ok(Ok(token))
            })
        })
        .await?
}

/// Begins the session, unless the login's sessions were ended meanwhile. The inner result is a refusal: its count is committed.
pub(super) async fn adopt_tx(tx: &mut Tx, tenant: &Tenant, caller: &Caller, adoption: &Adoption) -> Result<Result<Identity>> {
    let Adoption { new, budget } = adoption;
    if let Some(refusal) = limits::take(tx, tenant, std::slice::from_ref(budget)).await? {
        return Ok(Err(refusal));
    }
    // The lock orders this against a reset: whoever comes second sees what the first did.
    store::identity::lock(tx, tenant.id, caller.identity).await?;
    if !stands(tx, tenant.id, caller).await? {
        return Ok(Err(not_refreshed()));
    }
    let Some(identity) = store::identity::by_id(tx, tenant.id, caller.identity).await? else { return Ok(Err(not_refreshed())) };
    begin(tx, tenant, new, &identity).await?;
    Ok(Ok(identity))
}

/// What stands before an actor's id on the wire.
fn prefix(actor: &str) -> &'static str {
    match actor {
        "customer" => CustomerId::PREFIX,
        "user" => UserId::PREFIX,
        _ => "",
    }
}

/// The caller whom `token` names, if it verifies and its session neither ended nor expired. The row is read at every use.
pub async fn authenticate(engine: &Engine, tenant: &Tenant, token: &str) -> Result<Option<Caller>> {
    let Some(caller) = verified(engine, tenant, token) else { return Ok(None) };
    Ok(lives(engine, tenant, &caller).await?.then_some(caller))
}

/// Whether the caller's session lives; as `stands`.
pub(super) async fn lives(engine: &Engine, tenant: &Tenant, caller: &Caller) -> Result<bool> {
    let (tenant_id, named) = (tenant.id, caller.clone());
    engine.db.read(move |reader| Box::pin(async move { stands(reader, tenant_id, &named).await })).await
}

/// Whether the caller's session lives and is its login's. Without a session: whether the login is there, is that actor's, and its sessions were not ended since
/// the token was issued.
pub(super) async fn stands(reader: &mut Reader, tenant: TenantId, caller: &Caller) -> Result<bool> {
    let (claims, identity) = (&caller.claims, caller.identity);
    if let Some(session) = caller.session {
        return Ok(store::session::live(reader, tenant, session).await? == Some(identity));
    }
    let actor = ActorType::new(&*claims.actor_type);
    let actor_id = claims.actor_id.strip_prefix(prefix(&claims.actor_type)).unwrap_or(&claims.actor_id);
    store::identity::stands(reader, tenant, identity, &actor, actor_id, caller.issued_at()).await
}

impl Caller {
    /// When the token was issued, in whole seconds.
    pub(super) fn issued_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.claims.iat)
    }
}

/// Whom a token names whose signature and times are right. Its session may have ended: read the row.
#[must_use]
pub fn verified(engine: &Engine, tenant: &Tenant, token: &str) -> Option<Caller> {
    let claims = engine.tokens.verify_session(&tenant.keys, tenant.id, &tenant.slug, token, engine.clock.now())?;
    let session = if claims.sid.is_empty() { None } else { Some(claims.sid.parse().ok()?) };
    let identity = claims.auth_identity_id.parse().ok()?;
    Some(Caller { claims, session, identity })
}

/// A session as its owner sees it.
#[derive(Debug)]
pub struct Listed {
    pub id: SessionId,
    /// Who signed the owner in.
    pub provider: String,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Whether it is the caller's own.
    pub current: bool,
}

/// The live sessions of the caller's account, whichever of its logins they came by: the newest 100, the newest first.
///
/// # Errors
/// `Unauthenticated` if the login is gone.
pub async fn list(engine: &Engine, tenant: &Tenant, caller: &Caller) -> Result<Vec<Listed>> {
    let (tenant, session, id) = (tenant.id, caller.session, caller.identity);
    let most = i64::try_from(LISTED).unwrap_or(i64::MAX);
    let mut all = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let mut all = Vec::new();
                for login in identity::logins(reader, tenant, id).await? {
                    let rows = store::session::of_identity(reader, tenant, login.id, most).await?;
                    all.extend(rows.into_iter().map(|row| listed(row, &login, session)));
                }
                Ok(all)
            })
        })
        .await?;
    all.sort_by_key(|listed| std::cmp::Reverse(listed.id));
    all.truncate(LISTED);
    Ok(all)
}

fn listed(row: SessionRow, login: &Identity, current: Option<SessionId>) -> Listed {
    Listed {
        id: row.id,
        provider: login.key.provider.clone(),
        user_agent: row.user_agent,
        created_at: row.created_at,
        expires_at: row.expires_at,
        current: Some(row.id) == current,
    }
}

/// Which sessions of an account end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The caller's own. Of a caller without a session: the tokens without a session.
    Own,
    One(SessionId),
    /// All but the caller's own. A token without a session is like its like, so it does not spare them.
    Others,
    All,
}

/// Ends sessions of the caller's account, with their tokens and cookies.
///
/// # Errors
/// `Unauthenticated` if the caller's own has ended meanwhile, `NotFound` if `One` names none of the account's.
pub async fn end(engine: &Engine, tenant: &Tenant, caller: &Caller, which: Which) -> Result<()> {
    let reason = if which == Which::Own { Reason::SignedOut } else { Reason::EndedByOwner };
    let (tenant, input) = (tenant.id, Arc::new((caller.clone(), Ending::draw(engine, tenant, reason))));
    let found = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { end_tx(tx, tenant, &input.0, which, &input.1).await })
        })
        .await?;
    engine.outbox.wake();
    match which {
        Which::One(ended) if !found => Err(not_found(&ended.to_string())),
        _ => Ok(()),
    }
}

/// What says that an account has no session `id`, whoever else may have one.
#[must_use]
pub fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("Session with id: {id} was not found"))
}

async fn end_tx(tx: &mut Tx, tenant: TenantId, caller: &Caller, which: Which, ending: &Ending) -> Result<bool> {
    // Under the lock, so that of two sessions that end each other one is left.
    let logins = identity::lock_logins(tx, tenant, caller.identity).await?;
    if !stands(tx, tenant, caller).await? {
        return Err(Error::unauthenticated());
    }
    let mut ended = Vec::new();
    if which == Which::Own {
        match caller.session {
            Some(own) => ended.extend(store::session::end(tx, tenant, own, caller.identity).await?.then_some(own)),
            None => store::session::note_end(tx, tenant, caller.identity).await?,
        }
    } else {
        for login in logins {
            match (which, caller.session) {
                (Which::One(one), _) => ended.extend(store::session::end(tx, tenant, one, login.id).await?.then_some(one)),
                (Which::Others, Some(own)) => ended.extend(store::session::end_others(tx, tenant, login.id, own).await?),
                _ => ended.extend(store::session::end_all(tx, tenant, login.id).await?),
            }
        }
    }
    let found = !ended.is_empty();
    ending.tell_of(tx, tenant, caller.identity, ended).await?;
    Ok(found)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::provider::emailpass;
    use crate::testing::{Backend, one_shop};

    #[tokio::test]
    async fn of_many_sessions_that_end_at_once_the_newest_100_are_named_and_all_are_counted() {
        let (engine, tenant, _database) = one_shop(Backend::Sqlite).await.unwrap();
        let now = engine.clock.now();
        let draw = || engine.rng.ulid(now);
        let (login, ended) = (IdentityId(draw()), (0..150).map(|_| SessionId(draw())).collect::<Vec<_>>());
        let key = emailpass::key(&ActorType::customer(), &emailpass::address("ann@example.com").unwrap());
        let identity = Identity::with_password(login, key, "ann@example.com", "hash".to_owned(), now);
        let input = Arc::new((tenant.clone(), identity, ended.clone(), Ending::draw(&engine, &tenant, Reason::EndedByOwner)));
        let told = engine.db.write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, identity, ended, ending) = &*input;
                assert!(store::identity::insert(tx, tenant.id, identity).await?);
                ending.tell_of(tx, tenant.id, identity.id, Vec::new()).await?;
                ending.tell_of(tx, tenant.id, identity.id, ended.clone()).await
            })
        });
        told.await.unwrap();
        let tenant = tenant.id;
        let events =
            engine.db.read(move |reader| Box::pin(async move { store::event::of_subject(reader, tenant, &login.to_string(), now, 9).await }));
        let events = events.await.unwrap();
        assert_eq!(events.len(), 1, "of nothing there is nothing to tell");
        let newest: Vec<_> = ended.iter().rev().take(100).map(|id| Value::String(id.to_string())).collect();
        assert_eq!((&events[0].event.data["count"], &events[0].event.data["session_ids"]), (&150.into(), &Value::Array(newest)));
    }
}
