//! "I forgot my password": asking, issuing, looking at a link, setting the new password.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Engine;
use crate::error::{Error, Result};
use crate::limits::{self, Failures, Limit, Ticket, ticket};
use crate::model::email::Email;
use crate::model::event::{Event, EventName};
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::ids::{IdentityId, JobId};
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::model::token::{ResetClaims, ResetPurpose};
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::session::{Ending, Reason};
use crate::ops::{Client, registration};
use crate::ports::clock::Clock;
use crate::provider::emailpass;
use crate::store::job::ClaimedJob;
use crate::store::password_reset::ResetRow;
use crate::store::{self, Tx};

/// The kind of its jobs.
pub const JOB: &str = "password_reset";
/// Largest `metadata` of a request, in bytes of JSON. Whoever takes a request in looks at it.
pub const METADATA_BYTES: usize = 4096;

/// A link with less time left than this is issued anew before it is mailed; one of a short life with less than half of that.
const LATE: Duration = Duration::from_mins(2);
/// How often the link of one request is issued anew.
const REISSUES: i64 = 3;

/// What the job remembers of a request until it is issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    actor_type: String,
    provider: String,
    /// The address in its look-up form.
    entity_id: String,
    metadata: Map<String, Value>,
}

/// The newest request that this process has stored of each login and not issued yet. An older one need not be issued: its link would be dead at once.
///
/// It is a hint, and bounded: what it has forgotten is issued and superseded as ever.
pub(crate) struct Newest(Cache<[u8; 16], JobId>);

impl Default for Newest {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(65_536).time_to_live(Duration::from_mins(10)).build())
    }
}

impl Newest {
    /// Call once the request is durable.
    fn note(&self, login: [u8; 16], job: JobId) {
        if self.0.get(&login).is_none_or(|noted| noted < job) {
            self.0.insert(login, job);
        }
    }

    /// Whether a newer request of the same login is stored. Otherwise `job` is the newest, and is forgotten here.
    /// One from after `now` was noted by a clock that was ahead: it waits for its time, and an owner must not wait for it.
    fn is_overtaken(&self, login: [u8; 16], job: JobId, now: Timestamp) -> bool {
        let overtaken = self.0.get(&login).is_some_and(|noted| noted > job && noted.0.timestamp_ms() <= now.millis().unsigned_abs());
        if !overtaken {
            self.0.invalidate(&login);
        }
        overtaken
    }
}

/// Takes a request in. No account is looked up here, so known and unknown addresses cost the same; `issue` does the rest.
///
/// # Errors
/// `TooManyRequests` over the client's budget, `Busy` when too many requests wait. The identifier's budget is taken when the request is issued.
pub async fn request(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    client: &Client,
    actor: &ActorType,
    email: &Email,
    metadata: Map<String, Value>,
    receipt: &Receipt<()>,
) -> Result<()> {
    let key = emailpass::key(actor, email);
    let per_client = limits::per_client(engine, tenant, Limit::ResetsPerClient, client.ip);
    let login = budgets(engine, tenant, &key)[0].subject();
    let asked = Asked { actor_type: key.actor_type.to_string(), provider: key.provider, entity_id: key.entity_id, metadata };
    let payload = serde_json::to_string(&asked).map_err(|e| Error::unexpected(e.to_string()))?;
    let job = JobId(engine.rng.ulid(engine.clock.now()));
    let input = Arc::new((tenant.clone(), per_client, payload, job, receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, per_client, payload, job, receipt) = &*input;
                if let Err(refusal) = request_tx(tx, tenant, per_client, *job, payload).await? {
                    return Ok(Err(refusal));
                }
                receipt.settle(tx, &(), None).await.map(Ok)
            })
        })
        .await??;
    engine.resets.note(login, job);
    engine.outbox.wake();
    Ok(())
}

/// Those of the identifier: the first, and what there is beyond it.
fn budgets(engine: &Engine, tenant: &Tenant, key: &IdentityKey) -> [Ticket; 2] {
    let subject = limits::login_subject(key);
    [Limit::ResetsPerIdentifier, Limit::ResetsBeyond].map(|limit| ticket(engine, tenant, limit, &subject))
}

/// The inner result is a refusal: its counts are committed.
async fn request_tx(tx: &mut Tx, tenant: &Tenant, per_client: &[Ticket], job: JobId, payload: &str) -> Result<Result<()>> {
    if let Some(refusal) = limits::take(tx, tenant, per_client).await? {
        return Ok(Err(refusal));
    }
    let most = i64::from(tenant.settings.limits.waiting_resets);
    if !store::job::append(tx, tenant.id, job, JOB, payload, most).await? {
        return Ok(Err(Error::busy("too many reset requests wait to be issued")));
    }
    Ok(Ok(()))
}

