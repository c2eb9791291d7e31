//! Webhooks: signed per Standard Webhooks.

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, payload};
use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::{Secret, Tenant};
use crate::notify::standard_webhooks;
use crate::ops::event::webhook_id;
use crate::ports::http::HttpFailure;
use crate::store::delivery::{ClaimedDelivery, Ending};

/// How long one call may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls the webhook that `delivery` is for. 2xx is success, and nothing else is.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, delivery: &ClaimedDelivery, event: &Event) -> Result<Attempt> {
    let Some(hook) = tenant.settings.webhooks.iter().find(|hook| webhook_id(hook) == delivery.subscriber) else {
        return Ok(Attempt::Done(Ending::Dead, "the webhook was removed".into()));
    };
    let body = match payload::envelope(engine, tenant, &hook.events, event).await? {
        Ok(body) => body,
        Err(ending) => return Ok(Attempt::Done(ending, String::new())),
    };
    let secrets = std::iter::once(&hook.secret).chain(&hook.former_secret).map(Secret::expose);
    let headers = match standard_webhooks::headers(secrets, &event.id.to_string(), engine.clock.now().seconds(), &body) {
        Ok(headers) => headers,
        Err(reason) => return Ok(Attempt::Done(Ending::Dead, reason)),
    };
    Ok(match engine.http.post(&hook.url, &headers, body, TIMEOUT).await {
        Ok(answer) if (200..300).contains(&answer.status) => Attempt::Done(Ending::Delivered, answer.status.to_string()),
        Ok(answer) if answer.status == 410 => Attempt::Gone("410: the subscriber is gone".into()),
        Ok(answer) => Attempt::Retry(format!("status {}", answer.status), answer.retry_after),
        // What the configuration does not allow today it may allow tomorrow, but not within this delivery.
        Err(HttpFailure::Refused(reason)) => Attempt::Done(Ending::Dead, reason),
        Err(HttpFailure::Unreachable(reason)) => Attempt::Retry(reason, None),
    })
}
