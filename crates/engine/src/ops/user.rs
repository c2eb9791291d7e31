//! A shop's staff.

use std::sync::Arc;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::limits::Failures;
use crate::model::email::Email;
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{IdentityId, UserId};
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::registration;
use crate::ops::session::{Ending, Reason};
use crate::provider::emailpass;
use crate::store::{self, Tx};

/// Creates a member of staff who signs in with `secret`. A login that a stranger registered under the address becomes theirs: its password, sessions
/// and links are void.
///
/// # Errors
/// `InvalidData` for a refused password, `Duplicate` if the address has a user.
pub async fn create(engine: &Engine, tenant: &Arc<Tenant>, email: &Email, secret: &str) -> Result<UserId> {
    registration::check_password(tenant, email.local_part(), secret)?;
    let hash = engine.hasher.hash(password::normalise(secret), engine.rng.bytes()).await?;
    let now = engine.clock.now();
    let (user, identity) = (UserId(engine.rng.ulid(now)), IdentityId(engine.rng.ulid(now)));
    let key = emailpass::key(&ActorType::user(), email);
    let failures = Failures::at(engine, tenant, &key, None);
    let login = Identity::with_password(identity, key, email.as_written(), hash, now);
    let input =
        Arc::new((tenant.clone(), New { user, email: email.clone(), login, ending: Ending::draw(engine, tenant, Reason::TakenOver) }, failures));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { create_tx(tx, &input.0, &input.1, &input.2).await })
        })
        .await?;
    engine.outbox.wake();
    Ok(user)
}

/// What was drawn before the transaction.
struct New {
    user: UserId,
    email: Email,
    login: Identity,
    ending: Ending,
}

async fn create_tx(tx: &mut Tx, tenant: &Tenant, new: &New, failures: &Failures) -> Result<()> {
    let taken = || Error::new(Code::Duplicate, "A user with this email exists already");
    let (actor, login) = (new.user.bare(), &new.login);
    if !store::user::insert(tx, tenant.id, new.user, &new.email).await? {
        return Err(taken());
    }
    if store::identity::insert(tx, tenant.id, login).await? {
        if !store::identity::link(tx, tenant.id, login.id, &actor).await? {
            return Err(taken());
        }
        // Strangers may have guessed at the address when nobody had it.
        return failures.give_back(tx, tenant).await;
    }
    // The update locks the login, so a sign-in with the stranger's password ends before it or fails after it.
    let adopted = store::identity::adopt(tx, tenant.id, login, &actor).await?.ok_or_else(taken)?;
    let ended = store::session::end_all(tx, tenant.id, adopted).await?;
    new.ending.tell_of(tx, tenant.id, adopted, ended).await?;
    store::password_reset::void(tx, tenant.id, adopted).await?;
    failures.give_back(tx, tenant).await
}