/// What `issue` drew before its transaction.
struct Draft {
    clock: Clock,
    job: ClaimedJob,
    lease: String,
    key: IdentityKey,
    budgets: [Ticket; 2],
    overtaken: bool,
    jti: String,
    expires_at: Timestamp,
    planned: Planned,
}

/// Issues what the job asks for, exactly once whatever crashes or pauses: the job ends in the same transaction, and only for the worker that still holds it.
pub async fn issue(engine: &Engine, tenant: &Arc<Tenant>, job: ClaimedJob, lease: &str) -> Result<()> {
    let input = Arc::new((tenant.clone(), draft(engine, tenant, job, lease)?));
    engine
        .db
        .write_behind(move |tx| {
            let input = input.clone();
            Box::pin(async move { issue_tx(tx, &input.0, &input.1).await })
        })
        .await
}

fn draft(engine: &Engine, tenant: &Tenant, job: ClaimedJob, lease: &str) -> Result<Draft> {
    let asked: Asked = serde_json::from_str(&job.payload).map_err(|e| Error::unexpected(format!("job {}: {e}", job.id)))?;
    let key =
        IdentityKey { actor_type: ActorType::new(asked.actor_type), provider: asked.provider, issuer: String::new(), entity_id: asked.entity_id };
    let budgets = budgets(engine, tenant, &key);
    let overtaken = engine.resets.is_overtaken(budgets[0].subject(), job.id, engine.clock.now());
    let jti = engine.rng.uuid();
    let data = Map::from_iter([
        ("entity_id".to_owned(), Value::String(key.entity_id.clone())),
        ("actor_type".to_owned(), Value::String(key.actor_type.to_string())),
        ("metadata".to_owned(), Value::Object(asked.metadata)),
    ]);
    let planned = event::plan(engine, tenant, EventName::PasswordReset, data, Some(jti.clone()));
    let expires_at = expiry(engine, tenant);
    Ok(Draft { clock: engine.clock.clone(), job, lease: lease.to_owned(), key, budgets, overtaken, jti, expires_at, planned })
}

/// When a reset that is issued now expires: in whole seconds, so that the row and the token do so in the same instant.
fn expiry(engine: &Engine, tenant: &Tenant) -> Timestamp {
    Timestamp::from_seconds(engine.clock.now().seconds()).after(tenant.settings.tokens.reset_ttl.0)
}

async fn issue_tx(tx: &mut Tx, tenant: &Arc<Tenant>, draft: &Draft) -> Result<()> {
    if !store::job::finish(tx, &draft.job, &draft.lease).await? {
        // The lease ran out and somebody else has the job. Nothing was changed.
        return Ok(());
    }
    if draft.overtaken {
        return Ok(());
    }
    // Whoever issues for this tenant has counted down its backlog, and the others wait for that row: from here on nothing newer is issued.
    let now = draft.clock.now();
    let Some((identity, _)) = store::identity::claim_newest_reset(tx, tenant.id, &draft.key, draft.job.id, now).await? else { return Ok(()) };
    // Here and not at the request, whose caller must not learn of it, and so that no stranger's address takes a row.
    if !may_issue(tx, tenant, identity, &draft.budgets).await? {
        // The owner is not told, the staff is.
        store::identity::refuse_reset(tx, tenant.id, identity).await?;
        return Ok(());
    }
    store::password_reset::void(tx, tenant.id, identity).await?;
    store::password_reset::insert(tx, tenant.id, &draft.jti, identity, draft.job.created_at, draft.expires_at).await?;
    event::append(tx, tenant, &draft.planned).await
}

/// Strangers who spend an address's budget must not keep from a link the owner whom their guesses have locked out: where none is good, there is more.
async fn may_issue(tx: &mut Tx, tenant: &Tenant, identity: IdentityId, [per_identifier, beyond]: &[Ticket; 2]) -> Result<bool> {
    Ok(limits::take(tx, tenant, std::slice::from_ref(per_identifier)).await?.is_none()
        || (!store::password_reset::has_good(tx, tenant.id, identity).await?
            && limits::take(tx, tenant, std::slice::from_ref(beyond)).await?.is_none()))
}

