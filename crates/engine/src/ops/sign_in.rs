//! Signing in with an address and a password.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Engine;
use crate::crypto::password_hash::Verdict;
use crate::error::{Error, Result};
use crate::limits::{self, Failures, Limit};
use crate::model::email::Email;
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::Client;
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, NewSession};
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// When a sign-in is refused while the tenant holds imported hashes, counted from when it was asked for.
const REFUSED_AFTER: Duration = Duration::from_secs(1);
/// The same where it waited for a thread for longer than the difference, counted from when the hashing began. Above what the dearest hash that can be imported
/// costs (about 0.2 s) with room for a slower or a busy machine.
const REFUSED_AFTER_HASHING: Duration = Duration::from_millis(900);

/// Signs in; a token. An unknown address does the same work as a wrong password and gets the same answer.
///
/// # Errors
/// `TooManyRequests` when a budget is spent, `Unauthorized` when address and password do not belong together, `Busy` under load.
pub async fn sign_in(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    client: &Client,
    actor: &ActorType,
    email: &Email,
    secret: &str,
    receipt: &Receipt<String>,
) -> Result<String> {
    let key = emailpass::key(actor, email);
    let failures = Failures::at(engine, tenant, &key, Some(client.ip));
    let asked = Instant::now();
    let (mut login, failures) = admit(engine, tenant, client, failures, key).await?;
    // Of sign-ins at once the first may keep the hash anew, and what the others verified is gone. They look once more: the password may be right still.
    for _ in 0..2 {
        match attempt(engine, tenant, client, login, secret, &failures, receipt).await? {
            Begun::Token(token) => return Ok(token),
            Begun::Refused(began) => {
                hold_back(engine, tenant, asked, began).await?;
                return Err(refused());
            }
            Begun::Changed(now) => login = now.map(|now| *now),
        }
    }
    Err(refused())
}

/// What came of a password.
enum Begun {
    Token(String),
    /// It is wrong. The hashing began then.
    Refused(Instant),
    /// The login has another password hash than the one that was verified, or is no more.
    Changed(Option<Box<Identity>>),
}

async fn attempt(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    client: &Client,
    found: Option<Identity>,
    secret: &str,
    failures: &Failures,
    receipt: &Receipt<String>,
) -> Result<Begun> {
    // A password that is too long can belong to nobody; it takes the same time as any other wrong one.
    let too_long = secret.len() > password::MAX_BYTES;
    let candidate = if too_long { "" } else { secret };
    let stored = found.as_ref().and_then(|identity| identity.password_hash.as_deref());
    let compared = failures.judged(engine, tenant, engine.hasher.compare(candidate, stored).await).await?;
    let known = found.as_ref().map(|login| login.id);
    let Some(identity) = found.filter(|_| compared.verdict != Verdict::Wrong && !too_long) else {
        // Known or not, the same is done.
        engine.failed_sign_ins.note(tenant.id, known, engine.clock.now());
        return Ok(Begun::Refused(compared.began));
    };
    let upgraded = match compared.verdict {
        Verdict::RightButOutdated => {
            let hash = engine.hasher.hash(password::normalise(candidate), engine.rng.bytes()).await;
            Some(failures.judged(engine, tenant, hash).await?)
        }
        _ => None,
    };
    let new = session::draw(engine, tenant, client.user_agent.as_deref());
    begin(engine, tenant, identity, failures.clone(), upgraded, new, receipt).await
}

pub(super) fn refused() -> Error {
    Error::unauthorized("Invalid email or password")
}

/// An imported hash takes longer than one of ours, and longer than the comparison for an address that nobody has. As long as there is one, every refusal comes at
/// the same time, so that none of them can be told apart.
pub(super) async fn hold_back(engine: &Engine, tenant: &Tenant, asked: Instant, began: Instant) -> Result<()> {
    let tenant = tenant.id;
    if engine.db.read(move |reader| Box::pin(store::identity::holds_foreign_hash(reader, tenant))).await? {
        engine.pause.until(refused_at(asked, began)).await;
    }
    Ok(())
}

