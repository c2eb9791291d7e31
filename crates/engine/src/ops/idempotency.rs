//! `Idempotency-Key`: whoever sends a request again gets the answer of the first, and there is one effect.
//!
//! A claim is a row under a lease. The answer is stored in the transaction of its effect and only under the lease: of a process that dies both stay or neither,
//! and a worker that has lost its lease undoes its effect.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::crypto::keyring::MasterKey;
use crate::error::{Code, Error, Result};
use crate::limits::{self, Limit, Ticket, ticket};
use crate::model::hex;
use crate::model::ids::{SessionId, TenantId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::ops::{Client, session_cookie};
use crate::store::{self, Tx};

/// How long a request is its worker's alone.
const LEASE: Duration = Duration::from_mins(1);
/// How long an answer is given again.
const KEPT: Duration = Duration::from_hours(24);
/// Largest answer that is kept, in bytes: a customer with sixty ordinary addresses.
pub const LARGEST: usize = 32 * 1024;
/// How many other requests may come with a key. After these it answers nobody: it might be a password that is guessed.
const MISMATCHES: i64 = 5;

/// A request that names a key.
pub struct Request<'r> {
    pub key: &'r str,
    /// The login or the API key that calls; on a public route nobody.
    pub caller: Option<&'r str>,
    pub client: &'r Client,
    pub method: &'r str,
    pub path: &'r str,
    pub query: &'r str,
    /// What else authorises it: the key alone must not. Nothing in it has a NUL.
    pub authority: &'r [&'r [u8]],
    pub body: &'r [u8],
}

/// An answer as it is kept. It may hold a token, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub content_type: Cow<'static, str>,
    /// A `Set-Cookie` of it.
    pub cookie: Option<String>,
    pub body: String,
}

/// What became of a claim.
pub enum Claimed {
    Now(Claim),
    /// It was answered before.
    Before(Answer),
}

/// A request that is this worker's. Clones are one claim.
#[derive(Clone)]
pub struct Claim(Arc<Held>);

/// What a request is beside the one that its key came with first.
enum Compared {
    Same,
    Other,
    /// Too many others came.
    TooOften,
    Gone,
}

struct Held {
    tenant: TenantId,
    id: [u8; 32],
    request: [u8; 32],
    lease: String,
    claimed_at: Timestamp,
    expires_at: Timestamp,
    /// No token that is made under this claim expires earlier.
    token_until: Timestamp,
    lease_until: Timestamp,
    seal: MasterKey,
    /// Whether a transaction has stored the answer. It may have failed to commit.
    settled: AtomicBool,
}

/// Claims a request, or finds the answer that it got before.
///
/// # Errors
/// `Duplicate` for a key of another request, `Conflict` while the request is being answered and where the answer holds a token whose session has ended or a cookie that was
/// replaced, `TooManyRequests` over the budget of new keys and for a key of too many requests.
pub async fn claim(engine: &Engine, tenant: &Arc<Tenant>, request: &Request<'_>) -> Result<Claimed> {
    let held = Arc::new(Held::draw(engine, tenant, request));
    // What is only given again takes nothing.
    if let Some(answer) = held.look(engine).await? {
        return Ok(Claimed::Before(answer));
    }
    let budgets = match request.caller {
        Some(caller) => vec![ticket(engine, tenant, Limit::KeysPerLogin, caller), ticket(engine, tenant, Limit::KeysPerTenant, "")],
        None => limits::per_client_and_all(engine, tenant, [Limit::KeysPerClient, Limit::PublicKeysPerTenant], request.client.ip),
    };
    let input = Arc::new((tenant.clone(), held.clone(), budgets));
    let claimed = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { claim_tx(tx, &input.0, &input.1, &input.2).await })
        })
        .await??;
    if claimed {
        return Ok(Claimed::Now(Claim(held)));
    }
    // Somebody was faster.
    let answer = held.look(engine).await?;
    answer.map(Claimed::Before).ok_or_else(|| Error::conflict("the key was claimed and let go meanwhile"))
}

