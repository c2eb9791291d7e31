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
