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
use crate::limits::{self, Limit, Ticket, client_subject, ticket};
use crate::model::hex;
use crate::model::ids::{SessionId, TenantId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::ops::Client;
use crate::store::{self, Tx};

/// How long a request is its worker's alone.
const LEASE: Duration = Duration::from_mins(1);
/// How long an answer is given again.
const KEPT: Duration = Duration::from_hours(24);
/// Largest answer that is kept, in bytes: a customer with two hundred ordinary addresses.
pub const LARGEST: usize = 256 * 1024;

/// A request that names a key.
pub struct Request<'r> {
    pub key: &'r str,
    /// The login or the API key that calls; on a public route nobody.
    pub caller: Option<&'r str>,
    pub client: &'r Client,
    pub method: &'r str,
    pub path: &'r str,
    pub query: &'r str,
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

struct Held {
    tenant: TenantId,
    id: [u8; 32],
    request: [u8; 32],
    lease: String,
    expires_at: Timestamp,
    lease_until: Timestamp,
    seal: MasterKey,
    /// Whether a transaction has stored the answer. It may have failed to commit.
    settled: AtomicBool,
}

/// Claims a request, or finds the answer that it got before.
///
/// # Errors
/// `Duplicate` for a key of another request, `Conflict` while the request is being answered and where the answer holds a token whose session has ended, `TooManyRequests` over
/// the budget of new keys.
pub async fn claim(engine: &Engine, tenant: &Arc<Tenant>, request: &Request<'_>) -> Result<Claimed> {
    let held = Arc::new(Held::draw(engine, tenant.id, request));
    // A plain read first: what is only given again writes nothing and takes nothing.
    if let Some(answer) = held.look(engine).await? {
        return Ok(Claimed::Before(answer));
    }
    let subject = request.caller.map_or_else(|| client_subject(request.client.ip), str::to_owned);
    let budgets = [ticket(engine, tenant, Limit::KeysPerCaller, &subject), ticket(engine, tenant, Limit::KeysPerTenant, "")];
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

/// Ends the claim of a request that was answered, unless the transaction of its effect has: `answer` is kept, or without one the key is as new again.
/// False: somebody else has the claim.
///
/// # Errors
/// What the database says.
pub async fn finish(engine: &Engine, claim: &Claim, answer: Option<&Answer>) -> Result<bool> {
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
            let Held { tenant, id, lease, .. } = &*input.0;
            match &input.1 {
                Some(sealed) => store::idempotency::settle(tx, *tenant, id, lease, sealed, None).await,
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
    fn draw(engine: &Engine, tenant: TenantId, request: &Request<'_>) -> Self {
        let Request { key, caller, method, path, query, body, .. } = *request;
        let now = engine.clock.now();
        let tag = |purpose: &str, parts: &[&[u8]]| engine.master.authenticate(purpose, tenant, parts);
        // None of these holds a NUL, and a body comes last.
        let id =
            tag("idempotency key", &[caller.unwrap_or_default().as_bytes(), b"\0", method.as_bytes(), b"\0", path.as_bytes(), b"\0", key.as_bytes()]);
        Self {
            tenant,
            id,
            request: tag("idempotency request", &[query.as_bytes(), b"\0", body]),
            lease: engine.rng.uuid(),
            lease_until: now.after(LEASE),
            expires_at: now.after(KEPT),
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
        if row.request != self.request {
            return Err(Error::new(Code::Duplicate, "The Idempotency-Key was sent with another request already"));
        }
        match row.answer {
            Some(_) if !live => Err(Error::conflict("the session of the token in the answer has ended")),
            Some(sealed) => {
                let plain = self.seal.open(&self.context(), &sealed)?;
                serde_json::from_slice(&plain).map(Some).map_err(|e| Error::unexpected(format!("a kept answer: {e}")))
            }
            None if row.lease_until > engine.clock.now() => Err(Error::conflict("the request is being answered")),
            None => Ok(None),
        }
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

    /// Stores the answer, as the last thing in the transaction of its effect. `session` is that of a token in it.
    ///
    /// # Errors
    /// `Conflict` if the claim is somebody else's, and `InvalidData` for an answer too large to be kept: then nothing of the transaction may stay.
    pub(super) async fn settle(&self, tx: &mut Tx, outcome: &T, session: Option<SessionId>) -> Result<()> {
        let Some(Claim(held)) = &self.claim else { return Ok(()) };
        let answer = self.answer(outcome)?;
        if answer.body.len() > LARGEST {
            return Err(Error::invalid(format!("With an Idempotency-Key an answer may have at most {LARGEST} bytes; ask for fewer fields")));
        }
        if !store::idempotency::settle(tx, held.tenant, &held.id, &held.lease, &held.seal(&answer)?, session).await? {
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
