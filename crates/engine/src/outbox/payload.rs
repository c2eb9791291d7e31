//! What a subscriber is told of an event.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::Tenant;
use crate::ops::password_reset::{self, Undeliverable};
use crate::store::delivery::Ending;

/// The event's data, with the secret fields if `patterns` name it exactly. Or how the delivery ends, if the secret that belongs in it is no longer good.
pub(super) async fn data(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    patterns: &[String],
    event: &Event,
) -> Result<std::result::Result<Map<String, Value>, Ending>> {
    let mut data = event.data.clone();
    let named = patterns.iter().any(|pattern| pattern == event.name.as_str());
    // Who gets no secret is told what happened, however late.
    if let (Some(jti), true, true) = (&event.secret_ref, named, event.name.secret_fields().next().is_some()) {
        match password_reset::deliverable(engine, tenant, jti).await? {
            Ok(reset) => data.insert("token".into(), Value::String(reset.token)),
            Err(Undeliverable::Superseded) => return Ok(Err(Ending::Superseded)),
            Err(Undeliverable::Expired) => return Ok(Err(Ending::Expired)),
        };
    }
    Ok(Ok(data))
}

/// The whole message, as webhooks and NATS carry it.
pub(super) async fn envelope(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    patterns: &[String],
    event: &Event,
) -> Result<std::result::Result<Vec<u8>, Ending>> {
    Ok(data(engine, tenant, patterns, event).await?.map(|data| {
        let message =
            json!({"type": event.name.as_str(), "timestamp": event.created_at.to_string(), "data": data, "metadata": {"tenant": tenant.slug}});
        message.to_string().into_bytes()
    }))
}
