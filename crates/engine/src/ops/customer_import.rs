//! Customers who come from another server, with their ids and passwords.

use std::sync::Arc;

use serde_json::Map;

use crate::Engine;
use crate::crypto::password_hash;
use crate::error::{Error, Result};
use crate::limits::Failures;
use crate::model::customer::{Customer, Profile};
use crate::model::email::Email;
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, IdentityId};
use crate::model::tenant::Tenant;
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// A customer as the other server had it.
#[derive(Debug, Clone)]
pub struct Imported {
    pub id: CustomerId,
    /// The id of the login, which the other server's tokens name. A new one where it is not known.
    pub login: Option<IdentityId>,
    pub email: Email,
    /// As Medusa keeps it. Without one, the way in is a reset.
    pub password_hash: Option<String>,
    pub profile: Profile,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Imported,
    /// It was imported before, and is as it was.
    Present,
    /// Something else has what it needs; nothing of it was kept.
    Refused(&'static str),
}

/// Whether `hash` can be imported.
///
/// # Errors
/// `InvalidData` for another format than Medusa's, or one that asks for too much. The hash is not told.
pub fn check_hash(hash: &str) -> Result<()> {
    if password_hash::is_foreign(hash) {
        Ok(())
    } else {
        Err(Error::invalid("password_hash is none of Medusa's, or asks for more than 128 MiB of memory"))
    }
}

/// Imports a few customers, in one transaction. No event tells of them: they are not new to the shop.
///
/// # Errors
/// What the database says; then none of them was imported.
pub async fn import(engine: &Engine, tenant: &Arc<Tenant>, customers: Vec<Imported>) -> Result<Vec<Outcome>> {
    let drafts: Vec<_> = customers.into_iter().map(|imported| draft(engine, tenant, imported)).collect();
    let input = Arc::new((tenant.clone(), drafts));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let mut outcomes = Vec::new();
                for draft in &input.1 {
                    outcomes.push(import_tx(tx, &input.0, draft).await?);
                }
                Ok(outcomes)
            })
        })
        .await
}

/// What was drawn before the transaction.
struct Draft {
    login: Identity,
    customer: Customer,
    email: Email,
    failures: Failures,
}

fn draft(engine: &Engine, tenant: &Tenant, imported: Imported) -> Draft {
    let now = engine.clock.now();
    let Imported { id, login, email, password_hash, profile } = imported;
    let login = Identity {
        id: login.unwrap_or_else(|| IdentityId(engine.rng.ulid(now))),
        key: emailpass::key(&ActorType::customer(), &email),
        address: email.as_written().to_owned(),
        // The other server never saw it shown.
        proven_at: None,
        password_hash,
        actor_id: Some(id.bare()),
        user_metadata: Map::new(),
        created_at: now,
    };
    let mut customer = Customer::with_account(id, &email, now);
    customer.apply(profile);
    let failures = Failures::at(engine, tenant, &login.key, None);
    Draft { login, customer, email, failures }
}

async fn import_tx(tx: &mut Tx, tenant: &Tenant, Draft { login, customer, email, failures }: &Draft) -> Result<Outcome> {
    let actor = customer.id.bare();
    if !store::identity::insert(tx, tenant.id, login).await? {
        return Ok(match store::identity::by_key(tx, tenant.id, &login.key).await? {
            Some(known) if known.actor_id.as_deref() == Some(&*actor) => Outcome::Present,
            Some(_) => Outcome::Refused("another login has its address"),
            None => Outcome::Refused("another login has its auth_identity_id"),
        });
    }
    if store::customer::insert(tx, tenant.id, customer, email.key()).await? {
        // Strangers may have guessed at the address when nobody had it.
        failures.give_back(tx, tenant).await?;
        return Ok(Outcome::Imported);
    }
    store::identity::remove(tx, tenant.id, login.id, &login.key.actor_type, &actor).await?;
    Ok(Outcome::Refused("another customer has its id or its address"))
}
