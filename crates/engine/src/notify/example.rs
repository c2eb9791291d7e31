//! The provider that `docs/providers.md` writes.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::json;
use url::Url;

use super::{Channel, Notification, Provider, SendFailure, Sent, verdict};
use crate::model::tenant::Secret;
use crate::ports::http::Http;

/// A gateway for text messages that takes JSON.
pub struct TextMessages {
    pub endpoint: Url,
    pub key: Secret,
    pub http: Http,
}

impl TextMessages {
    async fn text(&self, notification: &Notification) -> Result<Sent, SendFailure> {
        let Notification { channel, to, content, idempotency_key, .. } = notification;
        if *channel != Channel::Sms {
            return Err(SendFailure::GiveUp("this gateway carries text messages alone".to_owned()));
        }
        let body = json!({"to": to, "text": content.text, "reference": idempotency_key}).to_string().into_bytes();
        let headers = [("content-type", "application/json".to_owned()), ("authorization", format!("Bearer {}", self.key.expose()))];
        verdict(self.http.post(&self.endpoint, &headers, body, Duration::from_secs(15)).await)
    }
}

impl Provider for TextMessages {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>> {
        self.text(notification).boxed()
    }
}
