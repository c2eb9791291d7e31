//! Events on their way into the outbox.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Engine;
use crate::config::Nats;
use crate::crypto::sha256;
use crate::error::Result;
use crate::model::event::{Event, EventName};
use crate::model::ids::{DeliveryId, EventId};
use crate::model::tenant::{Message, Tenant, TenantSettings, Webhook};
use crate::store::{self, Tx};

/// The subscriber id of the built-in mailer.
pub const MAILER: &str = "mail";
/// The subscriber id of `JetStream`.
pub const NATS: &str = "nats";
/// The subscriber id of the bridge to Medusa.
pub const MEDUSA: &str = "medusa";

/// An event with the deliveries that it makes, drawn before the transaction that writes them.
#[derive(Debug, Clone)]
pub struct Planned {
    event: Event,
    subscribers: Vec<(DeliveryId, String)>,
}

/// Plans the event `name` for everybody in `tenant` who wants to hear it.
#[must_use]
pub fn plan(engine: &Engine, tenant: &Tenant, name: EventName, data: Map<String, Value>, secret_ref: Option<String>) -> Planned {
    debug_assert!(name.spec().fits(&data), "{} is described otherwise", name.as_str());
    let now = engine.clock.now();
    let nats = engine.config.nats.as_ref();
    let subscribers = subscribers(&tenant.settings, nats, name).map(|id| (DeliveryId(engine.rng.ulid(now)), id)).collect();
    Planned { event: Event { id: EventId(engine.rng.ulid(now)), name, data, secret_ref, created_at: now }, subscribers }
}

/// Writes the event into the transaction of the change. Wake the outbox after the commit.
pub async fn append(tx: &mut Tx, tenant: &Arc<Tenant>, planned: &Planned) -> Result<()> {
    store::event::append(tx, tenant.id, &planned.event, &planned.subscribers).await
}

/// Who hears `name`: the mailer, if it has a message for it and a way to send; and each webhook, `JetStream` and the bridge, by their patterns.
pub fn subscribers(settings: &TenantSettings, nats: Option<&Nats>, name: EventName) -> impl Iterator<Item = String> {
    let mail = &settings.mail;
    let mailer = mail.transport.is_some() && message_for(name).is_some_and(|message| mail.messages.contains(&message));
    let wants = move |patterns: &[String]| patterns.iter().any(|pattern| name.matches(pattern));
    let webhooks = settings.webhooks.iter().filter(move |hook| wants(&hook.events)).map(webhook_id);
    let nats = nats.is_some_and(|nats| wants(&nats.events));
    let medusa = settings.medusa.as_ref().is_some_and(|medusa| wants(&medusa.events));
    let built_in = [(mailer, MAILER), (nats, NATS), (medusa, MEDUSA)].into_iter().filter(|(hears, _)| *hears);
    built_in.map(|(_, id)| id.to_owned()).chain(webhooks)
}

/// The message that the mailer sends for an event.
#[must_use]
pub fn message_for(name: EventName) -> Option<Message> {
    match name {
        EventName::PasswordReset => Some(Message::PasswordReset),
        EventName::PasswordUpdated => Some(Message::PasswordChanged),
        EventName::IdentityLinked
        | EventName::IdentityUnlinked
        | EventName::CustomerCreated
        | EventName::CustomerUpdated
        | EventName::CustomerDeleted => None,
    }
}

/// The subscriber id of a webhook: stable as long as its URL is.
#[must_use]
pub fn webhook_id(hook: &Webhook) -> String {
    let digest = sha256(&[hook.url.as_str().as_bytes()]);
    format!("webhook:{}", crate::model::hex(digest.get(..8).unwrap_or_default()))
}

/// What an operator should mend: an event with a secret that nobody hears, or that the mailer and another both hear.
#[must_use]
pub fn warnings(settings: &TenantSettings, nats: Option<&Nats>) -> Vec<String> {
    let secret_bearing = EventName::ALL.into_iter().filter(|name| name.secret_fields().next().is_some());
    secret_bearing
        .filter_map(|name| {
            let mailer = subscribers(settings, nats, name).any(|id| id == MAILER);
            let patterns = settings.webhooks.iter().map(|hook| &hook.events);
            let patterns = patterns.chain(settings.medusa.iter().map(|medusa| &medusa.events)).chain(nats.iter().map(|nats| &nats.events));
            let others = patterns.flatten().any(|pattern| pattern == name.as_str());
            let what = match (mailer, others) {
                (false, false) => "has no subscriber: nobody will send the customer anything",
                (true, true) => "is heard by the mailer and by another: the customer may be written to twice",
                _ => return None,
            };
            Some(format!("tenant {}: {} {what}", settings.slug, name.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tenant::Secret;

    #[test]
    fn the_mailer_hears_what_it_has_a_message_for_and_a_way_to_send() {
        let mut settings = TenantSettings::default();
        let heard = |settings: &TenantSettings| {
            EventName::ALL.into_iter().filter(|name| subscribers(settings, None, *name).any(|id| id == MAILER)).collect::<Vec<_>>()
        };
        assert!(heard(&settings).is_empty());
        settings.mail.transport = Some(Secret::new("inbox"));
        assert_eq!(heard(&settings), [EventName::PasswordReset, EventName::PasswordUpdated]);
        settings.mail.messages = vec![Message::PasswordChanged];
        assert_eq!(heard(&settings), [EventName::PasswordUpdated]);
    }
}
