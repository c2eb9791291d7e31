//! Whose account somebody comes to by a third party.

use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use crate::Engine;
use crate::error::{Error, Result};
use crate::model::account::{self, Account, Login, Outcome};
use crate::model::email::Email;
use crate::model::event::EventName;
use crate::model::identity::{ActorType, Identity, IdentityKey};
use crate::model::ids::{CustomerId, IdentityId};
use crate::model::tenant::{SameAddress, Tenant};
use crate::model::time::Timestamp;
use crate::ops::callback::Arrived;
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Ending, Reason};
use crate::provider::{Claims, emailpass};
use crate::store::callback::HandedOver;
use crate::store::{self, Tx};

/// Longest text of a provider that is kept, in bytes.
const TOLD_TEXT: usize = 400;
/// Most fields of a provider that are kept.
const TOLD_FIELDS: usize = 12;

/// Somebody whom a provider vouches for.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub actor: ActorType,
    pub provider: String,
    pub claims: Claims,
}

/// Who may redeem a one-time code: a page at this origin, in the browser that began.
#[derive(Debug, Clone)]
pub struct Page {
    pub origin: String,
    pub browser: Option<Vec<u8>>,
    pub browser_required: bool,
}

/// What is drawn before the transaction.
struct Draft {
    arrival: Arrival,
    /// The login as it would be new.
    login: Identity,
    /// The told address, if it is one.
    email: Option<Email>,
    proven: bool,
    linked: Planned,
    ending: Ending,
}

fn draft(engine: &Engine, tenant: &Tenant, arrival: Arrival) -> Draft {
    let now = engine.clock.now();
    let claims = &arrival.claims;
    let email = claims.email.as_deref().and_then(|text| emailpass::address(text).ok());
    let proven = claims.email_verified && email.is_some();
    let key = IdentityKey {
        actor_type: arrival.actor.clone(),
        provider: arrival.provider.clone(),
        issuer: claims.issuer.clone(),
        entity_id: claims.subject.clone(),
    };
    let login = Identity {
        id: IdentityId(engine.rng.ulid(now)),
        key,
        address: email.as_ref().map(|email| email.as_written().to_owned()).unwrap_or_default(),
        proven_at: proven.then_some(now),
        password_hash: None,
        actor_id: None,
        user_metadata: bounded(&claims.user_metadata),
        created_at: now,
    };
    let linked = event::plan(engine, tenant, EventName::IdentityLinked, linked_data(&login), None);
    let ending = Ending::draw(engine, tenant, Reason::TakenOver);
    Draft { arrival, login, email, proven, linked, ending }
}

/// What is kept of what a provider tells. It goes into every token, and storefronts show it.
fn bounded(told: &Map<String, Value>) -> Map<String, Value> {
    let plain = |name: &str, value: &Value| match value {
        // Storefronts make links of these.
        Value::String(text) if matches!(name, "picture" | "avatar" | "profile_url") => text.len() <= TOLD_TEXT && is_of_the_web(text),
        Value::String(text) => text.len() <= TOLD_TEXT && !text.contains(char::is_control),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    };
    told.iter().filter(|(name, value)| plain(name, value)).take(TOLD_FIELDS).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether `text` is a URL of the web, and no script.
fn is_of_the_web(text: &str) -> bool {
    !text.contains(char::is_control) && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

/// The data of `auth.identity_linked` and `auth.identity_unlinked`.
pub(super) fn linked_data(login: &Identity) -> Map<String, Value> {
    Map::from_iter([
        ("auth_identity_id".to_owned(), Value::String(login.id.to_string())),
        ("actor_type".to_owned(), Value::String(login.key.actor_type.to_string())),
        ("auth_provider".to_owned(), Value::String(login.key.provider.clone())),
    ])
}

/// Signs the arrival in.
///
/// # Errors
/// `Unexpected` if the token cannot be signed; what the database says.
pub async fn arrive(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    arrival: Arrival,
    user_agent: Option<&str>,
    receipt: &Receipt<Arrived>,
) -> Result<Arrived> {
    let new = session::draw(engine, tenant, user_agent);
    let input = Arc::new((engine.clone(), tenant.clone(), draft(engine, tenant, arrival), new, receipt.clone()));
    let arrived = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, draft, new, receipt) = &*input;
                let (identity, account_exists) = settle(tx, tenant, draft).await?;
                session::begin(tx, tenant, new, &identity).await?;
                let arrived = Arrived { token: session::token(engine, tenant, new, &identity)?, account_exists };
                receipt.settle(tx, &arrived, Some(new.id())).await?;
                Ok(arrived)
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(arrived)
}

/// Stores who arrived under the one-time code with the hash `id`; the session begins when it is redeemed.
pub async fn hand_over(engine: &Engine, tenant: &Arc<Tenant>, arrival: Arrival, id: [u8; 32], page: Page, expires_at: Timestamp) -> Result<()> {
    let input = Arc::new((tenant.clone(), draft(engine, tenant, arrival), page));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, draft, page) = &*input;
                let (identity, account_exists) = settle(tx, tenant, draft).await?;
                let Page { origin, browser, browser_required } = page.clone();
                let over = HandedOver { identity: identity.id, origin, account_exists, browser, browser_required };
                store::callback::hand_over(tx, tenant.id, &id, &draft.arrival.actor, &draft.arrival.provider, &over, expires_at).await
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(())
}

