//! The console of a shop: how a member of its staff comes in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Engine;
use crate::crypto::sha256;
use crate::error::{Code, Error, Result};
use crate::model::email::Email;
use crate::model::identity::ActorType;
use crate::model::ids::{TenantId, UserId};
use crate::model::tenant::Tenant;
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Caller, Which};
use crate::ops::session_cookie::{self, Given, Opens};
use crate::ops::{Client, sign_in, user};
use crate::provider::emailpass;
use crate::store;

/// A member of a shop's staff who is signed in.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: UserId,
    /// Their own address, as it was written.
    pub address: String,
    pub caller: Caller,
}

/// The member who shows `cookie`, if its session lives. All of it is read at each use.
pub async fn member(engine: &Engine, tenant: &Tenant, cookie: &str) -> Result<Option<Member>> {
    match session_cookie::authenticate(engine, tenant, Opens::Console, cookie).await? {
        Some(caller) => of_staff(engine, tenant, caller).await,
        None => Ok(None),
    }
}

/// The member who is calling. Anybody can register a login of this actor type: it is of the staff once it has a user.
async fn of_staff(engine: &Engine, tenant: &Tenant, caller: Caller) -> Result<Option<Member>> {
    if caller.claims.actor_type != "user" {
        return Ok(None);
    }
    let Ok(id) = caller.claims.actor_id.parse::<UserId>() else { return Ok(None) };
    let tenant = tenant.id;
    let address = engine.db.read(move |reader| Box::pin(store::user::address(reader, tenant, id))).await?;
    Ok(address.map(|address| Member { id, address, caller }))
}

/// Signs a member of staff in. `shown` is the cookie that the browser has.
///
/// # Errors
/// As `sign_in::sign_in`; a login that is not of the staff is refused as a wrong password is. `NotAllowed` where the shop's staff has other ways in.
pub async fn sign_in(engine: &Arc<Engine>, tenant: &Arc<Tenant>, client: &Client, email: &Email, secret: &str, shown: Option<&str>) -> Result<Given> {
    let actor = ActorType::user();
    if !tenant.allows(&actor, emailpass::NAME) {
        return Err(Error::new(Code::NotAllowed, "The staff of this store does not sign in with a password"));
    }
    let token = sign_in::sign_in(engine, tenant, client, &actor, email, secret, &Receipt::none()).await?;
    let_in(engine, tenant, &token, shown).await?.ok_or_else(sign_in::refused)
}

/// A cookie for the session of `token`, which nobody gets. `None`: the login is not of the staff, and its session has ended.
async fn let_in(engine: &Arc<Engine>, tenant: &Arc<Tenant>, token: &str, shown: Option<&str>) -> Result<Option<Given>> {
    let Some(caller) = session::authenticate(engine, tenant, token).await? else { return Ok(None) };
    if of_staff(engine, tenant, caller.clone()).await?.is_none() {
        session::end(engine, tenant, &caller, Which::Own).await?;
        return Ok(None);
    }
    session_cookie::give(engine, tenant, &caller, Opens::Console, shown, &Receipt::none()).await.map(Some)
}

/// The one-time links of `vestibule dev`, by the hash of their secrets. They are in memory alone.
#[derive(Default)]
pub struct Links(Mutex<HashMap<(TenantId, [u8; 32]), Email>>);

/// The secret of a link that signs in, once, the member of staff who has the address; they are made if there is no such member. Their password is drawn, and
/// nobody knows it.
///
/// # Errors
/// `Unexpected` outside `vestibule dev`.
pub async fn offer(engine: &Engine, tenant: &Arc<Tenant>, email: &Email) -> Result<String> {
    if !engine.config.server.development {
        return Err(Error::unexpected("a link to the console outside development"));
    }
    let [password, secret] = [engine.rng.bytes::<32>(), engine.rng.bytes()].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let (tenant_id, key) = (tenant.id, emailpass::key(&ActorType::user(), email));
    let known = engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await?;
    if known.is_none_or(|login| login.actor_id.is_none()) {
        user::create(engine, tenant, email, &password).await?;
    }
    let mut links = engine.console_links.0.lock().unwrap_or_else(PoisonError::into_inner);
    links.insert((tenant.id, sha256(&[secret.as_bytes()])), email.clone());
    Ok(secret)
}

/// Signs in by the secret of a link, which is spent with it.
///
/// # Errors
/// `Unauthorized` if it was spent, or never was one of this shop's.
pub async fn redeem(engine: &Arc<Engine>, tenant: &Arc<Tenant>, client: &Client, secret: &str, shown: Option<&str>) -> Result<Given> {
    let spent = || Error::unauthorized("This link has been used, or is of an earlier start of the program. Start `vestibule dev` again for another");
    let hash = sha256(&[secret.as_bytes()]);
    let email = engine.console_links.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(tenant.id, hash)).ok_or_else(spent)?;
    let token = without_password(engine, tenant, client, &email).await?.ok_or_else(spent)?;
    let_in(engine, tenant, &token, shown).await?.ok_or_else(spent)
}

/// Begins a session of the member who has the address; its token.
async fn without_password(engine: &Arc<Engine>, tenant: &Arc<Tenant>, client: &Client, email: &Email) -> Result<Option<String>> {
    let key = emailpass::key(&ActorType::user(), email);
    let new = session::draw(engine, tenant, client.user_agent.as_deref());
    let input = Arc::new((engine.clone(), tenant.clone(), key, new));
    let token = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, key, new) = &*input;
                let Some(login) = store::identity::by_key(tx, tenant.id, key).await? else { return Ok(None) };
                session::begin(tx, tenant, new, &login).await?;
                session::token(engine, tenant, new, &login).map(Some)
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(token)
}
