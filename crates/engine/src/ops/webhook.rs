//! Webhooks as an operator sees them: listed, switched off and on.

use std::sync::Arc;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::model::tenant::{Tenant, Webhook};
use crate::model::time::Timestamp;
use crate::ops::event::webhook_id;
use crate::store;

/// A webhook as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The subscriber in its deliveries.
    pub id: String,
    pub url: String,
    pub events: Vec<String>,
    /// Whether a former secret signs, too.
    pub is_rotating: bool,
    /// `None`: it is on.
    pub disabled_at: Option<Timestamp>,
}

/// The webhooks in the tenant's settings, in their order.
pub async fn list(engine: &Engine, tenant: &Tenant) -> Result<Vec<Listed>> {
    let id = tenant.id;
    let disabled = engine.db.read(move |reader| Box::pin(store::webhook::disabled(reader, id))).await?;
    let listed = |hook: &Webhook| {
        let id = webhook_id(hook);
        let disabled_at = disabled.iter().find(|off| off.subscriber == id).map(|off| off.at);
        Listed { id, url: hook.url.to_string(), events: hook.events.clone(), is_rotating: hook.former_secret.is_some(), disabled_at }
    };
    Ok(tenant.settings.webhooks.iter().map(listed).collect())
}

/// Switches a webhook on again. What it missed is dead; `ops::delivery::retry_all` sends it.
///
/// # Errors
/// `NotFound` for a webhook that the tenant does not have, `NotAllowed` if it is on.
pub async fn enable(engine: &Engine, tenant: &Tenant, id: &str) -> Result<()> {
    switch(engine, tenant, id, true).await
}

/// Switches a webhook off: what would be sent to it is dead at once.
///
/// # Errors
/// `NotFound` for a webhook that the tenant does not have, `NotAllowed` if it is off.
pub async fn disable(engine: &Engine, tenant: &Tenant, id: &str) -> Result<()> {
    switch(engine, tenant, id, false).await
}

async fn switch(engine: &Engine, tenant: &Tenant, id: &str, on: bool) -> Result<()> {
    if !tenant.settings.webhooks.iter().any(|hook| webhook_id(hook) == id) {
        return Err(Error::new(Code::NotFound, format!("Tenant {} has no webhook {id}", tenant.slug)));
    }
    let (tenant, subscriber) = (tenant.id, Arc::new(id.to_owned()));
    let switched = engine.db.write(move |tx| {
        let subscriber = subscriber.clone();
        Box::pin(async move {
            if on { store::webhook::enable(tx, tenant, &subscriber).await } else { store::webhook::disable(tx, tenant, &subscriber).await }
        })
    });
    if switched.await? { Ok(()) } else { Err(Error::new(Code::NotAllowed, format!("Webhook {id} is {} already", if on { "on" } else { "off" }))) }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::testing::{Backend, one_shop};

    #[tokio::test]
    async fn a_list_says_what_is_off_since_when_and_whose_secret_is_being_replaced() {
        let (engine, _, _database) = one_shop(Backend::Sqlite).await.unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let changed = crate::ops::tenant::change(&engine, "acme", |acme| {
            let hook = serde_json::json!([
                {"url": "https://b.example/", "secret": secret, "events": ["*"]},
                {"url": "https://a.example/", "secret": secret, "former_secret": secret, "events": ["customer.*", "auth.signed_in"]},
            ]);
            acme.webhooks = serde_json::from_value(hook).unwrap();
        });
        changed.await.unwrap();
        let tenant = crate::ops::tenant::by_slug(&engine, "acme").await.unwrap();
        let listed = async || list(&engine, &tenant).await.unwrap();
        let seen = |listed: &[Listed]| {
            listed.iter().map(|hook| (hook.url.clone(), hook.events.len(), hook.is_rotating, hook.disabled_at)).collect::<Vec<_>>()
        };
        let (first, second) = ("https://b.example/".to_owned(), "https://a.example/".to_owned());
        let all = listed().await;
        assert_eq!(seen(&all), [(first.clone(), 1, false, None), (second.clone(), 2, true, None)]);
        disable(&engine, &tenant, &all[1].id).await.unwrap();
        let now = engine.clock.now();
        assert_eq!(seen(&listed().await), [(first.clone(), 1, false, None), (second.clone(), 2, true, Some(now))]);
        enable(&engine, &tenant, &all[1].id).await.unwrap();
        assert_eq!(seen(&listed().await), [(first, 1, false, None), (second, 2, true, None)]);
        for (outcome, code, says) in [
            (enable(&engine, &tenant, &all[1].id).await, Code::NotAllowed, "is on already"),
            (enable(&engine, &tenant, "webhook:0").await, Code::NotFound, "has no webhook webhook:0"),
            (disable(&engine, &tenant, "mail").await, Code::NotFound, "has no webhook mail"),
        ] {
            let refused = outcome.unwrap_err();
            assert!(refused.code == code && refused.message.ends_with(says), "{refused:?}");
        }
    }
}