/// Issues the reset `jti`, of which `told` told, anew because its mail was held up: another token and another event take their places.
/// False: it was used or voided meanwhile, or issued anew too often, and nothing was changed.
pub async fn reissue(engine: &Engine, tenant: &Arc<Tenant>, jti: &str, told: &Event) -> Result<bool> {
    let Some((_, identity)) = load(engine, tenant, jti).await? else { return Ok(false) };
    let fresh = engine.rng.uuid();
    let planned = event::plan(engine, tenant, told.name, told.data.clone(), Some(fresh.clone()));
    let input = Arc::new((tenant.clone(), identity.id, jti.to_owned(), fresh, expiry(engine, tenant), planned));
    let reissued = engine
        .db
        .write_behind(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, identity, jti, fresh, expires_at, planned) = &*input;
                // First the login, as in every other change to its resets.
                let anew = store::identity::lock(tx, tenant.id, *identity).await?
                    && store::password_reset::reissue(tx, tenant.id, jti, fresh, *expires_at, REISSUES).await?;
                if anew {
                    event::append(tx, tenant, planned).await?;
                }
                Ok(anew)
            })
        })
        .await?;
    if reissued {
        engine.outbox.wake();
    }
    Ok(reissued)
}

/// A reset that can be delivered: everything the token says.
pub struct Deliverable {
    pub token: String,
    /// Where the mail goes: the stored address, never what was typed into a form.
    pub address: String,
    pub actor: ActorType,
    pub actor_id: Option<String>,
    pub expires_at: Timestamp,
    /// Whether so little of its life is left that a mail with it should not be sent.
    pub is_late: bool,
}

/// Why a reset is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeliverable {
    /// A newer one was issued, or it was used.
    Superseded,
    Expired,
}

/// Signs the token of the reset `jti`, at the moment of its delivery: so no token rests anywhere.
pub async fn deliverable(engine: &Engine, tenant: &Tenant, jti: &str) -> Result<std::result::Result<Deliverable, Undeliverable>> {
    let Some((row, identity)) = load(engine, tenant, jti).await? else { return Ok(Err(Undeliverable::Superseded)) };
    if row.used_at.is_some() || row.voided_at.is_some() {
        return Ok(Err(Undeliverable::Superseded));
    }
    if row.expires_at <= engine.clock.now() {
        return Ok(Err(Undeliverable::Expired));
    }
    let token = tenant.keys.sign_reset(&ResetClaims {
        entity_id: identity.key.entity_id.clone(),
        provider: identity.key.provider.clone(),
        actor_type: identity.key.actor_type.to_string(),
        purpose: ResetPurpose::Reset,
        iss: engine.issuer(tenant),
        aud: tenant.slug.clone(),
        iat: row.issued_at.seconds(),
        exp: row.expires_at.seconds(),
        jti: jti.to_owned(),
    })?;
    let is_late = row.expires_at.since(engine.clock.now()) < LATE.min(row.expires_at.since(row.issued_at) / 2);
    let Identity { key, actor_id, address, .. } = identity;
    Ok(Ok(Deliverable { token, address, actor: key.actor_type, actor_id, expires_at: row.expires_at, is_late }))
}

async fn load(engine: &Engine, tenant: &Tenant, jti: &str) -> Result<Option<(ResetRow, Identity)>> {
    let (tenant_id, jti) = (tenant.id, jti.to_owned());
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let Some(row) = store::password_reset::find(reader, tenant_id, &jti).await? else { return Ok(None) };
                let identity = store::identity::by_id(reader, tenant_id, row.identity).await?;
                Ok(identity.map(|identity| (row, identity)))
            })
        })
        .await
}

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    Good,
    Used,
    /// Expired, or replaced by a newer link.
    Expired,
    /// Damaged, or made by another shop.
    Foreign,
}

/// Looks at a link without spending it, and notes that it was opened.
pub async fn inspect(engine: &Engine, tenant: &Tenant, token: &str) -> Result<LinkState> {
    let Some(claims) = tenant.keys.read_reset(token, &tenant.slug) else { return Ok(LinkState::Foreign) };
    let now = engine.clock.now();
    let Some((row, _)) = load(engine, tenant, &claims.jti).await?.filter(|(_, identity)| names(&claims, &identity.key)) else {
        // Expired rows are swept after a while; the signature still says that the link was ours.
        return Ok(if claims.exp <= now.seconds() { LinkState::Expired } else { LinkState::Foreign });
    };
    if row.opened_at.is_none() {
        note_opened(engine, tenant, claims.jti).await;
    }
    Ok(match row {
        ResetRow { used_at: Some(_), .. } => LinkState::Used,
        ResetRow { voided_at: Some(_), .. } => LinkState::Expired,
        ResetRow { expires_at, .. } if expires_at <= now => LinkState::Expired,
        _ => LinkState::Good,
    })
}

