//! The built-in mailer: a subscriber like any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use url::Url;

use super::Attempt;
use crate::Engine;
use crate::error::Result;
use crate::model::event::{Event, EventName};
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, IdentityId};
use crate::model::locale::is_locale;
use crate::model::tenant::{Secret, Tenant};
use crate::notify::render::{self, MailContext};
use crate::notify::{Channel, Means, Notification, Provider, SendFailure, Sent, provider_for};
use crate::ops::event::message_for;
use crate::ops::password_reset::{self, Deliverable, Undeliverable};
use crate::ops::template;
use crate::store;
use crate::store::delivery::{ClaimedDelivery, Ending};

/// A provider per tenant, kept because it keeps connections.
#[derive(Clone, Default)]
pub struct Senders(Arc<Mutex<Known>>);

/// What a provider was made for: tenant, transport and secret.
type Made = (String, String, String);
type Known = HashMap<Made, Arc<dyn Provider>>;

impl Senders {
    fn get(&self, engine: &Engine, tenant: &Tenant) -> std::result::Result<Arc<dyn Provider>, String> {
        let mail = &tenant.settings.mail;
        let text = |secret: &Option<Secret>| secret.as_ref().map_or("", Secret::expose).to_owned();
        let key = (tenant.slug.clone(), text(&mail.transport), text(&mail.secret));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = all.get(&key) {
            return Ok(provider.clone());
        }
        let provider = provider_for(mail, &tenant.slug, &Means { inbox: &engine.inbox, http: &engine.http, clock: &engine.clock })?;
        // A transport that was replaced is not used again.
        all.retain(|(slug, ..), _| *slug != tenant.slug);
        all.insert(key, provider.clone());
        Ok(provider)
    }
}

/// Sends `notification` by the tenant's transport, past the outbox: for a sample that its operator looks at.
///
/// # Errors
/// What the other side said.
pub async fn send(engine: &Engine, tenant: &Tenant, notification: &Notification) -> std::result::Result<Sent, String> {
    if tenant.settings.mail.transport.is_none() {
        return Err("the tenant has no mail transport".to_owned());
    }
    engine.outbox.senders.get(engine, tenant)?.send(notification).await.map_err(|e| e.to_string())
}

/// Sends the mail for `event`.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let (Some(message), true) = (message_for(event.name), tenant.settings.mail.transport.is_some()) else {
        return Ok(Attempt::Done(Ending::Dead, "the shop has no mail for this event".into()));
    };
    let provider = match engine.outbox.senders.get(engine, tenant) {
        Ok(provider) => provider,
        Err(reason) => return Ok(Attempt::Retry(reason, None)),
    };
    let letter = match letter(engine, tenant, &*provider, delivery, event).await? {
        Ok(letter) => letter,
        Err(attempt) => return Ok(attempt),
    };
    let own = template::of_message(engine, tenant.id, message).await?;
    let rendered = match render::render(message, &letter.wanted, &own, &letter.context) {
        Ok(rendered) => rendered,
        Err(e) => return Ok(Attempt::Done(Ending::Dead, e.to_string())),
    };
    for fault in &rendered.faults {
        tracing::warn!(tenant = tenant.slug, fault, "a template of the shop cannot be used; the built-in words are sent");
    }
    let notification = Notification {
        channel: Channel::Email,
        to: letter.context.address.clone(),
        from: rendered.sender.or_else(|| tenant.settings.mail.from.clone()),
        template: message,
        locale: rendered.locale,
        data: letter.context.into_data()?,
        content: rendered.content,
        idempotency_key: delivery.id.bare(),
    };
    Ok(match provider.send(&notification).await {
        Ok(sent) => Attempt::Done(Ending::Delivered, sent.reply),
        Err(failure) => failed(failure),
    })
}

fn failed(failure: SendFailure) -> Attempt {
    match failure {
        SendFailure::Retry(reply, after) => Attempt::Retry(reply, after),
        SendFailure::GiveUp(reply) => Attempt::Done(Ending::Dead, reply),
    }
}

/// What a mail says, and in which language.
struct Letter {
    context: MailContext,
    /// The languages that it may be in, the best first.
    wanted: Vec<String>,
}

