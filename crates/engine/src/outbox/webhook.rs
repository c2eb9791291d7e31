//! Webhooks: signed per Standard Webhooks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Attempt;
use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::{Tenant, Webhook};
use crate::notify::standard_webhooks;
use crate::ops::event::webhook_id;
use crate::ops::password_reset::{self, Undeliverable};
use crate::ports::http::HttpFailure;
use crate::store::delivery::{ClaimedDelivery, Ending};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls the webhook that `delivery` is for. 2xx is success, and nothing else is.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let Some(hook) = tenant.settings.webhooks.iter().find(|hook| webhook_id(hook) == delivery.subscriber) else {
        return Ok(Attempt::Done(Ending::Dead, "the webhook was removed".into()));
    };
    let body = match body(engine, tenant, hook, event).await? {
        Ok(body) => body,
        Err(ending) => return Ok(Attempt::Done(ending, String::new())),
    };
    let (id, timestamp) = (event.id.to_string(), engine.clock.now().seconds());
    let secrets = std::iter::once(&hook.secret).chain(&hook.former_secret);
    let signatures: std::result::Result<Vec<_>, _> = secrets.map(|secret| standard_webhooks::sign(secret.expose(), &id, timestamp, &body)).collect();
    let signatures = match signatures {
        Ok(signatures) => signatures.join(" "),
        Err(reason) => return Ok(Attempt::Done(Ending::Dead, reason)),
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures),
    ];
    Ok(match engine.http.post(&hook.url, &headers, body, TIMEOUT).await {
        Ok(answer) if (200..300).contains(&answer.status) => Attempt::Done(Ending::Delivered, answer.status.to_string()),
        Ok(answer) if answer.status == 410 => Attempt::Gone("410: the subscriber is gone".into()),
        Ok(answer) => Attempt::Retry(format!("status {}", answer.status), answer.retry_after),
        // What the configuration does not allow today it may allow tomorrow, but not within this delivery.
        Err(HttpFailure::Refused(reason)) => Attempt::Done(Ending::Dead, reason),
        Err(HttpFailure::Unreachable(reason)) => Attempt::Retry(reason, None),
    })
}

/// The body, with the secret fields for a subscriber that names the event exactly.
async fn body(engine: &Engine, tenant: &Arc<Tenant>, hook: &Webhook, event: &Event) -> Result<std::result::Result<Vec<u8>, Ending>> {
    let mut data = event.data.clone();
    let named = hook.events.iter().any(|pattern| pattern == event.name.as_str());
    if let (Some(jti), true) = (&event.secret_ref, event.name.secret_fields().next().is_some()) {
        match password_reset::deliverable(engine, tenant, jti).await? {
            Ok(reset) if named => {
                data.insert("token".into(), Value::String(reset.token));
            }
            // Who gets no secret is told what happened, however late.
            Err(Undeliverable::Superseded) if named => return Ok(Err(Ending::Superseded)),
            Err(Undeliverable::Expired) if named => return Ok(Err(Ending::Expired)),
            _ => {}
        }
    }
    let body = json!({"type": event.name.as_str(), "timestamp": event.created_at.to_string(), "data": data, "metadata": {"tenant": tenant.slug}});
    Ok(Ok(body.to_string().into_bytes()))
}
