//! Registering an address and a password.

use std::sync::Arc;
use std::time::Instant;

use crate::Engine;
use crate::crypto::password_hash::Verdict;
use crate::error::{Error, Result};
use crate::limits::{self, Failures, Limit, Ticket};
use crate::model::email::Email;
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::ids::IdentityId;
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::Client;
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, NewSession};
use crate::ops::sign_in;
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// Registers; a token without an actor. Who registered before, has no actor yet and knows the password goes on where they stopped.
///
/// # Errors
/// `InvalidData` for a password that the rules refuse, `Unauthorized` when the login is taken, `TooManyRequests`, `Busy`.
pub async fn register(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    client: &Client,
    actor: &ActorType,
    email: &Email,
    secret: &str,
    receipt: &Receipt<String>,
) -> Result<String> {
    check_password(tenant, email.local_part(), secret)?;
    let key = emailpass::key(actor, email);
    let failures = Failures::at(engine, tenant, &key, Some(client.ip));
    let tickets = limits::per_client_and_all(engine, tenant, [Limit::RegistrationsPerClient, Limit::RegistrationsPerTenant], client.ip);
    let asked = Instant::now();
    let (existing, failures) = admit(engine, tenant, tickets, failures, key.clone()).await?;
    let new = session::draw(engine, tenant, client.user_agent.as_deref());
    let token = if let Some(identity) = existing {
        let compared = failures.judged(engine, tenant, engine.hasher.compare(secret, identity.password_hash.as_deref()).await).await?;
        if compared.verdict == Verdict::Wrong {
            engine.failed_sign_ins.note(tenant.id, Some(identity.id), engine.clock.now());
        }
        if compared.verdict == Verdict::Wrong || identity.actor_id.is_some() {
            // As a refused sign-in: the time must not tell whose hash was imported.
            sign_in::hold_back(engine, tenant, asked, compared.began).await?;
            return Err(taken());
        }
        resume(engine, tenant, identity, failures, new, receipt).await?
    } else {
        let hash = engine.hasher.hash(password::normalise(secret), engine.rng.bytes()).await?;
        let now = engine.clock.now();
        let identity = Identity::with_password(IdentityId(engine.rng.ulid(now)), key, email.as_written(), hash, now);
        create(engine, tenant, identity, failures, new.untold(), receipt).await?
    };
    engine.outbox.wake();
    token.ok_or_else(taken)
}

fn taken() -> Error {
    Error::unauthorized("Identity with email already exists")
}

/// Whether `secret` may become a password here. `local_part` is the owner's own, which a password must not repeat.
pub(crate) fn check_password(tenant: &Tenant, local_part: &str, secret: &str) -> Result<()> {
    let context = [tenant.slug.as_str(), local_part];
    password::check(secret, tenant.settings.passwords.min_length, &context).map_err(|refused| Error::invalid(refused.to_string()))
}

/// Counts the try and reads the login that has the address already, in one transaction; with the try as it was taken.
async fn admit(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    tickets: Vec<Ticket>,
    failures: Failures,
    key: IdentityKey,
) -> Result<(Option<Identity>, Failures)> {
    if !tenant.settings.limits.enabled {
        let tenant_id = tenant.id;
        let login = engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await?;
        return Ok((login, failures));
    }
    let input = Arc::new((tenant.clone(), tickets, failures, key));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { admit_tx(tx, &input.0, &input.1, &input.2, &input.3).await })
        })
        .await?
}

/// The inner result is a refusal: what was counted must be committed.
async fn admit_tx(
    tx: &mut Tx,
    tenant: &Tenant,
    tickets: &[Ticket],
    failures: &Failures,
    key: &IdentityKey,
) -> Result<Result<(Option<Identity>, Failures)>> {
    if let Some(refusal) = limits::take(tx, tenant, tickets).await? {
        return Ok(Err(refusal));
    }
    match store::identity::by_key(tx, tenant.id, key).await? {
        // A try at a taken address is a try at its password.
        Some(taken) => Ok(failures.take(tx, tenant).await?.map(|failures| (Some(taken), failures))),
        None => Ok(Ok((None, failures.clone()))),
    }
}

/// `None`: somebody else registered the address a moment ago.
async fn create(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    identity: Identity,
    failures: Failures,
    new: NewSession,
    receipt: &Receipt<String>,
) -> Result<Option<String>> {
    let input = Arc::new((engine.clone(), tenant.clone(), identity, failures, new, receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, identity, failures, new, receipt) = &*input;
                if !store::identity::insert(tx, tenant.id, identity).await? {
                    return Ok(None);
                }
                // Strangers may have guessed at the address when nobody had it.
                failures.give_back(tx, tenant).await?;
                session::begin(tx, tenant, new, identity).await?;
                let token = session::token(engine, tenant, new, identity)?;
                receipt.settle(tx, &token, Some(new.id())).await?;
                Ok(Some(token))
            })
        })
        .await
}

/// `None`: the login got an actor or another password meanwhile.
async fn resume(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    identity: Identity,
    failures: Failures,
    new: NewSession,
    receipt: &Receipt<String>,
) -> Result<Option<String>> {
    let input = Arc::new((engine.clone(), tenant.clone(), identity, failures, new, receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, identity, failures, new, receipt) = &*input;
                let Some(current) = resume_tx(tx, tenant, identity, failures, new).await? else { return Ok(None) };
                let token = session::token(engine, tenant, new, &current)?;
                receipt.settle(tx, &token, Some(new.id())).await?;
                Ok(Some(token))
            })
        })
        .await
}

async fn resume_tx(tx: &mut Tx, tenant: &Tenant, verified: &Identity, failures: &Failures, new: &NewSession) -> Result<Option<Identity>> {
    store::identity::lock(tx, tenant.id, verified.id).await?;
    let current = store::identity::by_id(tx, tenant.id, verified.id).await?;
    let Some(current) = current.filter(|now| now.password_hash == verified.password_hash && now.actor_id.is_none()) else { return Ok(None) };
    failures.give_back(tx, tenant).await?;
    session::begin(tx, tenant, new, &current).await?;
    Ok(Some(current))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::testing::{Backend, execute, one_shop};

    #[tokio::test]
    async fn a_login_that_changed_since_its_password_was_looked_at_is_not_resumed() {
        for backend in [Backend::Sqlite, Backend::Postgres] {
            let (engine, tenant, database) = one_shop(backend).await.unwrap();
            let (actor, email) = (ActorType::customer(), Email::parse("ann@example.com").unwrap());
            let client = Client { ip: Ipv4Addr::LOCALHOST.into(), user_agent: None };
            register(&engine, &tenant, &client, &actor, &email, "an-Old-pass-8", &Receipt::none()).await.unwrap();
            let key = emailpass::key(&actor, &email);
            let (tenant_id, failures) = (tenant.id, Failures::at(&engine, &tenant, &key, None));
            let verified = engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await;
            let verified = verified.unwrap().unwrap();
            let resumes = async || {
                let new = session::draw(&engine, &tenant, None);
                resume(&engine, &tenant, verified.clone(), failures.clone(), new, &Receipt::none()).await.unwrap().is_some()
            };
            assert!(resumes().await);
            for change in ["UPDATE identities SET actor_id = 'x'", "UPDATE identities SET actor_id = NULL, password_hash = 'another'"] {
                execute(&engine, change).await.unwrap();
                assert!(!resumes().await, "{change}");
            }
            drop(engine);
            database.remove().await.unwrap();
        }
    }
}
