//! The built-in mailer: a subscriber like any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::Attempt;
use crate::Engine;
use crate::error::Result;
use crate::model::event::{Event, EventName};
use crate::model::ids::IdentityId;
use crate::model::tenant::Tenant;
use crate::notify::render::{self, MailContext};
use crate::notify::{Notification, Provider, SendFailure, provider_for};
use crate::ops::event::message_for;
use crate::ops::password_reset::{self, Undeliverable};
use crate::store;
use crate::store::delivery::{ClaimedDelivery, Ending};

/// A provider per tenant and transport, kept because it keeps connections.
#[derive(Clone, Default)]
pub struct Senders(Arc<Mutex<Known>>);

/// By tenant and transport.
type Known = HashMap<(String, String), Arc<dyn Provider>>;

impl Senders {
    fn get(&self, engine: &Engine, tenant: &Tenant, transport: &str) -> std::result::Result<Arc<dyn Provider>, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.slug.clone(), transport.to_owned());
        if let Some(provider) = all.get(&key) {
            return Ok(provider.clone());
        }
        let provider = provider_for(transport, &tenant.slug, &engine.inbox)?;
        // A transport that was replaced is not used again.
        all.retain(|(slug, _), _| *slug != tenant.slug);
        all.insert(key, provider.clone());
        Ok(provider)
    }
}

/// Sends the mail for `event`.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let (Some(message), Some(transport)) = (message_for(event.name), &tenant.settings.mail.transport) else {
        return Ok(Attempt::Done(Ending::Dead, "the shop has no mail for this event".into()));
    };
    let context = match context(engine, tenant, event).await? {
        Ok(context) => context,
        Err(ending) => return Ok(Attempt::Done(ending, String::new())),
    };
    let locale = event.data.get("metadata").and_then(|m| m.get("locale")).and_then(|l| l.as_str());
    let rendered = match render::render(message, locale, &context) {
        Ok(rendered) => rendered,
        Err(e) => return Ok(Attempt::Done(Ending::Dead, e.to_string())),
    };
    let provider = match engine.outbox.senders.get(engine, tenant, transport.expose()) {
        Ok(provider) => provider,
        Err(reason) => return Ok(Attempt::Retry(reason, None)),
    };
    let notification = Notification {
        to: context.address,
        from: tenant.settings.mail.from.clone(),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        idempotency_key: delivery.id.bare(),
    };
    Ok(match provider.send(&notification).await {
        Ok(sent) => Attempt::Done(Ending::Delivered, sent.reply),
        Err(SendFailure::Retry(reason)) => Attempt::Retry(reason, None),
        Err(SendFailure::GiveUp(reason)) => Attempt::Done(Ending::Dead, reason),
    })
}

/// What the mail says, or why it is not sent.
async fn context(engine: &Engine, tenant: &Arc<Tenant>, event: &Event) -> Result<std::result::Result<MailContext, Ending>> {
    let shop = tenant.name().to_owned();
    let (Some(jti), EventName::PasswordReset) = (&event.secret_ref, event.name) else {
        return Ok(owner_address(engine, tenant, event)
            .await?
            .map_or(Err(Ending::Dead), |address| Ok(MailContext { shop, address, url: None, minutes: None })));
    };
    Ok(match password_reset::deliverable(engine, tenant, jti).await? {
        Ok(reset) => {
            let hosted = reset.actor.as_str() == "user";
            let minutes = reset.expires_at.since(engine.clock.now()).as_secs().div_ceil(60);
            let url = reset_url(engine, tenant, &reset.token, hosted, event);
            Ok(MailContext { shop, address: reset.address, url: Some(url), minutes: Some(minutes) })
        }
        Err(Undeliverable::Superseded) => Err(Ending::Superseded),
        Err(Undeliverable::Expired) => Err(Ending::Expired),
    })
}

async fn owner_address(engine: &Engine, tenant: &Tenant, event: &Event) -> Result<Option<String>> {
    let Some(id) = event.data.get("auth_identity_id").and_then(|v| v.as_str()).and_then(|id| id.parse::<IdentityId>().ok()) else { return Ok(None) };
    let tenant_id = tenant.id;
    let identity = engine.db.read(move |reader| Box::pin(store::identity::by_id(reader, tenant_id, id))).await?;
    Ok(identity.map(|identity| identity.address))
}

/// The link in the mail. Its origin comes from the configuration alone. Staff always get the hosted page.
fn reset_url(engine: &Engine, tenant: &Tenant, token: &str, hosted: bool, event: &Event) -> String {
    let settings = &tenant.settings;
    let locale = event.data.get("metadata").and_then(|m| m.get("locale")).and_then(|l| l.as_str()).filter(|l| is_locale(l)).unwrap_or("en");
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

/// Letters, digits and hyphens, as in `pt-BR`: nothing that could change the URL around it.
fn is_locale(text: &str) -> bool {
    (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