/// Finds or makes the login, and does what `decide` says. The login, and whether to say that its address has an account.
async fn settle(tx: &mut Tx, tenant: &Arc<Tenant>, draft: &Draft) -> Result<(Identity, bool)> {
    // Insert first: of two first arrivals at once the second finds the row of the first.
    let inserted = store::identity::insert(tx, tenant.id, &draft.login).await?;
    let removed = || Error::unauthorized("Authentication failed");
    let found = store::identity::by_key(tx, tenant.id, &draft.login.key).await?.ok_or_else(removed)?;
    // The lock orders this against the login's removal: whoever comes second sees what the first did.
    if !store::identity::lock(tx, tenant.id, found.id).await? {
        return Err(removed());
    }
    let mut login = store::identity::by_id(tx, tenant.id, found.id).await?.ok_or_else(removed)?;
    if !inserted {
        store::identity::told(tx, tenant.id, login.id, &draft.login.address, draft.proven, &draft.login.user_metadata).await?;
    }
    if draft.proven {
        disarm(tx, tenant, draft).await?;
    }
    let (account, customer) = same_address(tx, tenant, draft).await?;
    let known = match (inserted, &login.actor_id) {
        (true, _) => Login::Unknown,
        (false, None) => Login::OfNobody,
        (false, Some(_)) => Login::OfCustomer,
    };
    let mut account_exists = false;
    match account::decide(known, draft.proven, account, tenant.settings.callbacks.same_address) {
        Outcome::SignIn => {}
        Outcome::Stranger { account_exists: exists } => account_exists = exists,
        Outcome::Join => {
            if let Some(customer) = customer.filter(|_| login.actor_id.is_none())
                // Held, so that no login is left to a customer who is being deleted.
                && store::customer::hold(tx, tenant.id, customer).await?.is_some()
                && store::identity::link(tx, tenant.id, login.id, &customer.bare()).await?
            {
                event::append(tx, tenant, &draft.linked).await?;
            }
        }
    }
    login = store::identity::by_id(tx, tenant.id, login.id).await?.unwrap_or(login);
    Ok((login, account_exists))
}

/// The owner of the address has come: a password that somebody set who never showed the address to be theirs is void, with its sessions and links.
async fn disarm(tx: &mut Tx, tenant: &Tenant, draft: &Draft) -> Result<()> {
    let Some(email) = &draft.email else { return Ok(()) };
    if let Some(stranger) = store::identity::disarm(tx, tenant.id, &emailpass::key(&draft.arrival.actor, email)).await? {
        let ended = store::session::end_all(tx, tenant.id, stranger).await?;
        draft.ending.tell_of(tx, tenant.id, stranger, ended).await?;
        store::password_reset::void(tx, tenant.id, stranger).await?;
    }
    Ok(())
}

/// The customer with the told address, and whether anybody has shown it to be theirs.
async fn same_address(tx: &mut Tx, tenant: &Tenant, draft: &Draft) -> Result<(Account, Option<CustomerId>)> {
    let Some(email) =
        draft.email.as_ref().filter(|_| draft.arrival.actor == ActorType::customer() && tenant.settings.callbacks.same_address != SameAddress::Never)
    else {
        return Ok((Account::None, None));
    };
    let Some(customer) = store::customer::by_address(tx, tenant.id, email.key()).await? else { return Ok((Account::None, None)) };
    let logins = store::identity::of_actor(tx, tenant.id, &draft.arrival.actor, &customer.bare()).await?;
    let proves = |login: &Identity| login.proven_at.is_some() && Email::parse(&login.address).is_ok_and(|address| address.key() == email.key());
    let account = if logins.iter().any(proves) { Account::Proven } else { Account::Unproven };
    Ok((account, Some(customer)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(told: &Value) -> Vec<String> {
        bounded(told.as_object().unwrap_or(&Map::new())).keys().cloned().collect()
    }

    #[test]
    fn links_that_a_provider_tells_are_of_the_web() {
        let long = format!("https://p.example/{}", "x".repeat(TOLD_TEXT));
        for name in ["picture", "avatar", "profile_url"] {
            for good in ["https://p.example/x", "http://p.example/x", &long[..TOLD_TEXT]] {
                assert_eq!(kept(&json!({name: good})), [name], "{good}");
            }
            for bad in ["javascript:alert(1)", "data:text/html,x", "//p.example/x", "x", "", "https://p.example/\nx", &long[..=TOLD_TEXT]] {
                assert!(kept(&json!({name: bad})).is_empty(), "{bad}");
            }
        }
    }

    #[test]
    fn texts_that_a_provider_tells_are_short_and_plain() {
        let text = "x".repeat(TOLD_TEXT);
        assert_eq!(kept(&json!({"a": text, "b": "", "c": null, "d": true, "e": 1.5, "f": "javascript:alert(1)"})), ["a", "b", "c", "d", "e", "f"]);
        assert!(kept(&json!({"a": format!("{text}x"), "b": "x\0", "c": [], "d": {}})).is_empty());
        let many: Map<String, Value> = (0..=TOLD_FIELDS).map(|n| (format!("f{n:02}"), json!(n))).collect();
        assert_eq!(kept(&Value::Object(many)).last().map(String::as_str), Some("f11"));
    }
}
