//! The ways in to one account: listing, adding and removing its logins.

use std::sync::Arc;
use std::time::Duration;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::model::email::Email;
use crate::model::event::EventName;
use crate::model::identity::Identity;
use crate::model::ids::{IdentityId, TenantId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::ops::account::linked_data;
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Caller, Ending, Reason};
use crate::provider::emailpass;
use crate::store::{self, Reader, Tx};

/// How long after a sign-in its session may change how the account is reached.
const FRESH: Duration = Duration::from_mins(10);

/// The logins of the caller's account, the oldest first; those of a login without one are the login alone.
///
/// # Errors
/// `Unauthenticated` if the login is gone.
pub async fn list(engine: &Engine, tenant: &Tenant, caller: &Caller) -> Result<Vec<Identity>> {
    let (tenant, id) = (tenant.id, caller.identity);
    engine.db.read(move |reader| Box::pin(logins(reader, tenant, id))).await
}

/// As `list`, in a transaction.
pub(super) async fn logins(reader: &mut Reader, tenant: TenantId, id: IdentityId) -> Result<Vec<Identity>> {
    let own = store::identity::by_id(reader, tenant, id).await?.ok_or_else(Error::unauthenticated)?;
    match &own.actor_id {
        Some(actor) => store::identity::of_actor(reader, tenant, &own.key.actor_type, actor).await,
        None => Ok(vec![own]),
    }
}

/// As `logins`, locked until the transaction ends.
pub(super) async fn lock_logins(tx: &mut Tx, tenant: TenantId, id: IdentityId) -> Result<Vec<Identity>> {
    let own = store::identity::by_id(tx, tenant, id).await?.ok_or_else(Error::unauthenticated)?;
    match &own.actor_id {
        Some(actor) => drop(store::identity::lock_actor(tx, tenant, &own.key.actor_type, actor).await?),
        None => drop(store::identity::lock(tx, tenant, id).await?),
    }
    logins(tx, tenant, id).await
}

/// Takes the address of a login for its owner's, on the operator's word.
pub async fn vouch(engine: &Engine, tenant: &Tenant, id: IdentityId) -> Result<()> {
    let tenant = tenant.id;
    engine.db.write(move |tx| Box::pin(store::identity::prove(tx, tenant, id))).await
}

/// What both changes need: who asks, and since when that is known.
struct Change {
    tenant: Arc<Tenant>,
    caller: Caller,
    fresh_since: Timestamp,
    planned: Planned,
}

/// Links the login that `token` proves to the caller's account.
///
/// # Errors
/// `Forbidden` if the caller did not sign in within ten minutes or nobody has shown the account's address to be its owner's, `NotAllowed` for a login of another kind of
/// actor or of another account, `Unauthorized` for a token that is none, `InvalidData` if the caller has no account.
pub async fn link(engine: &Engine, tenant: &Arc<Tenant>, caller: Caller, token: &str, receipt: &Receipt<Identity>) -> Result<Identity> {
    let other = session::authenticate(engine, tenant, token).await?.ok_or_else(|| Error::unauthorized("Invalid token"))?;
    let added = by_id(engine, tenant, other.identity).await?.ok_or_else(|| Error::unauthorized("Invalid token"))?;
    let planned = event::plan(engine, tenant, EventName::IdentityLinked, linked_data(&added), None);
    let change = Change { tenant: tenant.clone(), caller, fresh_since: engine.clock.now().before(FRESH), planned };
    let input = Arc::new((change, other, receipt.clone()));
    let linked = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let linked = link_tx(tx, &input.0, &input.1).await?;
                input.2.settle(tx, &linked, None).await?;
                Ok(linked)
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(linked)
}

async fn by_id(engine: &Engine, tenant: &Tenant, id: IdentityId) -> Result<Option<Identity>> {
    let tenant = tenant.id;
    engine.db.read(move |reader| Box::pin(store::identity::by_id(reader, tenant, id))).await
}

async fn link_tx(tx: &mut Tx, change: &Change, other: &Caller) -> Result<Identity> {
    let tenant = change.tenant.id;
    let (own, actor) = account(tx, change).await?;
    let ended = || Error::unauthorized("Invalid token");
    store::identity::lock(tx, tenant, other.identity).await?;
    // Who adds a way in has just signed in with it.
    let session = other.session.ok_or_else(ended)?;
    if store::session::live(tx, tenant, session).await? != Some(other.identity) {
        return Err(ended());
    }
    let added = store::identity::by_id(tx, tenant, other.identity).await?.ok_or_else(ended)?;
    if added.key.actor_type != own.key.actor_type {
        return Err(Error::new(Code::NotAllowed, "The login belongs to another kind of actor"));
    }
    let taken = || Error::new(Code::NotAllowed, "The login belongs to an account already");
    if added.actor_id.is_some() {
        return Err(taken());
    }
    if !may_link(&own, &added) {
        return Err(Error::new(Code::Forbidden, "Show first that your address is yours: ask for a new password and follow the link in the mail"));
    }
    if !store::identity::link(tx, tenant, added.id, &actor).await? {
        return Err(taken());
    }
    event::append(tx, &change.tenant, &change.planned).await?;
    store::identity::by_id(tx, tenant, added.id).await?.ok_or_else(ended)
}

