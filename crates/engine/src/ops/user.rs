//! A shop's staff.

use std::sync::Arc;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::model::email::Email;
use crate::model::identity::ActorType;
use crate::model::ids::{IdentityId, UserId};
use crate::model::password;
use crate::model::tenant::Tenant;
use crate::ops::registration;
use crate::provider::emailpass;
use crate::store;

/// Creates a member of staff who signs in with `secret`.
///
/// # Errors
/// `InvalidData` for a refused password, `Duplicate` if the address has a user.
pub async fn create(engine: &Engine, tenant: &Arc<Tenant>, email: &Email, secret: &str) -> Result<UserId> {
    registration::check_password(tenant, email.local_part(), secret)?;
    let hash = engine.hasher.hash(password::normalise(secret), engine.rng.bytes()).await?;
    let now = engine.clock.now();
    let (user, identity) = (UserId(engine.rng.ulid(now)), IdentityId(engine.rng.ulid(now)));
    let input = Arc::new((tenant.id, email.clone(), hash, emailpass::key(&ActorType::new("user"), email)));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, email, hash, key) = &*input;
                let taken = || Error::new(Code::Duplicate, "A user with this email exists already");
                if !store::user::insert(tx, *tenant, user, email).await?
                    || !store::identity::insert(tx, *tenant, identity, key, email.as_written(), hash).await?
                {
                    return Err(taken());
                }
                if store::identity::link(tx, *tenant, identity, &user.bare()).await? { Ok(user) } else { Err(taken()) }
            })
        })
        .await
}
