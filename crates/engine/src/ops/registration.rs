//! Registering an address and a password.

use std::sync::Arc;

use crate::Engine;
use crate::crypto::password_hash::Verdict;
use crate::error::{Error, Result};
use crate::limits::{self, Limit, client_subject, ticket};
use crate::model::email::Email;
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::IdentityId;
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::session::{self, NewSession};
use crate::ops::{Client, sign_in};
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// Registers; a token without an actor. Who registered before, has no actor yet and knows the password goes on where they stopped.
///
/// # Errors
/// `InvalidData` for a password that the rules refuse, `Unauthorized` when the login is taken, `TooManyRequests`, `Busy`.
pub async fn register(engine: &Arc<Engine>, tenant: &Arc<Tenant>, client: &Client, actor: &ActorType, email: &Email, secret: &str) -> Result<String> {
    check_password(tenant, email.local_part(), secret)?;
    let key = emailpass::key(actor, email);
    let secret = password::normalise(secret);
    let mut tickets = vec![ticket(engine, tenant, Limit::RegistrationsPerClient, &client_subject(client.ip))];
    let existing = {
        let (tenant_id, key) = (tenant.id, key.clone());
        engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await?
    };
    if existing.is_some() {
        // A try at a taken address is a try at its password.
        tickets.push(sign_in::failures(engine, tenant, &key));
    }
    admit(engine, tenant, tickets).await?;
    let new = session::draw(engine, tenant);
    let identity = if let Some(identity) = existing {
        let verdict = engine.hasher.verify(secret, identity.password_hash.clone()).await?;
        if verdict == Verdict::Wrong || identity.actor_id.is_some() {
            return Err(taken());
        }
        resume(engine, tenant, identity, new).await?
    } else {
        let hash = engine.hasher.hash(secret, engine.rng.bytes()).await?;
        let identity = Identity {
            id: IdentityId(engine.rng.ulid(engine.clock.now())),
            key,
            address: email.as_written().to_owned(),
            password_hash: Some(hash),
            actor_id: None,
            created_at: engine.clock.now(),
        };
        create(engine, tenant, identity, new).await?
    };
    session::token(engine, tenant, new, &identity.ok_or_else(taken)?)
}

fn taken() -> Error {
    Error::unauthorized("Identity with email already exists")
}

/// Whether `secret` may become a password here. `local_part` is the owner's own, which a password must not repeat.
pub(crate) fn check_password(tenant: &Tenant, local_part: &str, secret: &str) -> Result<()> {
    let context = [tenant.slug.as_str(), local_part];
    password::check(secret, tenant.settings.passwords.min_length, &context).map_err(|refused| Error::invalid(refused.to_string()))
}

async fn admit(engine: &Engine, tenant: &Arc<Tenant>, tickets: Vec<limits::Ticket>) -> Result<()> {
    if !tenant.settings.limits.enabled {
        return Ok(());
    }
    let input = Arc::new((tenant.clone(), tickets));
    let refusal = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { limits::take(tx, &input.0, &input.1).await })
        })
        .await?;
    refusal.map_or(Ok(()), Err)
}

/// `None`: somebody else registered the address a moment ago.
async fn create(engine: &Engine, tenant: &Arc<Tenant>, identity: Identity, new: NewSession) -> Result<Option<Identity>> {
    let input = Arc::new((tenant.clone(), identity));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, identity) = &*input;
                let hash = identity.password_hash.as_deref().unwrap_or_default();
                if !store::identity::insert(tx, tenant.id, identity.id, &identity.key, &identity.address, hash).await? {
                    return Ok(None);
                }
                session::begin(tx, tenant, new, identity.id).await?;
                Ok(Some(identity.clone()))
            })
        })
        .await
}

/// `None`: the login got an actor or another password meanwhile.
async fn resume(engine: &Engine, tenant: &Arc<Tenant>, identity: Identity, new: NewSession) -> Result<Option<Identity>> {
    let failures = sign_in::failures(engine, tenant, &identity.key);
    let input = Arc::new((tenant.clone(), identity, failures));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { resume_tx(tx, &input.0, &input.1, &input.2, new).await })
        })
        .await
}

async fn resume_tx(tx: &mut Tx, tenant: &Tenant, verified: &Identity, failures: &limits::Ticket, new: NewSession) -> Result<Option<Identity>> {
    store::identity::lock(tx, tenant.id, verified.id).await?;
    let current = store::identity::by_id(tx, tenant.id, verified.id).await?;
    let Some(current) = current.filter(|now| now.password_hash == verified.password_hash && now.actor_id.is_none()) else { return Ok(None) };
    limits::give_back(tx, tenant, failures).await?;
    session::begin(tx, tenant, new, verified.id).await?;
    Ok(Some(current))
}