/// The inner result is a refusal: its count is committed.
async fn claim_tx(tx: &mut Tx, tenant: &Tenant, held: &Held, budgets: &[Ticket]) -> Result<Result<bool>> {
    let Held { id, request, lease, lease_until, expires_at, .. } = held;
    let claim = store::idempotency::Claim { id, request, lease, lease_until: *lease_until, expires_at: *expires_at };
    if !store::idempotency::claim(tx, tenant.id, claim).await? {
        return Ok(Ok(false));
    }
    if let Some(refusal) = limits::take(tx, tenant, budgets).await? {
        store::idempotency::release(tx, tenant.id, id, lease).await?;
        return Ok(Err(refusal));
    }
    Ok(Ok(true))
}

/// Ends the claim of a request that was answered, unless the transaction of its effect has: `answer` is kept, for `lasts` at most, or without one the key is as new again.
/// False: somebody else has the claim.
///
/// # Errors
/// What the database says.
pub async fn finish(engine: &Engine, claim: &Claim, answer: Option<&Answer>, lasts: Option<Duration>) -> Result<bool> {
    #[cfg(feature = "testing")]
    if engine.db.faults().strikes(store::faults::Fault::Death) {
        return Ok(true);
    }
    let held = claim.0.clone();
    let sealed = answer.filter(|answer| answer.body.len() <= LARGEST).map(|answer| held.seal(answer)).transpose()?;
    let input = Arc::new((held, sealed));
    let work = engine.db.write(move |tx| {
        let input = input.clone();
        Box::pin(async move {
            let Held { tenant, id, lease, claimed_at, expires_at, .. } = &*input.0;
            let until = lasts.map_or(*expires_at, |lasts| claimed_at.after(lasts));
            match &input.1 {
                Some(sealed) => store::idempotency::settle(tx, *tenant, id, lease, sealed, None, until).await,
                None => store::idempotency::release(tx, *tenant, id, lease).await.map(|()| true),
            }
        })
    });
    work.await
}

impl Claim {
    /// Whether a transaction has stored the answer: it counts if the request succeeded.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::SeqCst)
    }
}

impl Held {
    fn draw(engine: &Engine, tenant: &Tenant, request: &Request<'_>) -> Self {
        let Request { key, caller, method, path, query, authority, body, .. } = *request;
        let (now, ttl, tenant) = (engine.clock.now(), tenant.settings.tokens.ttl.0, tenant.id);
        let tag = |purpose: &str, parts: &[&[u8]]| engine.master.authenticate(purpose, tenant, parts);
        // None of these holds a NUL, and a body comes last.
        let id =
            tag("idempotency key", &[caller.unwrap_or_default().as_bytes(), b"\0", method.as_bytes(), b"\0", path.as_bytes(), b"\0", key.as_bytes()]);
        Self {
            tenant,
            id,
            request: tag("idempotency request", &[query.as_bytes(), b"\0", &authority.join(&0), b"\0", body]),
            lease: engine.rng.uuid(),
            lease_until: now.after(LEASE),
            claimed_at: now,
            expires_at: now.after(KEPT),
            token_until: Timestamp::from_seconds(now.seconds()).after(ttl),
            seal: engine.master.narrowed("idempotency answer", tenant, &[&id, key.as_bytes()]),
            settled: AtomicBool::new(false),
        }
    }

    fn context(&self) -> String {
        format!("tenant/{}/idempotency_keys/{}", self.tenant.bare(), hex(&self.id))
    }