/// The letter, or how the attempt ends without it.
async fn letter(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    provider: &dyn Provider,
    delivery: &ClaimedDelivery,
    event: &Event,
) -> Result<std::result::Result<Letter, Attempt>> {
    let shop = tenant.name().to_owned();
    let (Some(jti), EventName::PasswordReset) = (&event.secret_ref, event.name) else {
        let Some(login) = owner(engine, tenant, event).await? else {
            return Ok(Err(Attempt::Done(Ending::Dead, "the login is gone".into())));
        };
        let wanted = languages(engine, tenant, event, &login.key.actor_type, login.actor_id.as_deref()).await?;
        return Ok(Ok(Letter { context: MailContext { shop, address: login.address, url: None, minutes: None }, wanted }));
    };
    let reset = match standing(engine, tenant, provider, delivery, event, jti).await? {
        Ok(reset) => reset,
        Err(attempt) => return Ok(Err(attempt)),
    };
    let wanted = languages(engine, tenant, event, &reset.actor, reset.actor_id.as_deref()).await?;
    let hosted = reset.actor.is_user();
    let minutes = reset.expires_at.since(engine.clock.now()).as_secs().div_ceil(60);
    let url = reset_url(engine, tenant, &reset.token, hosted, wanted.first().map_or("en", String::as_str));
    Ok(Ok(Letter { context: MailContext { shop, address: reset.address, url: Some(url), minutes: Some(minutes) }, wanted }))
}

/// The language of the request, of the customer, of the shop: those that are named.
async fn languages(engine: &Engine, tenant: &Tenant, event: &Event, actor: &ActorType, actor_id: Option<&str>) -> Result<Vec<String>> {
    let named = |metadata: Option<&Value>| metadata.and_then(|m| m.get("locale")).and_then(Value::as_str).map(str::to_owned);
    let asked = named(event.data.get("metadata"));
    let customer = actor_id.filter(|_| actor.as_str() == "customer").and_then(|id| id.parse::<CustomerId>().ok());
    let of_customer = match customer {
        Some(id) => {
            let tenant_id = tenant.id;
            let customer = engine.db.read(move |reader| Box::pin(store::customer::by_id(reader, tenant_id, id))).await?;
            named(customer.and_then(|customer| customer.metadata).map(Value::Object).as_ref())
        }
        None => None,
    };
    Ok([asked, of_customer, tenant.settings.mail.locale.clone()].into_iter().flatten().filter(|name| is_locale(name)).collect())
}

/// The reset that the mail is for. One that was held up until its end was near is issued anew, as soon as there is somebody to give the mail to:
/// the mail then goes with the new event.
async fn standing(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    provider: &dyn Provider,
    delivery: &ClaimedDelivery,
    event: &Event,
    jti: &str,
) -> Result<std::result::Result<Deliverable, Attempt>> {
    let found = password_reset::deliverable(engine, tenant, jti).await?;
    let is_late = found.as_ref().map_or_else(|why| *why == Undeliverable::Expired, |reset| reset.is_late);
    // What somebody asked for by hand tells what was, and makes no new way in: who still needs one asks for it.
    if !is_late || delivery.by_hand_at.is_some() {
        return Ok(found.map_err(ended));
    }
    if let Err(failure) = provider.reach().await {
        return Ok(Err(failed(failure)));
    }
    if password_reset::reissue(engine, tenant, jti, event).await? {
        return Ok(Err(Attempt::Done(Ending::Superseded, "its link was issued anew".into())));
    }
    // Used or replaced meanwhile, or issued anew too often.
    Ok(password_reset::deliverable(engine, tenant, jti).await?.map_err(ended))
}

fn ended(why: Undeliverable) -> Attempt {
    let ending = match why {
        Undeliverable::Superseded => Ending::Superseded,
        Undeliverable::Expired => Ending::Expired,
    };
    Attempt::Done(ending, String::new())
}

async fn owner(engine: &Engine, tenant: &Tenant, event: &Event) -> Result<Option<Identity>> {
    let Some(id) = event.data.get("auth_identity_id").and_then(Value::as_str).and_then(|id| id.parse::<IdentityId>().ok()) else { return Ok(None) };
    let tenant_id = tenant.id;
    engine.db.read(move |reader| Box::pin(store::identity::by_id(reader, tenant_id, id))).await
}

/// The link in the mail. Its origin comes from the configuration alone. Staff always get the hosted page.
fn reset_url(engine: &Engine, tenant: &Tenant, token: &str, hosted: bool, locale: &str) -> String {
    let settings = &tenant.settings;
    let configured = match (&settings.reset_url, &settings.storefront_url) {
        _ if hosted => None,
        (Some(template), _) => Url::parse(&template.replace("{locale}", locale)).ok(),
        (None, Some(base)) => Url::parse(&format!("{}/reset-password", base.as_str().trim_end_matches('/'))).ok(),
        (None, None) => None,
    };
    match configured {
        Some(mut url) => {
            url.query_pairs_mut().append_pair("token", token);
            url.into()
        }
        None => format!("{}/account/reset-password?token={token}", engine.pages_url(tenant)),
    }
}