/// For the timeline. The page is shown whether this can be stored or not.
async fn note_opened(engine: &Engine, tenant: &Tenant, jti: String) {
    let (tenant, jti) = (tenant.id, Arc::new(jti));
    let noted = engine
        .db
        .write_behind(move |tx| {
            let jti = jti.clone();
            Box::pin(async move { store::password_reset::open(tx, tenant, &jti).await })
        })
        .await;
    if let Err(e) = noted {
        tracing::warn!(error = %e, "that a link was opened could not be noted");
    }
}

fn names(claims: &ResetClaims, key: &IdentityKey) -> bool {
    claims.entity_id == key.entity_id && claims.provider == key.provider && claims.actor_type == key.actor_type.as_str()
}

/// What is asked for with a reset token.
pub struct NewPassword<'a> {
    pub actor: &'a ActorType,
    pub provider: &'a str,
    pub token: &'a str,
    /// `None`: the caller sent no string.
    pub secret: Option<&'a str>,
}

/// Sets a new password with a reset token. Of any number of concurrent calls with one token exactly one succeeds.
/// A refused password spends nothing.
///
/// # Errors
/// `Unauthorized` `Invalid token` for any token that is not good for exactly this actor type and provider; `Unauthorized` `Unauthorized` without a password;
/// `InvalidData` for a password that the rules refuse; `Busy`.
pub async fn complete(engine: &Arc<Engine>, tenant: &Arc<Tenant>, client: &Client, new: &NewPassword<'_>, receipt: &Receipt<()>) -> Result<()> {
    let claims = tenant.keys.verify_reset(new.token, &tenant.slug, engine.clock.now()).ok_or_else(invalid_token)?;
    if claims.actor_type != new.actor.as_str() || claims.provider != new.provider {
        return Err(invalid_token());
    }
    // A plain read first, so that junk buys no hashing.
    let (row, identity) = load(engine, tenant, &claims.jti).await?.filter(|(_, identity)| names(&claims, &identity.key)).ok_or_else(invalid_token)?;
    if row.used_at.is_some() || row.voided_at.is_some() || row.expires_at <= engine.clock.now() {
        return Err(invalid_token());
    }
    let secret = new.secret.filter(|s| !s.is_empty()).ok_or_else(|| Error::unauthorized("Unauthorized"))?;
    let local_part = identity.key.entity_id.split('@').next().unwrap_or_default();
    registration::check_password(tenant, local_part, secret)?;
    let hash = engine.hasher.hash(password::normalise(secret), engine.rng.bytes()).await?;
    let planned = event::plan(engine, tenant, EventName::PasswordUpdated, updated_data(&identity), None);
    let ending = Ending::draw(engine, tenant, Reason::PasswordReset);
    let failures = Failures::at(engine, tenant, &identity.key, Some(client.ip));
    let input = Arc::new((tenant.clone(), identity, claims.jti, hash, failures, (planned, ending), receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, identity, jti, hash, failures, told, receipt) = &*input;
                complete_tx(tx, tenant, identity, jti, hash, failures, told).await?;
                receipt.settle(tx, &(), None).await
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(())
}

/// The data of `auth.password_updated`.
pub(super) fn updated_data(login: &Identity) -> Map<String, Value> {
    Map::from_iter([
        ("auth_identity_id".to_owned(), Value::String(login.id.to_string())),
        ("entity_id".to_owned(), Value::String(login.key.entity_id.clone())),
        ("actor_type".to_owned(), Value::String(login.key.actor_type.to_string())),
        ("auth_provider".to_owned(), Value::String(login.key.provider.clone())),
    ])
}

async fn complete_tx(
    tx: &mut Tx,
    tenant: &Arc<Tenant>,
    login: &Identity,
    jti: &str,
    hash: &str,
    failures: &Failures,
    (planned, ending): &(Planned, Ending),
) -> Result<()> {
    let identity = login.id;
    // The lock orders this against a sign-in that has verified the old password and is about to begin a session.
    store::identity::lock(tx, tenant.id, identity).await?;
    if store::password_reset::consume(tx, tenant.id, jti).await? != Some(identity) {
        return Err(invalid_token());
    }
    store::identity::set_password(tx, tenant.id, identity, hash).await?;
    // Whoever has the link reads the mailbox.
    store::identity::prove(tx, tenant.id, identity).await?;
    if tenant.settings.passwords.revoke_sessions_on_change {
        let ended = store::session::end_all(tx, tenant.id, identity).await?;
        ending.tell(tx, tenant.id, login, ended).await?;
    }
    // Strangers' wrong guesses must not keep the owner out.
    failures.give_back_after_reset(tx, tenant).await?;
    event::append(tx, tenant, planned).await
}

fn invalid_token() -> Error {
    Error::unauthorized("Invalid token")
}

#[cfg(test)]
mod tests;