/// What comes before the hashing takes longer for an address that somebody has, by microseconds, which a clock of milliseconds makes visible. So it counts from
/// the question, unless a queue or a slow disk, which hide them, take the most of the time.
fn refused_at(asked: Instant, began: Instant) -> Instant {
    (asked + REFUSED_AFTER).max(began + REFUSED_AFTER_HASHING)
}

/// Counts the try and reads the login, in one transaction; with the try as it was taken.
pub(super) async fn admit(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    client: &Client,
    failures: Failures,
    key: IdentityKey,
) -> Result<(Option<Identity>, Failures)> {
    if !tenant.settings.limits.enabled {
        let tenant_id = tenant.id;
        let login = engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await?;
        return Ok((login, failures));
    }
    let tickets = limits::per_client_and_all(engine, tenant, [Limit::SignInsPerClient, Limit::SignInsPerTenant], client.ip);
    let input = Arc::new((tenant.clone(), tickets, failures, key));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, tickets, failures, key) = &*input;
                // A refusal is no error here: what was counted must be committed.
                if let Some(refusal) = limits::take(tx, tenant, tickets).await? {
                    return Ok(Err(refusal));
                }
                // Last: what the client's or the shop's budget refuses is no failure of the owner.
                match failures.take(tx, tenant).await? {
                    Ok(taken) => Ok(Ok((store::identity::by_key(tx, tenant.id, key).await?, taken))),
                    Err(refusal) => Ok(Err(refusal)),
                }
            })
        })
        .await?
}

/// Begins the session, unless the password was changed since it was verified; a token of it.
async fn begin(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    identity: Identity,
    failures: Failures,
    upgraded: Option<String>,
    new: NewSession,
    receipt: &Receipt<String>,
) -> Result<Begun> {
    let told = new.signed_in().cloned();
    let input = Arc::new((engine.clone(), tenant.clone(), identity, failures, upgraded, new, receipt.clone()));
    let begun = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, identity, failures, upgraded, new, receipt) = &*input;
                // The lock orders this against a reset: whoever comes second sees what the first did.
                store::identity::lock(tx, tenant.id, identity.id).await?;
                let current = store::identity::by_id(tx, tenant.id, identity.id).await?;
                let Some(current) = current.as_ref().filter(|now| now.password_hash == identity.password_hash) else {
                    return Ok(Begun::Changed(current.map(Box::new)));
                };
                begin_tx(tx, tenant, current, failures, upgraded.as_deref(), new).await?;
                let token = session::token(engine, tenant, new, current)?;
                receipt.settle(tx, &token, Some(new.id())).await?;
                Ok(Begun::Token(token))
            })
        })
        .await?;
    if let (Begun::Token(_), Some(told)) = (&begun, &told) {
        engine.outbox.announce(told);
    }
    Ok(begun)
}

async fn begin_tx(tx: &mut Tx, tenant: &Tenant, verified: &Identity, failures: &Failures, upgraded: Option<&str>, new: &NewSession) -> Result<()> {
    if let (Some(old), Some(hash)) = (&verified.password_hash, upgraded) {
        store::identity::replace_hash(tx, tenant.id, verified.id, old, hash).await?;
    }
    failures.give_back(tx, tenant).await?;
    session::begin(tx, tenant, new, verified).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_at_one_time_whatever_was_done_before_the_hashing() {
        let asked = Instant::now();
        let after = |millis| refused_at(asked, asked + Duration::from_millis(millis)).duration_since(asked);
        assert_eq!([after(0), after(3), after(100)], [REFUSED_AFTER; 3]);
        // One that waited longer for a thread has the time of the dearest comparison nonetheless.
        assert_eq!(after(101), Duration::from_millis(1_001));
        assert_eq!(after(5_000), Duration::from_millis(5_900));
    }
}