    fn seal(&self, answer: &Answer) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(answer).map(zeroize::Zeroizing::new).map_err(|e| Error::unexpected(e.to_string()))?;
        Ok(self.seal.seal(&self.context(), &plain))
    }

    /// The answer that the request got before. `None`: it may be claimed.
    async fn look(&self, engine: &Engine) -> Result<Option<Answer>> {
        let (tenant, id) = (self.tenant, self.id);
        let found = engine
            .db
            .read(move |reader| {
                Box::pin(async move {
                    let Some(row) = store::idempotency::find(reader, tenant, &id).await? else { return Ok(None) };
                    let live = match row.session {
                        Some(session) => store::session::live(reader, tenant, session).await?.is_some(),
                        None => true,
                    };
                    Ok(Some((row, live)))
                })
            })
            .await?;
        let Some((row, live)) = found else { return Ok(None) };
        match self.compare(engine).await? {
            Compared::Same => {}
            Compared::Other => return Err(Error::new(Code::Duplicate, "The Idempotency-Key was sent with another request already")),
            Compared::TooOften => return Err(Error::too_many(Duration::from_secs(row.expires_at.since(engine.clock.now()).as_secs() + 1))),
            // It was let go of meanwhile.
            Compared::Gone => return Ok(None),
        }
        match row.answer {
            Some(_) if !live => Err(Error::conflict("the session of the token in the answer has ended")),
            Some(sealed) => {
                let plain = self.seal.open(&self.context(), &sealed)?;
                let answer: Answer = serde_json::from_slice(&plain).map_err(|e| Error::unexpected(format!("a kept answer: {e}")))?;
                if let (Some(_), Some(cookie)) = (row.session, &answer.cookie)
                    && !session_cookie::is_current(engine, tenant, cookie).await?
                {
                    return Err(Error::conflict("the cookie in the answer was replaced"));
                }
                Ok(Some(answer))
            }
            None if row.lease_until > engine.clock.now() => Err(Error::conflict("the request is being answered")),
            None => Ok(None),
        }
    }

    async fn compare(&self, engine: &Engine) -> Result<Compared> {
        let (tenant, id, request) = (self.tenant, self.id, self.request);
        let work = engine.db.write(move |tx| {
            Box::pin(async move {
                Ok(match store::idempotency::compare(tx, tenant, &id, &request, MISMATCHES).await? {
                    Some(true) => Compared::Same,
                    Some(false) => Compared::Other,
                    None if store::idempotency::find(tx, tenant, &id).await?.is_some() => Compared::TooOften,
                    None => Compared::Gone,
                })
            })
        });
        work.await
    }
}

type Render<T> = dyn Fn(&T) -> Result<Answer> + Send + Sync;

/// What an operation with the outcome `T` settles in the transaction of its effect. Without a key it settles nothing.
pub struct Receipt<T> {
    claim: Option<Claim>,
    render: Arc<Render<T>>,
}

impl<T> Clone for Receipt<T> {
    fn clone(&self) -> Self {
        Self { claim: self.claim.clone(), render: self.render.clone() }
    }
}

impl<T> Receipt<T> {
    /// `render` makes the answer of the outcome. It may run more than once, and must say the same each time.
    pub fn new(claim: Option<Claim>, render: impl Fn(&T) -> Result<Answer> + Send + Sync + 'static) -> Self {
        Self { claim, render: Arc::new(render) }
    }

    /// For callers that are no API and show the outcome in their own way.
    #[must_use]
    pub fn none() -> Self {
        Self::new(None, |_| Err(Error::unexpected("nobody asked for an answer")))
    }

    /// The answer to the caller.
    ///
    /// # Errors
    /// `Unexpected` if it cannot be written.
    pub fn answer(&self, outcome: &T) -> Result<Answer> {
        (self.render)(outcome)
    }

    /// Stores the answer, as the last thing in the transaction of its effect. `session` is that of a token or a cookie in it: no token is given again that expired.
    ///
    /// # Errors
    /// `Conflict` if the claim is somebody else's, and `InvalidData` for an answer too large to be kept: then nothing of the transaction may stay.
    pub(super) async fn settle(&self, tx: &mut Tx, outcome: &T, session: Option<SessionId>) -> Result<()> {
        let Some(Claim(held)) = &self.claim else { return Ok(()) };
        let answer = self.answer(outcome)?;
        if answer.body.len() > LARGEST {
            return Err(Error::invalid(format!("With an Idempotency-Key an answer may have at most {LARGEST} bytes; ask for fewer fields")));
        }
        let until = if session.is_some() { held.token_until } else { held.expires_at };
        if !store::idempotency::settle(tx, held.tenant, &held.id, &held.lease, &held.seal(&answer)?, session, until).await? {
            return Err(Error::conflict("somebody else has taken the claim over"));
        }
        held.settled.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl<T: Clone + Send + Sync + 'static> Receipt<T> {
    /// Stores the answer of an operation that writes nothing else.
    ///
    /// # Errors
    /// As for `settle`.
    pub(super) async fn settle_alone(&self, engine: &Engine, outcome: &T, session: Option<SessionId>) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        let input = Arc::new((self.clone(), outcome.clone()));
        let work = engine.db.write(move |tx| {
            let input = input.clone();
            Box::pin(async move { input.0.settle(tx, &input.1, session).await })
        });
        work.await
    }
}
