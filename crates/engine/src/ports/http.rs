//! The only outbound HTTP client. Its targets are addresses that somebody else chose, so it decides where it may go.

mod gate;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url, form_urlencoded};

use crate::error::{Error, Result};
use gate::{Gate, NotAdmitted};

/// How much of the body of an answer to `post` is read; the rest is cut off.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a body that is read as a whole may be; a longer one is a failure.
const WHOLE_LIMIT: usize = 1 << 20;
/// How long an exchange that is read as a whole may take, name resolution included.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 4;
const USER_AGENT: &str = concat!("vestibule/", env!("CARGO_PKG_VERSION"));

/// The outbound client. No redirects, no proxy, no cookies; `https`, or `http` to the networks that the operator allowed. Clones share connections.
#[derive(Clone)]
pub struct Http {
    secure: Client,
    plain: Client,
    secure_gate: Gate,
    plain_gate: Gate,
}

/// What the other side said, whatever the status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// From `Retry-After`, in seconds or as a date (reckoned from the answer's own `Date`). As large as the other side likes.
    pub retry_after: Option<Duration>,
    /// Of `post`: the first 64 KiB, or what came of them before the deadline.
    pub body: Vec<u8>,
}

/// What the other side said, whatever the status, with the whole of its body.
#[derive(Debug, Clone)]
pub struct Whole {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Whole {
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The standard words for the status, never the other side's own; empty for a status that has none.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
    }
}

/// Why there is no answer. The text names neither path nor query of the target: those may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFailure {
    /// The target is not allowed, or the request cannot be built: a retry is useless.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer came; a retry may pass.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

impl Http {
    /// `allow_private`: networks that may be reached although they are not public, with `http` too.
    ///
    /// # Errors
    /// If the TLS settings are refused: a defect.
    pub fn new(allow_private: Vec<IpNet>) -> Result<Self> {
        let allow_private: Arc<[IpNet]> = allow_private.into();
        let secure_gate = Gate { allow_private: Arc::clone(&allow_private), public: true };
        let plain_gate = Gate { allow_private, public: false };
        Ok(Self { secure: client(secure_gate.clone())?, plain: client(plain_gate.clone())?, secure_gate, plain_gate })
    }

    /// Sends `body` to `url`. The deadline covers everything, name resolution included. Once the status is known, the answer stands:
    /// a body that stalls after it is cut off.
    pub async fn post(&self, url: &Url, headers: &[(&'static str, String)], body: Vec<u8>, timeout: Duration) -> Result<Answer, HttpFailure> {
        let request = with_headers(self.client_for(url)?.post(url.clone()), headers).body(body);
        let deadline = Instant::now() + timeout;
        let response = timeout_at(deadline, request.send()).await.map_err(|_| too_slow(timeout))?.map_err(failure)?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        Ok(Answer { status, retry_after, body: read_body(response, deadline).await })
    }

    /// Gets what lies at `url`, as a whole within 10 s: a body that is cut or longer than 1 MiB, and a redirect, are failures.
    ///
    /// # Errors
    /// `Refused` if the target is not allowed, `Unreachable` for everything else.
    pub async fn get(&self, url: &Url, headers: &[(&'static str, String)]) -> Result<Whole, HttpFailure> {
        let request = with_headers(self.client_for(url)?.get(url.clone()), headers);
        whole(request, WHOLE_TIMEOUT).await
    }

    /// Posts `fields` as a form, escaped in the body. Otherwise as `get`.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post_form(&self, url: &Url, headers: &[(&'static str, String)], fields: &[(&str, &str)]) -> Result<Whole, HttpFailure> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = with_headers(self.client_for(url)?.post(url.clone()), headers);
        whole(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body), WHOLE_TIMEOUT).await
    }

    /// Checks what the URL alone tells. Literal addresses are checked here, because they are never resolved; names are checked by the
    /// client's resolver at connect time.
    fn client_for(&self, url: &Url) -> Result<&Client, HttpFailure> {
        let refuse = |why: &str| Err(HttpFailure::Refused(why.to_owned()));
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("the URL holds a user name or a password");
        }
        let (client, gate) = match url.scheme() {
            "https" => (&self.secure, &self.secure_gate),
            "http" => (&self.plain, &self.plain_gate),
            _ => return refuse("only https is possible"),
        };
        let admitted = match url.host() {
            Some(Host::Ipv4(ip)) => gate.admits(ip.into()),
            Some(Host::Ipv6(ip)) => gate.admits(ip.into()),
            Some(Host::Domain(_)) => gate.public || !gate.allow_private.is_empty(),
            None => false,
        };
        if admitted { Ok(client) } else { Err(HttpFailure::Refused(gate.reason().to_owned())) }
    }
}

fn with_headers(request: RequestBuilder, headers: &[(&'static str, String)]) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
}

fn too_slow(timeout: Duration) -> HttpFailure {
    HttpFailure::Unreachable(format!("no answer within {} ms", timeout.as_millis()))
}

/// The answer to `request` with its whole body, or a failure.
async fn whole(request: RequestBuilder, timeout: Duration) -> Result<Whole, HttpFailure> {
    let read = async {
        let mut response = request.send().await.map_err(failure)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(HttpFailure::Unreachable(format!("the answer is a redirect ({})", status.as_u16())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > WHOLE_LIMIT {
                return Err(HttpFailure::Unreachable(format!("the answer is longer than {WHOLE_LIMIT} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Whole { status: status.as_u16(), body })
    };
    tokio::time::timeout(timeout, read).await.map_err(|_| too_slow(timeout))?
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
fn client(gate: Gate) -> Result<Client> {
    let defect = |e: &dyn std::fmt::Display| Error::unexpected(format!("the HTTP client: {e}"));
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| defect(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(gate)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
        .map_err(|e| defect(&e))
}

async fn read_body(mut response: Response, deadline: Instant) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
        let room = BODY_LIMIT - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    body
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    let now = rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(at.as_second() - now.as_second()).unwrap_or(0)))
}

fn failure(error: reqwest::Error) -> HttpFailure {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAdmitted>() {
            return HttpFailure::Refused(refused.to_string());
        }
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_builder() { HttpFailure::Refused(text) } else { HttpFailure::Unreachable(text) }
}
