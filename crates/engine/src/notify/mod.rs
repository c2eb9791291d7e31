//! The notification module: what carries a finished message to a person. It knows no account and no database.

#[cfg(test)]
mod example;
pub mod inbox;
pub mod preview;
pub mod render;
mod sendgrid;
mod signed;
#[cfg(any(test, feature = "testing"))]
pub mod sink;
pub mod smtp;
mod smtp_stream;
pub mod standard_webhooks;
pub mod template;

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use serde_json::{Map, Value};

use self::inbox::Inbox;
use self::sendgrid::SendGrid;
use self::signed::Signed;
use self::smtp::Smtp;
use crate::model::tenant::{Mail, Message};
use crate::ports::clock::Clock;
use crate::ports::http::{Answer, Http, HttpFailure};

/// How much of a reply is kept, in characters.
const REPLY_LIMIT: usize = 500;
/// A longer word of a reply may be the token of a link.
const WORD_LIMIT: usize = 64;
/// What a provider says that carries mail alone.
const NO_MAIL: &str = "this transport carries mail alone";

/// By what a message reaches a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Email,
    Sms,
}

impl Channel {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

/// A message, ready to be sent to one person.
#[derive(Clone)]
pub struct Notification {
    pub channel: Channel,
    /// A bare address, or a number.
    pub to: String,
    /// `Acme <no-reply@acme.example>` or a bare address.
    pub from: Option<String>,
    /// What is said.
    pub template: Message,
    /// The language in which `content` says it.
    pub locale: String,
    /// What the template was given, for a provider that has templates of its own.
    pub data: Map<String, Value>,
    pub content: Content,
    /// The delivery's id. The same in every attempt, so one that failed may be repeated with it.
    pub idempotency_key: String,
}

/// A message in words.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Data and content hold live links, so they are not printed.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, template, locale, idempotency_key, .. } = self;
        f.debug_struct("Notification")
            .field("idempotency_key", idempotency_key)
            .field("channel", channel)
            .field("template", template)
            .field("locale", locale)
            .finish_non_exhaustive()
    }
}

/// One way to send. Keep a provider for as long as its settings stand: it pools connections.
pub trait Provider: Send + Sync {
    /// Sends once. May be dropped at any time; then nobody knows whether the message went out.
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>>;

    /// Whether the other side can be spoken to now, as far as that can be told without sending. Asked before a link is issued anew for a
    /// message, which happens only so many times.
    fn reach(&self) -> BoxFuture<'_, Result<(), SendFailure>> {
        ready(Ok(())).boxed()
    }
}

/// The other side has taken responsibility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What the other side said.
    pub reply: String,
}

/// Why a message was not sent, in the words of the other side where it had any, and whether another attempt makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// It may pass; no sooner than after this, if the other side said so.
    #[error("{0}")]
    Retry(String, Option<std::time::Duration>),
    /// The message itself was refused, for good.
    #[error("{0}")]
    GiveUp(String),
}

/// What providers are made from besides a shop's settings.
pub struct Means<'a> {
    pub inbox: &'a Inbox,
    pub http: &'a Http,
    pub clock: &'a Clock,
}

/// `transport` of a shop's mail settings, understood.
enum Transport {
    Inbox,
    Smtp(String),
    SendGrid(sendgrid::Account),
    Signed(signed::Receiver),
}

impl Transport {
    fn of(mail: &Mail) -> Result<Self, String> {
        let text = mail.transport.as_ref().map_or("", |transport| transport.expose().trim());
        let scheme = text.split_once(':').map_or(text, |(scheme, _)| scheme).to_ascii_lowercase();
        // Other transports have no use for it, but what stands there should be one.
        if let Some(secret) = &mail.secret {
            standard_webhooks::check(secret.expose()).map_err(|e| format!("mail.secret: {e}"))?;
        }
        match scheme.as_str() {
            "inbox" if text == "inbox" => Ok(Self::Inbox),
            "smtp" | "smtps" => Ok(Self::Smtp(text.to_owned())),
            "sendgrid" => sendgrid::Account::parse(text).map(Self::SendGrid),
            "http" | "https" => signed::Receiver::parse(text, mail.secret.as_ref()).map(Self::Signed),
            _ => Err("this mail transport is unknown: write smtp://user:password@host:587, smtps://user:password@host:465, sendgrid:KEY, https://… or inbox".to_owned()),
        }
    }
}

/// Judges the transport of `mail`.
///
/// # Errors
/// As `provider_for`.
pub fn check(mail: &Mail) -> Result<(), String> {
    match Transport::of(mail)? {
        Transport::Smtp(text) => Smtp::new(&text, Clock::System).map(drop),
        Transport::Inbox | Transport::SendGrid(_) | Transport::Signed(_) => Ok(()),
    }
}

/// The provider that `mail.transport` names for the shop with this slug.
///
/// # Errors
/// A sentence for the operator that repeats nothing of the transport, because it may hold a password.
pub fn provider_for(mail: &Mail, slug: &str, means: &Means<'_>) -> Result<Arc<dyn Provider>, String> {
    Ok(match Transport::of(mail)? {
        Transport::Inbox => Arc::new(means.inbox.for_tenant(slug)),
        Transport::Smtp(text) => Arc::new(Smtp::new(&text, means.clock.clone())?),
        Transport::SendGrid(account) => Arc::new(SendGrid::new(account, means.http.clone())),
        Transport::Signed(receiver) => Arc::new(Signed::new(receiver, slug, means.http.clone(), means.clock.clone())),
    })
}

/// What an answer over HTTP means: 2xx took it, five statuses say that the message is wrong, and anything else may pass.
fn verdict(answer: Result<Answer, HttpFailure>) -> Result<Sent, SendFailure> {
    let answer = answer.map_err(|e| SendFailure::Retry(e.to_string(), None))?;
    let reply = kept(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)).trim_end());
    match answer.status {
        200..300 => Ok(Sent { reply }),
        400 | 410 | 413 | 415 | 422 => Err(SendFailure::GiveUp(reply)),
        _ => Err(SendFailure::Retry(reply, answer.retry_after)),
    }
}

/// What of a reply is kept: one line, its beginning, and no word so long that it could be the token of the message, which no row may hold.
fn kept(reply: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let line: String = reply.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = line.split_inclusive(|c| !is_letter(c)).map(|word| {
        let long = word.chars().filter(|c| is_letter(*c)).count() > WORD_LIMIT;
        if long {
            word.chars().filter(|c| !is_letter(*c)).fold("…".to_owned(), |text, c| text + c.encode_utf8(&mut [0; 4]))
        } else {
            word.to_owned()
        }
    });
    words.collect::<String>().chars().take(REPLY_LIMIT).collect()
}

#[cfg(test)]
mod tests;
