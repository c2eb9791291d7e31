//! Mail over SMTP. The connections are pooled here and not by lettre, whose pool takes a connection back in the middle of a
//! conversation when a sender is dropped, and then reads the answers of one mail as those of the next.

use std::fmt::{Display, Formatter};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures_util::future::{BoxFuture, FutureExt as _};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use lettre::{Address, Message};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::{Host, Url};

use super::smtp_stream::SmtpStream;
use super::{Channel, Content, NO_MAIL, Notification, Provider, SendFailure, Sent, kept};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

const CONNECTIONS: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
const TOTAL_TIMEOUT: Duration = Duration::from_mins(1);

/// One mail server, reached by one account.
pub struct Smtp {
    server: Server,
    clock: Clock,
    command_timeout: Duration,
    total_timeout: Duration,
    slots: Semaphore,
    idle: Mutex<Vec<Parked>>,
}

struct Server {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
}

/// Plain text only to this machine; there is no "TLS if offered", which an attacker switches off.
enum Security {
    Plain,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

/// A connection on which everything that was asked has been answered.
struct Parked {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// A mail in the form of the wire.
struct Letter {
    from: Address,
    to: Address,
    text: Text,
}

/// A mail's text, sent in one piece. Its own `message` writes the last dot apart, and between two writes
/// Nagle's algorithm waits for an acknowledgement that the other side delays: 40 ms for each mail.
struct Text(String);

impl Text {
    /// Doubles the dots at the beginnings of lines, and puts the lone one that ends the mail.
    fn stuffed(raw: &str) -> Self {
        let inner = raw.strip_suffix("\r\n").unwrap_or(raw).replace("\r\n.", "\r\n..");
        let first = if inner.starts_with('.') { "." } else { "" };
        Self(format!("{first}{inner}\r\n.\r\n"))
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Smtp {
    /// `transport`: `smtp://user:password@host:587` or `smtps://user:password@host:465`. User and password are percent-encoded, and optional.
    ///
    /// # Errors
    /// A sentence for the operator that repeats nothing of `transport`.
    pub fn new(transport: &str, clock: Clock) -> Result<Self, String> {
        Ok(Self {
            server: Server::parse(transport)?,
            clock,
            command_timeout: COMMAND_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
            slots: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
        })
    }

    /// Other deadlines than 15 s for a command and 60 s for a mail.
    #[cfg(test)]
    fn with_deadlines(self, command: Duration, total: Duration) -> Self {
        Self { command_timeout: command, total_timeout: total, ..self }
    }

    async fn deliver(&self, notification: &Notification) -> Result<Sent, SendFailure> {
        let letter = Letter::write(notification, self.clock.now()).map_err(SendFailure::GiveUp)?;
        self.in_time(self.transmit(letter).boxed()).await
    }

    /// Opens a connection, unless one stands, and leaves it for the mail that follows.
    async fn greet(&self) -> Result<(), SendFailure> {
        let greeting = async {
            let _slot = self.slots.acquire().await.map_err(retry)?;
            let connection = self.connection().await?;
            self.park(connection);
            Ok(())
        };
        self.in_time(greeting.boxed()).await
    }

    /// Whoever holds a delivery must be done with it before its lease ends.
    async fn in_time<T>(&self, work: BoxFuture<'_, Result<T, SendFailure>>) -> Result<T, SendFailure> {
        let late = |_| Err(retry(format!("the mail server took longer than {} s", self.total_timeout.as_secs_f32())));
        timeout(self.total_timeout, work).await.unwrap_or_else(late)
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, SendFailure> {
        match self.parked().await {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// The connection is parked only after a whole conversation; on every other way out it is closed.
    async fn transmit(&self, letter: Letter) -> Result<Sent, SendFailure> {
        let _slot = self.slots.acquire().await.map_err(retry)?;
        let mut connection = self.connection().await?;
        let sent = self.converse(&mut connection, letter).await?;
        self.park(connection);
        Ok(sent)
    }

    async fn converse(&self, connection: &mut AsyncSmtpConnection, letter: Letter) -> Result<Sent, SendFailure> {
        let mut parameters = Vec::new();
        if !(letter.from.as_ref() as &str).is_ascii() || !(letter.to.as_ref() as &str).is_ascii() {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(SendFailure::GiveUp("the mail server takes only ASCII addresses".to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        self.step(&[250], connection.command(Mail::new(Some(letter.from), parameters))).await?;
        self.step(&[250, 251], connection.command(Rcpt::new(letter.to, Vec::new()))).await?;
        self.step(&[354], connection.command(Data)).await?;
        let reply = self.step(&[250], connection.command(letter.text)).await?;
        Ok(Sent { reply: reply_text(&reply) })
    }

    /// Awaits one reply. Any code but an expected one is a failure, so replies that came out of step never count as success.
    async fn step(&self, expected: &[u16], reply: impl Future<Output = Result<Response, SmtpError>>) -> Result<Response, SendFailure> {
        match self.bounded(reply).await? {
            Ok(reply) if expected.iter().any(|code| reply.has_code(*code)) => Ok(reply),
            Ok(reply) => Err(retry(format!("an unexpected reply: {}", reply_text(&reply)))),
            Err(error) if error.is_permanent() => Err(SendFailure::GiveUp(failure_text(&error))),
            Err(error) => Err(retry(failure_text(&error))),
        }
    }

    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, SendFailure> {
        let late = |_| retry(format!("no reply within {} s", self.command_timeout.as_secs_f32()));
        timeout(self.command_timeout, work).await.map_err(late)
    }

    /// A fresh connection, signed in. Whatever the server refuses here says nothing about the mail, so another attempt makes sense.
    async fn connect(&self) -> Result<AsyncSmtpConnection, SendFailure> {
        let Server { host, port, security, credentials, hello } = &self.server;
        let tls = if let Security::Tls(tls) = security { Some(tls.clone()) } else { None };
        let connecting = async {
            if tls.is_some() {
                // Only the server that the certificate names says anything here.
                return AsyncSmtpConnection::connect_tokio1((host.as_str(), *port), None, hello, tls, None)
                    .await
                    .map_err(|e| retry(failure_text(&e)));
            }
            let stream = SmtpStream::connect(host, *port, matches!(security, Security::StartTls(_))).await.map_err(retry)?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello).await.map_err(|e| retry(failure_text(&e)))
        };
        let mut connection = self.bounded(connecting).await??;
        if let Security::StartTls(tls) = security {
            self.bounded(connection.starttls(tls.clone(), hello)).await?.map_err(|e| retry(failure_text(&e)))?;
        }
        if let Some(credentials) = credentials {
            let reply = self.bounded(connection.auth(DEFAULT_MECHANISMS, credentials)).await?.map_err(|e| retry(failure_text(&e)))?;
            if !reply.has_code(235) {
                return Err(retry(format!("an unexpected reply to the sign-in: {}", reply_text(&reply))));
            }
        }
        Ok(connection)
    }

    /// A connection from earlier that still answers.
    async fn parked(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|parked| parked.since.elapsed() < IDLE_TIMEOUT);
                idle.pop()?.connection
            };
            if self.step(&[250], connection.command(Noop)).await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|parked| parked.since.elapsed() < IDLE_TIMEOUT);
        idle.push(Parked { connection, since: Instant::now() });
    }
}

impl Provider for Smtp {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>> {
        self.deliver(notification).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), SendFailure>> {
        self.greet().boxed()
    }
}

impl Server {
    fn parse(transport: &str) -> Result<Self, String> {
        let url = Url::parse(transport.trim()).map_err(
            |_| "the mail transport is no valid URL: write smtp://user:password@host:587 and percent-encode special characters of the password",
        )?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("the mail transport ends after host and port; percent-encode `/`, `?`, `#` and `@` in the password".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err("the mail transport names no host".to_owned()),
        };
        let tls = || TlsParameters::builder(host.clone()).certificate_store(CertificateStore::WebpkiRoots).build_rustls();
        let tls = || tls().map_err(|e| format!("TLS for the mail transport: {e}"));
        let (port, security) = match url.scheme() {
            "smtps" => (465, Security::Tls(tls()?)),
            "smtp" if is_loopback(&host) => (587, Security::Plain),
            "smtp" => (587, Security::StartTls(tls()?)),
            _ => return Err("the mail transport begins with smtp:// or smtps://".to_owned()),
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some(Credentials::new(decode(user)?, decode(password)?)),
            _ => return Err("the mail transport needs both user and password, or neither".to_owned()),
        };
        Ok(Self { port: url.port().unwrap_or(port), host, security, credentials, hello: ClientId::default() })
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || "user or password of the mail transport: `%` must be followed by two hexadecimal digits; write a `%` itself as %25".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or_else(wrong)?;
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(wrong)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| "user or password of the mail transport is not UTF-8".to_owned())
}

impl Letter {
    /// Refuses what would end a header line or an SMTP command, wherever the row came from.
    fn write(notification: &Notification, now: Timestamp) -> Result<Self, String> {
        let Notification { channel, to, from, content, idempotency_key, .. } = notification;
        let Content { subject, text, html } = content;
        if *channel != Channel::Email {
            return Err(NO_MAIL.to_owned());
        }
        let from = from.as_deref().ok_or("no sender is configured: set `from` of the tenant's mail settings")?;
        for (name, value) in [("to", to.as_str()), ("from", from), ("subject", subject)] {
            if value.contains(char::is_control) {
                return Err(format!("the mail's `{name}` holds a control character"));
            }
        }
        if idempotency_key.is_empty() || !idempotency_key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err("the mail's idempotency key cannot be part of a Message-ID".to_owned());
        }
        let from = sender(from)?;
        let to: Address = to.parse().map_err(|e| format!("the mail's `to` is no address: {e}"))?;
        let domain = idna::domain_to_ascii(from.email.domain()).map_err(|_| "the domain of the mail's `from` is no domain")?;
        let message_id = format!("<{idempotency_key}@{domain}>");
        let date = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0));
        let mut message = Message::builder()
            .date(date)
            .from(from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(subject)
            .message_id(Some(message_id))
            .multipart(MultiPart::alternative_plain_html(text.clone(), html.clone()))
            .map_err(|e| format!("the mail cannot be written: {e}"))?;
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        message.headers_mut().insert_raw(automatic);
        let text = String::from_utf8(message.formatted()).map_err(|_| "the mail is not UTF-8")?;
        Ok(Self { from: from.email, to, text: Text::stuffed(&text) })
    }
}

/// `Acme <no-reply@acme.example>` or a bare address. The name may hold anything; lettre quotes and encodes it.
pub(super) fn sender(text: &str) -> Result<Mailbox, String> {
    let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address),
        None => ("", text.trim()),
    };
    let address = address.parse().map_err(|e| format!("the mail's `from` is no address: {e}"))?;
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    Ok(Mailbox::new(Some(name.to_owned()).filter(|name| !name.is_empty()), address))
}

fn retry(why: impl Display) -> SendFailure {
    SendFailure::Retry(why.to_string(), None)
}

fn reply_text(reply: &Response) -> String {
    kept(&format!("{} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" ")))
}

fn failure_text(error: &SmtpError) -> String {
    kept(&error.to_string())
}

#[cfg(test)]
#[path = "smtp_tests.rs"]
mod tests;
