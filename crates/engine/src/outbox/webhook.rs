//! Webhooks: signed per Standard Webhooks.

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, payload};
use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::Tenant;
use crate::notify::standard_webhooks;
use crate::ops::event::webhook_id;
use crate::ports::http::HttpFailure;
use crate::store::delivery::{ClaimedDelivery, Ending};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls the webhook that `delivery` is for. 2xx is success, and nothing else is.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let Some(hook) = tenant.settings.webhooks.iter().find(|hook| webhook_id(hook) == delivery.subscriber) else {
        return Ok(Attempt::Done(Ending::Dead, "the webhook was removed".into()));
    };
    let body = match payload::envelope(engine, tenant, &hook.events, event).await? {
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
