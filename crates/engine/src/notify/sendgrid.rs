//! `SendGrid`, by its v3 API.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use url::Url;

use super::{Channel, NO_MAIL, Notification, Provider, SendFailure, Sent, smtp, verdict};
use crate::model::tenant::Secret;
use crate::ports::http::Http;

/// Where it is, unless the transport says otherwise.
const BASE: &str = "https://api.sendgrid.com";
/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// One account.
pub(super) struct Account {
    key: Secret,
    endpoint: Url,
}

impl Account {
    /// `sendgrid:KEY`, or `sendgrid:KEY@https://api.eu.sendgrid.com` for an account of another region.
    pub(super) fn parse(transport: &str) -> Result<Self, String> {
        let rest = transport.split_once(':').map_or("", |(_, rest)| rest);
        let (key, base) = rest.split_once('@').unwrap_or((rest, BASE));
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            return Err("the mail transport is sendgrid: and a key of letters, digits, dots, hyphens and underscores".to_owned());
        }
        let base = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.path() == "/" && url.query().is_none());
        let endpoint = base
            .and_then(|base| base.join("v3/mail/send").ok())
            .ok_or("what follows the @ of a sendgrid transport is an origin, https://api.eu.sendgrid.com say")?;
        Ok(Self { key: Secret::new(key), endpoint })
    }
}

/// Sends by one account.
pub(super) struct SendGrid {
    account: Account,
    http: Http,
}

impl SendGrid {
    pub(super) const fn new(account: Account, http: Http) -> Self {
        Self { account, http }
    }

    async fn call(&self, notification: &Notification) -> Result<Sent, SendFailure> {
        let body = body(notification).map_err(SendFailure::GiveUp)?.to_string().into_bytes();
        let headers = [("content-type", "application/json".to_owned()), ("authorization", format!("Bearer {}", self.account.key.expose()))];
        verdict(self.http.post(&self.account.endpoint, &headers, body, TIMEOUT).await)
    }
}

/// Source: Twilio's `SendGrid`, "Mail Send" of the v3 API. Tracking is off: it would lead the link past a third party.
fn body(notification: &Notification) -> Result<Value, String> {
    let Notification { channel, to, from, content, idempotency_key, .. } = notification;
    if *channel != Channel::Email {
        return Err(NO_MAIL.to_owned());
    }
    let from = smtp::sender(from.as_deref().ok_or("no sender is configured: set `from` of the tenant's mail settings")?)?;
    let mut sender = json!({"email": from.email.to_string()});
    if let (Some(name), Some(sender)) = (from.name, sender.as_object_mut()) {
        sender.insert("name".to_owned(), name.into());
    }
    Ok(json!({
        "personalizations": [{"to": [{"email": to}]}],
        "from": sender,
        "subject": content.subject,
        "content": [{"type": "text/plain", "value": content.text}, {"type": "text/html", "value": content.html}],
        "custom_args": {"idempotency_key": idempotency_key},
        "tracking_settings": {"click_tracking": {"enable": false, "enable_text": false}, "open_tracking": {"enable": false}},
    }))
}

impl Provider for SendGrid {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>> {
        self.call(notification).boxed()
    }
}
