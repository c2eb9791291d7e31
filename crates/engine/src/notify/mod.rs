//! The notification module: what carries a finished message to a person. It knows no account and no database.

pub mod inbox;
pub mod render;
#[cfg(any(test, feature = "testing"))]
pub mod sink;
pub mod smtp;
pub mod standard_webhooks;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::inbox::Inbox;
use self::smtp::Smtp;

/// A mail, ready to be sent to one person.
#[derive(Clone)]
pub struct Notification {
    /// The bare address.
    pub to: String,
    /// `Acme <no-reply@acme.example>` or a bare address.
    pub from: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The same in every attempt: the delivery's id.
    pub idempotency_key: String,
}

/// The bodies hold live links, so they are not printed.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("idempotency_key", &self.idempotency_key).field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// One way to send. Keep a provider for as long as its transport stands: it pools connections.
pub trait Provider: Send + Sync {
    /// Sends once. May be dropped at any time; then nobody knows whether the mail went out.
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>>;
}

/// The other side has taken responsibility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What the other side said.
    pub reply: String,
}

/// Why a mail was not sent, and whether another attempt makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    #[error("{0}")]
    Retry(String),
    #[error("{0}")]
    GiveUp(String),
}

/// The provider that `transport` names: `smtp://user:password@host:587`, `smtps://user:password@host:465` or `inbox`.
///
/// # Errors
/// A sentence for the operator that repeats nothing of `transport`, because it may hold a password.
pub fn provider_for(transport: &str, tenant_slug: &str, inbox: &Inbox) -> Result<Arc<dyn Provider>, String> {
    match transport.trim() {
        "inbox" => Ok(Arc::new(inbox.for_tenant(tenant_slug))),
        smtp if has_scheme(smtp, "smtp") || has_scheme(smtp, "smtps") => Ok(Arc::new(Smtp::new(smtp, inbox.clock().clone())?)),
        _ => Err("this mail transport is unknown: write smtp://user:password@host:587, smtps://user:password@host:465 or inbox".to_owned()),
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.split_once("://").is_some_and(|(before, _)| before.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::Clock;

    #[tokio::test]
    async fn transports_are_told_apart() {
        let inbox = Inbox::new(Clock::System);
        for transport in ["inbox", " inbox "] {
            let mail = Notification {
                to: "ann@example.com".to_owned(),
                from: None,
                subject: String::new(),
                text: String::new(),
                html: String::new(),
                idempotency_key: transport.to_owned(),
            };
            provider_for(transport, "acme", &inbox).ok().unwrap().send(&mail).await.unwrap();
            assert_eq!(inbox.list()[0].id, transport);
        }
        for transport in ["smtp://u:p@mail.example:587", "SMTPS://mail.example"] {
            assert!(provider_for(transport, "acme", &inbox).is_ok(), "{transport}");
        }
        for transport in
            ["", "Inbox!", "sendgrid:hunter2", "https://hunter2@mail.example", "hunter2", "smtp://", "smtp://u:hunter2@", "smtp://u:hunter2@h:x"]
        {
            let message = provider_for(transport, "acme", &inbox).err().unwrap();
            assert!(!message.contains("hunter2") && message.len() > 20, "{transport}: {message}");
        }
    }
}