/// Whether the account's address is known to be its owner's, or becomes so by the login that is added. Otherwise whoever registered a stranger's address could leave
/// a way in of their own for the day on which the owner takes the account over.
fn may_link(own: &Identity, added: &Identity) -> bool {
    let key = |login: &Identity| Email::parse(&login.address).ok().map(|email| email.key().to_owned());
    // A login with a password is its address. Linked before its owner has shown it, it would lead the owner, who resets its password, into a stranger's account.
    if added.key.provider == emailpass::NAME && added.proven_at.is_none() {
        return false;
    }
    own.proven_at.is_some() || (added.proven_at.is_some() && key(added).is_some() && key(added) == key(own))
}

/// The caller's login and account, locked, if the session is live and young enough.
async fn account(tx: &mut Tx, change: &Change) -> Result<(Identity, String)> {
    let (tenant, caller) = (change.tenant.id, &change.caller);
    let own = store::identity::by_id(tx, tenant, caller.identity).await?.ok_or_else(Error::unauthenticated)?;
    let actor = own.actor_id.clone().ok_or_else(|| Error::invalid("The login has no account yet"))?;
    // All of the account's logins, so that two removals at once cannot each leave the other's as the last.
    store::identity::lock_actor(tx, tenant, &own.key.actor_type, &actor).await?;
    let stale = || Error::new(Code::Forbidden, "Sign in again: how an account is reached can be changed within ten minutes of a sign-in");
    let id = caller.session.ok_or_else(stale)?;
    let session = store::session::find(tx, tenant, id).await?.filter(|session| session.identity == caller.identity);
    let session = session.ok_or_else(Error::unauthenticated)?;
    if session.created_at < change.fresh_since {
        return Err(stale());
    }
    Ok((own, actor))
}

/// Removes a login of the caller's account. Its sessions end.
///
/// # Errors
/// `Forbidden` as above, `NotFound` for a login that is not the account's, `NotAllowed` for the last way in.
pub async fn unlink(engine: &Engine, tenant: &Arc<Tenant>, caller: Caller, id: IdentityId) -> Result<()> {
    let missing = || Error::new(Code::NotFound, format!("AuthIdentity with id: {id} was not found"));
    let removed = by_id(engine, tenant, id).await?.ok_or_else(missing)?;
    let planned = event::plan(engine, tenant, EventName::IdentityUnlinked, linked_data(&removed), None);
    let change = Change { tenant: tenant.clone(), caller, fresh_since: engine.clock.now().before(FRESH), planned };
    let input = Arc::new((change, Ending::draw(engine, tenant, Reason::LoginRemoved)));
    let found = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { unlink_tx(tx, &input.0, &input.1, id).await })
        })
        .await?;
    engine.outbox.wake();
    if found { Ok(()) } else { Err(missing()) }
}

async fn unlink_tx(tx: &mut Tx, change: &Change, ending: &Ending, id: IdentityId) -> Result<bool> {
    let tenant = change.tenant.id;
    let (own, actor) = account(tx, change).await?;
    let logins = store::identity::of_actor(tx, tenant, &own.key.actor_type, &actor).await?;
    if !logins.iter().any(|login| login.id == id) {
        return Ok(false);
    }
    let shop = &change.tenant;
    let usable = |login: &&Identity| {
        let provider = login.key.provider.as_str();
        shop.allows(&login.key.actor_type, provider) && (provider == emailpass::NAME || shop.settings.providers.contains_key(provider))
    };
    // One whose provider this shop no longer has is no way in.
    if !logins.iter().filter(usable).any(|login| login.id != id) {
        return Err(Error::new(Code::NotAllowed, "The last way in to an account cannot be removed"));
    }
    let ended = store::session::end_all(tx, tenant, id).await?;
    ending.tell_of(tx, tenant, id, ended).await?;
    store::password_reset::void(tx, tenant, id).await?;
    store::identity::remove(tx, tenant, id, &own.key.actor_type, &actor).await?;
    event::append(tx, &change.tenant, &change.planned).await?;
    Ok(true)
}
