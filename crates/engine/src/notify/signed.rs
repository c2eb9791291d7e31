//! "Let my own service send": the whole notification as a POST, signed per Standard Webhooks. For any channel.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use url::Url;

use super::{Notification, Provider, SendFailure, Sent, standard_webhooks, verdict};
use crate::model::tenant::Secret;
use crate::ports::clock::Clock;
use crate::ports::http::Http;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who is called, and what the calls are signed with.
pub(super) struct Receiver {
    url: Url,
    secret: Secret,
}

impl Receiver {
    pub(super) fn parse(transport: &str, secret: Option<&Secret>) -> Result<Self, String> {
        let url = Url::parse(transport).map_err(|_| "the mail transport is no valid URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an https:// transport holds no user and no password: its calls are signed with `mail.secret`".to_owned());
        }
        let secret =
            secret.ok_or("an https:// transport needs `mail.secret`, with which its calls are signed: whsec_ and 24 to 64 bytes in base64")?;
        Ok(Self { url, secret: secret.clone() })
    }
}

/// A service of the shop's.
pub(super) struct Signed {
    receiver: Receiver,
    tenant: String,
    http: Http,
    clock: Clock,
}

impl Signed {
    pub(super) fn new(receiver: Receiver, tenant: &str, http: Http, clock: Clock) -> Self {
        Self { receiver, tenant: tenant.to_owned(), http, clock }
    }

    async fn call(&self, notification: &Notification) -> Result<Sent, SendFailure> {
        let (id, now) = (&notification.idempotency_key, self.clock.now());
        let body = json!({
            "type": "notification.send",
            "timestamp": now.to_string(),
            "data": data(notification),
            "metadata": {"tenant": self.tenant},
        });
        let body = body.to_string().into_bytes();
        let secret = self.receiver.secret.expose();
        let headers = standard_webhooks::headers([secret], id, now.seconds(), &body).map_err(SendFailure::GiveUp)?;
        verdict(self.http.post(&self.receiver.url, &headers, body, TIMEOUT).await)
    }
}

/// The notification, all of it.
fn data(notification: &Notification) -> Value {
    let Notification { channel, to, from, template, locale, data, content, idempotency_key } = notification;
    json!({
        "channel": channel.as_str(), "to": to, "from": from, "template": template.as_str(), "locale": locale, "data": data,
        "content": {"subject": content.subject, "text": content.text, "html": content.html}, "idempotency_key": idempotency_key,
    })
}

impl Provider for Signed {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>> {
        self.call(notification).boxed()
    }
}
